#include "launcher/poison_watch.h"

#include <numeric>

#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

// Positions [begin, end) of a step, whose samples' numbers are 1000 above.
BatchPart Part(StepNumber step, int begin, int end) {
  BatchPart part{step, begin, end, {}};
  part.samples.resize(std::min<size_t>(end - begin, BatchPart::kMostSamples));
  std::iota(part.samples.begin(), part.samples.end(), 1000 + begin);
  return part;
}

MemberProcess Worker(MemberId member, uint64_t process) { return {member, {1, process}}; }

TEST(PoisonWatch, SaysWhichSamplesTwoWorkersFailedOn) {
  PoisonWatch watch;
  EXPECT_FALSE(watch.IsSuspect(Part(5, 24, 27)));
  EXPECT_EQ(watch.OnFailedPart(Worker(1, 1), Part(5, 16, 32)), std::nullopt);
  EXPECT_TRUE(watch.IsSuspect(Part(5, 24, 27)));
  EXPECT_FALSE(watch.IsSuspect(BatchPart{}));
  EXPECT_EQ(watch.OnFailedPart(Worker(3, 2), Part(5, 24, 27)),
            "the workers of members 1 and 3 failed one after the other while they computed samples "
            "1024, 1025, 1026 (positions 24 to 26 of step 5's batch)");
}

TEST(PoisonWatch, ASuccessorOfTheSameMemberIsAnother) {
  PoisonWatch watch;
  EXPECT_EQ(watch.OnFailedPart(Worker(1, 1), Part(5, 16, 32)), std::nullopt);
  EXPECT_EQ(watch.OnFailedPart(Worker(1, 2), Part(5, 31, 40)),
            "the workers of members 1 and 1 failed one after the other while they computed sample "
            "1031 (position 31 of step 5's batch)");
}

TEST(PoisonWatch, NoneIsWhereTheyShareNoSample) {
  PoisonWatch watch;
  EXPECT_EQ(watch.OnFailedPart(Worker(1, 1), Part(5, 16, 32)), std::nullopt);
  // Told again, as it is where a host has several members.
  EXPECT_EQ(watch.OnFailedPart(Worker(1, 1), Part(5, 16, 32)), std::nullopt);
  EXPECT_EQ(watch.OnFailedPart(Worker(2, 2), Part(5, 32, 48)), std::nullopt);
  EXPECT_EQ(watch.OnFailedPart(Worker(3, 3), Part(5, 0, 16)), std::nullopt);
  EXPECT_EQ(watch.OnFailedPart(Worker(3, 4), Part(6, 16, 32)), std::nullopt);
}

TEST(PoisonWatch, OfManySamplesSomeAreNamed) {
  PoisonWatch watch;
  EXPECT_EQ(watch.OnFailedPart(Worker(0, 1), Part(5, 0, 200)), std::nullopt);
  EXPECT_EQ(watch.OnFailedPart(Worker(1, 2), Part(5, 100, 150)),
            "the workers of members 0 and 1 failed one after the other while they computed samples "
            "1100, 1101, 1102, 1103, 1104, 1105, 1106, 1107, 1108, 1109, 1110, 1111, 1112, 1113, "
            "1114, 1115 and 34 more (positions 100 to 149 of step 5's batch)");
  // Nobody noted their numbers.
  EXPECT_EQ(watch.OnFailedPart(Worker(2, 3), Part(9, 0, 200)), std::nullopt);
  EXPECT_EQ(watch.OnFailedPart(Worker(3, 4), {9, 150, 300, {}}),
            "the workers of members 2 and 3 failed one after the other while they computed 50 "
            "samples (positions 150 to 199 of step 9's batch)");
}

}  // namespace
}  // namespace closeranks::launcher
