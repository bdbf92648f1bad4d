// Every limit of the transport. All of them hold for memory that a stranger can make us spend;
// their sum is what a node must have to spare (docs/adr/0011-transport.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace waggle {

inline constexpr std::size_t kChunkBytesMax = std::size_t{1} << 20;  // data of one Chunk

struct NetLimits {
  // Conversations, counted from the call to the caller's receipt of Closed.
  std::size_t connections_max = 256;
  std::size_t connections_per_address_max = 16;

  // TCP connections, counted from accept: those above, those that only fetch, and those that have
  // not said yet what they want. Refused without a word.
  std::size_t sockets_max = 512;
  std::size_t sockets_per_address_max = 32;

  std::size_t frame_bytes_max = std::size_t{32} << 20;

  // Frames that wait, per connection. Inbound: reading stops at or above it, so that up to one
  // frame more may be there. Outbound: a connection that would exceed it is closed.
  std::size_t inbound_bytes_max = std::size_t{32} << 20;
  std::size_t outbound_bytes_max = std::size_t{64} << 20;
  // Frames that wait, all connections and both directions together. At or above it no connection is
  // read, and a frame that would exceed it outbound closes its connection.
  std::size_t queued_bytes_max = std::size_t{1} << 30;
  // Bytes of frames that are not yet complete, all connections together; above it the connection
  // that holds the most of them is closed.
  std::size_t partial_bytes_max = std::size_t{512} << 20;

  std::size_t fetches_max = 16;
  std::size_t fetches_per_connection_max = 4;
  std::size_t fetch_threads = 2;  // that read from the BlobSource

  // From accept to a call, and again from a conversation's call to its first whole frame.
  std::int64_t first_frame_ms_max = 10'000;
  // Between two frames from the peer, or two chunks that it takes. A client: between two chunks.
  std::int64_t idle_ms_max = 120'000;
  std::int64_t connect_ms_max = 10'000;  // client: from Connect to Opened
};

// Every relation between the limits. Blame::kOperator, naming the field.
Status CheckLimits(const NetLimits& limits);

}  // namespace waggle
