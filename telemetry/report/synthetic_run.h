// A small run that never happened, with round numbers, for tests of reports.
//
// 3 workers, 2 epochs of 12 samples, batches of 4: 6 steps. Milliseconds of the clock:
//   1000  generation 1 (members 0 1 2) is usable; steps 1, 2, 3 are committed at 1100, 1200, 1300
//   1350  member 0, which is rank 0, is killed in step 4
//         member 1 detects 1352, decides 1355, is rewired 1360, asks 1362, enters 1365, commits
//         step 4 at 1401 member 2 detects 1351, decides 1354, is rewired 1359, asks 1361, enters
//         1364, commits step 4 at 1400: the first
//   1380  member 0 is started again; its "start" is at 1390, its transfer from 1450 to 1460
//   1470  generation 3 (members 0 1 2) is usable; step 5 at 1500 (member 0: 1501), step 6 at 1600
#ifndef CLOSERANKS_TELEMETRY_REPORT_SYNTHETIC_RUN_H_
#define CLOSERANKS_TELEMETRY_REPORT_SYNTHETIC_RUN_H_

#include <string>
#include <string_view>

#include "base/files.h"
#include "telemetry/records.h"

namespace closeranks::telemetry {

// Of the four processes: members 0, 1, 2 and member 0's second one.
MemberProcess SyntheticProcess(int index);

struct SyntheticOptions {
  bool record_kill = true;
  bool record_exit = true;
  bool record_detection = true;
  std::string command = "closeranks run";
};

// Makes the folder `folder` and fills it; what is there already is lost.
void WriteSyntheticRun(Files& files, const std::string& folder,
                       const SyntheticOptions& options = {});

// A new folder's name under the test's temporary folder.
std::string NewFolder(std::string_view name);

// Replaces the first `from` in the file by `to`; CHECK-fails when there is none.
void EditFile(Files& files, const std::string& path, std::string_view from, std::string_view to);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_SYNTHETIC_RUN_H_
