#include "net/event.h"

#include "base/check.h"

namespace waggle {

std::string_view ToString(CloseReason reason) {
  switch (reason) {
    case CloseReason::kClosedHere:
      return "closed on this side";
    case CloseReason::kClosedByPeer:
      return "closed by the peer";
    case CloseReason::kLost:
      return "connection lost";
    case CloseReason::kFrameTooLarge:
      return "frame too large";
    case CloseReason::kOutboundFull:
      return "too many bytes wait to be read";
    case CloseReason::kIdle:
      return "idle for too long";
    case CloseReason::kNoFirstFrame:
      return "no first frame in time";
    case CloseReason::kTooManyConnections:
      return "too many connections";
    case CloseReason::kTooManyFromAddress:
      return "too many connections from this address";
    case CloseReason::kPartialBytes:
      return "too many bytes of unfinished frames";
    case CloseReason::kStopping:
      return "the server stops";
    case CloseReason::kMalformed:
      return "not what the protocol allows";
    case CloseReason::kWrongPin:
      return "the certificate is not the pinned one";
    case CloseReason::kNoAnswer:
      return "no answer in time";
  }
  return "?";
}

Blame BlameOf(CloseReason reason) {
  switch (reason) {
    case CloseReason::kFrameTooLarge:
    case CloseReason::kMalformed:
      return Blame::kPeer;
    case CloseReason::kWrongPin:
      return Blame::kOperator;
    case CloseReason::kClosedHere:
    case CloseReason::kClosedByPeer:
    case CloseReason::kLost:
    case CloseReason::kOutboundFull:
    case CloseReason::kIdle:
    case CloseReason::kNoFirstFrame:
    case CloseReason::kTooManyConnections:
    case CloseReason::kTooManyFromAddress:
    case CloseReason::kPartialBytes:
    case CloseReason::kStopping:
    case CloseReason::kNoAnswer:
      return Blame::kMachine;
  }
  return Blame::kBug;
}

}  // namespace waggle
