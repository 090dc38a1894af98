// Hashes and random bits as text.
#ifndef CLOSERANKS_BASE_HEXADECIMAL_H_
#define CLOSERANKS_BASE_HEXADECIMAL_H_

#include <cstdint>
#include <string>

namespace closeranks {

// 16 digits, in lower case.
std::string Hexadecimal(uint64_t value);

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_HEXADECIMAL_H_
