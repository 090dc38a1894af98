#include "launcher/poison_watch.h"

#include <algorithm>
#include <vector>

namespace closeranks::launcher {
namespace {

// A part is computed again at once, so what is older than these has been.
constexpr size_t kMostFailures = 1000;
constexpr size_t kMostNamed = 16;

// The ids that are known of positions [begin, end).
std::vector<int64_t> SamplesIn(const BatchPart& part, int begin, int end) {
  std::vector<int64_t> samples;
  for (int at = begin; at < end && at - part.begin < static_cast<int>(part.samples.size()); ++at) {
    samples.push_back(part.samples[at - part.begin]);
  }
  return samples;
}

std::string NameSamples(const std::vector<int64_t>& known, int count) {
  const std::string noun = count == 1 ? "sample" : "samples";
  if (known.empty()) return std::to_string(count) + " " + noun;
  const size_t named = std::min(known.size(), kMostNamed);
  std::string text = noun;
  for (size_t i = 0; i < named; ++i) text += (i == 0 ? " " : ", ") + std::to_string(known[i]);
  const int others = count - static_cast<int>(named);
  return others == 0 ? text : text + " and " + std::to_string(others) + " more";
}

}  // namespace

std::optional<std::string> PoisonWatch::OnFailedPart(const MemberProcess& worker,
                                                     const BatchPart& part) {
  const auto is_known = [&](const Failure& failure) { return failure.worker == worker; };
  if (std::any_of(failures_.begin(), failures_.end(), is_known)) return std::nullopt;
  std::optional<std::string> text;
  if (const Failure* earlier = FindEarlier(part)) {
    const int begin = std::max(earlier->part.begin, part.begin);
    const int end = std::min(earlier->part.end, part.end);
    const std::vector<int64_t> one = SamplesIn(earlier->part, begin, end);
    const std::vector<int64_t> other = SamplesIn(part, begin, end);
    text = "the workers of members " + std::to_string(earlier->worker.member) + " and " +
           std::to_string(worker.member) + " failed one after the other while they computed " +
           NameSamples(one.size() > other.size() ? one : other, end - begin) + " (position" +
           (end - begin == 1 ? " " : "s " + std::to_string(begin) + " to ") +
           std::to_string(end - 1) + " of step " + std::to_string(part.step) + "'s batch)";
  }
  failures_.push_back({worker, part});
  if (failures_.size() > kMostFailures) failures_.pop_front();
  return text;
}

const PoisonWatch::Failure* PoisonWatch::FindEarlier(const BatchPart& part) const {
  for (const Failure& failure : failures_) {
    if (failure.part.Overlaps(part)) return &failure;
  }
  return nullptr;
}

}  // namespace closeranks::launcher
