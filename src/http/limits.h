// Every limit of the HTTP server and client. All of them hold for memory and time that a stranger
// can make us spend.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace waggle {

struct HttpLimits {
  // Connections, from accept. At a limit a newcomer takes the place of the one that has been silent
  // longest; if all of them are being answered, the newcomer is turned away.
  std::size_t connections_max = 256;
  std::size_t connections_per_address_max = 64;
  std::size_t requests_per_connection_max = 10'000;

  std::size_t header_bytes_max = 8 << 10;  // request line and all fields
  std::size_t body_bytes_max = 64 << 10;   // of a request
  std::size_t piece_bytes = 64 << 10;      // of a response, in memory at once, per connection

  std::int64_t header_ms_max = 10'000;  // from accept, or the request's first byte, to its last
  std::int64_t idle_ms_max = 60'000;    // between two requests
  std::int64_t body_ms_max = 30'000;    // for the whole body of a request
  std::int64_t piece_ms_max = 30'000;   // for the peer to take one piece
};

struct HttpClientLimits {
  std::size_t header_bytes_max = 16 << 10;
  std::uint64_t body_bytes_max = std::uint64_t{1} << 30;  // what the sink is given, all together
  std::int64_t connect_ms_max = 10'000;                   // name, TCP and TLS together
  std::int64_t header_ms_max = 30'000;                    // from the request to the reply's header
  std::int64_t stall_ms_max = 30'000;                     // without a byte
};

// Blame::kOperator, naming the field.
Status CheckLimits(const HttpLimits& limits);

}  // namespace waggle
