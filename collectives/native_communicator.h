// Puts a communicator together from what a process has: an engine and a transport to each peer.
#ifndef CLOSERANKS_COLLECTIVES_NATIVE_COMMUNICATOR_H_
#define CLOSERANKS_COLLECTIVES_NATIVE_COMMUNICATOR_H_

#include <cstdint>
#include <memory>
#include <span>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "collectives/backends/native.h"
#include "collectives/communicator.h"
#include "collectives/engine/engine.h"
#include "collectives/transport/transport.h"

namespace closeranks {

struct NativeCommunicatorOptions {
  Communicator::Options communicator;
  // Tells communicators of one generation apart: the same on all of its ranks.
  uint8_t channel = 0;
  collectives::NativeOptions native;
};

// `transports` has one for each rank, null for the own, all attached to `engine`. Engine,
// transports and clock outlive the communicator; the transports serve the communicators of later
// generations as well. Making one of a higher generation ends those of lower ones with
// kStaleGeneration. Peers need not have made theirs yet.
//
// Errors: a transport's failure, with the rank it leads to (kPeerLost, ...); kStaleGeneration when
// a transport has been used by a newer generation, or by this one before; kInvalidArgument when one
// isn't attached.
Result<std::unique_ptr<Communicator>> MakeNativeCommunicator(
    int rank, int size, Generation generation, collectives::Engine& engine,
    std::span<collectives::Transport* const> transports, const Clock& clock,
    const NativeCommunicatorOptions& options = {});

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_NATIVE_COMMUNICATOR_H_
