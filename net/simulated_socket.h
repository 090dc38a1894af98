// One end of a simulated connection.
#ifndef CLOSERANKS_NET_SIMULATED_SOCKET_H_
#define CLOSERANKS_NET_SIMULATED_SOCKET_H_

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/loop.h"
#include "net/simulated_fabric.h"
#include "net/simulated_world.h"
#include "net/socket.h"

namespace closeranks::net {

// Made by a SimulatedNetwork. Takes and gives bytes in pieces of a size that the world draws, and
// no more than fit into the connection's buffer. Destroying it while the peer's bytes are still
// unread, or on their way, resets the connection, and of what was sent a part is lost, as the
// kernel does it.
class SimulatedSocket final : public Socket {
 public:
  SimulatedSocket(SimulatedFabric& fabric, SimulatedProcess& process,
                  std::shared_ptr<SimulatedFabric::Connection> connection, int side);
  ~SimulatedSocket() override;
  SimulatedSocket(const SimulatedSocket&) = delete;
  SimulatedSocket& operator=(const SimulatedSocket&) = delete;

  int descriptor() const override { return descriptor_; }
  ssize_t Receive(std::span<const iovec> parts,
                  std::vector<std::unique_ptr<Socket>>* passed) override;
  ssize_t Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) override;
  void FinishSending() override;
  bool can_pass_sockets() const override { return connection_->passes_sockets; }
  std::string peer() const override { return connection_->hosts[1 - side_]; }

  // Null while it is on its way to another process.
  SimulatedProcess* process() const { return process_; }
  Ready readiness() const;

  // For the fabric: what arrives.
  void OnBytes(std::string bytes, std::unique_ptr<SimulatedSocket> passed);
  void OnEnd();
  void OnReset();
  // Its process is dead: it takes no part any more.
  bool IsDead() const;

 private:
  using Kind = SimulatedFabric::Item::Kind;
  struct Arrived {
    std::string bytes;
    size_t read = 0;
    std::unique_ptr<SimulatedSocket> passed;  // comes with the first byte
  };

  size_t Room() const;

  SimulatedFabric& fabric_;
  SimulatedProcess* process_;
  const std::shared_ptr<SimulatedFabric::Connection> connection_;
  const int side_;
  const int descriptor_;
  std::deque<Arrived> inbox_;
  bool peer_finished_ = false;
  bool was_reset_ = false;
  bool reset_told_ = false;
  bool finished_ = false;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_SOCKET_H_
