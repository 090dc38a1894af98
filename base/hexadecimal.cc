#include "base/hexadecimal.h"

namespace closeranks {

std::string Hexadecimal(uint64_t value) {
  std::string digits(16, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, value /= 16) {
    *digit = "0123456789abcdef"[value % 16];
  }
  return digits;
}

}  // namespace closeranks
