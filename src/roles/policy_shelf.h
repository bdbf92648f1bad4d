// The host's policies as blobs that volunteers fetch by hash: manifests, chunks and the run's
// description. Held in memory: the chain that newcomers take, and the one before it for those who
// are still fetching.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "net/server.h"
#include "policy/manifest.h"
#include "policy/model_image.h"

namespace waggle {

class PolicyShelf final : public BlobSource {
 public:
  // pool outlives the shelf.
  PolicyShelf(const Hash256& run, ThreadPool& pool) : run_(run), pool_(pool) {}

  void PutDescription(Bytes bytes);

  // Manifests of a version that was put: from the one before (of no meaning for the first), and the
  // snapshot, if this version begins a new chain.
  struct Manifests {
    Digest256 manifest{};
    std::optional<Digest256> snapshot;
  };
  // Versions are put in order. One thread.
  Result<Manifests> Put(PolicyVersion version, PolicyImage image, PolicyKind delta_kind);
  const PolicyImage* newest() const { return newest_ ? &*newest_ : nullptr; }

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override;  // any thread

 private:
  using Shared = std::shared_ptr<const Bytes>;
  struct Part {  // a range of a payload
    Shared bytes;
    std::uint64_t offset = 0, size = 0;
  };
  using Chain = std::map<Digest256, Part>;

  Digest256 Store(PolicyManifest facts, Bytes payload, Chain& chain);

  const Hash256 run_;
  ThreadPool& pool_;
  std::optional<PolicyImage> newest_;
  PolicyVersion version_;
  std::uint64_t snapshot_bytes_ = 0, delta_bytes_ = 0, deltas_ = 0;  // of the newest chain

  std::mutex mutex_;  // of what follows
  Chain current_, before_;
  Shared description_;
};

}  // namespace waggle
