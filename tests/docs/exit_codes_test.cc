#include <string>

#include "base/exit_code.h"
#include "base/files.h"
#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(ExitCodes, TheDocumentHasTheTableOfTheCode) {
  SystemFiles files;
  auto document = files.Read("docs/exit-codes.md");
  ASSERT_TRUE(document.ok()) << document.status();
  std::string table =
      "| code | name | meaning | what to do | restarted | severity |\n"
      "|---|---|---|---|---|---|\n";
  for (const ExitCodeRow& row : ExitCodeTable()) {
    table += "| " + std::to_string(static_cast<int>(row.code)) + " | " + std::string(row.name) +
             " | " + std::string(row.meaning) + " | " + std::string(row.remedy) + " | " +
             (row.restart ? "yes" : "no") + " | " + std::to_string(row.severity) + " |\n";
  }
  EXPECT_TRUE(document->ends_with(table)) << "docs/exit-codes.md should end with\n" << table;
}

}  // namespace
}  // namespace closeranks
