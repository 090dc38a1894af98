// Agreement in a large world: messages and virtual time from a loss to the new generation.
//
//   membership_scale                                  10,000 members
//   membership_scale --members 1000 --watchers 3
//   membership_scale --json FILE                      also writes the record
//
// Agents run the shipping Membership over links of 1 ms; a worker stops 0.1 ms after it is told. A
// lost member's links close with it, and whoever had one and watched it sees that 1 ms later; what
// the others see of a member that comes after all watchers changes nothing for them, and is left
// out.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "base/random.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "rendezvous/membership.h"
#include "rendezvous/watch_order.h"

DEFINE_int32(members, 10000, "how many");
DEFINE_int32(watchers, closeranks::rendezvous::MembershipOptions().watchers,
             "how many of them watch all");
DEFINE_string(losses, "1,10,1000", "how many are lost at once, at random, case after case");
DEFINE_string(lowest, "1,10,100,1000",
              "and how many of the lowest, as of a zone; and all the watchers");
DEFINE_string(json, "", "a file for the record");
DEFINE_bool(
    check, false,
    "fail unless messages are O(n), by the same factor however many are lost, and agreement "
    "takes less than a second");

namespace closeranks::simulation {
namespace {

using rendezvous::Envelope;
using rendezvous::Membership;
using rendezvous::MembershipOptions;
using rendezvous::MembershipOutputs;
using rendezvous::Message;
using rendezvous::WatchLine;
using rendezvous::WatchOrder;
using rendezvous::WorkerCommand;

constexpr Duration kLink = std::chrono::milliseconds(1);
constexpr Duration kFreezing = std::chrono::microseconds(100);
// Everybody's first messages.
constexpr Duration kUntilQuiet = std::chrono::milliseconds(2200);
// Longer than an agreement takes.
constexpr Duration kPause = std::chrono::milliseconds(10);

struct Row {
  std::string lost;
  int losses = 0;
  size_t messages = 0;
  std::map<std::string, size_t> by_kind;
  double agree_ms = 0;      // until a survivor's worker was the first to be told to go on
  double all_agree_ms = 0;  // the last
  double cpu_seconds = 0;
};

class ScaleWorld {
 public:
  ScaleWorld(int members, int watchers) : members_(members), watchers_(watchers) {}

  void Start() {
    now_ += std::chrono::hours(1);
    agents_.resize(members_);
    for (MemberId member = 0; member < members_; ++member) {
      Agent& agent = agents_[member];
      agent.process = {member, Incarnation::Draw(random_)};
      agent.worker = Incarnation::Draw(random_);
      MembershipOptions options = MembershipOptions::BetweenPods();
      options.self = member;
      options.supervisor = agent.process.incarnation;
      options.starting_members = members_;
      options.watchers = watchers_;
      agent.membership = std::make_unique<Membership>(options, random_, now_);
    }
    for (MemberId member = 0; member < members_; ++member) {
      // They are not started in one instant.
      At(now_ + std::chrono::microseconds(random_.Below(100'000)), [this, member] {
        Agent& agent = agents_[member];
        agent.membership->OnWorkerReady(now_, agent.worker, "card", {}, rendezvous::WorkerState{});
        Drain(member);
      });
    }
    RunUntilInstalled(1);
    RunIntoPause();
  }

  // Messages while nothing happens, in one heartbeat interval.
  double HeartbeatsPerInterval() {
    const size_t before = messages_;
    const int intervals = 2;
    Run(intervals * MembershipOptions::BetweenPods().HeartbeatInterval(members_));
    return static_cast<double>(messages_ - before) / intervals;
  }

  Row Lose(const std::vector<MemberId>& lost) {
    const auto begin = std::chrono::steady_clock::now();
    const Generation generation = agents_[Survivor(lost)].membership->decision()->generation + 1;
    by_kind_.clear();
    messages_ = 0;
    const TimePoint at = now_;
    for (MemberId member : lost) agents_[member].membership.reset();
    const std::vector<MemberId> watchers = Watchers();
    const uint32_t last_watcher = WatchOrder(watchers.back());
    for (MemberId member : lost) {
      const MemberProcess gone = agents_[member].process;
      At(now_ + kLink, [this, gone, last_watcher] {
        const bool is_after_all = WatchOrder(gone.member) > last_watcher;
        for (MemberId other = 0; other < members_; ++other) {
          if (agents_[other].membership == nullptr) continue;
          if (is_after_all && WatchOrder(other) > last_watcher) continue;
          agents_[other].membership->OnPeerLinkDown(now_, gone);
          Drain(other);
        }
      });
    }
    RunUntilInstalled(generation);
    Row row;
    row.losses = static_cast<int>(lost.size());
    row.messages = messages_;
    row.by_kind = by_kind_;
    row.agree_ms = ToMilliseconds(first_installed_ - at);
    row.all_agree_ms = ToMilliseconds(now_ - at);
    row.cpu_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    RunIntoPause();
    return row;
  }

  const Membership& membership(MemberId member) const { return *agents_[member].membership; }
  std::vector<MemberId> Living() const {
    std::vector<MemberId> living;
    for (MemberId member = 0; member < members_; ++member) {
      if (agents_[member].membership != nullptr) living.push_back(member);
    }
    return living;
  }
  // Of those who live, in their order.
  std::vector<MemberId> Watchers() const {
    std::vector<MemberId> watchers;
    for (WatchLine line(Living());
         !line.empty() && static_cast<int>(watchers.size()) < watchers_;) {
      watchers.push_back(line.Next());
    }
    return watchers;
  }
  SeededRandom& random() { return random_; }

 private:
  using Action = std::function<void()>;
  struct Agent {
    std::unique_ptr<Membership> membership;  // null: lost
    MemberProcess process;
    Incarnation worker;
    Generation installed = 0;
    TimePoint tick_at = kNever;
  };
  struct Event {
    TimePoint at;
    uint64_t order;
    Action action;
    bool operator<(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void At(TimePoint when, Action action) { queue_.push({when, ++order_, std::move(action)}); }

  bool Step() {
    if (queue_.empty()) return false;
    now_ = queue_.top().at;
    Action action = std::move(const_cast<Event&>(queue_.top()).action);
    queue_.pop();
    action();
    return true;
  }

  void Run(Duration time) {
    const TimePoint end = now_ + time;
    while (!queue_.empty() && queue_.top().at <= end) Step();
    now_ = end;
  }

  // Heartbeats come from all at about the same time, as of the last agreement. A loss falls between
  // them, so that what is counted is what the agreement takes.
  void RunIntoPause() {
    Run(kUntilQuiet);
    while (!queue_.empty() && queue_.top().at - now_ < kPause) Step();
  }

  // By everybody who lives.
  void RunUntilInstalled(Generation generation) {
    awaited_ = generation;
    missing_ = 0;
    for (const Agent& agent : agents_) {
      missing_ += agent.membership != nullptr && agent.installed < generation;
    }
    first_installed_ = kNever;
    const TimePoint deadline = now_ + std::chrono::minutes(2);
    while (missing_ > 0 && now_ < deadline) CHECK(Step());
    CHECK_EQ(missing_, 0) << "no agreement on generation " << generation << " after 2 minutes";
  }

  MemberId Survivor(const std::vector<MemberId>& lost) const {
    for (MemberId member : Living()) {
      if (std::find(lost.begin(), lost.end(), member) == lost.end()) return member;
    }
    LOG(FATAL) << "nobody is left";
    return -1;
  }

  void Drain(MemberId member) {
    Agent& agent = agents_[member];
    MembershipOutputs outputs = agent.membership->TakeOutputs();
    for (Envelope& envelope : outputs.messages) {
      ++messages_;
      ++by_kind_[std::string(KindName(envelope.message))];
      At(now_ + kLink, [this, to = envelope.to, message = std::move(envelope.message)] {
        if (agents_[to].membership == nullptr) return;
        agents_[to].membership->OnMessage(now_, message);
        Drain(to);
      });
    }
    for (const WorkerCommand& command : outputs.commands) Obey(member, command);
    CHECK(!outputs.outcome.has_value()) << OutcomeName(*outputs.outcome);
    const TimePoint due = agent.membership->next_deadline();
    if (due == agent.tick_at) return;
    agent.tick_at = due;
    if (due == kNever) return;
    At(due, [this, member, due] {
      Agent& agent = agents_[member];
      if (agent.membership == nullptr || agent.tick_at != due) return;
      agent.tick_at = kNever;
      agent.membership->OnTick(now_);
      Drain(member);
    });
  }

  void Obey(MemberId member, const WorkerCommand& command) {
    Agent& agent = agents_[member];
    if (command.kind == WorkerCommand::Kind::kFreeze) {
      At(now_ + kFreezing, [this, member, generation = command.generation] {
        Agent& agent = agents_[member];
        if (agent.membership == nullptr) return;
        agent.membership->OnWorkerFrozen(now_, agent.worker, generation, rendezvous::WorkerState{});
        Drain(member);
      });
    } else if (command.kind == WorkerCommand::Kind::kInstall) {
      if (command.generation >= awaited_ && agent.installed < awaited_) {
        --missing_;
        first_installed_ = std::min(first_installed_, now_);
      }
      agent.installed = command.generation;
      At(now_ + kFreezing, [this, member, generation = command.generation] {
        Agent& agent = agents_[member];
        if (agent.membership == nullptr) return;
        agent.membership->OnWorkerEntered(now_, agent.worker, generation);
        Drain(member);
      });
    } else {
      LOG(FATAL) << "a worker is to be killed";
    }
  }

  const int members_;
  const int watchers_;
  SeededRandom random_{1};
  TimePoint now_{};
  uint64_t order_ = 0;
  std::priority_queue<Event> queue_;
  std::vector<Agent> agents_;
  size_t messages_ = 0;
  std::map<std::string, size_t> by_kind_;
  Generation awaited_ = 0;
  int missing_ = 0;
  TimePoint first_installed_ = kNever;
};

// At random, but for the first, which is the proposer.
std::vector<MemberId> DrawRandom(ScaleWorld& world, size_t count) {
  std::vector<MemberId> living = world.Living();
  const std::vector<MemberId> watchers = world.Watchers();
  std::swap(living[0], *std::find(living.begin(), living.end(),
                                  *std::min_element(watchers.begin(), watchers.end())));
  for (size_t i = 1; i < living.size(); ++i) {
    std::swap(living[i], living[i + world.random().Below(living.size() - i)]);
  }
  living.resize(count);
  return living;
}

std::vector<MemberId> Lowest(ScaleWorld& world, size_t count) {
  std::vector<MemberId> living = world.Living();
  living.resize(count);
  return living;
}

std::vector<int> Numbers(const std::string& list) {
  std::vector<int> numbers;
  for (size_t from = 0; from < list.size();) {
    size_t to = list.find(',', from);
    if (to == std::string::npos) to = list.size();
    numbers.push_back(std::stoi(list.substr(from, to - from)));
    from = to + 1;
  }
  return numbers;
}

void WriteJson(const std::vector<Row>& rows, double heartbeats, size_t decision_bytes) {
  std::ofstream out(FLAGS_json);
  out << "{\n \"command\": \"membership_scale --members " << FLAGS_members << " --watchers "
      << FLAGS_watchers << "\",\n \"members\": " << FLAGS_members
      << ",\n \"watchers\": " << FLAGS_watchers << ",\n \"link_ms\": 1"
      << ",\n \"messages_per_heartbeat_interval\": " << heartbeats
      << ",\n \"decision_bytes\": " << decision_bytes << ",\n \"rows\": [";
  const char* comma = "";
  for (const Row& row : rows) {
    out << comma << "\n  {\"losses\": " << row.losses << ", \"which\": \"" << row.lost
        << "\", \"messages\": " << row.messages
        << ", \"messages_per_member\": " << static_cast<double>(row.messages) / FLAGS_members
        << ", \"first_ms\": " << row.agree_ms << ", \"all_ms\": " << row.all_agree_ms
        << ", \"by_kind\": {";
    const char* inner = "";
    for (const auto& [kind, count] : row.by_kind) {
      out << inner << "\"" << kind << "\": " << count;
      inner = ", ";
    }
    out << "}}";
    comma = ",";
  }
  out << "\n ]\n}\n";
}

int Main() {
  const auto begin = std::chrono::steady_clock::now();
  ScaleWorld world(FLAGS_members, FLAGS_watchers);
  world.Start();
  const double heartbeats = world.HeartbeatsPerInterval();
  Message whole{{0, {1, 1}}, {}, {1, 1}, 1, {}};
  whole.body = rendezvous::DecidedMessage{world.membership(0).decision()};
  const size_t decision_bytes = Encode(whole).size();
  std::printf("%d members, %d of them watch: %.1f messages a member and heartbeat interval\n",
              FLAGS_members, FLAGS_watchers, heartbeats / FLAGS_members);
  std::printf("%8s %10s %12s %12s %12s %12s %8s\n", "losses", "which", "messages", "per member",
              "first, ms", "all, ms", "CPU, s");
  std::vector<Row> rows;
  auto lose = [&](const char* which, const std::vector<MemberId>& lost) {
    Row row = world.Lose(lost);
    row.lost = which;
    std::printf("%8d %10s %12zu %12.1f %12.1f %12.1f %8.1f\n", row.losses, row.lost.c_str(),
                row.messages, static_cast<double>(row.messages) / FLAGS_members, row.agree_ms,
                row.all_agree_ms, row.cpu_seconds);
    std::fflush(stdout);
    rows.push_back(row);
  };
  for (int losses : Numbers(FLAGS_losses)) lose("random", DrawRandom(world, losses));
  for (int losses : Numbers(FLAGS_lowest)) lose("lowest", Lowest(world, losses));
  lose("watchers", world.Watchers());
  if (!FLAGS_json.empty()) WriteJson(rows, heartbeats, decision_bytes);
  std::printf("%.1f s of CPU in all\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  if (!FLAGS_check) return 0;
  bool is_good = heartbeats <= 2.0 * FLAGS_watchers * FLAGS_members;
  for (const Row& row : rows) {
    // Each member also turns to one more for each watcher that is lost.
    const int a_member = (row.lost == "watchers" ? 6 : 3) * FLAGS_watchers;
    is_good &= row.all_agree_ms < 1000 &&
               row.messages < static_cast<size_t>(a_member) * static_cast<size_t>(FLAGS_members);
  }
  std::printf("%s\n", is_good ? "as promised" : "MORE THAN PROMISED");
  return is_good ? 0 : 1;
}

}  // namespace
}  // namespace closeranks::simulation

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  return closeranks::simulation::Main();
}
