#include "rendezvous/handshake.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

Identity Make(MemberId member) {
  SeededRandom random(static_cast<uint64_t>(member) + 1);
  return {"job", {member, Incarnation::Draw(random)}, {"build 1", "avx2", "batch=256"}};
}

Keys One(std::string key) {
  return std::make_shared<const std::vector<std::string>>(1, std::move(key));
}

struct Outcome {
  Status initiator;
  Status responder;
  bool both_done = false;
};

// Carries messages between the two until nobody has anything to say; `tamper` may change each one.
template <typename Tamper>
Outcome Converse(Handshake& initiator, Handshake& responder, Tamper tamper) {
  Outcome outcome;
  std::string message = initiator.Start();
  bool to_responder = true;
  while (!message.empty()) {
    tamper(message);
    Handshake& receiver = to_responder ? responder : initiator;
    Status& status = to_responder ? outcome.responder : outcome.initiator;
    if (receiver.done() || !status.ok()) break;  // it doesn't listen any more
    Handshake::Reply reply = receiver.OnMessage(message);
    if (status.ok()) status = reply.failure;
    message = reply.send;
    to_responder = !to_responder;
  }
  outcome.both_done = initiator.done() && responder.done();
  return outcome;
}

Outcome Converse(Handshake& initiator, Handshake& responder) {
  return Converse(initiator, responder, [](std::string&) {});
}

TEST(Handshake, TheSameKeyLetsBothIn) {
  SeededRandom random(1);
  Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
  Handshake b(Handshake::Role::kResponder, Make(1), One("key"), random);
  EXPECT_TRUE(Converse(a, b).both_done);
  EXPECT_EQ(a.peer(), Make(1));
  EXPECT_EQ(b.peer(), Make(0));
}

TEST(Handshake, AnotherKeyIsRefusedOnBothSides) {
  SeededRandom random(1);
  Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
  Handshake b(Handshake::Role::kResponder, Make(1), One("other"), random);
  Outcome outcome = Converse(a, b);
  EXPECT_EQ(outcome.initiator.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(outcome.responder.code(), StatusCode::kUnauthenticated);
  EXPECT_FALSE(a.done() || b.done());
}

TEST(Handshake, OneKeyInCommonIsEnough) {
  const std::vector<std::vector<std::string>> lists = {
      {"old"}, {"old", "new"}, {"new", "old"}, {"new"}, {"other", "new"}};
  const auto share = [](const auto& mine, const auto& theirs) {
    return std::find_first_of(mine.begin(), mine.end(), theirs.begin(), theirs.end()) != mine.end();
  };
  for (const auto& mine : lists) {
    for (const auto& theirs : lists) {
      // Of two that both offer what the other doesn't have, only hers who is called is tried.
      if (share(mine, theirs) && !share(std::vector{mine[0]}, theirs) &&
          !share(mine, std::vector{theirs[0]})) {
        continue;
      }
      SeededRandom random(1);
      Handshake a(Handshake::Role::kInitiator, Make(0),
                  std::make_shared<const std::vector<std::string>>(mine), random);
      Handshake b(Handshake::Role::kResponder, Make(1),
                  std::make_shared<const std::vector<std::string>>(theirs), random);
      EXPECT_EQ(Converse(a, b).both_done, share(mine, theirs))
          << mine[0] << " of " << mine.size() << " calls " << theirs[0] << " of " << theirs.size();
    }
  }
}

TEST(Handshake, TheProofsOfOneConnectionAreWorthNothingOnAnother) {
  SeededRandom random(1);
  Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random, "one connection");
  Handshake b(Handshake::Role::kResponder, Make(1), One("key"), random, "another connection");
  const Outcome outcome = Converse(a, b);
  EXPECT_EQ(outcome.initiator.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(outcome.responder.code(), StatusCode::kUnauthenticated);
}

TEST(Handshake, AnotherBuildIsNamedOnBothSides) {
  SeededRandom random(1);
  Identity other = Make(1);
  other.terms.build = "build 2";
  Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
  Handshake b(Handshake::Role::kResponder, other, One("key"), random);
  Outcome outcome = Converse(a, b);
  for (const Status& status : {outcome.initiator, outcome.responder}) {
    EXPECT_EQ(status.code(), StatusCode::kMismatch);
    EXPECT_NE(status.message().find("build 1"), std::string::npos) << status;
    EXPECT_NE(status.message().find("build 2"), std::string::npos) << status;
  }
}

// Whatever is said, and at whichever moment: a difference is believed only of who has the key.
TEST(Handshake, AForgedRefusalIsNoMismatch) {
  for (int target = 0; target < 4; ++target) {
    for (char code = 0; code < 12; ++code) {
      SeededRandom random(1);
      Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
      Handshake b(Handshake::Role::kResponder, Make(1), One("key"), random);
      int number = 0;
      Outcome outcome = Converse(a, b, [&](std::string& message) {
        if (number++ == target) message = std::string("\4") + code + "batch=1\nbatch=2";
      });
      for (const Status& status : {outcome.initiator, outcome.responder}) {
        EXPECT_NE(status.code(), StatusCode::kMismatch) << status;
        EXPECT_EQ(status.message().find('\n'), std::string::npos) << "one line of it in the log";
      }
      EXPECT_FALSE(a.done() && b.done());
    }
  }
}

TEST(Handshake, WithoutTheKeyADifferenceIsNoMismatch) {
  SeededRandom random(1);
  Identity other = Make(1);
  other.terms.configuration = "batch=1";
  Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
  Handshake b(Handshake::Role::kResponder, other, One("no key"), random);
  const Outcome outcome = Converse(a, b);
  EXPECT_EQ(outcome.initiator.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(outcome.responder.code(), StatusCode::kUnauthenticated);
}

TEST(Handshake, AnyFlippedBitIsNoticed) {
  // Without tampering the handshake has four messages; one bit of one of them is flipped at a time.
  int refused = 0;
  for (int target = 0; target < 4; ++target) {
    for (size_t bit = 0;; ++bit) {
      SeededRandom random(7);
      Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
      Handshake b(Handshake::Role::kResponder, Make(1), One("key"), random);
      int number = 0;
      bool in_range = false;
      Outcome outcome = Converse(a, b, [&](std::string& message) {
        if (number++ != target || bit / 8 >= message.size()) return;
        in_range = true;
        message[bit / 8] = static_cast<char>(message[bit / 8] ^ 1 << bit % 8);
      });
      if (!in_range) break;
      EXPECT_FALSE(outcome.both_done) << "message " << target << " bit " << bit;
      EXPECT_NE(outcome.initiator.code(), StatusCode::kMismatch);
      EXPECT_NE(outcome.responder.code(), StatusCode::kMismatch);
      ++refused;
    }
  }
  EXPECT_GT(refused, 8 * 200);
}

TEST(Handshake, OfAnotherConfigurationOnlyWhatDiffersIsNamedOnBothSides) {
  SeededRandom random(1);
  Identity mine = Make(0), other = Make(1);
  mine.terms.configuration = "batch=256 lr=0.003 seed=1";
  other.terms.configuration = "batch=256 lr=0.001 seed=1";
  Handshake a(Handshake::Role::kInitiator, mine, One("key"), random);
  Handshake b(Handshake::Role::kResponder, other, One("key"), random);
  Outcome outcome = Converse(a, b);
  for (const Status& status : {outcome.initiator, outcome.responder}) {
    EXPECT_EQ(status.code(), StatusCode::kMismatch);
    EXPECT_NE(status.message().find("'lr=0.003'"), std::string::npos) << status;
    EXPECT_NE(status.message().find("'lr=0.001'"), std::string::npos) << status;
  }
}

TEST(Handshake, AReflectedHelloIsRefused) {
  SeededRandom random(1);
  Handshake a(Handshake::Role::kInitiator, Make(0), One("key"), random);
  std::string hello = a.Start();
  EXPECT_FALSE(a.OnMessage(hello).failure.ok());
}

TEST(Handshake, RandomBytesEndItCleanly) {
  SeededRandom random(3);
  for (int i = 0; i < 2000; ++i) {
    Handshake b(Handshake::Role::kResponder, Make(1), One("key"), random);
    std::string noise(random.Below(200), '\0');
    for (char& c : noise) c = static_cast<char>(random.Next());
    if (!noise.empty()) noise[0] = static_cast<char>(1 + random.Below(4));
    EXPECT_NE(b.OnMessage(noise).failure.code(), StatusCode::kMismatch);
    EXPECT_FALSE(b.done());
  }
}

}  // namespace
}  // namespace closeranks::rendezvous
