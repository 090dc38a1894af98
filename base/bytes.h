// Writing and reading of wire formats: little-endian, fixed width, lengths before strings. The
// reader survives any input: once something doesn't fit, it stays failed and hands out zeros.
#ifndef CLOSERANKS_BASE_BYTES_H_
#define CLOSERANKS_BASE_BYTES_H_

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/member.h"

namespace closeranks {

static_assert(std::endian::native == std::endian::little, "the wire format is the memory format");

class ByteWriter {
 public:
  template <typename T>
    requires std::integral<T> || std::floating_point<T>
  void Put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Put(const Incarnation& incarnation) {
    Put(incarnation.high);
    Put(incarnation.low);
  }
  void Put(const MemberProcess& process) {
    Put(process.member);
    Put(process.incarnation);
  }
  // A 32-bit length, then the bytes.
  void PutString(std::string_view text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
  }

  const std::string& bytes() const& { return bytes_; }
  std::string bytes() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what a ByteWriter wrote. Doesn't own `bytes`.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
    requires std::integral<T> || std::floating_point<T>
  T Get() {
    T value{};
    if (rest_.size() < sizeof(value)) {
      failed_ = true;
      rest_ = {};
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_.remove_prefix(sizeof(value));
    return value;
  }
  Incarnation GetIncarnation() {
    Incarnation incarnation;
    incarnation.high = Get<uint64_t>();
    incarnation.low = Get<uint64_t>();
    return incarnation;
  }
  MemberProcess GetMemberProcess() {
    MemberProcess process;
    process.member = Get<MemberId>();
    process.incarnation = GetIncarnation();
    return process;
  }
  std::string GetString() {
    auto length = Get<uint32_t>();
    if (length > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    std::string text(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return text;
  }
  // A count of things of at least `bytes_each` bytes that follow; 0 and failed when they can't all
  // be there, so that a hostile count allocates nothing.
  uint32_t GetCount(size_t bytes_each) {
    auto count = Get<uint32_t>();
    if (count > rest_.size() / bytes_each) {
      failed_ = true;
      rest_ = {};
      return 0;
    }
    return count;
  }

  bool failed() const { return failed_; }
  // Everything was read, and nothing was missing.
  bool AtEnd() const { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_BYTES_H_
