// The blobs that a node gives away, by their hashes: manifests and chunks of a PolicyStore,
// straight from its files, and a few things beside them. Thread-safe.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "channel/swarm_channel.h"
#include "net/server.h"
#include "policy/store.h"

namespace waggle {

class BlobCatalog final : public BlobSource {
 public:
  // Under a name of the caller's (a run's description goes by the run's id), for good.
  void Put(const Digest256& name, Bytes bytes);
  // From now on: what `store` holds at this moment, and nothing else of it. What is being read of
  // older things stays readable. Damage that is found is the store's error. Beside each update the
  // dictionary of its torrent, if `swarm` (which may be null) gives one.
  Status Follow(PolicyStore& store, const SwarmChannel* swarm = nullptr);

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override;
  std::uint64_t bytes_read() const { return *read_; }  // of all blobs, by whoever opened them

 private:
  struct Part {
    std::shared_ptr<const void> owner;
    std::span<const std::uint8_t> bytes;
  };
  using Parts = std::map<Digest256, Part>;
  class PartBlob;

  std::shared_ptr<std::atomic<std::uint64_t>> read_ =
      std::make_shared<std::atomic<std::uint64_t>>(0);
  // Follow's own: the updates that are indexed, under the digest of their manifest.
  std::map<Digest256, Parts> updates_;
  mutable std::mutex mutex_;  // of what follows
  Parts named_, parts_;
};

}  // namespace waggle
