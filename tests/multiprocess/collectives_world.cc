#include "tests/multiprocess/collectives_world.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>

#include "collectives/transport/shm_transport.h"
#include "collectives/transport/tcp_transport.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "net/system_socket.h"

namespace closeranks::testing_world {
namespace {

std::pair<UniqueFd, UniqueFd> MakeTcpPair() {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  PCHECK(bind(listener.get(), any, length) == 0);
  PCHECK(listen(listener.get(), 1) == 0);
  PCHECK(getsockname(listener.get(), any, &length) == 0);
  UniqueFd a(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  PCHECK(connect(a.get(), any, length) == 0);
  UniqueFd b(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  PCHECK(b.get() >= 0);
  return {std::move(a), std::move(b)};
}

std::pair<UniqueFd, UniqueFd> MakeUnixPair() {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// (read, write)
std::pair<UniqueFd, UniqueFd> MakePipe() {
  int fds[2];
  PCHECK(pipe2(fds, O_CLOEXEC) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

MemberProcess ProcessOf(int rank) { return {rank, {1, static_cast<uint64_t>(rank) + 1}}; }

std::unique_ptr<collectives::Transport> MakeTransport(Wire wire, UniqueFd socket, int peer) {
  if (wire == Wire::kTcp) {
    return collectives::MakeTcpTransport(std::make_unique<net::SystemSocket>(std::move(socket)),
                                         ProcessOf(peer));
  }
  return collectives::MakeShmTransport(std::move(socket), ProcessOf(peer)).value();
}

}  // namespace

std::string_view WireName(Wire wire) { return wire == Wire::kTcp ? "Tcp" : "Shm"; }

struct RankProcess::Lost {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::pair<MemberProcess, Status>> told;
};

RankProcess::RankProcess(int rank, Wire wire, std::vector<UniqueFd> sockets, UniqueFd to_parent,
                         UniqueFd from_parent)
    : rank_(rank),
      lost_(std::make_unique<Lost>()),
      engine_(clock_),
      to_parent_(std::move(to_parent)),
      from_parent_(std::move(from_parent)) {
  engine_.SetOnPeerLost([this](const MemberProcess& peer, const Status& why) {
    std::lock_guard lock(lost_->mutex);
    lost_->told.emplace_back(peer, why);
    lost_->changed.notify_all();
  });
  for (size_t peer = 0; peer < sockets.size(); ++peer) {
    std::unique_ptr<collectives::Transport> transport;
    if (static_cast<int>(peer) != rank) {
      transport = MakeTransport(wire, std::move(sockets[peer]), static_cast<int>(peer));
      CHECK(engine_.Attach(*transport).ok());
    }
    transports_.push_back(std::move(transport));
  }
  progress_ = std::make_unique<collectives::ProgressThread>(engine_);
}

RankProcess::~RankProcess() {
  progress_.reset();
  for (const auto& transport : transports_) {
    if (transport) engine_.Detach(*transport);
  }
}

std::unique_ptr<Communicator> RankProcess::MakeCommunicator(
    Generation generation, std::vector<int> ranks, const NativeCommunicatorOptions& options) {
  if (ranks.empty()) {
    for (int rank = 0; rank < size(); ++rank) ranks.push_back(rank);
  }
  std::vector<collectives::Transport*> transports;
  int own = -1;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] == rank_) own = static_cast<int>(i);
    transports.push_back(transports_[ranks[i]].get());
  }
  auto made = MakeNativeCommunicator(own, static_cast<int>(ranks.size()), generation, engine_,
                                     transports, clock_, options);
  return std::move(made).value();
}

std::pair<MemberProcess, Status> RankProcess::WaitForLost() {
  std::unique_lock lock(lost_->mutex);
  lost_->changed.wait(lock, [&] { return !lost_->told.empty(); });
  auto first = std::move(lost_->told.front());
  lost_->told.pop_front();
  return first;
}

void RankProcess::TellParent() {
  const char byte = 'x';
  PCHECK(write(to_parent_.get(), &byte, 1) == 1);
}

void RankProcess::WaitForParent() {
  char byte;
  PCHECK(read(from_parent_.get(), &byte, 1) == 1);
}

void RankProcess::Checkpoint() {
  TellParent();
  WaitForParent();
}

ProcessWorld::ProcessWorld(int size, Wire wire, std::function<void(RankProcess&)> body)
    : pids_(size, -1) {
  std::vector<std::vector<UniqueFd>> sockets(size);
  for (auto& row : sockets) row.resize(size);
  for (int a = 0; a < size; ++a) {
    for (int b = a + 1; b < size; ++b) {
      std::tie(sockets[a][b], sockets[b][a]) = wire == Wire::kTcp ? MakeTcpPair() : MakeUnixPair();
    }
  }
  std::vector<UniqueFd> child_writes(size), child_reads(size);
  from_children_.resize(size);
  to_children_.resize(size);
  for (int rank = 0; rank < size; ++rank) {
    std::tie(from_children_[rank], child_writes[rank]) = MakePipe();
    std::tie(child_reads[rank], to_children_[rank]) = MakePipe();
  }
  for (int rank = 0; rank < size; ++rank) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    PCHECK(pid >= 0);
    if (pid > 0) {
      pids_[rank] = pid;
      continue;
    }
    // The child keeps only its own ends: others' would hide a peer's death.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<UniqueFd> own = std::move(sockets[rank]);
    UniqueFd to_parent = std::move(child_writes[rank]);
    UniqueFd from_parent = std::move(child_reads[rank]);
    sockets.clear();
    child_writes.clear();
    child_reads.clear();
    from_children_.clear();
    to_children_.clear();
    {
      RankProcess process(rank, wire, std::move(own), std::move(to_parent), std::move(from_parent));
      body(process);
    }
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
}

ProcessWorld::~ProcessWorld() {
  for (size_t rank = 0; rank < pids_.size(); ++rank) {
    if (pids_[rank] < 0) continue;
    kill(pids_[rank], SIGKILL);
    Join(static_cast<int>(rank));
  }
}

void ProcessWorld::Signal(int rank, int signal) { PCHECK(kill(pids_[rank], signal) == 0); }

bool ProcessWorld::WaitFor(int rank) {
  char byte;
  return read(from_children_[rank].get(), &byte, 1) == 1;
}

void ProcessWorld::Release(int rank) {
  const char byte = 'x';
  PCHECK(write(to_children_[rank].get(), &byte, 1) == 1);
}

void ProcessWorld::PassCheckpoint(const std::vector<int>& ranks) {
  for (int rank : ranks) EXPECT_TRUE(WaitFor(rank)) << "rank " << rank << " has gone";
  for (int rank : ranks) Release(rank);
}

int ProcessWorld::Join(int rank) {
  int status = 0;
  PCHECK(waitpid(pids_[rank], &status, 0) == pids_[rank]);
  pids_[rank] = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void ProcessWorld::ExpectSuccess(const std::vector<int>& ranks) {
  for (int rank : ranks) EXPECT_EQ(Join(rank), 0) << "rank " << rank;
}

}  // namespace closeranks::testing_world
