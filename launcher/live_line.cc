#include "launcher/live_line.h"

#include <array>

namespace closeranks::launcher {
namespace {

constexpr Duration kWindow = std::chrono::seconds(5);
constexpr Duration kTerminalInterval = std::chrono::milliseconds(100);
constexpr Duration kLogInterval = std::chrono::seconds(5);

}  // namespace

LiveLine::LiveLine(std::FILE* out, bool is_terminal, int ranks)
    : out_(out), is_terminal_(is_terminal), ranks_(ranks) {}

void LiveLine::OnProgress(TimePoint now, const rendezvous::Progress& progress) {
  if (!progress.committed || progress.step <= last_.step) return;
  last_ = progress;
  marks_.push_back({now, progress.step, progress.samples});
  while (now - marks_.front().when > kWindow && marks_.size() > 2) marks_.pop_front();
  if (now - shown_ >= (is_terminal_ ? kTerminalInterval : kLogInterval)) Show(now);
}

void LiveLine::WriteThrough(const std::string& text) {
  if (on_screen_) std::fputs("\r\033[K", out_);
  std::fprintf(out_, "%s\n", text.c_str());
  if (on_screen_) std::fputs(Text().c_str(), out_);
  std::fflush(out_);
}

void LiveLine::End() {
  if (last_.step == 0) return;
  if (on_screen_) std::fputs("\r\033[K", out_);
  std::fprintf(out_, "%s\n", Text().c_str());
  std::fflush(out_);
  on_screen_ = false;
}

void LiveLine::Show(TimePoint now) {
  shown_ = now;
  if (is_terminal_) {
    std::fprintf(out_, "\r\033[K%s", Text().c_str());
    on_screen_ = true;
  } else {
    std::fprintf(out_, "%s\n", Text().c_str());
  }
  std::fflush(out_);
}

std::string LiveLine::Text() const {
  if (last_.step == 0) return "";
  std::array<char, 200> text;
  int used = std::snprintf(text.data(), text.size(),
                           "epoch %d  step %llu/%llu  loss %.4f  %.0f samples/s  ranks %d/%d",
                           last_.epoch, static_cast<unsigned long long>(last_.step),
                           static_cast<unsigned long long>(last_.steps), last_.loss,
                           SamplesPerSecond(), last_.ranks, ranks_);
  if (double rate = StepsPerSecond(); rate > 0) {
    int left = static_cast<int>(static_cast<double>(last_.steps - last_.step) / rate);
    std::snprintf(text.data() + used, text.size() - static_cast<size_t>(used), "  %d:%02d left",
                  left / 60, left % 60);
  }
  return text.data();
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
