// Addresses as text.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace waggle {

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
};

// "host:port", "192.0.2.1:7100", "[2001:db8::1]:7100"; at most 300 bytes. Blame::kOperator.
Result<HostPort> ParseHostPort(std::string_view text);

struct PeerAddress {
  std::string text;  // with the port, as Event has it
  std::string host;  // what limits per address count by: an IPv4 address, or an IPv6 /64
  bool operator==(const PeerAddress&) const = default;
};

// IPv4 in IPv6 becomes IPv4, so that one machine has one name.
PeerAddress ToPeerAddress(const sockaddr* address, socklen_t size);

// gRPC's "ipv4:192.0.2.1:4711" or "ipv6:%5B2001:db8::1%5D:4711" as ToPeerAddress has it (text
// only).
std::string PeerTextFromGrpc(std::string_view peer);

}  // namespace waggle
