// Messages through memory that two processes of one host share.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_SHM_TRANSPORT_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_SHM_TRANSPORT_H_

#include <cstddef>
#include <memory>

#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

struct ShmTransportOptions {
  size_t slot_bytes = 64 << 10;  // payload of a slot; a multiple of 64
  size_t slots = 16;             // a power of two
};

// Takes a connected Unix stream socket, on which the handshake is over. Each side makes a memory
// file (memfd), sealed against changes of size, filled before it is shared, and passes it over the
// socket; after that the socket carries single bytes that wake a sleeping peer, and tells by its
// end that the peer has gone.
//
// A process writes to its own file only: slots with the messages that it sends, and how far it has
// read the peer's. Who receives reads, copies or adds straight out of the peer's pages. The slots
// of a file outlive their owner for as long as the other side has them mapped.
//
// kResourceExhausted when there is no memory (the files count against the process's memory limits,
// not against /dev/shm); kPeerLost when the peer closes the socket; kMismatch when it passes
// something else.
Result<std::unique_ptr<Transport>> MakeShmTransport(UniqueFd socket, const MemberProcess& peer,
                                                    const ShmTransportOptions& options = {});

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_SHM_TRANSPORT_H_
