// copy_safetensors FROM TO: reads a safetensors file and writes it anew.
#include <cstdio>

#include "base/files.h"
#include "elastic/checkpoint/safetensors.h"

namespace closeranks {
namespace {

Status Copy(const std::string& from, const std::string& to) {
  SystemFiles files;
  ASSIGN_OR_RETURN(std::string bytes, files.Read(from));
  ASSIGN_OR_RETURN(elastic::Safetensors file, elastic::DecodeSafetensors(bytes));
  return files.Replace(to, elastic::EncodeSafetensors(file.pieces, file.metadata));
}

}  // namespace
}  // namespace closeranks

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  closeranks::Status copied = closeranks::Copy(argv[1], argv[2]);
  if (!copied.ok()) std::fprintf(stderr, "%s\n", copied.ToString().c_str());
  return copied.ok() ? 0 : 1;
}
