#include "net/socket_network.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/link.h"
#include "net/system_socket.h"

namespace closeranks::net {
namespace {

Address AnyPort() { return Address::Ip("127.0.0.1", 0); }

class SocketNetworkTest : public testing::Test {
 protected:
  template <typename Condition>
  void PollUntil(Condition condition) {
    while (!condition()) loop_.PollOnce(Duration::max());
  }

  std::unique_ptr<Listener> Listen(const Address& address) {
    Result<std::unique_ptr<Listener>> listener =
        network_->Listen(address, [this](std::unique_ptr<Socket> socket, const Address&) {
          accepted_.push_back(std::move(socket));
        });
    CHECK(listener.ok()) << listener.status();
    return *std::move(listener);
  }

  Result<std::unique_ptr<Socket>> Connect(const Address& address, ConnectOptions options = {}) {
    std::optional<Result<std::unique_ptr<Socket>>> connected;
    network_->Connect(address, options, [&](Result<std::unique_ptr<Socket>> result) {
      EXPECT_FALSE(connected) << "called back twice";
      connected.emplace(std::move(result));
    });
    EXPECT_FALSE(connected) << "Connect called back";
    PollUntil([&] { return connected.has_value(); });
    return *std::move(connected);
  }

  // An address at which nobody listens, and nobody else can: the port is bound, not listened on.
  Address Refusing() {
    refusing_.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress address = ToSocketAddress(AnyPort()).value();
    PCHECK(bind(refusing_.get(), address.get(), address.length) == 0);
    return LocalAddress(refusing_.get());
  }

  std::string UniqueName() {
    return "closeranks-test-" + std::to_string(getpid()) + "-" + std::to_string(++names_);
  }

  SystemClock clock_;
  EventLoop loop_{clock_};
  std::optional<SocketNetwork> network_{std::in_place, loop_};
  std::vector<std::unique_ptr<Socket>> accepted_;
  UniqueFd refusing_;
  int names_ = 0;
};

TEST_F(SocketNetworkTest, AListenerOnEveryAddressTakesIp4AndIp6) {
  std::unique_ptr<Listener> listener = Listen(Address::Ip("::", 0));
  if (listener->address().host != "::") GTEST_SKIP() << "needs a kernel with IPv6";
  const uint16_t port = listener->address().port;
  EXPECT_TRUE(Connect(Address::Ip("127.0.0.1", port)).ok());
  EXPECT_TRUE(Connect(Address::Ip("::1", port)).ok());
  PollUntil([&] { return accepted_.size() == 2; });
}

// Of the calling thread, for good: it can't open IPv6 sockets any more. False: that isn't allowed.
bool GiveUpIp6() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(SocketNetworkTest, WhereTheKernelHasNoIp6AListenerOnEveryAddressTakesIp4) {
  bool is_without = false;
  std::unique_ptr<Listener> listener;
  std::thread([&] {
    is_without = GiveUpIp6();
    if (is_without) listener = Listen(Address::Ip("::", 0));
  }).join();
  if (!is_without) GTEST_SKIP() << "needs a kernel with seccomp filters";
  EXPECT_EQ(listener->address().host, "0.0.0.0");
  EXPECT_TRUE(Connect(Address::Ip("127.0.0.1", listener->address().port)).ok());
}

TEST_F(SocketNetworkTest, FramesPassOverTcpUnixAndIp6) {
  for (const Address& address : {AnyPort(), Address::Unix(UniqueName()), Address::Ip("::1", 0)}) {
    if (address.host == "::1" &&
        !network_->Listen(address, [](std::unique_ptr<Socket>, const Address&) {}).ok()) {
      continue;  // a host without IPv6
    }
    std::unique_ptr<Listener> listener = Listen(address);
    if (!address.IsUnix()) {
      EXPECT_NE(listener->address().port, 0);
    }
    Result<std::unique_ptr<Socket>> connected = Connect(listener->address());
    ASSERT_TRUE(connected.ok()) << connected.status();
    Link link(loop_, *std::move(connected));
    link.Send({.kind = FrameKind::kControl, .tag = 5}, "over " + address.ToString());
    PollUntil([&] { return !accepted_.empty(); });
    Link accepted(loop_, std::move(accepted_[0]));
    std::string received;
    accepted.Start({.on_frame = [&](const FrameHeader&, std::string payload,
                                    std::unique_ptr<Socket>) { received = std::move(payload); },
                    .on_closed = [](const Status&) {}});
    PollUntil([&] { return !received.empty(); });
    EXPECT_EQ(received, "over " + address.ToString());
    EXPECT_EQ(accepted.CanPassSockets(), address.IsUnix());
    accepted_.clear();
  }
}

TEST_F(SocketNetworkTest, SocketsAreSetUpAsPromised) {
  std::unique_ptr<Listener> listener = Listen(AnyPort());
  Result<std::unique_ptr<Socket>> socket = Connect(listener->address());
  ASSERT_TRUE(socket.ok()) << socket.status();
  PollUntil([&] { return !accepted_.empty(); });
  EXPECT_EQ(accepted_[0]->peer(), LocalAddress((*socket)->descriptor()).ToString());
  const UniqueFd accepted = accepted_[0]->Release();
  const UniqueFd connected = (*socket)->Release();
  for (const UniqueFd* fd : {&accepted, &connected}) {
    int no_delay = 0;
    socklen_t length = sizeof(no_delay);
    ASSERT_EQ(getsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &length), 0);
    EXPECT_NE(no_delay, 0);
    EXPECT_TRUE(fcntl(fd->get(), F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(fcntl(fd->get(), F_GETFD) & FD_CLOEXEC);
  }
}

TEST_F(SocketNetworkTest, AConnectionGivesUpOnSilenceWhenItIsTold) {
  std::unique_ptr<Listener> listener = Listen(AnyPort());
  Result<std::unique_ptr<Socket>> socket = Connect(listener->address());
  ASSERT_TRUE(socket.ok()) << socket.status();
  (*socket)->GiveUpAfter(std::chrono::milliseconds(1234));
  unsigned limit = 0;
  socklen_t length = sizeof(limit);
  ASSERT_EQ(getsockopt((*socket)->descriptor(), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, &length), 0);
  EXPECT_EQ(limit, 1234u);
}

TEST_F(SocketNetworkTest, ATakenPortIsNamedWithTheRemedy) {
  std::unique_ptr<Listener> listener = Listen(AnyPort());
  Status status =
      network_->Listen(listener->address(), [](std::unique_ptr<Socket>, const Address&) {})
          .status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  const std::string port = std::to_string(listener->address().port);
  EXPECT_NE(status.message().find("port " + port + " is taken"), std::string::npos) << status;
  EXPECT_NE(status.message().find("choose another"), std::string::npos) << status;
}

TEST_F(SocketNetworkTest, APortIsFreeAgainRightAfterItsListener) {
  std::unique_ptr<Listener> listener = Listen(AnyPort());
  const Address address = listener->address();
  ASSERT_TRUE(Connect(address).ok());
  PollUntil([&] { return !accepted_.empty(); });
  accepted_.clear();  // this end closes first, and keeps the address in TIME_WAIT
  listener.reset();
  EXPECT_TRUE(network_->Listen(address, [](std::unique_ptr<Socket>, const Address&) {}).ok());
}

TEST_F(SocketNetworkTest, RefusalIsUnavailableAndNamesTheAddress) {
  for (const Address& address : {Refusing(), Address::Unix(UniqueName())}) {
    Result<std::unique_ptr<Socket>> socket = Connect(address);
    ASSERT_FALSE(socket.ok());
    EXPECT_EQ(socket.status().code(), StatusCode::kUnavailable) << socket.status();
    EXPECT_NE(socket.status().message().find(address.ToString()), std::string::npos);
  }
}

TEST_F(SocketNetworkTest, ANameMustBeResolvedFirst) {
  EXPECT_EQ(Connect(Address::Ip("trainer-0", 80)).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SocketNetworkTest, ConnectingEndsAtItsTimeLimit) {
  // A backlog of none that is full: further connections get no answer.
  UniqueFd silent(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress address = ToSocketAddress(AnyPort()).value();
  ASSERT_EQ(bind(silent.get(), address.get(), address.length), 0);
  ASSERT_EQ(listen(silent.get(), 0), 0);
  const Address target = LocalAddress(silent.get());
  std::vector<std::unique_ptr<Socket>> fill;
  for (;;) {
    Result<std::unique_ptr<Socket>> socket =
        Connect(target, {.timeout = std::chrono::milliseconds(50), .greeting = ""});
    if (!socket.ok()) {
      EXPECT_EQ(socket.status().code(), StatusCode::kTimeout);
      EXPECT_EQ(socket.status().message(),
                "connecting to " + target.ToString() + ": no answer within 50 ms");
      break;
    }
    fill.push_back(*std::move(socket));
    ASSERT_LT(fill.size(), 10u);
  }
}

TEST_F(SocketNetworkTest, ACancelledConnectNeverCallsBack) {
  std::unique_ptr<Listener> listener = Listen(AnyPort());
  int calls = 0;
  const auto count = [&](Result<std::unique_ptr<Socket>>) { ++calls; };
  const ConnectId good = network_->Connect(listener->address(), {}, count);
  const ConnectId bad = network_->Connect(Address::Ip("name", 1), {}, count);
  network_->Cancel(good);
  network_->Cancel(good);
  network_->Cancel(bad);
  network_->Connect(listener->address(), {}, count);
  network_.reset();
  while (loop_.PollOnce(Duration::zero()) > 0) {
  }
  EXPECT_EQ(calls, 0);
  listener.reset();
}

TEST_F(SocketNetworkTest, TheGreetingGoesFirst) {
  std::unique_ptr<Listener> listener = Listen(AnyPort());
  Result<std::unique_ptr<Socket>> socket = Connect(listener->address(), {.greeting = "who I am;"});
  ASSERT_TRUE(socket.ok());
  Link(loop_, *std::move(socket)).Send({}, "frame");
  PollUntil([&] { return !accepted_.empty(); });
  const UniqueFd accepted = accepted_[0]->Release();
  ASSERT_EQ(fcntl(accepted.get(), F_SETFL, 0), 0);  // blocking, to read to the end
  std::string all;
  char byte;
  while (recv(accepted.get(), &byte, 1, 0) == 1) all += byte;
  EXPECT_EQ(all, "who I am;" + EncodeFrame({}, "frame"));
}

TEST_F(SocketNetworkTest, AListenerMayBeDestroyedInItsOwnCallback) {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Socket> accepted;
  listener = network_
                 ->Listen(AnyPort(),
                          [&](std::unique_ptr<Socket> socket, const Address&) {
                            listener.reset();
                            accepted = std::move(socket);
                          })
                 .value();
  Result<std::unique_ptr<Socket>> socket = Connect(listener->address());
  PollUntil([&] { return accepted != nullptr; });
  EXPECT_FALSE(listener);
}

TEST_F(SocketNetworkTest, RunningOutOfDescriptorsOnlyDelaysAccepting) {
  ManualClock clock;
  EventLoop loop(clock);
  // The undefined-behaviour sanitizer needs descriptors the first time that it checks a class.
  loop.RunAfter(Duration::zero(), [] {});
  loop.PollOnce(Duration::zero());
  SocketNetwork network(loop);
  std::unique_ptr<Socket> accepted;
  std::unique_ptr<Listener> listener =
      network
          .Listen(AnyPort(), [&](std::unique_ptr<Socket> socket,
                                 const Address&) { accepted = std::move(socket); })
          .value();
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress target = ToSocketAddress(listener->address()).value();
  ASSERT_EQ(connect(client.get(), target.get(), target.length), 0);

  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  loop.PollOnce(Duration::max());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(accepted);
  EXPECT_EQ(loop.PollOnce(Duration::zero()), 0u) << "the listener spins";
  clock.Advance(std::chrono::seconds(1));
  loop.PollOnce(Duration::zero());
  loop.PollOnce(Duration::zero());
  EXPECT_TRUE(accepted);
}

TEST(CheckPeerUser, RefusesOthersByName) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  UniqueFd one(fds[0]);
  UniqueFd two(fds[1]);
  EXPECT_TRUE(CheckPeerUser(one.get(), geteuid()).ok());
  Status status = CheckPeerUser(one.get(), geteuid() + 1);
  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_NE(status.message().find(std::to_string(getpid())), std::string::npos);
}

}  // namespace
}  // namespace closeranks::net
