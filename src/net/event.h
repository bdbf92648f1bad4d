// What a transport tells its one consumer, and why a conversation ended.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace waggle {

// Numbered from 1 in the order of opening; never used twice by one NodeServer or NodeClient.
enum class ConnectionId : std::uint64_t {};

// One byte on the wire: values are never reused. Append only.
enum class CloseReason : std::uint8_t {
  kClosedHere = 0,          // Close() on our side
  kClosedByPeer = 1,        // the other side ended it in order
  kLost = 2,                // the line broke, or the peer's process ended
  kFrameTooLarge = 3,       // a frame above frame_bytes_max, whole or begun
  kOutboundFull = 4,        // the receiver does not read: outbound_bytes_max or queued_bytes_max
  kIdle = 5,                // no whole frame within idle_ms_max
  kNoFirstFrame = 6,        // no whole frame within first_frame_ms_max
  kTooManyConnections = 7,  // connections_max, or a second conversation on one TLS connection
  kTooManyFromAddress = 8,  // connections_per_address_max
  kPartialBytes = 9,        // held most of partial_bytes_max when it was reached
  kStopping = 10,           // the server ends
  kMalformed = 11,          // not a Frame, compressed, or not this service
  kWrongPin = 12,           // client: the server's certificate is not the pinned one
  kNoAnswer = 13,           // client: not opened within connect_ms_max
};

std::string_view ToString(CloseReason reason);

// Whether the bytes that came from the other side were wrong. Everything else may be the line, and
// nobody may be accused of it: kWrongPin is Blame::kOperator (a wrong pin, a wrong address or a
// stranger in between; nobody was authenticated), the rest Blame::kMachine.
Blame BlameOf(CloseReason reason);

struct Event {
  enum class Kind : std::uint8_t {
    kOpened,    // text: the peer's address, "192.0.2.1:4711" or "[2001:db8::1]:4711"
    kReceived,  // bytes: one frame
    kClosed,    // reason; text: a sentence for people. Exactly one per Opened, and the last
  };
  Kind kind = Kind::kClosed;
  ConnectionId connection{};
  std::string bytes;
  CloseReason reason = CloseReason::kLost;
  std::string text;

  std::span<const std::uint8_t> frame() const {
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  }
};

}  // namespace waggle
