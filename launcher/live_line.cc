#include "launcher/live_line.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace closeranks::launcher {
namespace {

constexpr Duration kWindow = std::chrono::seconds(5);
constexpr Duration kTerminalInterval = std::chrono::milliseconds(100);
constexpr Duration kLogInterval = std::chrono::seconds(5);

// The line that the cursor is in.
const std::string kErase = "\r\033[K";

constexpr double kLongest = 1e9;  // seconds that are shown

// `format` takes one double; what is longer than a number worth reading is cut off.
std::string Formatted(const char* format, double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

LiveLine::LiveLine(Output& out, bool is_terminal, int ranks)
    : out_(out), is_terminal_(is_terminal), ranks_(ranks) {}

void LiveLine::OnProgress(TimePoint now, const rendezvous::Progress& progress) {
  if (!progress.committed || progress.step <= last_.step) return;
  last_ = progress;
  marks_.push_back({now, progress.step, progress.samples});
  while (now - marks_.front().when > kWindow && marks_.size() > 2) marks_.pop_front();
  // Who reads nothing gets the newest state later, rather than all of them.
  if (out_.is_behind()) return;
  if (now - shown_ >= (is_terminal_ ? kTerminalInterval : kLogInterval)) Show(now);
}

void LiveLine::WriteThrough(Output& to, const std::string& text) {
  if (on_screen_) out_.Write(kErase);
  to.Write(text + "\n");
  if (on_screen_) out_.Write(Text());
}

void LiveLine::End() {
  if (last_.step == 0) return;
  if (on_screen_) out_.Write(kErase);
  out_.Write(Text() + "\n");
  on_screen_ = false;
}

void LiveLine::Show(TimePoint now) {
  shown_ = now;
  out_.Write(is_terminal_ ? kErase + Text() : Text() + "\n");
  on_screen_ = is_terminal_;
}

std::string LiveLine::Text() const {
  if (last_.step == 0) return "";
  std::string text = "epoch " + std::to_string(last_.epoch) + "  step " +
                     std::to_string(last_.step) + "/" + std::to_string(last_.steps) + "  loss " +
                     Formatted(std::abs(last_.loss) < 1e6 ? "%.4f" : "%.3e", last_.loss) + "  " +
                     Formatted("%.0f", SamplesPerSecond()) + " samples/s  ranks " +
                     std::to_string(last_.ranks) + "/" + std::to_string(ranks_);
  if (double rate = StepsPerSecond(); rate > 0 && last_.steps >= last_.step) {
    double left = std::min(static_cast<double>(last_.steps - last_.step) / rate, kLongest);
    std::string seconds = std::to_string(static_cast<int64_t>(left) % 60);
    text += "  " + std::to_string(static_cast<int64_t>(left) / 60) + ":" +
            (seconds.size() < 2 ? "0" : "") + seconds + " left";
  }
  return text;
}

double LiveLine::StepsPerSecond() const {
  if (marks_.size() < 2) return 0;
  double seconds = ToMilliseconds(marks_.back().when - marks_.front().when) / 1000;
  return seconds > 0 ? static_cast<double>(marks_.back().step - marks_.front().step) / seconds : 0;
}

double LiveLine::SamplesPerSecond() const {
  if (marks_.size() < 2) return 0;
  int64_t samples = 0;
  for (size_t i = 1; i < marks_.size(); ++i) samples += marks_[i].samples;
  double seconds = ToMilliseconds(marks_.back().when - marks_.front().when) / 1000;
  return seconds > 0 ? static_cast<double>(samples) / seconds : 0;
}

}  // namespace closeranks::launcher
