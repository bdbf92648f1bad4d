// CloseReason as a gRPC status and back. (Internal to net/.)
#pragma once

#include <grpcpp/support/status.h>

#include "net/event.h"

namespace waggle {

grpc::Status ToGrpc(CloseReason reason);

// What a client makes of the status that ended its conversation. The other side's kClosedHere is
// our kClosedByPeer; a status without our one byte is gRPC's own.
CloseReason FromGrpc(const grpc::Status& status);

}  // namespace waggle
