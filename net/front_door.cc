#include "net/front_door.h"

#include <cerrno>
#include <string>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {

FrontDoor::FrontDoor(Loop& loop, Options options, Route route)
    : loop_(loop),
      options_(options),
      route_(std::make_shared<Route>(std::move(route))),
      calls_(options.calls),
      membership_calls_(options.membership_calls) {}

FrontDoor::~FrontDoor() {
  while (!pending_.empty()) TakeOut(pending_.begin());
}

Result<std::unique_ptr<FrontDoor>> FrontDoor::Open(Loop& loop, Network& network,
                                                   const Address& address, Options options,
                                                   Route route) {
  CHECK_GT(options.max_pending, 0u);
  std::unique_ptr<FrontDoor> door(new FrontDoor(loop, options, std::move(route)));
  ASSIGN_OR_RETURN(door->listener_,
                   network.Listen(address, [door = door.get()](std::unique_ptr<Socket> socket,
                                                               const Address& peer) {
                     door->OnAccept(std::move(socket), peer);
                   }));
  return door;
}

void FrontDoor::OnAccept(std::unique_ptr<Socket> socket, const Address& peer) {
  ++counts_.accepted;
  if (!calls_.Take(peer, loop_.Now())) {
    ++counts_.too_often;
    LOG_EVERY_N(WARNING, 1000) << "front door: " << peer << " calls too often";
    return;
  }
  if (pending_.size() >= options_.max_pending) {
    const Place crowding = FirstOfTheBusiestCaller(
        pending_, [](const Pending& pending) { return CallerName(pending.peer); });
    Drop(crowding, counts_.crowded_out, ResourceExhausted("too many wait"));
  }
  const Place place = pending_.emplace(pending_.end());
  place->socket = std::move(socket);
  place->peer = peer;
  Status status = loop_.Watch(place->socket->descriptor(), {.readable = true},
                              [this, place](Ready) { OnReady(place); });
  if (!status.ok()) return Drop(place, counts_.crowded_out, status);
  place->limit = loop_.RunAfter(options_.preamble_limit, [this, place] {
    Drop(place, counts_.too_slow, Timeout("no preamble in time"));
  });
}

void FrontDoor::OnReady(Place place) {
  // Never a byte more than the preamble: what follows belongs to whom it names.
  const iovec rest{place->bytes.data() + place->received, kPreambleBytes - place->received};
  const ssize_t received = place->socket->Receive({&rest, 1}, nullptr);
  if (received < 0) {
    if (errno == EAGAIN) return;
    return Drop(place, counts_.closed_early, ErrnoStatus(errno, "reading the preamble"));
  }
  if (received == 0) {
    return Drop(place, counts_.closed_early, PeerLost("closed within the preamble"));
  }
  place->received += static_cast<size_t>(received);
  if (place->received == kPreambleBytes) Decide(place);
}

void FrontDoor::Decide(Place place) {
  Result<Preamble> preamble = ParsePreamble(place->bytes);
  if (!preamble.ok()) return Drop(place, counts_.garbage, preamble.status());
  // Supervisors that were told of each other and are of different jobs: only their handshake can
  // name both jobs, and prove it.
  const bool is_data = preamble->role == ConnectionRole::kData;
  if (preamble->job_hash != options_.job_hash && is_data) {
    return Drop(place, counts_.other_job, Mismatch("meant for another job"));
  }
  if (!is_data && !membership_calls_.Take(place->peer, loop_.Now())) {
    return Drop(place, counts_.too_often, ResourceExhausted("it calls too often"));
  }
  Pending pending = TakeOut(place);
  ++counts_.routed;
  const std::shared_ptr<Route> route = route_;
  (*route)(*preamble, std::move(pending.socket));
}

void FrontDoor::Drop(Place place, uint64_t& count, const Status& why) {
  ++count;
  LOG_EVERY_N(WARNING, 100) << "front door: dropped a connection from " << place->peer << ": "
                            << why;
  TakeOut(place);
}

FrontDoor::Pending FrontDoor::TakeOut(Place place) {
  loop_.Unwatch(place->socket->descriptor());
  loop_.Cancel(place->limit);
  Pending pending = std::move(*place);
  pending_.erase(place);
  return pending;
}

}  // namespace closeranks::net
