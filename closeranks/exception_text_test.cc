#include "closeranks/exception_text.h"

#include <c10/util/Exception.h>

#include <stdexcept>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(ExceptionText, OfLibtorchsIsOneLineWithoutItsStack) {
  try {
    TORCH_CHECK(false, "Invalid learning rate:\n-5");
  } catch (const std::exception& error) {
    EXPECT_EQ(ExceptionText(error), "Invalid learning rate: -5");
  }
}

TEST(ExceptionText, OfAnyOtherIsWhatItSays) {
  EXPECT_EQ(ExceptionText(std::runtime_error("no such file")), "no such file");
}

}  // namespace
}  // namespace closeranks
