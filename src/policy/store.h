// Policy versions on disk. Manifests and chunks come from strangers, in any order, twice, torn,
// forged, or not at all, and the process may be killed at any moment. A version exists when every
// one of its chunks was verified and one rename published it; before that it is not there, and
// there is nothing in between.
//
// Folder: "full-<version>" and "patch-<base>-<version>", each with manifest.bin and payload.bin,
// are published; "incoming/<digest of the manifest>" are on their way. What has arrived of those is
// found again by hashing the file against the manifest: no journal that could disagree with it.
//
// One process, one caller at a time. Payloads that were read stay valid while the reader holds
// them, whatever is pruned meanwhile.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "base/files.h"
#include "policy/chain.h"
#include "policy/manifest.h"

namespace waggle {

struct StoreConfig {
  // Ring: this many of the newest snapshots are kept, and every patch that leads on from the oldest
  // of them. At least 1. For versions that can still be trained on or disputed (sheet gradient.md
  // 1.8, "snapshot ring") the oldest must be at least that old.
  std::size_t snapshots_kept = 2;
  // Older ones stay too while everything from them on takes no more than this: versions that come
  // fast are small, and whoever was just told of one must still find it.
  std::uint64_t spare_bytes = 0;
  // And while somebody may still need them (PolicyStore::Hold), within this.
  std::uint64_t held_bytes = 0;
  std::uint64_t payload_bytes_max = std::uint64_t{1} << 40;
  std::size_t incoming_max = 16;  // versions on their way at once
};

enum class ChunkOutcome : std::uint8_t {
  kStored,     // verified, on its way
  kDuplicate,  // was there already
  kPublished,  // the last one: the version exists from now on
  kUnwanted,   // of no version that is awaited (older than the ring, or never announced): ignored
};

class PolicyStore {
 public:
  // Opens or creates. Finishes what a kill interrupted: complete versions on their way are
  // published, half-removed ones removed, unknown files left alone. Versions of another run are
  // Blame::kOperator.
  static Result<PolicyStore> Open(std::filesystem::path root, const Hash256& run, ThreadPool& pool,
                                  const StoreConfig& config = {});
  PolicyStore(PolicyStore&&) = default;

  // `announced`: the digest that the trainer signed. Refused, Blame::kPeer: other bytes than that,
  // another run, a second manifest for the same version and base, or roots that contradict a
  // version which is here. Accepting the same one again changes nothing. Older than the ring, or
  // too many at once: Blame::kOperator.
  Status AddManifest(std::span<const std::uint8_t> manifest, const Digest256& announced);
  // A chunk that is not what the manifest says is Blame::kPeer and leaves no trace.
  Result<ChunkOutcome> AddChunk(const Digest256& manifest, std::size_t chunk,
                                std::span<const std::uint8_t> bytes);
  // Chunks that are still to come, ascending; empty when complete or unknown.
  std::vector<std::size_t> Missing(const Digest256& manifest) const;
  // The trainer's own: manifest and all chunks.
  Status Publish(const PolicyManifest& manifest, std::span<const std::uint8_t> payload);

  struct Stored {
    PolicyManifest manifest;
    MappedFile payload;
    std::span<const std::uint8_t> bytes() const;
  };
  // One published update with its chunks verified again; nothing: not here. Damage on disk is
  // Blame::kMachine, and the update is removed, so that it can be fetched again.
  Result<std::optional<Stored>> Read(std::optional<PolicyVersion> base, PolicyVersion version);

  // The policy at `version`: the cheapest chain of snapshot and patches, patches composed into one,
  // every root checked. `have` spares the snapshot if it is a version of this store. Nothing: not
  // here.
  Result<std::optional<PolicyImage>> Restore(PolicyVersion version, const ImageForm& form,
                                             const PolicyImage* have = nullptr);

  // From now on what leads to this version and those after it is kept, within held_bytes.
  void Hold(PolicyVersion from) { held_from_ = from; }

  // Forgets whatever leads to `version` or beyond it: a history that was taken back.
  Status RemoveFrom(PolicyVersion version);

  // The manifest with this digest, published or on its way; null: not here. Valid until the store
  // changes.
  const PolicyManifest* Find(const Digest256& manifest) const;
  std::vector<PolicyLink> Links() const;        // published, in order of version and base
  std::optional<PolicyVersion> Newest() const;  // that Restore can make from nothing
  std::optional<Digest256> RootOf(PolicyVersion version) const;  // as published
  // The newest version with this root, as published.
  std::optional<PolicyVersion> VersionOf(const Digest256& root) const;
  // Of the manifest of this update, if it is published.
  std::optional<Digest256> DigestOf(const PolicyLink& link) const;

 private:
  struct Key {
    std::optional<PolicyVersion> base;
    PolicyVersion version;
    auto operator<=>(const Key&) const = default;
  };
  struct Incoming {
    PolicyManifest manifest;
    std::vector<bool> have;
    std::size_t missing = 0;
  };
  PolicyStore(std::filesystem::path root, const Hash256& run, ThreadPool& pool,
              const StoreConfig& config);

  static Key KeyOf(const PolicyManifest& manifest) { return {manifest.base, manifest.version}; }
  std::filesystem::path FolderOf(const Key& key) const;
  std::filesystem::path IncomingFolder(const Digest256& digest) const;
  Status LoadPublished();
  Status LoadIncoming();
  Status ResumeIncoming(const std::filesystem::path& folder);
  Status CheckAgainstKnown(const PolicyManifest& manifest, const Digest256& digest) const;
  Status Complete(const Digest256& digest);
  Status Remove(const Key& key);
  Status Prune();
  std::optional<PolicyVersion> OldestKept() const;
  Result<std::optional<std::vector<Stored>>> ReadChain(const std::vector<PolicyLink>& chain);

  std::filesystem::path root_;
  Hash256 run_;
  ThreadPool* pool_;
  StoreConfig config_;
  PolicyVersion held_from_;  // at first: from the beginning
  struct Published {
    PolicyManifest manifest;
    Digest256 digest{};
  };
  std::map<Key, Published> published_;
  std::map<Digest256, Incoming> incoming_;
};

}  // namespace waggle
