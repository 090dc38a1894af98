// Who doesn't have the key comes to nothing with whatever it says: it isn't let in, it can't feign
// a difference, and what is told of it is one line.
//
// An input is a byte for the role of this side, and messages of the other side, each behind its
// length (u16, little-endian).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "glog/logging.h"
#include "rendezvous/handshake.h"

namespace closeranks::rendezvous {
namespace {

Keys One(std::string key) {
  return std::make_shared<const std::vector<std::string>>(1, std::move(key));
}

void Converse(Handshake::Role role, std::string_view input) {
  SeededRandom random(1);
  const Identity self = {"job", {1, {2, 3}}, {"build", "kernels", "batch=1"}};
  Handshake handshake(role, self, One("a key that no input has"), random);
  if (role == Handshake::Role::kInitiator) CHECK(!handshake.Start().empty());
  while (input.size() >= 2) {
    const size_t length = static_cast<uint8_t>(input[0]) | static_cast<uint8_t>(input[1]) << 8;
    const std::string_view message = input.substr(2, length);
    input.remove_prefix(2 + message.size());
    const Handshake::Reply reply = handshake.OnMessage(message);
    CHECK(!handshake.done());
    CHECK_LE(reply.send.size(), Handshake::kMaxMessage);
    if (reply.failure.ok()) continue;
    CHECK(reply.failure.code() == StatusCode::kUnauthenticated) << reply.failure;
    const std::string& text = reply.failure.message();
    CHECK_LE(text.size(), 300u);
    CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    return;
  }
}

}  // namespace
}  // namespace closeranks::rendezvous

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using closeranks::rendezvous::Handshake;
  if (size == 0) return 0;
  const auto role = data[0] % 2 == 0 ? Handshake::Role::kInitiator : Handshake::Role::kResponder;
  closeranks::rendezvous::Converse(role, {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
