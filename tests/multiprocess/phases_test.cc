// A rank is killed at each named phase of a step of a libtorch program with BatchNorm and dropout:
// in exact mode the result has the bits of an undisturbed run, and every sample counts once.
#include <cctype>
#include <filesystem>
#include <ostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::ExpectTrained;
using testing_job::JobProcess;
using testing_job::ReportFolder;
using testing_job::Words;

struct Phase {
  std::string point;
  int step = 7;  // -1: of who joins, before it has begun one
  // When somebody joins: first member 1 is killed, then this one.
  int at_join_of = -1;
  // Its state goes to it while the others step on, instead of at once.
  bool in_stripes = false;
};

void PrintTo(const Phase& phase, std::ostream* out) { *out << phase.point << phase.step; }

// The hash of the weights and buffers. `deaths`: as MEMBER:POINT:STEP.
std::string Train(const Words& deaths, const Words& further = {}) {
  ReportFolder folder;
  std::string die;
  for (const std::string& death : deaths) die += (die.empty() ? "" : ",") + death;
  Words flags = {"-n=3",
                 "--worker_timeout=60",
                 "--report=" + folder.OfSupervisor(),
                 "--",
                 "tests/multiprocess/torch_worker",
                 "--report=" + folder.path(),
                 "--mode=exact",
                 "--logical_shards=6",  // of two samples: BatchNorm needs more than one
                 "--die=" + die};
  flags.insert(flags.end(), further.begin(), further.end());
  JobProcess job(flags);
  EXPECT_EQ(job.Wait(), 0) << job.output();
  for (const std::string& death : deaths) {
    EXPECT_TRUE(std::filesystem::exists(folder.path() + "/died." + death)) << death;
  }
  std::string weights = ExpectTrained(folder);
  if (testing::Test::HasFailure()) std::fprintf(stderr, "%s\n", job.output().c_str());
  return weights;
}

const std::string& Undisturbed() {
  static const std::string* const weights = new std::string(Train({}));
  return *weights;
}

class KilledInAPhase : public testing::TestWithParam<Phase> {};

TEST_P(KilledInAPhase, TheResultHasTheSameBits) {
  const Phase& phase = GetParam();
  const std::string place = ":" + phase.point + ":" + std::to_string(phase.step);
  if (phase.at_join_of < 0) {
    EXPECT_EQ(Train({"1" + place}), Undisturbed());
    return;
  }
  Words further = {"--await_ranks=3"};
  if (!phase.in_stripes) further.push_back("--own_state");
  EXPECT_EQ(Train({"1:commits:5", std::to_string(phase.at_join_of) + place}, further),
            Undisturbed());
}

INSTANTIATE_TEST_SUITE_P(
    Of, KilledInAPhase,
    testing::Values(Phase{"starts", 0}, Phase{"joins", 0}, Phase{"begins"}, Phase{"shard"},
                    Phase{"forward"}, Phase{"normalized"}, Phase{"dropped"}, Phase{"computed"},
                    Phase{"backward"}, Phase{"differentiated"}, Phase{"last shard"},
                    Phase{"last computed"}, Phase{"last backward"}, Phase{"last differentiated"},
                    Phase{"commits"}, Phase{"reduced"}, Phase{"updated"}, Phase{"committed"},
                    Phase{"committed", 20}, Phase{"copies", 8, 2}, Phase{"receives", -1, 1},
                    Phase{"loads", -1, 1}, Phase{"computed", 11, 0, true},
                    Phase{"reduced", 11, 2, true}, Phase{"reduced", -1, 1, true},
                    Phase{"updated", -1, 1, true}),
    [](const auto& info) {
      std::string name = info.param.point + std::to_string(info.param.step);
      if (info.param.at_join_of >= 0) name += "_at_a_join";
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      return name;
    });

}  // namespace
}  // namespace closeranks
