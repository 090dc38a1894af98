// Workers as their contract has them: a step is applied when all workers of the installed
// generation contributed to it; a frozen one applies and acknowledges nothing.
#include <algorithm>
#include <utility>

#include "tests/simulation/membership_world.h"

namespace closeranks::simulation {

using rendezvous::CatchUp;
using rendezvous::DecisionRef;
using rendezvous::WorkerState;

std::optional<WorkerState> MembershipWorld::StateOf(const Worker& worker) const {
  if (!worker.has_state) return std::nullopt;
  const StepRecord& last = worker.history.back();
  return WorkerState{worker.history.size() - 1, last.reduced_in, last.hash};
}

void MembershipWorld::Freeze(int number, Generation generation) {
  Worker& worker = *workers_[number];
  worker.stopped = true;
  worker.stage = Stage::kIdle;
  const auto state = StateOf(worker);
  const int pod = worker.pod;
  TellAgent(number, [this, pod, generation, state, incarnation = worker.incarnation] {
    pods_[pod]->membership->OnWorkerFrozen(LocalTime(*pods_[pod]), incarnation, generation, state);
  });
}

void MembershipWorld::Install(int number, DecisionRef decision) {
  Worker& worker = *workers_[number];
  worker.stopped = false;
  worker.decision = decision;
  worker.stage = Stage::kCatchingUp;
  worker.contributions.clear();
  worker.contributed = decision->resume.applied;
  worker.done = false;
  switch (decision->NeededBy(StateOf(worker))) {
    case CatchUp::kNothing:
      Enter(number);
      return;
    case CatchUp::kMissingSteps:
      break;
    case CatchUp::kTransfer:
      worker.has_state = false;  // what it had is overwritten from now on
      break;
  }
  // The whole world begins at the initial state, which needs nobody's help.
  AskForState(number, decision);
}

void MembershipWorld::AskForState(int number, DecisionRef decision) {
  Worker& worker = *workers_[number];
  if (!worker.alive || worker.stopped || worker.decision != decision ||
      worker.stage != Stage::kCatchingUp) {
    return;
  }
  const World world = decision->world();
  const MemberProcess& source = world.ranks[Below(world.ranks.size())];
  Data ask{Data::Kind::kAskState,
           decision->lineage,
           decision->generation,
           worker.incarnation,
           worker.has_state ? worker.history.size() - 1 : 0,
           nullptr};
  if (source.incarnation != worker.incarnation) SendData(number, source.incarnation, ask);
  After(Between(5'000, 60'000), [this, number, decision] {
    ToWorker(number, [this, number, decision] { AskForState(number, decision); });
  });
}

void MembershipWorld::Enter(int number) {
  Worker& worker = *workers_[number];
  worker.stage = Stage::kStepping;
  checker_.Entered(*worker.decision, worker.incarnation, worker.history);
  const int pod = worker.pod;
  TellAgent(number, [this, pod, incarnation = worker.incarnation,
                     generation = worker.decision->generation] {
    pods_[pod]->membership->OnWorkerEntered(LocalTime(*pods_[pod]), incarnation, generation);
  });
  Contribute(number);
  Resend(number, worker.decision);
}

// After computing for a while, sends its part of the next step to everybody.
void MembershipWorld::Contribute(int number) {
  Worker& worker = *workers_[number];
  if (character_.last_step > 0 && worker.history.size() > character_.last_step) {
    if (worker.done) return;
    worker.done = true;
    const int pod = worker.pod;
    TellAgent(number, [this, pod, incarnation = worker.incarnation] {
      pods_[pod]->membership->OnWorkerDone(LocalTime(*pods_[pod]), incarnation);
    });
    return;
  }
  After(Between(10'000, 150'000),
        [this, number, decision = worker.decision, step = worker.history.size()] {
          ToWorker(number, [this, number, decision, step] {
            Worker& worker = *workers_[number];
            if (worker.stopped || worker.decision != decision || worker.history.size() != step)
              return;
            worker.contributed = step;
            Data part{Data::Kind::kContribution,
                      decision->lineage,
                      decision->generation,
                      worker.incarnation,
                      step,
                      nullptr};
            for (const MemberProcess& rank : decision->world().ranks) {
              if (rank.incarnation != worker.incarnation) SendData(number, rank.incarnation, part);
            }
            worker.contributions[step].insert(worker.incarnation);
            TryApply(number);
          });
        });
}

// As a transport would, for what the network lost.
void MembershipWorld::Resend(int number, DecisionRef decision) {
  After(std::chrono::milliseconds(300), [this, number, decision] {
    ToWorker(number, [this, number, decision] {
      Worker& worker = *workers_[number];
      if (worker.stopped || worker.decision != decision) return;
      for (StepNumber step : {worker.contributed - 1, worker.contributed}) {
        if (worker.contributed == 0 || step <= decision->resume.applied) continue;
        Data part{Data::Kind::kContribution,
                  decision->lineage,
                  decision->generation,
                  worker.incarnation,
                  step,
                  nullptr};
        for (const MemberProcess& rank : decision->world().ranks) {
          if (rank.incarnation != worker.incarnation) SendData(number, rank.incarnation, part);
        }
      }
      Resend(number, decision);
    });
  });
}

void MembershipWorld::SendData(int from, const Incarnation& to, Data data) {
  auto found = worker_by_incarnation_.find(to);
  if (found == worker_by_incarnation_.end()) return;
  const int receiver = found->second;
  if (!faults_are_over_ && OneIn(character_.drop_one_in)) return;
  Duration delay = MessageDelay();
  if (!faults_are_over_ && OneIn(character_.delay_one_in)) delay += Between(1'000, 100'000);
  After(delay, [this, from, receiver, data = std::move(data)] {
    if (IsBlocked(workers_[from]->pod, workers_[receiver]->pod)) return;
    ToWorker(receiver, [this, receiver, data] { OnData(receiver, data); });
  });
}

void MembershipWorld::OnData(int number, const Data& data) {
  Worker& worker = *workers_[number];
  if (worker.stopped || worker.decision == nullptr || data.lineage != worker.decision->lineage ||
      data.generation != worker.decision->generation) {
    return;  // another generation's: dropped and counted
  }
  const StepNumber resume = worker.decision->resume.applied;
  switch (data.kind) {
    case Data::Kind::kContribution:
      worker.contributions[data.step].insert(data.from);
      TryApply(number);
      return;
    case Data::Kind::kAskState: {
      if (worker.stage != Stage::kStepping) return;
      auto upto = std::make_shared<StepHistory>(
          worker.history.begin(), worker.history.begin() + static_cast<ptrdiff_t>(resume) + 1);
      SendData(
          number, data.from,
          {Data::Kind::kState, data.lineage, data.generation, worker.incarnation, resume, upto});
      return;
    }
    case Data::Kind::kState: {
      if (worker.stage != Stage::kCatchingUp) return;
      if (worker.has_state) {
        // Only the steps it lacks, and sometimes only one of them arrives this time.
        const size_t to = OneIn(3) ? std::min(worker.history.size() + 1, data.history->size())
                                   : data.history->size();
        for (size_t step = worker.history.size(); step < to; ++step) {
          worker.history.push_back((*data.history)[step]);
        }
      } else {
        worker.history = *data.history;
        worker.has_state = true;
      }
      if (worker.history.size() == resume + 1) Enter(number);
      return;
    }
  }
}

void MembershipWorld::TryApply(int number) {
  Worker& worker = *workers_[number];
  if (worker.stopped || worker.stage != Stage::kStepping) return;
  const StepNumber step = worker.history.size();
  const std::set<Incarnation>& parts = worker.contributions[step];
  uint64_t mixed = MixBits(worker.history.back().hash + step);
  for (const MemberProcess& rank : worker.decision->world().ranks) {
    if (!parts.contains(rank.incarnation)) return;
    mixed = MixBits(mixed ^ rank.incarnation.low);
  }
  worker.history.push_back({worker.decision->generation, mixed});
  worker.contributions.erase(step);
  checker_.Applied(*worker.decision, worker.incarnation, worker.history);
  Contribute(number);
}

}  // namespace closeranks::simulation
