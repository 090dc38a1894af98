#include "net/simulated_link.h"

#include <utility>

#include "glog/logging.h"

namespace closeranks::net {

SimulatedLink::SimulatedLink(SimulatedFabric& fabric, SimulatedProcess& process,
                             std::shared_ptr<SimulatedFabric::Connection> connection, int side,
                             LinkOptions options)
    : fabric_(fabric),
      process_(process),
      connection_(std::move(connection)),
      side_(side),
      options_(options) {
  connection_->ends[side_] = this;
}

SimulatedLink::~SimulatedLink() {
  if (is_open_) Close();
  process_.Cancel(end_timer_);
  fabric_.ForgetEnd(*connection_, side_);
}

void SimulatedLink::Start(LinkHandlers handlers) {
  CHECK(!handlers_->on_closed) << "started twice";
  CHECK(handlers.on_frame && handlers.on_closed);
  *handlers_ = std::move(handlers);
  if (!is_open_) return ReportEnd();
  fabric_.SchedulePump(*connection_, 1 - side_);
}

void SimulatedLink::Send(const FrameHeader& header, std::string payload, UniqueFd passed) {
  CHECK(!passed) << "descriptors don't pass between simulated hosts";
  FrameHeader sealed = header;
  sealed.flags &= ~kFrameCarriesFd;
  sealed = WithPayload(sealed, payload);
  if (!is_open_ || finishing_ || process_.state() == SimulatedProcess::State::kDead) return;
  fabric_.Put(*connection_, side_, Kind::kFrame, {sealed, std::move(payload)});
  if (queued_bytes() > options_.max_queued_bytes) {
    Fail(ResourceExhausted(peer() + " takes too little: " + std::to_string(queued_bytes()) +
                           " bytes are waiting to be sent"));
  }
}

size_t SimulatedLink::queued_bytes() const {
  return is_open_ ? connection_->streams[side_].bytes : 0;
}

void SimulatedLink::FinishSending() {
  if (!is_open_ || finishing_) return;
  finishing_ = true;
  if (process_.state() == SimulatedProcess::State::kDead) return;
  fabric_.Put(*connection_, side_, Kind::kEnd);
}

void SimulatedLink::Close() { Fail(Aborted("the link to " + peer() + " was closed by this side")); }

bool SimulatedLink::CanReceive() const {
  // A closed socket takes everything, and drops it.
  if (!is_open_) return true;
  return handlers_->on_frame && process_.state() == SimulatedProcess::State::kRunning;
}

void SimulatedLink::OnFrame(Frame frame) {
  if (!is_open_) return;
  if (frame.header.length > options_.max_payload) {
    return Fail(Mismatch("from " + peer() + ": frame header: a payload of " +
                         std::to_string(frame.header.length) + " bytes, and at most " +
                         std::to_string(options_.max_payload) + " are accepted here"));
  }
  const std::shared_ptr<LinkHandlers> handlers = handlers_;
  handlers->on_frame(frame.header, std::move(frame.payload), UniqueFd());
}

void SimulatedLink::OnEnd(bool was_reset) {
  Fail(PeerLost(peer() + (was_reset ? " reset the connection" : " closed the connection")));
}

void SimulatedLink::Fail(Status why) {
  if (!is_open_) return;
  is_open_ = false;
  end_ = std::move(why);
  if (process_.state() != SimulatedProcess::State::kDead) {
    const size_t on_the_way = connection_->streams[side_].items.size();
    // What FinishSending has promised stays promised.
    const size_t kept = finishing_ ? on_the_way : fabric_.world().random().Below(on_the_way + 1);
    fabric_.CloseEnd(*connection_, side_, kept);
  }
  // Before Start there is nobody to tell yet.
  if (handlers_->on_closed) ReportEnd();
}

void SimulatedLink::ReportEnd() {
  end_timer_ = process_.RunAfter(Duration::zero(), [this] {
    const std::shared_ptr<LinkHandlers> handlers =
        std::exchange(handlers_, std::make_shared<LinkHandlers>());
    const Status why = end_;
    handlers->on_closed(why);
  });
}

}  // namespace closeranks::net
