#include "telemetry/report/report_html.h"

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "telemetry/report/escape_html.h"
#include "telemetry/report/synthetic_run.h"

namespace closeranks::telemetry {
namespace {

RunReport SyntheticReport(const std::string& command = "closeranks run") {
  SystemFiles files;
  std::string folder = NewFolder(testing::UnitTest::GetInstance()->current_test_info()->name());
  WriteSyntheticRun(files, folder, {.command = command});
  return ReadRunReport(files, folder).value();
}

// Empty when every tag is closed in its order, or what isn't. Knows the page's void elements.
std::string FirstUnbalancedTag(const std::string& html) {
  const std::set<std::string> kVoid = {"!DOCTYPE", "meta"};
  std::vector<std::string> open;
  for (size_t begin = 0; (begin = html.find('<', begin)) != std::string::npos;) {
    size_t end = html.find('>', begin);
    if (end == std::string::npos) return "a tag without its end";
    std::string tag = html.substr(begin + 1, end - begin - 1);
    begin = end;
    if (tag.find('<') != std::string::npos) return "a tag inside of a tag: " + tag;
    std::string name = tag.substr(0, tag.find_first_of(" \n/", 1));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) return tag;
      open.pop_back();
    } else if (tag.back() != '/' && !kVoid.contains(name)) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : open.back();
}

TEST(ReportHtml, IsWellFormed) {
  EXPECT_EQ(FirstUnbalancedTag(ReportHtml(SyntheticReport())), "");
  EXPECT_EQ(FirstUnbalancedTag("<p><b></p></b>"), "/p");  // the check itself
}

TEST(ReportHtml, NeedsNothingFromAnywhere) {
  std::string html = ReportHtml(SyntheticReport());
  for (const char* outside :
       {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "//"}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
}

TEST(ReportHtml, ShowsVerdictChartsMarksAndTables) {
  std::string html = ReportHtml(SyntheticReport());
  for (const char* part :
       {"Rank 0 was killed in step 4; 2 survivors had a new world 9.0 ms and committed",
        "Rank 0 killed, step 4", "Rank 0 joined, step 5", "Loss, mean of each step",
        "Samples per second", "World size", "<td>1.0 ms</td>", "<td>3.0 ms</td>", "<td>5.0 ms</td>",
        "<td class=\"total\">12.0 ms</td>", "<td class=\"apart\">36.0 ms</td>", "<td>50.0 ms</td>",
        "<td>2.0 KiB</td>", "87.50 %", "ab12", "prefers-color-scheme: dark"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
}

TEST(ReportHtml, ATotalThatLeavesOutDetectionSaysSo) {
  RunReport report = SyntheticReport();
  EXPECT_EQ(ReportHtml(report).find("from notice"), std::string::npos);
  report.recoveries[0].timed_from = LossTimedFrom::kDetection;
  report.recoveries[0].total_ms = 8;
  std::string html = ReportHtml(report);
  EXPECT_NE(html.find("<td class=\"total\">8.0 ms from notice</td>"), std::string::npos);
  EXPECT_NE(html.find("A total \u201cfrom notice\u201d begins"), std::string::npos);
  EXPECT_EQ(FirstUnbalancedTag(html), "");
}

TEST(ReportHtml, TextFromOutsideCantBecomeMarkup) {
  std::string html = ReportHtml(SyntheticReport("<script>alert(1)</script>\" & '\x01"));
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;alert(1)&lt;/script&gt;&quot; &amp; &#39;?"),
            std::string::npos);
  EXPECT_EQ(FirstUnbalancedTag(html), "");
}

TEST(ReportHtml, BrokenUtf8IsReplaced) {
  EXPECT_EQ(EscapeHtml("a\xff\xc3"), "a??");
  EXPECT_EQ(EscapeHtml("\xc3\xa9\xe2\x80\x93"), "\xc3\xa9\xe2\x80\x93");
  EXPECT_EQ(EscapeHtml("\xe2\x80"), "??");
}

TEST(ReportHtml, StaysWellFormedWhateverTheNumbersAre) {
  RunReport report = SyntheticReport();
  for (LossPoint& point : report.loss) point.loss = std::numeric_limits<double>::quiet_NaN();
  report.final_loss = std::numeric_limits<double>::infinity();
  report.throughput.clear();
  report.seconds = 0;
  report.test_accuracy.reset();
  report.recoveries[0].replay_ms.reset();
  report.recoveries[0].commit_ms.reset();
  report.joins[0].total_ms.reset();
  report.joins[0].rank = -1;
  std::string html = ReportHtml(report);
  EXPECT_EQ(FirstUnbalancedTag(html), "");
  EXPECT_EQ(html.find("=\"nan"), std::string::npos);
  EXPECT_EQ(html.find("=\"n/a"), std::string::npos);
}

TEST(ReportHtml, ALongRunMakesNoLongPage) {
  RunReport report = SyntheticReport();
  LossPoint point = report.loss.back();
  report.seconds = 100000;
  for (int i = 0; i < 200000; ++i) {
    point.at_seconds = i / 2.0;
    ++point.step;
    point.loss = i % 7;
    report.loss.push_back(point);
  }
  EXPECT_LT(ReportHtml(report).size(), 60000u);
}

}  // namespace
}  // namespace closeranks::telemetry
