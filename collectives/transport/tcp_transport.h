// Messages as frames (net/frame.h) on one connected stream socket.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_TCP_TRANSPORT_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_TCP_TRANSPORT_H_

#include <memory>

#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

// Takes a connected stream socket, on which the handshake is over, makes it nonblocking and
// switches Nagle's delay off. (A Unix stream socket works as well.) Payloads carry no checksum of
// ours; headers do.
//
// It fails with kPeerLost when the peer closes or resets the connection, kMismatch when what comes
// isn't a frame of ours. A peer that is silent isn't lost: that is for operations' deadlines and
// for heartbeats.
Result<std::unique_ptr<Transport>> MakeTcpTransport(UniqueFd socket, const MemberProcess& peer);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_TCP_TRANSPORT_H_
