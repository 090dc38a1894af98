#include "rendezvous/failure_detector.h"

#include "base/random.h"
#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

using std::chrono::milliseconds;

constexpr FailureDetector::Bounds kBounds{milliseconds(50), milliseconds(200), milliseconds(4000)};

FailureDetector HeardEvenly(int heartbeats) {
  FailureDetector detector;
  for (int i = 0; i < heartbeats; ++i) detector.Heard(kBounds.interval, kBounds);
  return detector;
}

TEST(FailureDetector, HasLittlePatienceWithAPeerThatIsHeardEvenly) {
  EXPECT_EQ(HeardEvenly(100).Patience(kBounds), kBounds.least);
}

TEST(FailureDetector, HasMorePatienceWithAPeerThatItHardlyKnows) {
  EXPECT_EQ(FailureDetector().Patience(kBounds), milliseconds(1000));
  EXPECT_EQ(HeardEvenly(7).Patience(kBounds), milliseconds(1000));
  EXPECT_EQ(HeardEvenly(8).Patience(kBounds), kBounds.least);
}

TEST(FailureDetector, HasThePatienceThatJitterAsksFor) {
  FailureDetector detector;
  for (int i = 0; i < 100; ++i) detector.Heard(milliseconds(i % 2 == 0 ? 50 : 250), kBounds);
  EXPECT_GT(detector.Patience(kBounds), milliseconds(800)) << "the mean and eight deviations";
  EXPECT_LT(detector.Patience(kBounds), milliseconds(1200));
}

TEST(FailureDetector, RemembersARareLongSilenceAndForgetsItInTime) {
  FailureDetector detector = HeardEvenly(100);
  detector.Heard(milliseconds(300), kBounds);
  for (int i = 0; i < 100; ++i) detector.Heard(kBounds.interval, kBounds);
  EXPECT_GT(detector.Patience(kBounds), milliseconds(450)) << "5 s later";
  EXPECT_LE(detector.Patience(kBounds), milliseconds(600));
  for (int i = 0; i < 4000; ++i) detector.Heard(kBounds.interval, kBounds);
  EXPECT_EQ(detector.Patience(kBounds), kBounds.least);
}

TEST(FailureDetector, LearnsNothingFromMessagesOutOfTurnAndFromOutages) {
  FailureDetector detector = HeardEvenly(100);
  for (int i = 0; i < 1000; ++i) detector.Heard(milliseconds(1), kBounds);
  EXPECT_EQ(detector.Patience(kBounds), kBounds.least);
  detector.Heard(milliseconds(30'000), kBounds);
  EXPECT_EQ(detector.Patience(kBounds), kBounds.least);
}

TEST(FailureDetector, AnOutageIsNoReasonToNoticeTheNextOneMuchLaterButSeveralAre) {
  FailureDetector detector = HeardEvenly(100);
  for (const auto& most : {milliseconds(800), milliseconds(3200)}) {
    detector.Heard(milliseconds(3900), kBounds);
    EXPECT_LE(detector.Patience(kBounds), most);
    EXPECT_GT(detector.Patience(kBounds), most * 3 / 4);
    for (int i = 0; i < 100; ++i) detector.Heard(kBounds.interval, kBounds);
  }
}

// A job of somebody else's each minute holds it up for a second.
TEST(FailureDetector, StallsThatComeAgainAndAgainAreSoonPutUpWith) {
  FailureDetector detector = HeardEvenly(100);
  int suspected = 0;
  for (int minute = 0; minute < 60; ++minute) {
    suspected += milliseconds(1000) >= detector.Patience(kBounds);
    detector.Heard(milliseconds(1000), kBounds);
    for (int i = 0; i < 1200; ++i) detector.Heard(kBounds.interval, kBounds);
  }
  EXPECT_LE(suspected, 3);
}

TEST(FailureDetector, ItsPatienceStaysWithinItsBounds) {
  FailureDetector detector;
  for (int i = 0; i < 100; ++i) detector.Heard(milliseconds(i % 2 == 0 ? 50 : 3900), kBounds);
  EXPECT_EQ(detector.Patience(kBounds), kBounds.most);
}

// As on a machine that is too busy: most silences are short, some are many times as long.
TEST(FailureDetector, SuspectsNobodyForSilencesAsThereWereBefore) {
  SeededRandom random(1);
  FailureDetector detector;
  Duration longest{};
  for (int i = 0; i < 12'000; ++i) {
    const auto late = milliseconds(random.Below(random.Below(50) == 0 ? 250 : 30));
    const Duration silence = kBounds.interval + late;
    if (i > 1000) {
      EXPECT_LT(silence, detector.Patience(kBounds)) << i;
    }
    longest = std::max(longest, silence);
    detector.Heard(silence, kBounds);
  }
  EXPECT_GT(longest, kBounds.least) << "or the least patience would do";
}

}  // namespace
}  // namespace closeranks::rendezvous
