// The calling side of the transport: one conversation with one pinned server, and its blobs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "net/certificate.h"
#include "net/event.h"
#include "net/limits.h"

namespace waggle {

enum class FetchFailure : std::uint8_t {
  kUnknown,       // the server has no such blob
  kOffset,        // the server's blob ends before the offset
  kBusy,          // too many fetches at the server: try later
  kSourceFailed,  // the server cannot read the blob to its end
  kLimit,         // more than bytes_max
  kMalformed,     // chunks of a wrong size or place
  kStalled,       // nothing for idle_ms_max
  kLost,          // the connection broke, or the server ended
  kWrongPin,
  kSink,  // the sink said stop; `error` is what it said
};

std::string_view ToString(FetchFailure failure);

struct FetchError {
  FetchFailure failure = FetchFailure::kLost;
  Error error;  // kPeer only for kLimit and kMalformed: the bytes themselves were wrong
  std::uint64_t next_offset = 0;  // where to go on: the sink has taken all before it
};

// Next, Send and Close are for one thread. FetchBlob may run on others at the same time, one call
// each; all of them end before the client does. Reconnecting is making another NodeClient.
class NodeClient {
 public:
  // `address`: "host:port". Returns at once: kOpened or kClosed tells how it went. The certificate
  // of the server must have `pin`; there is no connection without TLS. Of the limits, those for
  // connections, sockets and idle conversations do not apply. Blame::kOperator for the address and
  // the limits. `clock` outlives the client.
  static Result<std::unique_ptr<NodeClient>> Connect(const std::string& address, const Pin& pin,
                                                     const NetLimits& limits, Clock& clock);
  ~NodeClient();  // ends the conversation, if it has not; within about a second
  NodeClient(const NodeClient&) = delete;
  NodeClient& operator=(const NodeClient&) = delete;

  // As NodeServer's. The one connection has number 1. Deadlines are noticed in here.
  bool Next(Event& event, std::int64_t timeout_ms);
  bool Send(std::span<const std::uint8_t> frame);
  void Close();

  // The blob from `offset` to its end, in pieces of at most 1 MiB, in order; blocks. `sink` runs on
  // the caller's thread; an error from it ends the fetch. Checks lengths and places only: whoever
  // wants the blob compares its hash. Returns the blob's size. REQUIRES offset <= bytes_max.
  using Sink = std::function<Status(std::uint64_t offset, std::span<const std::byte> data)>;
  tl::expected<std::uint64_t, FetchError> FetchBlob(const Digest256& hash, std::uint64_t offset,
                                                    std::uint64_t bytes_max, const Sink& sink);

 private:
  class Impl;
  explicit NodeClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
