// Reads the idx format in which MNIST and its relatives come, gzipped or not.
#ifndef CLOSERANKS_EXAMPLES_FASHION_MNIST_IDX_FILE_H_
#define CLOSERANKS_EXAMPLES_FASHION_MNIST_IDX_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace closeranks::examples {

// Bytes in row-major order: their number is the product of the dimensions.
struct IdxFile {
  std::vector<int64_t> dimensions;
  std::vector<uint8_t> values;
};

// Only files of unsigned bytes, of at most 2^31 of them. kUnavailable when the file isn't there or
// can't be read; kInvalidArgument when it is damaged, cut off, too long, or no idx file. The
// message names it.
Result<IdxFile> ReadIdxFile(const std::string& path);

}  // namespace closeranks::examples

#endif  // CLOSERANKS_EXAMPLES_FASHION_MNIST_IDX_FILE_H_
