// Messages as frames (net/frame.h) on one connected socket.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_TCP_TRANSPORT_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_TCP_TRANSPORT_H_

#include <memory>

#include "base/member.h"
#include "collectives/transport/transport.h"
#include "net/socket.h"

namespace closeranks::collectives {

// Takes a connected socket, on which the handshake is over. Payloads carry no checksum of ours;
// headers do.
//
// It fails with kPeerLost when the peer closes or resets the connection, kMismatch when what comes
// isn't a frame of ours. A peer that is silent isn't lost: that is for operations' deadlines and
// for heartbeats.
std::unique_ptr<Transport> MakeTcpTransport(std::unique_ptr<net::Socket> socket,
                                            const MemberProcess& peer);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_TCP_TRANSPORT_H_
