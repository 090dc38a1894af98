// Any bytes are refused, or make a manifest that survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "elastic/checkpoint/manifest.h"
#include "glog/logging.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace elastic = closeranks::elastic;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto manifest = elastic::DecodeManifest(bytes);
  if (manifest.ok()) {
    auto again = elastic::DecodeManifest(elastic::EncodeManifest(*manifest));
    CHECK(again.ok()) << again.status();
    CHECK(*again == *manifest);
  }
  auto lineage = elastic::DecodeLineage(bytes);
  if (lineage.ok()) {
    auto again = elastic::DecodeLineage(elastic::EncodeLineage(*lineage));
    CHECK(again.ok()) << again.status();
    CHECK(*again == *lineage);
  }
  return 0;
}
