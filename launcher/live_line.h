// The one line that says how far a run is.
#ifndef CLOSERANKS_LAUNCHER_LIVE_LINE_H_
#define CLOSERANKS_LAUNCHER_LIVE_LINE_H_

#include <deque>
#include <string>

#include "base/clock.h"
#include "launcher/output.h"
#include "rendezvous/session_messages.h"

namespace closeranks::launcher {

// Collects the workers' progress and turns it into a line. On a terminal the line is rewritten in
// place, else a new one is written every few seconds. Single-threaded.
class LiveLine {
 public:
  // `out` outlives it; `ranks` is how many the job starts with.
  LiveLine(Output& out, bool is_terminal, int ranks);

  void OnProgress(TimePoint now, const rendezvous::Progress& progress);
  // Writes what is to be written between two states of the line, such as a worker's output, to
  // `to`: `out`, or another stream that may be on the same terminal.
  void WriteThrough(Output& to, const std::string& text);
  // Leaves the line's last state on the screen.
  void End();

  // "epoch 2  step 312/705  loss 0.3211  5210 samples/s  ranks 3/4  0:42 left"; empty before the
  // first commit.
  std::string Text() const;

 private:
  struct Mark {
    TimePoint when;
    StepNumber step;
    int64_t samples;  // of this step
  };
  void Show(TimePoint now);
  // Steps and samples per second over the last seconds; 0 when unknown.
  double StepsPerSecond() const;
  double SamplesPerSecond() const;

  Output& out_;
  bool is_terminal_;
  int ranks_;
  rendezvous::Progress last_;
  std::deque<Mark> marks_;  // of the last few seconds' commits
  TimePoint shown_{};
  bool on_screen_ = false;
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_LIVE_LINE_H_
