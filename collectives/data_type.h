// What is summed: element types and reductions.
#ifndef CLOSERANKS_COLLECTIVES_DATA_TYPE_H_
#define CLOSERANKS_COLLECTIVES_DATA_TYPE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace closeranks {

enum class DataType : uint8_t { kFloat32, kFloat64, kBFloat16, kInt64, kUint8 };

// kAverage is the sum divided by the number of ranks; integers don't have it.
enum class Reduction : uint8_t { kSum, kAverage };

constexpr size_t SizeOf(DataType type) {
  switch (type) {
    case DataType::kFloat64:
    case DataType::kInt64:
      return 8;
    case DataType::kFloat32:
      return 4;
    case DataType::kBFloat16:
      return 2;
    case DataType::kUint8:
      return 1;
  }
  return 0;
}

std::string_view DataTypeName(DataType type);
std::string_view ReductionName(Reduction reduction);

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_DATA_TYPE_H_
