// What an exception says, in one line. Apart from job.cc, because libtorch's headers and glog's
// both define LOG and CHECK.
#ifndef CLOSERANKS_CLOSERANKS_EXCEPTION_TEXT_H_
#define CLOSERANKS_CLOSERANKS_EXCEPTION_TEXT_H_

#include <exception>
#include <string>

namespace closeranks {

// Without the stack that libtorch appends to what() of its own.
std::string ExceptionText(const std::exception& error);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_EXCEPTION_TEXT_H_
