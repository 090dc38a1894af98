#include "collectives/simulated_world.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "collectives/native_communicator.h"

namespace closeranks {

SimulatedWorld::SimulatedWorld(int size, uint64_t seed, collectives::SimulatedLink::Options options)
    : random_(seed), links_(size), alive_(size, true), lost_(size) {
  for (int rank = 0; rank < size; ++rank) {
    engines_.push_back(std::make_unique<collectives::Engine>(clock_));
    engines_[rank]->SetOnPeerLost(
        [this, rank](const MemberProcess& peer, const Status&) { lost_[rank].push_back(peer); });
    links_[rank].resize(size);
  }
  const auto process = [](int rank) {
    return MemberProcess{rank, {1, static_cast<uint64_t>(rank) + 1}};
  };
  for (int a = 0; a < size; ++a) {
    for (int b = a + 1; b < size; ++b) {
      links_[a][b] = std::make_unique<collectives::SimulatedLink>(process(a), process(b), clock_,
                                                                  random_, options);
      CHECK(engines_[a]->Attach(*transport(a, b)).ok());
      CHECK(engines_[b]->Attach(*transport(b, a)).ok());
    }
  }
}

SimulatedWorld::~SimulatedWorld() {
  for (int a = 0; a < size(); ++a) {
    for (int b = 0; b < size(); ++b) {
      if (a != b) engines_[a]->Detach(*transport(a, b));
    }
  }
}

collectives::SimulatedLink& SimulatedWorld::link(int a, int b) {
  return *links_[std::min(a, b)][std::max(a, b)];
}

collectives::Transport* SimulatedWorld::transport(int from, int to) {
  return from == to ? nullptr : &link(from, to).end(from < to ? 0 : 1);
}

std::unique_ptr<Communicator> SimulatedWorld::MakeCommunicator(int rank, Generation generation,
                                                               std::vector<int> ranks,
                                                               Duration timeout) {
  if (ranks.empty()) {
    ranks.resize(size());
    std::iota(ranks.begin(), ranks.end(), 0);
  }
  std::vector<collectives::Transport*> transports;
  for (int peer : ranks) transports.push_back(transport(rank, peer));
  const auto place = std::find(ranks.begin(), ranks.end(), rank) - ranks.begin();
  NativeCommunicatorOptions options;
  options.communicator.timeout = timeout;
  auto made = MakeNativeCommunicator(static_cast<int>(place), static_cast<int>(ranks.size()),
                                     generation, *engines_[rank], transports, clock_, options);
  return std::move(made).value();
}

void SimulatedWorld::Kill(int rank) {
  alive_[rank] = false;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank) link(rank, peer).Kill(rank < peer ? 0 : 1);
  }
}

bool SimulatedWorld::PollOnce() {
  std::vector<int> order;
  for (int rank = 0; rank < size(); ++rank) {
    if (alive_[rank]) order.push_back(rank);
  }
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_.Below(i)]);
  bool moved = false;
  for (int rank : order) moved |= engines_[rank]->PollOnce();
  if (moved) return true;
  TimePoint next = kNever;
  for (int a = 0; a < size(); ++a) {
    for (int b = a + 1; b < size(); ++b) {
      // What only a dead or stopped rank could take stays where it is: look at those that are due
      // later.
      const TimePoint arrival = links_[a][b]->NextArrival();
      if (arrival > clock_.Now()) next = std::min(next, arrival);
    }
  }
  if (next == kNever) return false;
  clock_.AdvanceTo(next);
  return true;
}

bool SimulatedWorld::RunUntilDone(const std::vector<Work>& works, Duration patience) {
  int idle = 0;
  while (!std::all_of(works.begin(), works.end(), [](const Work& w) { return w.IsDone(); })) {
    if (PollOnce()) {
      idle = 0;
    } else if (++idle > 20) {
      return false;
    } else {
      clock_.Advance(patience);
    }
  }
  return true;
}

}  // namespace closeranks
