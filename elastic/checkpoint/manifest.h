// What a checkpoint's manifest says. Its appearance in the checkpoint's folder is what makes the
// checkpoint one.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_MANIFEST_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/member.h"
#include "base/status.h"
#include "elastic/lineage.h"
#include "elastic/state.h"

namespace closeranks::elastic {

// Of these bytes: XXH3, 128 bits, as 32 hexadecimal digits.
std::string Checksum(std::string_view bytes);

std::string EncodeLineage(const Lineage& lineage);
// kInvalidArgument for what isn't one.
Result<Lineage> DecodeLineage(std::string_view bytes);

struct Manifest {
  struct Tensor {
    Piece piece;  // without bytes
    std::string file;
    std::string checksum;
    bool operator==(const Tensor&) const;
  };
  Lineage lineage;
  StepNumber step = 0;  // the last that is in it
  int epoch = 0;        // of that step
  Generation generation = 0;
  int world = 0;           // ranks that wrote it
  int64_t written_at = 0;  // seconds since 1970
  std::string run;  // what defines the run, as words "batch=256"; equal on who goes on from it
  std::vector<std::string> files;
  std::vector<Tensor> tensors;

  uint64_t bytes() const;  // of all tensors
  bool operator==(const Manifest&) const = default;
};

// JSON, with a checksum of itself.
std::string EncodeManifest(const Manifest& manifest);
// Survives any bytes. kInvalidArgument for what isn't one, or not as it was written.
Result<Manifest> DecodeManifest(std::string_view bytes);

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_MANIFEST_H_
