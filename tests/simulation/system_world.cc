#include "tests/simulation/system_world.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "collectives/simulated_world.h"
#include "elastic/parts.h"
#include "elastic/toy_replica.h"
#include "glog/logging.h"

namespace closeranks::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint16_t kPort = 29400;
constexpr char kFolder[] = "run";
constexpr int kMostLives = 6;
constexpr Duration kQuorumTimeout = seconds(5);
constexpr Duration kJoinTimeout = seconds(20);
constexpr Duration kFreezeTimeout = seconds(3);
// After the last fault: everything that waits for a limit has come to it by then, several times.
constexpr Duration kPatience = seconds(200);
// From a fault's end to where all that it broke is known to be.
constexpr Duration kSettling = milliseconds(200);

}  // namespace

SystemWorld::SystemWorld(Options options)
    : options_(std::move(options)), world_(options_.seed), fabric_(world_) {
  DrawJob();
  DrawFaults();
}

SystemWorld::~SystemWorld() {
  hosts_.clear();
  dead_.clear();
}

void SystemWorld::DrawJob() {
  Random& random = world_.random();
  shape_.faults = random.OneIn(3)   ? Faults::kOneAtATime
                  : random.OneIn(2) ? Faults::kSparing
                                    : Faults::kWild;
  // Where any one host may be lost, the others must be a quorum.
  const bool is_one_at_a_time = shape_.faults == Faults::kOneAtATime;
  shape_.hosts = is_one_at_a_time ? 3 + static_cast<int>(random.Below(2))
                                  : 2 + static_cast<int>(random.Below(3));
  shape_.members_per_host = random.OneIn(3) ? 2 : 1;
  shape_.has_witness = shape_.hosts > 2 && random.OneIn(4);
  const int with_workers = shape_.members() / shape_.members_per_host;
  shape_.starting_hosts =
      random.OneIn(4) ? 1 + static_cast<int>(random.Below(with_workers)) : with_workers;
  // Else the host that alone makes a start would make another when it comes back.
  if (is_one_at_a_time) shape_.starting_hosts = std::max(2, shape_.starting_hosts);
  if (random.OneIn(4)) {
    shape_.most_computing = 1 + static_cast<int>(random.Below(shape_.members()));
  }
  // Who leaves doesn't come back: that fewer are left than must be is an end that only a wild job
  // may come to.
  if (shape_.faults != Faults::kSparing && random.OneIn(4)) {
    const int most = is_one_at_a_time ? std::min(shape_.starting_hosts, with_workers - 1)
                                      : shape_.starting_hosts;
    shape_.least_hosts = 1 + static_cast<int>(random.Below(most));
  }
  shape_.spared = static_cast<MemberId>(random.Below(shape_.starting_members()));
  workload_.batch = 1 + static_cast<int>(random.Below(9));
  workload_.samples = workload_.batch + static_cast<int>(random.Below(30));
  // It takes a while until all are together again.
  workload_.epochs = 1 + static_cast<int>(random.Below(is_one_at_a_time ? 24 : 3));
  if (random.OneIn(2)) workload_.logical_shards = 1 + static_cast<int>(random.Below(12));
  workload_.weights_seed = random.Next();
  workload_.slowest_part = milliseconds(1) * static_cast<int>(1 + random.Below(60));
  workload_.slowest_update = milliseconds(random.Below(5));
  if (random.OneIn(16)) {
    // Longer than anybody waits for an answer otherwise.
    workload_.slowest_update = seconds(2);
    workload_.epochs = 1;
  }
  if (random.OneIn(2)) workload_.checkpoint_every = 1 + random.Below(5);
  // A disk may take longer than an operation may.
  workload_.slowest_write =
      random.OneIn(8) ? Duration(seconds(10)) : milliseconds(1 + random.Below(40));
  workload_.chunk_bytes = 50 + random.Below(300);
  if (random.OneIn(2)) workload_.audit_every = 1 + random.Below(4);
  // A short one ends what hangs, a long one shows it.
  workload_.operation_limit = seconds(random.OneIn(2) ? 6 : 60);
}

void SystemWorld::DrawFaults() {
  Random& random = world_.random();
  const bool is_one_at_a_time = shape_.faults == Faults::kOneAtATime;
  const int count =
      is_one_at_a_time ? 1 + static_cast<int>(random.Below(4)) : static_cast<int>(random.Below(10));
  const Duration stretch = milliseconds(1 + random.Below(is_one_at_a_time ? 200 : 2000));
  // Some kinds only, so that one doesn't always end what another needs time for (swarm testing:
  // Groce et al., 2012).
  std::vector<FaultKind> kinds;
  for (const FaultKind& kind : FaultKinds()) {
    const bool is_allowed =
        shape_.is_wild() || (is_one_at_a_time ? kind.one_at_a_time : kind.sparing);
    if (is_allowed && random.OneIn(2)) kinds.push_back(kind);
  }
  while (!kinds.empty() && static_cast<int>(schedule_.size()) < count) {
    const FaultKind& kind = kinds[random.Below(kinds.size())];
    const Duration longest = shape_.is_wild()   ? Duration(seconds(4))
                             : is_one_at_a_time ? Duration(seconds(3))
                                                : Duration(milliseconds(300));
    schedule_.push_back({world_.DrawBetween({}, stretch), world_.DrawBetween({}, longest),
                         kind.draw(random, shape_)});
  }
}

void SystemWorld::ScheduleFaults() {
  if (shape_.faults == Faults::kOneAtATime) {
    awaits_whole_ = true;
    return;
  }
  for (int i = 0; i < static_cast<int>(schedule_.size()); ++i) {
    if (!IsChosen(i)) continue;
    Scheduled& scheduled = schedule_[i];
    world_.RunAfter(scheduled.begin, [this, &scheduled] { Begin(scheduled, [] {}); });
  }
}

bool SystemWorld::IsChosen(int fault) const {
  return !options_.only_faults.has_value() || options_.only_faults->contains(fault);
}

void SystemWorld::Begin(Scheduled& scheduled, std::function<void()> then) {
  Trace("fault: " + scheduled.fault->Text());
  ++struck_;
  scheduled.fault->Begin(*this);
  world_.RunAfter(scheduled.length, [this, &scheduled, then = std::move(then)] {
    Trace("over: " + scheduled.fault->Text());
    scheduled.fault->End(*this);
    then();
  });
}

bool SystemWorld::IsWhole() {
  const size_t voters = shape_.members() + (shape_.has_witness ? 1 : 0);
  rendezvous::DecisionRef all;
  for (MemberId member = 0; member < shape_.members(); ++member) {
    const SimulatedWorker* worker = this->worker(member);
    if (worker == nullptr || !worker->is_alive() || worker->entered() == nullptr) return false;
    const rendezvous::DecisionRef& entered = worker->entered();
    if (entered->members.size() != voters) return false;
    if (all != nullptr && all->generation != entered->generation) return false;
    all = entered;
  }
  return true;
}

void SystemWorld::StrikeNext() {
  if (!awaits_whole_ || !IsWhole()) return;
  while (next_fault_ < schedule_.size() && !IsChosen(static_cast<int>(next_fault_))) ++next_fault_;
  if (next_fault_ == schedule_.size()) return;
  awaits_whole_ = false;
  Scheduled& scheduled = schedule_[next_fault_];
  world_.RunAfter(scheduled.begin, [this, &scheduled] {
    // What the one before it began may not have been over.
    awaits_whole_ = !IsWhole();
    if (awaits_whole_) return;
    ++next_fault_;
    Begin(scheduled, [this] {
      strikes_.clear();
      world_.RunAfter(kSettling, [this] {
        awaits_whole_ = true;
        StrikeNext();
      });
    });
  });
}

SystemWorld::Result SystemWorld::Run() {
  const TimePoint begin = world_.Now();
  CHECK(disk_.MakeFolder(kFolder).ok());
  StartAllHosts();
  ScheduleFaults();
  Duration last{};
  for (const Scheduled& scheduled : schedule_) {
    last = std::max(last, scheduled.begin + scheduled.length);
  }
  // Each fault ends by itself there, and waits for the job.
  if (shape_.faults == Faults::kOneAtATime) last = kPatience;
  const auto is_over = [this] { return IsOver(); };
  if (!world_.RunUntilTrue(is_over, last + milliseconds(400))) {
    EndFaults();
    if (!world_.RunUntilTrue(is_over, kPatience)) {
      for (int host = 0; host < shape_.hosts; ++host) {
        if (!hosts_[host].is_over) {
          checker_.Fail("host " + std::to_string(host) + " doesn't come to an end");
        }
      }
    }
  }
  Judge();
  Result result;
  result.violation = checker_.violation();
  for (const Scheduled& scheduled : schedule_) {
    result.faults.push_back(
        "after " + std::to_string(static_cast<int>(ToMilliseconds(scheduled.begin))) + " ms, for " +
        std::to_string(static_cast<int>(ToMilliseconds(scheduled.length))) +
        " ms: " + scheduled.fault->Text());
  }
  result.struck = struck_;
  result.took = world_.Now() - begin;
  result.events = world_.events_run();
  result.generations = checker_.generations();
  result.steps = checker_.steps();
  result.is_trained = checker_.trained() > 0;
  return result;
}

void SystemWorld::StartAllHosts() {
  ++lives_;
  hosts_.clear();
  hosts_.resize(shape_.hosts);
  for (int host = 0; host < shape_.hosts; ++host) {
    world_.RunAfter(world_.DrawBetween({}, milliseconds(300)), [this, host] { StartHost(host); });
  }
}

std::string SystemWorld::HostName(int host) const { return "10.0.0." + std::to_string(host + 1); }

std::string SystemWorld::FreeName(int index) const {
  const Host& host = hosts_[index];
  const bool is_taken = std::any_of(host.older.begin(), host.older.end(), [&](const auto& older) {
    return older->host() == HostName(index) && older->is_alive();
  });
  if (!is_taken) return HostName(index);
  return "10.0." + std::to_string(host.starts) + "." + std::to_string(index + 1);
}

void SystemWorld::StartHost(int index) {
  Host& host = hosts_[index];
  if (host.supervisor != nullptr || host.is_over) return;
  rendezvous::AgentHost::Options options;
  options.starting_members = shape_.starting_members();
  options.most_computing = shape_.most_computing;
  const std::string name = FreeName(index);
  options.listen = net::Address::Ip(name, kPort);
  bool witness = false;
  for (int other = 0; other < shape_.hosts; ++other) {
    const bool is_witness = shape_.has_witness && other == shape_.hosts - 1;
    std::vector<MemberId> members;
    for (int i = 0; i < (is_witness ? 1 : shape_.members_per_host); ++i) {
      members.push_back(other * shape_.members_per_host + i);
    }
    if (other == index) {
      witness = is_witness;
      options.members = std::move(members);
    } else {
      options.peers.push_back(std::move(members));
      options.whereabouts.hosts.push_back(net::Address::Ip(HostName(other), kPort));
    }
  }
  options.membership = rendezvous::MembershipOptions::BetweenPods();
  options.membership.witness = witness;
  options.membership.started = world_.Now().time_since_epoch();
  options.membership.least_hosts = shape_.least_hosts;
  options.membership.quorum_timeout = kQuorumTimeout;
  options.membership.join_timeout = kJoinTimeout;
  options.membership.freeze_timeout = kFreezeTimeout;
  Trace("host " + std::to_string(index) + " starts");
  const SimulatedWorker::Surroundings surroundings{
      fabric_,
      disk_,
      checker_,
      workload_,
      static_cast<size_t>(shape_.members()),
      [this](SimulatedWorker& worker, Point point) { OnPoint(worker, point); }};
  host.supervisor =
      std::make_unique<SimulatedSupervisor>(surroundings, name, host.starts++, std::move(options));
}

void SystemWorld::StartHostAgain(int index) {
  Host& host = hosts_[index];
  if (host.supervisor == nullptr || host.is_over) return;
  host.older.push_back(std::move(host.supervisor));
  StartHost(index);
}

SimulatedSupervisor* SystemWorld::supervisor(int host) { return hosts_[host].supervisor.get(); }

SimulatedWorker* SystemWorld::worker(MemberId member) {
  SimulatedSupervisor* supervisor = this->supervisor(shape_.HostOf(member));
  return supervisor == nullptr ? nullptr : supervisor->worker(member);
}

void SystemWorld::KillWorker(MemberId member) {
  SimulatedWorker* worker = this->worker(member);
  if (worker == nullptr || !worker->is_alive()) return;
  Trace(worker->name() + " is killed");
  worker->Kill();
  supervisor(shape_.HostOf(member))->OnWorkerKilled(member);
}

void SystemWorld::KillHost(int index, std::optional<Duration> down) {
  Host& host = hosts_[index];
  if (host.supervisor == nullptr || host.is_over) return;
  Trace("host " + std::to_string(index) + " is killed");
  host.supervisor->Kill();
  dead_.push_back(std::move(host.supervisor));
  world_.RunAfter(Duration::zero(), [this] { dead_.clear(); });
  if (down.has_value()) {
    world_.RunAfter(*down, [this, index] { StartHost(index); });
  } else {
    host.is_over = true;
  }
}

void SystemWorld::StrikeAt(MemberId member, Point point, int nth,
                           std::function<void(SimulatedWorker&)> strike) {
  strikes_.push_back({member, point, nth, std::move(strike)});
}

void SystemWorld::OnPoint(SimulatedWorker& worker, Point point) {
  if (options_.trace) Trace(worker.name() + " " + std::string(PointName(point)));
  if (point == Point::kEnteredWorld) StrikeNext();
  for (size_t i = 0; i < strikes_.size(); ++i) {
    Strike& strike = strikes_[i];
    if (strike.member != worker.member() || strike.point != point || --strike.left > 0) continue;
    const auto action = std::move(strike.action);
    strikes_.erase(strikes_.begin() + static_cast<ptrdiff_t>(i));
    return action(worker);
  }
}

void SystemWorld::EndFaults() {
  strikes_.clear();
  fabric_.HealEverything();
  for (int host = 0; host < shape_.hosts; ++host) {
    if (hosts_[host].supervisor != nullptr) Continue(*hosts_[host].supervisor);
    for (const auto& older : hosts_[host].older) Continue(*older);
  }
  Trace("all faults are over");
}

void SystemWorld::Continue(SimulatedSupervisor& supervisor) {
  fabric_.Continue(supervisor.process());
  for (MemberId member : supervisor.members()) {
    if (SimulatedWorker* worker = supervisor.worker(member)) fabric_.Continue(worker->process());
  }
}

bool SystemWorld::IsOver() {
  if (!checker_.violation().empty()) return true;
  bool over = true;
  for (int index = 0; index < shape_.hosts; ++index) {
    Host& host = hosts_[index];
    if (host.supervisor != nullptr && host.supervisor->has_ended()) {
      host.is_over = true;
      host.exit_codes = host.supervisor->exit_codes();
      for (ExitCode code : host.exit_codes) {
        if (code == ExitCode::kMismatch) checker_.Fail("workers that are all alike differ");
        Trace("host " + std::to_string(index) + " ends with " +
              std::to_string(static_cast<int>(code)));
      }
      host.supervisor.reset();
    }
    std::erase_if(host.older, [](const auto& older) { return older->has_ended(); });
    over = over && host.is_over && host.older.empty();
  }
  const bool goes_on =
      over && shape_.is_wild() && workload_.checkpoint_every > 0 && checker_.trained() == 0;
  if (!goes_on || lives_ == kMostLives) return over;
  Trace("the job starts again");
  StartAllHosts();
  return false;
}

void SystemWorld::Judge() {
  const bool is_trained = checker_.trained() > 0;
  // A life without faults comes to the end of the run.
  const bool must_be_trained =
      !shape_.is_wild() || (workload_.checkpoint_every > 0 && lives_ == kMostLives);
  if (must_be_trained && !is_trained) checker_.Fail("the run didn't come to its end");
  if (shape_.faults == Faults::kOneAtATime) {
    // Whom the last fault took out may not come back in time.
    const auto well = std::count_if(hosts_.begin(), hosts_.end(), [](const Host& host) {
      return !host.exit_codes.empty() &&
             std::all_of(host.exit_codes.begin(), host.exit_codes.end(),
                         [](ExitCode code) { return code == ExitCode::kOk; });
    });
    if (well < shape_.hosts - shape_.hosts / 2) {
      checker_.Fail("only " + std::to_string(well) + " of " + std::to_string(shape_.hosts) +
                    " hosts came to the job's end");
    }
  }
  if (workload_.checkpoint_every > 0) {
    checker_.CheckLedgers(disk_, kFolder, workload_.samples, workload_.epochs, is_trained);
  } else {
    // A second start begins from nothing.
    checker_.CheckLedgersOfEachLineage(disk_, kFolder, workload_.samples, workload_.epochs);
  }
  checker_.CheckWeights(UndisturbedWeights());
}

// Of one rank that nothing happens to, without anything of elastic/ but the model.
uint64_t SystemWorld::UndisturbedWeights() const {
  closeranks::SimulatedWorld alone(1, 1);
  const std::shared_ptr<Communicator> communicator = alone.MakeCommunicator(0, 1);
  elastic::ToyReplica replica(workload_.weights_seed, workload_.logical_shards);
  elastic::ToyBatches batches(workload_.samples, workload_.batch, workload_.epochs);
  for (StepNumber step = 1; step <= batches.steps(); ++step) {
    const auto batch = batches.Get(step);
    const std::vector<int64_t> ids(batch.ids.begin(), batch.ids.end());
    const elastic::Division division{static_cast<int>(ids.size()), workload_.logical_shards};
    const std::vector<elastic::Parts> of_ranks = elastic::DivideBatch(division, 1);
    replica.BeginStep(step);
    replica.BeginReduction(communicator, elastic::ShardOwners(division, of_ranks));
    for (const elastic::Part& part : of_ranks.front()) {
      replica.BeginPart(step, part, false);
      replica.Compute(step, std::span(ids).subspan(part.begin, part.size()));
      replica.EndPart();
    }
    replica.StartReduction();
    CHECK(replica.FinishReduction().ok());
    replica.Apply(step);
  }
  return replica.WeightsHash();
}

void SystemWorld::Trace(const std::string& what) {
  if (!options_.trace) return;
  std::printf("%10.3f ms  %s\n", ToMilliseconds(world_.Now().time_since_epoch()) - 3600e3,
              what.c_str());
}

}  // namespace closeranks::simulation
