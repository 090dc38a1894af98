// Any bytes are refused, or are exactly what the preamble that they make is written as.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "glog/logging.h"
#include "net/preamble.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto preamble = closeranks::net::ParsePreamble(bytes);
  if (preamble.ok()) CHECK(closeranks::net::EncodePreamble(*preamble) == bytes);
  return 0;
}
