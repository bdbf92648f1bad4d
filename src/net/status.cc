#include "net/status.h"

#include <string>

namespace waggle {

grpc::Status ToGrpc(CloseReason reason) {
  const std::string details(1, static_cast<char>(reason));
  const auto code = [&] {
    switch (reason) {
      case CloseReason::kClosedHere:
      case CloseReason::kClosedByPeer:
        return grpc::StatusCode::OK;
      case CloseReason::kFrameTooLarge:
      case CloseReason::kOutboundFull:
      case CloseReason::kTooManyConnections:
      case CloseReason::kTooManyFromAddress:
      case CloseReason::kPartialBytes:
        return grpc::StatusCode::RESOURCE_EXHAUSTED;
      case CloseReason::kIdle:
      case CloseReason::kNoFirstFrame:
        return grpc::StatusCode::DEADLINE_EXCEEDED;
      case CloseReason::kMalformed:
        return grpc::StatusCode::INVALID_ARGUMENT;
      case CloseReason::kLost:
      case CloseReason::kStopping:
      case CloseReason::kWrongPin:
      case CloseReason::kNoAnswer:
        return grpc::StatusCode::UNAVAILABLE;
    }
    return grpc::StatusCode::UNKNOWN;
  }();
  return {code, std::string(ToString(reason)), details};
}

CloseReason FromGrpc(const grpc::Status& status) {
  if (status.ok()) return CloseReason::kClosedByPeer;
  const std::string details = status.error_details();
  if (details.size() == 1) {
    const auto byte = static_cast<std::uint8_t>(details[0]);
    // Only what a server can say; the client finds out kWrongPin and kNoAnswer itself.
    if (byte > static_cast<std::uint8_t>(CloseReason::kLost) &&
        byte <= static_cast<std::uint8_t>(CloseReason::kMalformed))
      return static_cast<CloseReason>(byte);
  }
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED)
    return CloseReason::kFrameTooLarge;
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return CloseReason::kMalformed;
  return CloseReason::kLost;
}

}  // namespace waggle
