#include "base/exit_code.h"

#include <set>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(ExitCode, NumbersNamesAndSeveritiesAreDistinct) {
  std::set<int> numbers;
  std::set<std::string_view> names;
  std::set<int> severities;
  for (const ExitCodeRow& row : ExitCodeTable()) {
    EXPECT_TRUE(numbers.insert(static_cast<int>(row.code)).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(severities.insert(row.severity).second) << row.name;
  }
}

TEST(ExitCode, AnUnknownNumberIsAnError) {
  EXPECT_EQ(FindExitCode(139).code, ExitCode::kError);
  EXPECT_EQ(FindExitCode(81).code, ExitCode::kReplaced);
  EXPECT_FALSE(FindExitCode(81).restart);
}

TEST(ExitCode, EachReactionHasItsCode) {
  EXPECT_EQ(ExitCodeFor(OkStatus()), ExitCode::kOk);
  EXPECT_EQ(ExitCodeFor(InvalidArgument("x")), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeFor(Unauthenticated("x")), ExitCode::kUnauthenticated);
  EXPECT_EQ(ExitCodeFor(Internal("x")), ExitCode::kError);
}

}  // namespace
}  // namespace closeranks
