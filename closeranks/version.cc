#include "closeranks/version.h"

#include <elf.h>
#include <link.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace closeranks {
namespace {

// Called for each loaded object; the first is the executable.
int FindBuildId(dl_phdr_info* info, size_t, void* result) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const char* at = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
    const char* end = at + header.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const auto* note = reinterpret_cast<const ElfW(Nhdr)*>(at);
      const char* name = at + sizeof(*note);
      const char* id = name + ((note->n_namesz + 3) & ~3u);
      if (note->n_type == NT_GNU_BUILD_ID && std::strncmp(name, "GNU", 4) == 0) {
        for (unsigned int byte = 0; byte < note->n_descsz; ++byte) {
          std::array<char, 3> digits;
          std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned char>(id[byte]));
          static_cast<std::string*>(result)->append(digits.data());
        }
        return 1;
      }
      at = id + ((note->n_descsz + 3) & ~3u);
    }
  }
  return 1;
}

}  // namespace

std::string CompilerName() { return "g++ " __VERSION__; }

std::string ProgramId() {
  std::string id;
  dl_iterate_phdr(FindBuildId, &id);
  return id.empty() ? "?" : id;
}

std::string VersionLine() {
  return "closeranks " + std::string(kVersion) + " (" + CompilerName() + ", program " +
         ProgramId() + ")\n";
}

}  // namespace closeranks
