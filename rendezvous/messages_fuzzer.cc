// Any bytes are refused, or make a message that survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "glog/logging.h"
#include "rendezvous/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto message = closeranks::rendezvous::DecodeMessage(bytes);
  if (message.ok()) {
    const std::string written = closeranks::rendezvous::Encode(*message);
    auto again = closeranks::rendezvous::DecodeMessage(written);
    CHECK(again.ok()) << again.status();
    CHECK(closeranks::rendezvous::Encode(*again) == written);
  }
  return 0;
}
