#include "rendezvous/membership_acceptor.h"

#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {

void Acceptor::Promise(Ballot ballot) {
  CHECK(MayPromise(ballot)) << ballot << " after " << promised_;
  promised_ = ballot;
}

bool Acceptor::Accept(Ballot ballot, DecisionRef value) {
#ifndef CLOSERANKS_PLANT_PROMISE_FORGOTTEN
  if (ballot.IsNone() || ballot != promised_) return false;
  if (accepted_.has_value() && accepted_->ballot == ballot) {
    CHECK(*accepted_->value == *value) << "two values under ballot " << ballot;
    return true;
  }
  CHECK(!accepted_.has_value() || accepted_->ballot < ballot);
#endif
  accepted_ = AcceptedValue{ballot, std::move(value)};
  return true;
}

}  // namespace closeranks::rendezvous
