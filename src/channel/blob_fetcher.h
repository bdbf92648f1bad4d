// Blobs by hash, from whoever has them: mirrors over HTTP first, the host in the end. Nothing is
// believed but the hash, so a source needs no trust: it can cost time, of which it gets little, and
// bytes, of which it gets no more than the blob may have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/wire.h"
#include "channel/source_book.h"
#include "net/client.h"

namespace waggle {

struct MirrorLimits {
  std::int64_t connect_ms_max = 2'000;
  std::int64_t silence_ms_max = 3'000;  // of a mirror that was asked
  // A mirror that gives less than this after its first moments is hung up on.
  std::uint64_t bytes_per_second_min = 16 << 10;
  std::int64_t grace_ms = 5'000;
  std::int64_t behind_ms_max = 1'500;  // waited, per blob, for mirrors that do not have it yet
};

class BlobFetcher {
 public:
  // `seed`: of the draw among mirrors; each node its own, or all of them ask the same one.
  BlobFetcher(Clock& clock, std::uint64_t seed, const MirrorLimits& limits = {})
      : clock_(clock), limits_(limits), book_(seed) {}

  // http:// or https:// URLs, under which <url>/blob/<hash in hex> is the blob. Others are ignored.
  void Tell(const std::vector<std::string>& sources) { book_.Tell(sources); }

  // Exactly the blob with this SHA-256; blocks. Whatever a source has given is used, from the next
  // one only the rest is asked for. `host` may be null. Blame::kPeer: the host gave other bytes.
  Result<Bytes> Fetch(NodeClient* host, const Digest256& hash, std::uint64_t bytes_max);

  struct Totals {
    std::uint64_t host_bytes = 0, mirror_bytes = 0;  // that came
    std::uint64_t failures = 0, lies = 0;            // of mirrors
  };
  const Totals& totals() const { return totals_; }
  const SourceBook& book() const { return book_; }

 private:
  struct Job;
  bool FromMirrors(Job& job);
  bool Ask(Job& job, std::size_t mirror);
  bool Judge(Job& job);
  Result<Bytes> FromHost(Job& job, NodeClient& host);
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }

  Clock& clock_;
  const MirrorLimits limits_;
  SourceBook book_;
  Totals totals_;
};

}  // namespace waggle
