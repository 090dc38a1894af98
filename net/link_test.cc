#include "net/link.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/system_socket.h"

namespace closeranks::net {
namespace {

FrameHeader Control(uint64_t tag) {
  FrameHeader header;
  header.kind = FrameKind::kControl;
  header.generation = 3;
  header.tag = tag;
  return header;
}

std::unique_ptr<Socket> System(UniqueFd fd) {
  return std::make_unique<SystemSocket>(std::move(fd));
}

// A link and what it was told.
struct End {
  LinkHandlers Handlers() {
    return {
        .on_frame =
            [this](const FrameHeader& header, std::string payload, std::unique_ptr<Socket> socket) {
              frames.push_back({header, std::move(payload)});
              passed.push_back(std::move(socket));
            },
        .on_closed = [this](const Status& why) { ends.push_back(why); }};
  }
  std::unique_ptr<Link> link;
  std::vector<Frame> frames;
  std::vector<std::unique_ptr<Socket>> passed;
  std::vector<Status> ends;
};

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    int fds[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    one_fd_.Reset(fds[0]);
    two_fd_.Reset(fds[1]);
  }

  void Open(End& end, UniqueFd& fd, LinkOptions options = {}) {
    end.link = std::make_unique<Link>(loop_, System(std::move(fd)), options);
    end.link->Start(end.Handlers());
  }
  void OpenBoth(LinkOptions options = {}) {
    Open(one_, one_fd_, options);
    Open(two_, two_fd_, options);
  }
  // What is on the way arrives: on a socket pair it does within the call that sends it.
  void Settle() {
    while (loop_.PollOnce(Duration::zero()) > 0) {
    }
  }
  // Takes away all that lies in a plain socket.
  std::string Drain(int fd) {
    std::string all;
    std::string part(1 << 16, '\0');
    ssize_t count;
    while ((count = recv(fd, part.data(), part.size(), MSG_DONTWAIT)) > 0) {
      all.append(part, 0, static_cast<size_t>(count));
    }
    return all;
  }

  ManualClock clock_;
  EventLoop loop_{clock_};
  UniqueFd one_fd_;
  UniqueFd two_fd_;
  End one_;
  End two_;
};

TEST_F(LinkTest, FramesArriveWholeAndInOrderBothWays) {
  OpenBoth();
  for (uint64_t i = 0; i < 100; ++i) {
    one_.link->Send(Control(i), std::string(i * 7, static_cast<char>('a' + i % 26)));
    two_.link->Send(Control(1000 + i), "");
  }
  Settle();
  ASSERT_EQ(two_.frames.size(), 100u);
  ASSERT_EQ(one_.frames.size(), 100u);
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(two_.frames[i].header.tag, i);
    EXPECT_EQ(two_.frames[i].header.generation, 3u);
    EXPECT_EQ(two_.frames[i].payload, std::string(i * 7, static_cast<char>('a' + i % 26)));
    EXPECT_FALSE(two_.passed[i]);
    EXPECT_EQ(one_.frames[i].header.tag, 1000 + i);
  }
}

TEST_F(LinkTest, APayloadLargerThanTheSocketsBufferArrives) {
  OpenBoth();
  std::string large(5'000'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 >> 4);
  one_.link->Send(Control(1), large);
  EXPECT_GT(one_.link->queued_bytes(), 0u);
  one_.link->Send(Control(2), "after it");
  Settle();
  ASSERT_EQ(two_.frames.size(), 2u);
  EXPECT_EQ(two_.frames[0].payload, large);
  EXPECT_EQ(two_.frames[1].payload, "after it");
  EXPECT_EQ(one_.link->queued_bytes(), 0u);
}

TEST_F(LinkTest, SocketsArriveWithTheirFrames) {
  OpenBoth();
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  UniqueFd read_end(pipe_fds[0]);
  one_.link->Send(Control(1), std::string(5'000'000, 'x'));  // keeps the rest queued
  one_.link->Send(Control(2), "none");
  one_.link->Send(Control(3), "the write end", System(UniqueFd(pipe_fds[1])));
  one_.link->Send(Control(4), "none");
  one_.link->Send(Control(5), "", System(UniqueFd(dup(read_end.get()))));
  Settle();
  ASSERT_EQ(two_.frames.size(), 5u);
  EXPECT_FALSE(two_.passed[0]);
  EXPECT_FALSE(two_.passed[1]);
  ASSERT_TRUE(two_.passed[2]);
  EXPECT_FALSE(two_.passed[3]);
  ASSERT_TRUE(two_.passed[4]);
  ASSERT_EQ(write(two_.passed[2]->descriptor(), "x", 1), 1);
  two_.passed[2].reset();
  char bytes[2];
  EXPECT_EQ(read(read_end.get(), bytes, 2), 1);
  EXPECT_EQ(read(read_end.get(), bytes, 2), 0) << "a copy of the write end was left open";
}

TEST_F(LinkTest, AnAnnouncedSocketThatDidntComeEndsTheLink) {
  Open(one_, one_fd_);
  FrameHeader header = Control(1);
  header.flags |= kFrameCarriesFd;
  const std::string bytes = EncodeFrame(header, "");
  ASSERT_EQ(send(two_fd_.get(), bytes.data(), bytes.size(), 0), std::ssize(bytes));
  Settle();
  EXPECT_TRUE(one_.frames.empty());
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kMismatch);
}

TEST_F(LinkTest, PeerKilledEndsTheLinkOnce) {
  Open(one_, one_fd_);
  // A real death: the child has the only other copy of the peer's end.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    pause();
    _exit(0);
  }
  two_fd_.Reset();
  one_.link->Send(Control(1), "never read");
  Settle();
  EXPECT_TRUE(one_.ends.empty());
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  one_.link->Send(Control(2), "into the void");
  one_.link->Send(Control(3), "and more");
  Settle();
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kPeerLost);
  EXPECT_FALSE(one_.link->IsOpen());
}

TEST_F(LinkTest, LastWordsArriveThoughSendingFailsFirst) {
  Open(one_, one_fd_);
  const std::string words = EncodeFrame(Control(9), "another build");
  ASSERT_EQ(send(two_fd_.get(), words.data(), words.size(), 0), std::ssize(words));
  two_fd_.Reset();
  one_.link->Send(Control(1), "who are you");
  EXPECT_TRUE(one_.frames.empty()) << "Send called back";
  Settle();
  ASSERT_EQ(one_.frames.size(), 1u);
  EXPECT_EQ(one_.frames[0].payload, "another build");
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kPeerLost);
}

TEST_F(LinkTest, AStreamThatEndsWithinAFrameIsAPeerLost) {
  Open(one_, one_fd_);
  const std::string bytes = EncodeFrame(Control(1), "torn");
  ASSERT_EQ(send(two_fd_.get(), bytes.data(), bytes.size() - 1, 0), std::ssize(bytes) - 1);
  two_fd_.Reset();
  Settle();
  EXPECT_TRUE(one_.frames.empty());
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kPeerLost);
  EXPECT_NE(one_.ends[0].message().find("within a frame"), std::string::npos);
}

TEST_F(LinkTest, GarbageEndsTheLinkAsAMismatch) {
  Open(one_, one_fd_);
  const std::string bytes(100, '?');
  ASSERT_EQ(send(two_fd_.get(), bytes.data(), bytes.size(), 0), std::ssize(bytes));
  Settle();
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kMismatch);
}

TEST_F(LinkTest, ALongerPayloadThanAllowedEndsTheLink) {
  Open(one_, one_fd_, {.max_payload = 10});
  Open(two_, two_fd_);
  two_.link->Send(Control(1), "0123456789");
  Settle();
  EXPECT_EQ(one_.frames.size(), 1u);
  one_.link->set_max_payload(11);
  two_.link->Send(Control(2), "01234567890");
  Settle();
  EXPECT_EQ(one_.frames.size(), 2u);
  two_.link->Send(Control(3), "012345678901");
  Settle();
  EXPECT_EQ(one_.frames.size(), 2u);
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kMismatch);
}

TEST_F(LinkTest, APeerThatTakesNothingEndsTheLinkAtTheBound) {
  Open(one_, one_fd_, {.max_queued_bytes = 1'000'000});
  for (int i = 0; i < 100 && one_.link->IsOpen(); ++i) {
    one_.link->Send(Control(1), std::string(100'000, 'x'));
    EXPECT_LE(one_.link->queued_bytes(), 1'000'000u);
  }
  EXPECT_TRUE(one_.ends.empty()) << "Send called back";
  Settle();
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kResourceExhausted);
}

TEST_F(LinkTest, CloseIsReportedOnceAndSeenByThePeer) {
  OpenBoth();
  one_.link->Close();
  one_.link->Close();
  EXPECT_TRUE(one_.ends.empty()) << "Close called back";
  Settle();
  ASSERT_EQ(one_.ends.size(), 1u);
  EXPECT_EQ(one_.ends[0].code(), StatusCode::kAborted);
  ASSERT_EQ(two_.ends.size(), 1u);
  EXPECT_EQ(two_.ends[0].code(), StatusCode::kPeerLost);
}

TEST_F(LinkTest, FinishSendingLetsWhatIsQueuedArrive) {
  OpenBoth();
  one_.link->Send(Control(1), std::string(5'000'000, 'x'));
  one_.link->FinishSending();
  one_.link->Send(Control(2), "too late");
  two_.link->Send(Control(3), "answer");
  Settle();
  ASSERT_EQ(two_.frames.size(), 1u);
  EXPECT_EQ(two_.frames[0].payload.size(), 5'000'000u);
  EXPECT_EQ(two_.ends.size(), 1u);
  EXPECT_EQ(one_.frames.size(), 1u);
  EXPECT_EQ(one_.ends.size(), 1u);
}

TEST_F(LinkTest, MayBeDestroyedInItsOwnOnFrame) {
  std::optional<Link> link(std::in_place, loop_, System(std::move(one_fd_)));
  auto seen = std::make_shared<std::vector<std::string>>();
  link->Start({.on_frame =
                   [&link, seen](const FrameHeader&, std::string payload, std::unique_ptr<Socket>) {
                     link.reset();
                     seen->push_back(std::move(payload));
                   },
               .on_closed = [seen](const Status&) { seen->push_back("closed"); }});
  Open(two_, two_fd_);
  two_.link->Send(Control(1), "first");
  two_.link->Send(Control(2), "second");
  Settle();
  EXPECT_EQ(*seen, std::vector<std::string>{"first"});
  EXPECT_EQ(seen.use_count(), 1) << "the handlers outlive the link";
  EXPECT_EQ(two_.ends.size(), 1u);
}

TEST_F(LinkTest, MayBeDestroyedInItsOwnOnClosed) {
  std::optional<Link> link(std::in_place, loop_, System(std::move(one_fd_)));
  int closed = 0;
  link->Start({.on_frame = [](const FrameHeader&, std::string, std::unique_ptr<Socket>) {},
               .on_closed =
                   [&](const Status&) {
                     link.reset();
                     ++closed;
                   }});
  two_fd_.Reset();
  Settle();
  EXPECT_EQ(closed, 1);
}

TEST_F(LinkTest, MayBeDestroyedWhileItsEndIsOnTheWay) {
  OpenBoth();
  one_.link->Close();
  one_.link.reset();
  Settle();
  EXPECT_TRUE(one_.ends.empty());
}

TEST_F(LinkTest, HandlersAreLetGoOfAtTheEnd) {
  auto owner = std::make_shared<int>(0);
  Link link(loop_, System(std::move(one_fd_)));
  link.Start({.on_frame = [owner](const FrameHeader&, std::string, std::unique_ptr<Socket>) {},
              .on_closed = [owner](const Status&) {}});
  EXPECT_EQ(owner.use_count(), 3);
  two_fd_.Reset();
  Settle();
  EXPECT_EQ(owner.use_count(), 1);
}

TEST_F(LinkTest, FramesMayBeSentBeforeStartAndAnEarlyEndIsStillTold) {
  Link link(loop_, System(std::move(one_fd_)));
  link.Send(Control(1), "early");
  Open(two_, two_fd_);
  Settle();
  EXPECT_EQ(two_.frames.size(), 1u);
  two_.link->Send(Control(2), "last words");
  two_.link.reset();
  link.Send(Control(3), "fails");
  link.Start(one_.Handlers());
  Settle();
  ASSERT_EQ(one_.frames.size(), 1u);
  EXPECT_EQ(one_.frames[0].payload, "last words");
  EXPECT_EQ(one_.ends.size(), 1u);
}

TEST_F(LinkTest, DetachHandsOverTheSocketAtTheFramesEnd) {
  std::optional<Result<std::unique_ptr<Socket>>> detached;
  Link link(loop_, System(std::move(one_fd_)), {.exact_reads = true});
  link.Start({.on_frame = [&](const FrameHeader&, std::string,
                              std::unique_ptr<Socket>) { detached = link.Detach(); },
              .on_closed = [&](const Status& why) { one_.ends.push_back(why); }});
  const std::string bytes = EncodeFrame(Control(1), "the last frame") + "another protocol";
  ASSERT_EQ(send(two_fd_.get(), bytes.data(), bytes.size(), 0), std::ssize(bytes));
  Settle();
  ASSERT_TRUE(detached.has_value());
  ASSERT_TRUE(detached->ok()) << detached->status();
  EXPECT_EQ(Drain(detached->value()->descriptor()), "another protocol");
  EXPECT_FALSE(link.IsOpen());
  Settle();
  EXPECT_TRUE(one_.ends.empty());
}

TEST_F(LinkTest, DetachIsRefusedWhileAnythingIsBuffered) {
  std::optional<Result<std::unique_ptr<Socket>>> detached;
  Link link(loop_, System(std::move(one_fd_)));
  link.Start({.on_frame =
                  [&](const FrameHeader& header, std::string, std::unique_ptr<Socket>) {
                    if (header.tag == 1) detached = link.Detach();
                  },
              .on_closed = [](const Status&) {}});
  const std::string bytes = EncodeFrame(Control(1), "") + EncodeFrame(Control(2), "");
  ASSERT_EQ(send(two_fd_.get(), bytes.data(), bytes.size(), 0), std::ssize(bytes));
  Settle();
  ASSERT_TRUE(detached.has_value());
  EXPECT_EQ(detached->status().code(), StatusCode::kUnavailable);

  link.Send(Control(3), std::string(5'000'000, 'x'));
  EXPECT_EQ(link.Detach().status().code(), StatusCode::kUnavailable);
  while (link.queued_bytes() > 0) {
    Drain(two_fd_.get());
    loop_.PollOnce(Duration::zero());
  }
  EXPECT_TRUE(link.Detach().ok());
}

TEST_F(LinkTest, ExactReadsDeliverTheSame) {
  OpenBoth({.exact_reads = true});
  for (uint64_t i = 0; i < 50; ++i) one_.link->Send(Control(i), std::string(i * 3000, 'x'));
  Settle();
  ASSERT_EQ(two_.frames.size(), 50u);
  EXPECT_EQ(two_.frames[49].payload.size(), 49u * 3000);
}

}  // namespace
}  // namespace closeranks::net
