#include "benchmarks/forked_ranks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "collectives/engine/progress_thread.h"
#include "collectives/transport/shm_transport.h"
#include "collectives/transport/tcp_transport.h"
#include "glog/logging.h"
#include "net/system_socket.h"

namespace closeranks::benchmarks {
namespace {

std::pair<UniqueFd, UniqueFd> Connect(bool tcp) {
  int fds[2];
  if (!tcp) {
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
  }
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  PCHECK(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  PCHECK(listen(listener.get(), 1) == 0);
  PCHECK(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  UniqueFd one(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  PCHECK(connect(one.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  UniqueFd two(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return {std::move(one), std::move(two)};
}

Status RunRank(int rank, std::vector<UniqueFd> sockets, const ForkedRanksOptions& options,
               const std::function<Status(int, Communicator&)>& run) {
  SystemClock clock;
  collectives::Engine engine(clock, options.engine);
  std::vector<std::unique_ptr<collectives::Transport>> transports(sockets.size());
  std::vector<collectives::Transport*> pointers;
  for (size_t peer = 0; peer < sockets.size(); ++peer) {
    if (static_cast<int>(peer) != rank) {
      const MemberProcess process{static_cast<MemberId>(peer), {1, 1}};
      if (options.tcp) {
        transports[peer] = collectives::MakeTcpTransport(
            std::make_unique<net::SystemSocket>(std::move(sockets[peer])), process);
      } else {
        ASSIGN_OR_RETURN(transports[peer],
                         collectives::MakeShmTransport(std::move(sockets[peer]), process));
      }
      RETURN_IF_ERROR(engine.Attach(*transports[peer]));
    }
    pointers.push_back(transports[peer].get());
  }
  std::unique_ptr<collectives::ProgressThread> progress;
  if (options.progress_thread) progress = std::make_unique<collectives::ProgressThread>(engine);
  ASSIGN_OR_RETURN(std::unique_ptr<Communicator> communicator,
                   MakeNativeCommunicator(rank, static_cast<int>(pointers.size()), 1, engine,
                                          pointers, clock, options.communicator));
  const Status status = run(rank, *communicator);
  communicator.reset();
  progress.reset();
  for (const auto& transport : transports) {
    if (transport) engine.Detach(*transport);
  }
  return status;
}

}  // namespace

int RunForkedRanks(const ForkedRanksOptions& options,
                   const std::function<Status(int rank, Communicator& communicator)>& run) {
  const int ranks = options.ranks;
  std::vector<std::vector<UniqueFd>> sockets(ranks);
  for (auto& row : sockets) row.resize(ranks);
  for (int a = 0; a < ranks; ++a) {
    for (int b = a + 1; b < ranks; ++b) {
      std::tie(sockets[a][b], sockets[b][a]) = Connect(options.tcp);
    }
  }
  for (int rank = 0; rank < ranks; ++rank) {
    if (fork() != 0) continue;
    std::vector<UniqueFd> own = std::move(sockets[rank]);
    sockets.clear();
    const Status status = RunRank(rank, std::move(own), options, run);
    if (!status.ok()) std::fprintf(stderr, "rank %d: %s\n", rank, status.ToString().c_str());
    std::fflush(stdout);
    _exit(status.ok() ? 0 : 1);
  }
  sockets.clear();
  int failures = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    int status = 0;
    wait(&status);
    if (status != 0) ++failures;
  }
  return failures;
}

}  // namespace closeranks::benchmarks
