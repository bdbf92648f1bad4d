// The listening side of the transport: conversations of opaque frames, and blobs on request.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "net/certificate.h"
#include "net/event.h"
#include "net/limits.h"

namespace waggle {

// One blob while it is being sent. Used by one thread at a time.
class Blob {
 public:
  virtual ~Blob() = default;
  virtual std::uint64_t size() const = 0;
  // Fills all of `out`. REQUIRES offset + out.size() <= size().
  virtual Status Read(std::uint64_t offset, std::span<std::byte> out) = 0;
};

// Where blobs come from. Thread-safe: called from the server's fetch_threads, and may block them.
class BlobSource {
 public:
  virtual ~BlobSource() = default;
  // Null if there is no such blob. What the error says stays here; the peer learns only that
  // reading failed.
  virtual Result<std::unique_ptr<Blob>> Open(const Digest256& hash) = 0;
};

// Start, Next, Send, Close and Stop are for one thread, the consumer's; no thread is made per
// connection. Memory is bounded by NetLimits whatever peers do.
class NodeServer {
 public:
  // `address`: "host:port"; port 0 takes a free one. `blobs` may be null (every fetch is answered
  // "unknown"); it and `clock` outlive the server. Blame::kOperator for address and limits.
  static Result<std::unique_ptr<NodeServer>> Start(const std::string& address,
                                                   const Certificate& certificate,
                                                   const NetLimits& limits, BlobSource* blobs,
                                                   Clock& clock);
  ~NodeServer();  // Stop
  NodeServer(const NodeServer&) = delete;
  NodeServer& operator=(const NodeServer&) = delete;

  std::uint16_t port() const;

  // The next event, in the order of a connection; false if there is none within `timeout_ms`.
  // A consumer that does not call it stops reading from the peers, not only from their queues.
  bool Next(Event& event, std::int64_t timeout_ms);

  // Queues a frame. REQUIRES frame.size() <= frame_bytes_max. False if the connection is closed, or
  // is by this frame, which does not fit its queue: kClosed tells why.
  bool Send(ConnectionId connection, std::span<const std::uint8_t> frame);
  // Several, all or none, in as few packets as they fit.
  bool Send(ConnectionId connection, std::span<const std::span<const std::uint8_t>> frames);

  // Ends a connection; what was sent before goes out if the peer takes it within a second. Frames
  // that are already here are still delivered, then kClosed. Unknown connections are ignored.
  void Close(ConnectionId connection);

  // Ends everything (kStopping), within about a second and a blob read that is under way. Events
  // that are queued can still be taken.
  void Stop();

  // What is held now, for gauges: any thread.
  struct Load {
    std::size_t sockets = 0, fetches = 0, queued_bytes = 0, partial_bytes = 0;
  };
  Load load() const;

 private:
  class Impl;
  explicit NodeServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
