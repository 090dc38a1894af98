#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/link.h"
#include "net/simulated_loop.h"
#include "net/simulated_network.h"
#include "net/system_socket.h"
#include "net/test_certificates.h"

namespace closeranks::net {
namespace {

using Context = std::shared_ptr<const TlsContext>;

// Until neither side can go on: what both have come to.
struct Outcome {
  Result<bool> client = false;
  Result<bool> server = false;
};
Outcome Converse(TlsSocket& client, TlsSocket& server) {
  Outcome outcome;
  const auto step = [](TlsSocket& side, Result<bool>& result) {
    if (result.ok() && !*result) result = side.Handshake();
  };
  for (int round = 0; round < 10; ++round) {
    step(client, outcome.client);
    step(server, outcome.server);
  }
  return outcome;
}

class TlsTest : public testing::Test {
 protected:
  Context Make(const TlsTexts& texts) {
    auto made = TlsContext::Make(texts);
    CHECK(made.ok()) << made.status();
    return *made;
  }
  void Connect(Context client, Context server) {
    auto [one, other] = SystemSocket::MakePair().value();
    client_ =
        std::make_unique<TlsSocket>(std::move(client), std::move(one), TlsSocket::Role::kClient);
    server_ =
        std::make_unique<TlsSocket>(std::move(server), std::move(other), TlsSocket::Role::kServer);
  }

  TestAuthority authority_{"job"};
  Context good_ = Make(authority_.Issue("pod"));
  std::unique_ptr<TlsSocket> client_, server_;
};

TEST_F(TlsTest, WhoHasCertificatesOfTheAuthorityIsConnected) {
  Connect(good_, Make(authority_.Issue("another pod")));
  const Outcome outcome = Converse(*client_, *server_);
  ASSERT_TRUE(outcome.client.ok() && *outcome.client) << outcome.client.status();
  ASSERT_TRUE(outcome.server.ok() && *outcome.server) << outcome.server.status();
  EXPECT_EQ(client_->Binding(), server_->Binding());
  const std::string first = client_->Binding();
  Connect(good_, good_);
  Converse(*client_, *server_);
  EXPECT_NE(client_->Binding(), first) << "of every connection its own";
}

TEST_F(TlsTest, WhoHasNoneOfTheAuthorityIsRefusedEitherWay) {
  TestAuthority stranger("job");
  const Context bad = Make(stranger.Issue("pod"));
  Connect(bad, good_);
  EXPECT_EQ(Converse(*client_, *server_).server.status().code(), StatusCode::kUnauthenticated);
  Connect(good_, bad);
  EXPECT_EQ(Converse(*client_, *server_).client.status().code(), StatusCode::kUnauthenticated);
  // It trusts the right authority, and has a certificate of another one.
  TlsTexts mixed = stranger.Issue("pod");
  mixed.authority = authority_.certificate();
  Connect(Make(mixed), good_);
  EXPECT_EQ(Converse(*client_, *server_).server.status().code(), StatusCode::kUnauthenticated);
  char byte;
  const iovec into{&byte, 1};
  EXPECT_EQ(client_->Receive({&into, 1}, nullptr), -1);
  EXPECT_EQ(errno, EKEYREJECTED) << "it isn't told why";
}

TEST_F(TlsTest, AnExpiredCertificateIsRefused) {
  Connect(Make(authority_.Issue("pod", /*valid_for_s=*/-60)), good_);
  const Status why = Converse(*client_, *server_).server.status();
  EXPECT_EQ(why.code(), StatusCode::kUnauthenticated) << why;
}

TEST_F(TlsTest, WhatIsntTlsIsRefusedWhateverItIs) {
  SeededRandom random(1);
  for (int i = 0; i < 300; ++i) {
    auto [ours, theirs] = SystemSocket::MakePair().value();
    TlsSocket server(good_, std::move(ours), TlsSocket::Role::kServer);
    std::string noise(random.Below(300), '\0');
    for (char& c : noise) c = static_cast<char>(random.Next());
    if (i % 2 == 0) noise = "\x16\x03\x01" + noise;
    const iovec part{noise.data(), noise.size()};
    theirs->Send({&part, 1}, nullptr);
    theirs.reset();
    Result<bool> result = false;
    for (int round = 0; round < 10 && result.ok(); ++round) result = server.Handshake();
    ASSERT_FALSE(result.ok());
    EXPECT_TRUE(result.status().code() == StatusCode::kUnauthenticated ||
                result.status().code() == StatusCode::kUnavailable)
        << result.status();
  }
}

TEST_F(TlsTest, WhatIsWrongWithTheFilesIsSaid) {
  const TlsTexts texts = authority_.Issue("pod");
  const auto why = [](TlsTexts wrong) { return TlsContext::Make(wrong).status(); };
  TlsTexts wrong = texts;
  wrong.certificate = "nothing";
  EXPECT_NE(why(wrong).message().find("no PEM certificate in the first"), std::string::npos);
  wrong = texts;
  wrong.key = "nothing";
  EXPECT_NE(why(wrong).message().find("no unencrypted PEM key"), std::string::npos);
  wrong = texts;
  wrong.key = authority_.Issue("another").key;
  EXPECT_NE(why(wrong).message().find("isn't the certificate's"), std::string::npos) << why(wrong);
  wrong = texts;
  wrong.authority = "";
  EXPECT_NE(why(wrong).message().find("no PEM certificate in the third"), std::string::npos);
}

TEST_F(TlsTest, WhatWentWrongElsewhereIsNoErrorOfAConnection) {
  TlsTexts unreadable = authority_.Issue("pod");
  unreadable.key = "nothing";
  std::string word = "word";
  const iovec part{word.data(), word.size()};
  char got[10];
  const iovec into{got, sizeof(got)};
  const auto fail_elsewhere = [&] {
    EXPECT_FALSE(TlsContext::Make(unreadable).ok());
    EXPECT_EQ(ERR_peek_error(), 0u) << "it is left for who doesn't expect it";
    ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);  // as another library of the program may
  };
  Connect(good_, good_);
  for (int round = 0; round < 10; ++round) {
    for (TlsSocket* side : {client_.get(), server_.get()}) {
      fail_elsewhere();
      EXPECT_TRUE(side->Handshake().ok());
    }
  }
  fail_elsewhere();
  EXPECT_EQ(server_->Receive({&into, 1}, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN) << "it is taken for broken";
  fail_elsewhere();
  EXPECT_EQ(client_->Send({&part, 1}, nullptr), std::ssize(word));
  EXPECT_EQ(server_->Receive({&into, 1}, nullptr), std::ssize(word));
  fail_elsewhere();
  client_->FinishSending();
  fail_elsewhere();
  EXPECT_EQ(server_->Receive({&into, 1}, nullptr), 0);
}

TEST_F(TlsTest, WhatIsSentCantBeReadOnTheWayAndACutIsNoticed) {
  Connect(good_, good_);
  Converse(*client_, *server_);
  std::string secret = "the weights of the job";
  auto [inside, outside] = SystemSocket::MakePair().value();
  const iovec part{secret.data(), secret.size()};
  EXPECT_EQ(client_->Send({&part, 1}, nullptr), std::ssize(secret));
  char raw[1000];
  const ssize_t seen = recv(server_->descriptor(), raw, sizeof(raw), MSG_PEEK | MSG_DONTWAIT);
  ASSERT_GT(seen, std::ssize(secret));
  EXPECT_EQ(std::string(raw, static_cast<size_t>(seen)).find(secret), std::string::npos);
  // One bit on the way is flipped.
  ASSERT_EQ(recv(server_->descriptor(), raw, sizeof(raw), MSG_DONTWAIT), seen);
  raw[seen - 1] ^= 1;
  ASSERT_EQ(send(client_->descriptor(), raw, static_cast<size_t>(seen), 0), seen);
  const iovec into{raw, sizeof(raw)};
  EXPECT_EQ(server_->Receive({&into, 1}, nullptr), -1);
  EXPECT_EQ(errno, EPROTO);
}

// Frames of all sizes over TLS over simulated connections, which move bytes in pieces of any size,
// with full buffers: each arrives, in order, both ways.
TEST_F(TlsTest, FramesArriveWholeAndInOrderOverAnyNetwork) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SimulatedWorld world(seed);
    SimulatedFabric fabric(world);
    struct Side {
      explicit Side(SimulatedFabric& fabric)
          : process(fabric.world()), loop(fabric, process), network(fabric, process, "host") {}
      void Secure(std::function<void()> done) {
        CHECK(loop.Watch(socket->descriptor(), {.readable = true, .writable = true},
                         [this, done](Ready) {
                           const Result<bool> secured = socket->Handshake();
                           ASSERT_TRUE(secured.ok()) << secured.status();
                           if (!*secured) return;
                           loop.Unwatch(socket->descriptor());
                           done();
                         })
                  .ok());
      }
      void Begin() {
        link = std::make_unique<Link>(loop, std::move(socket));
        link->Start({.on_frame = [this](const FrameHeader&, std::string payload,
                                        std::unique_ptr<Socket>) { got.push_back(payload); },
                     .on_closed = [this](const Status& why) { ends.push_back(why); }});
      }
      SimulatedProcess process;
      SimulatedLoop loop;
      SimulatedNetwork network;
      std::unique_ptr<TlsSocket> socket;
      std::unique_ptr<Link> link;
      std::vector<std::string> got;
      std::vector<Status> ends;
    };
    Side a(fabric), b(fabric);
    auto [one, other] = a.network.MakePair(b.network);
    a.socket = std::make_unique<TlsSocket>(good_, std::move(one), TlsSocket::Role::kClient);
    b.socket = std::make_unique<TlsSocket>(good_, std::move(other), TlsSocket::Role::kServer);
    std::vector<std::string> sent;
    for (int i = 0; i < 40; ++i) {
      const size_t size =
          world.random().OneIn(4) ? world.random().Below(300'000) : world.random().Below(100);
      sent.emplace_back(size, static_cast<char>('a' + i % 26));
    }
    for (Side* side : {&a, &b}) {
      side->Secure([side, &sent] {
        side->Begin();
        for (const std::string& payload : sent) {
          side->link->Send({.kind = FrameKind::kControl}, payload);
        }
      });
    }
    const auto have_all = [&] {
      return a.got.size() == sent.size() && b.got.size() == sent.size();
    };
    EXPECT_TRUE(world.RunUntilTrue(have_all, std::chrono::minutes(1))) << "seed " << seed;
    EXPECT_TRUE(a.got == sent && b.got == sent) << "seed " << seed;
    a.link->FinishSending();
    world.RunFor(std::chrono::seconds(1));
    EXPECT_TRUE(a.ends.size() == 1 && b.ends.size() == 1) << "seed " << seed;
  }
}

}  // namespace
}  // namespace closeranks::net
