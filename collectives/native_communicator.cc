#include "collectives/native_communicator.h"

#include <string>
#include <utility>

namespace closeranks {

Result<std::unique_ptr<Communicator>> MakeNativeCommunicator(
    int rank, int size, Generation generation, collectives::Engine& engine,
    std::span<collectives::Transport* const> transports, const Clock& clock,
    const NativeCommunicatorOptions& options) {
  if (size < 1 || rank < 0 || rank >= size || transports.size() != static_cast<size_t>(size)) {
    return InvalidArgument("rank " + std::to_string(rank) + " of " + std::to_string(size) +
                           " with " + std::to_string(transports.size()) + " transports");
  }
  collectives::GroupSpec spec;
  spec.rank = rank;
  spec.size = size;
  spec.generation = generation;
  spec.channel = options.channel;
  spec.transports.assign(transports.begin(), transports.end());
  ASSIGN_OR_RETURN(std::unique_ptr<collectives::NativeBackend> backend,
                   collectives::NativeBackend::Make(engine, spec, options.native));
  return std::make_unique<Communicator>(rank, size, generation, std::move(backend), clock,
                                        options.communicator);
}

}  // namespace closeranks
