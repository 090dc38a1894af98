#include "examples/fashion_mnist/idx_file.h"

#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace closeranks::examples {
namespace {

constexpr int64_t kMaxValues = int64_t{1} << 31;

struct CloseGzip {
  void operator()(gzFile file) const { gzclose_r(file); }
};
using GzipFile = std::unique_ptr<gzFile_s, CloseGzip>;

// Reads exactly `size` bytes.
Status ReadFully(gzFile file, void* to, int64_t size, const std::string& path) {
  errno = 0;
  const int64_t got = static_cast<int64_t>(gzfread(to, 1, static_cast<size_t>(size), file));
  if (got == size) return OkStatus();
  int code = Z_OK;
  const char* text = gzerror(file, &code);
  if (code == Z_ERRNO) return ErrnoStatus(errno, "reading " + path);
  if (code != Z_OK && code != Z_BUF_ERROR) return InvalidArgument(path + " is damaged: " + text);
  return InvalidArgument(path + " is cut off");
}

}  // namespace

Result<IdxFile> ReadIdxFile(const std::string& path) {
  const GzipFile file(gzopen(path.c_str(), "rb"));
  if (!file) return ErrnoStatus(errno, "opening " + path);

  std::array<uint8_t, 4> magic;  // two zeros, the type of the values, the number of dimensions
  RETURN_IF_ERROR(ReadFully(file.get(), magic.data(), magic.size(), path));
  constexpr uint8_t kUnsignedBytes = 8;
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != kUnsignedBytes || magic[3] == 0) {
    return InvalidArgument(path + " is not an idx file of unsigned bytes");
  }

  IdxFile idx;
  int64_t count = 1;
  for (int i = 0; i < magic[3]; ++i) {
    std::array<uint8_t, 4> word;  // big-endian
    RETURN_IF_ERROR(ReadFully(file.get(), word.data(), word.size(), path));
    const int64_t size = int64_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3];
    if (size == 0 || count > kMaxValues / size) {
      return InvalidArgument(path + " has dimensions that can't be right");
    }
    count *= size;
    idx.dimensions.push_back(size);
  }

  idx.values.resize(static_cast<size_t>(count));
  RETURN_IF_ERROR(ReadFully(file.get(), idx.values.data(), count, path));
  // Only at its end does a gzip file show its checksum.
  uint8_t beyond;
  const int more = gzread(file.get(), &beyond, 1);
  if (more > 0) return InvalidArgument(path + " is longer than its dimensions say");
  int code = Z_OK;
  const char* text = gzerror(file.get(), &code);
  if (code == Z_BUF_ERROR) return InvalidArgument(path + " is cut off");
  if (code != Z_OK) return InvalidArgument(path + " is damaged: " + text);
  return idx;
}

}  // namespace closeranks::examples
