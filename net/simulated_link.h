// One end of a simulated connection.
#ifndef CLOSERANKS_NET_SIMULATED_LINK_H_
#define CLOSERANKS_NET_SIMULATED_LINK_H_

#include <memory>
#include <string>

#include "net/link.h"
#include "net/simulated_fabric.h"
#include "net/simulated_world.h"

namespace closeranks::net {

// Made by a SimulatedNetwork. Close, and destroying it, drop a part of what is still on the way,
// chosen at random, as a socket may that is closed with unread data: who wants it to arrive calls
// FinishSending and waits for the end.
class SimulatedLink final : public Link {
 public:
  SimulatedLink(SimulatedFabric& fabric, SimulatedProcess& process,
                std::shared_ptr<SimulatedFabric::Connection> connection, int side,
                LinkOptions options);
  ~SimulatedLink() override;
  SimulatedLink(const SimulatedLink&) = delete;
  SimulatedLink& operator=(const SimulatedLink&) = delete;

  void Start(LinkHandlers handlers) override;
  void Send(const FrameHeader& header, std::string payload, UniqueFd passed = {}) override;
  // The fabric hands over each frame as it arrives, so none waits here.
  void ReceiveNow() override {}
  void FinishSending() override;
  void Close() override;
  void set_max_payload(uint32_t max_payload) override { options_.max_payload = max_payload; }
  bool CanPassFds() const override { return false; }
  bool IsOpen() const override { return is_open_; }
  size_t queued_bytes() const override;
  const std::string& peer() const override { return connection_->hosts[1 - side_]; }

  SimulatedProcess& process() { return process_; }

  // For the fabric: whether what arrives can be taken now, and its arrival.
  bool CanReceive() const;
  void OnFrame(Frame frame);
  void OnEnd(bool was_reset);

 private:
  using Kind = SimulatedFabric::Item::Kind;

  void Fail(Status why);
  void ReportEnd();

  SimulatedFabric& fabric_;
  SimulatedProcess& process_;
  const std::shared_ptr<SimulatedFabric::Connection> connection_;
  const int side_;
  LinkOptions options_;
  // Shared with the call in progress, so that a handler may destroy the link that holds it.
  std::shared_ptr<LinkHandlers> handlers_ = std::make_shared<LinkHandlers>();
  bool is_open_ = true;
  bool finishing_ = false;
  Status end_;
  TimerId end_timer_ = kNoTimer;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_LINK_H_
