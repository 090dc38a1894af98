#include "closeranks/exception_text.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace closeranks {

std::string ExceptionText(const std::exception& error) {
  const auto* from_torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = from_torch != nullptr ? from_torch->what_without_backtrace() : error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace closeranks
