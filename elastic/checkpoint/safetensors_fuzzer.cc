// Any bytes are refused, or make tensors that survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "elastic/checkpoint/safetensors.h"
#include "glog/logging.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace elastic = closeranks::elastic;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto file = elastic::DecodeSafetensors(bytes);
  if (file.ok()) {
    const std::string written = elastic::EncodeSafetensors(file->pieces, file->metadata);
    auto again = elastic::DecodeSafetensors(written);
    CHECK(again.ok()) << again.status();
    CHECK(elastic::EncodeSafetensors(again->pieces, again->metadata) == written);
  }
  return 0;
}
