// A machine that is too busy loses nobody.
#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::CountLines;
using testing_job::JobProcess;
using testing_job::ReportFolder;
using testing_job::RunFlags;

// Four runnable threads for each core, as long as it lives.
class Load {
 public:
  Load() {
    for (unsigned i = 0; i < 4 * std::thread::hardware_concurrency(); ++i) {
      threads_.emplace_back([this] {
        while (!stopped_) {
        }
      });
    }
  }
  ~Load() {
    stopped_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

 private:
  std::atomic<bool> stopped_{false};
  std::vector<std::thread> threads_;
};

TEST(Suspicion, OfNobodyWhereTheMachineIsTooBusy) {
  Load load;
  ReportFolder folder;
  // The timeout as it is by default.
  JobProcess job(RunFlags(folder, 4, {"--worker_timeout=1"}, {"--dawdles=1", "--epochs=200"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "ending the worker"), 0) << job.output();
  EXPECT_EQ(testing_job::Worlds(folder), 1);
}

}  // namespace
}  // namespace closeranks
