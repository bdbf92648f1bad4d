// The host's policies: on disk in the run's folder, so that a host that comes back publishes the
// same manifests, and served from there as blobs, by hash, beside the run's description.
#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <vector>

#include "channel/blob_catalog.h"
#include "policy/model_image.h"

namespace waggle {

// Of policies that are kept for audits; past it the oldest go, needed or not.
inline constexpr std::uint64_t kHeldPolicyBytes = std::uint64_t{16} << 30;

class PolicyShelf final : public BlobSource {
 public:
  // pool outlives the shelf.
  PolicyShelf(const Hash256& run, ThreadPool& pool) : run_(run), pool_(pool) {}
  // Before Put. What a run before this one left in `folder` is taken over.
  Status Open(const std::filesystem::path& folder);
  // Before Open, and again whenever it changes; any thread. Versions from this one on stay on the
  // shelf until it moves on, within kHeldPolicyBytes (audits need them). Without it: the newest.
  void Hold(PolicyVersion from) { held_from_ = from.value; }
  // Before Put. What is published is given there too; null: nowhere. Outlives the shelf's use.
  void GiveTo(SwarmChannel* swarm) { swarm_ = swarm; }

  void PutDescription(Bytes bytes) { blobs_.Put(run_, std::move(bytes)); }

  // Manifests of a version that was put: from the one before (of no meaning for the first), and the
  // snapshot, if this version begins a new chain.
  struct Manifests {
    PolicyVersion version;
    std::optional<Digest256> update, snapshot;
    // Their torrents, where there are any: without peers.
    std::optional<Magnet> update_torrent, snapshot_torrent;
  };
  // Versions are put in order. One thread. The first after Open is where the run stands. What was
  // published before under the same number stays if it is the same, and else goes, with all that
  // came after it.
  Result<Manifests> Put(PolicyVersion version, PolicyImage image, PolicyKind delta_kind);
  const PolicyImage* newest() const { return newest_ ? &*newest_ : nullptr; }
  // All that is published up to the newest that was put, ascending; what newcomers are told.
  std::vector<Manifests> Published() const;

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override { return blobs_.Open(hash); }
  // Roots of the versions that are published, ascending.
  std::vector<std::pair<PolicyVersion, Digest256>> Roots() const;
  std::uint64_t bytes_served() const { return blobs_.bytes_read(); }  // any thread

 private:
  Result<Digest256> Publish(PolicyManifest facts, const Bytes& payload);
  Status Agree(PolicyVersion version, const Digest256& root);
  Result<Digest256> PutUpdate(PolicyVersion version, const PolicyImage& image, PolicyKind kind);
  Result<Digest256> PutSnapshot(PolicyVersion version, const PolicyImage& image);
  bool NewChainDue(PolicyVersion version) const;
  void AddTorrents(Manifests& manifests) const;

  const Hash256 run_;
  ThreadPool& pool_;
  std::optional<PolicyStore> store_;
  SwarmChannel* swarm_ = nullptr;
  static constexpr std::uint64_t kNothingHeld = ~std::uint64_t{0};
  std::atomic<std::uint64_t> held_from_ = kNothingHeld;
  BlobCatalog blobs_;
  std::optional<PolicyImage> newest_;
  PolicyVersion version_;
};

}  // namespace waggle
