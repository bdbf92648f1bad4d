#include "run/policy_shelf.h"

#include <map>

#include "base/check.h"

namespace waggle {
namespace {

// A chain ends when its updates outweigh half a snapshot, or are this many: what a newcomer fetches
// stays below one and a half snapshots.
constexpr std::uint64_t kUpdatesMax = 64;
// The chain that newcomers take, and the one before it for those who left during it.
constexpr StoreConfig kRing{.snapshots_kept = 2, .spare_bytes = 32 << 20};

}  // namespace

Status PolicyShelf::Open(const std::filesystem::path& folder) {
  StoreConfig ring = kRing;
  if (held_from_ != kNothingHeld) ring.held_bytes = kHeldPolicyBytes;
  WG_ASSIGN(PolicyStore store, PolicyStore::Open(folder, run_, pool_, ring));
  store_.emplace(std::move(store));
  return {};
}

// The trainer's bits decide: a run that was resumed further back publishes the same again, or has
// gone another way, and then what was published from here on is history that never was.
Result<Digest256> PolicyShelf::Publish(PolicyManifest facts, const Bytes& payload) {
  const PolicyManifest manifest = MakeManifest(std::move(facts), payload, pool_);
  const Digest256 digest = DigestOf(manifest);
  const auto known = store_->DigestOf({manifest.base, manifest.version});
  if (known && *known != digest) WG_TRY(store_->RemoveFrom(manifest.version));
  WG_TRY(Agree(manifest.version, manifest.root));
  WG_TRY(store_->Publish(manifest, payload));
  return digest;
}

Status PolicyShelf::Agree(PolicyVersion version, const Digest256& root) {
  const auto known = store_->RootOf(version);
  return known && *known != root ? store_->RemoveFrom(version) : Status{};
}

Result<Digest256> PolicyShelf::PutUpdate(PolicyVersion version, const PolicyImage& image,
                                         PolicyKind kind) {
  Check(version.value == version_.value + 1, "versions are put in order");
  WG_ASSIGN(const Bytes patch, EncodePatch(*newest_, image, pool_));
  return Publish({.run = run_,
                  .version = version,
                  .kind = kind,
                  .base = version_,
                  .base_root = newest_->root(),
                  .root = image.root()},
                 patch);
}

Result<Digest256> PolicyShelf::PutSnapshot(PolicyVersion version, const PolicyImage& image) {
  return Publish({.run = run_, .version = version, .root = image.root()}, EncodeSnapshot(image));
}

bool PolicyShelf::NewChainDue(PolicyVersion version) const {
  std::uint64_t snapshot = 0, updates = 0, update_bytes = 0;
  PolicyVersion begin;
  const std::vector<PolicyLink> links = store_->Links();
  for (const PolicyLink& link : links) {
    if (link.base || link.version >= version) continue;
    snapshot = link.bytes;
    begin = link.version;
  }
  for (const PolicyLink& link : links) {
    if (!link.base || link.version <= begin || link.version > version) continue;
    ++updates;
    update_bytes += link.bytes;
  }
  return updates >= kUpdatesMax || 2 * update_bytes > snapshot;
}

Result<PolicyShelf::Manifests> PolicyShelf::Put(PolicyVersion version, PolicyImage image,
                                                PolicyKind delta_kind) {
  Check(store_.has_value(), "the shelf is open");
  store_->Hold(PolicyVersion{held_from_});
  Manifests out{.version = version};
  bool snapshot = false;
  if (!newest_) {
    WG_TRY(Agree(version, image.root()));
    snapshot = !ShortestChain(store_->Links(), version, std::nullopt);
    // The ring had left this version behind; it begins here again.
    if (snapshot) WG_TRY(store_->RemoveFrom(version));
  } else {
    WG_ASSIGN(out.update, PutUpdate(version, image, delta_kind));
    snapshot = NewChainDue(version);
  }
  if (snapshot) {
    WG_ASSIGN(out.snapshot, PutSnapshot(version, image));
  }
  newest_.emplace(std::move(image));
  version_ = version;
  if (swarm_ != nullptr) WG_TRY(swarm_->Follow(*store_));
  WG_TRY(blobs_.Follow(*store_, swarm_));
  AddTorrents(out);
  return out;
}

void PolicyShelf::AddTorrents(Manifests& manifests) const {
  const auto magnet = [&](const std::optional<Digest256>& manifest) -> std::optional<Magnet> {
    const PolicyTorrent* torrent = swarm_ && manifest ? swarm_->Find(*manifest) : nullptr;
    if (torrent == nullptr) return std::nullopt;
    return Magnet{.infohash = torrent->infohash, .info = torrent->blob, .peers = {}};
  };
  manifests.update_torrent = magnet(manifests.update);
  manifests.snapshot_torrent = magnet(manifests.snapshot);
}

std::vector<PolicyShelf::Manifests> PolicyShelf::Published() const {
  std::map<PolicyVersion, Manifests> versions;
  for (const PolicyLink& link : store_->Links()) {
    if (link.version > version_) continue;
    Manifests& at = versions[link.version];
    at.version = link.version;
    (link.base ? at.update : at.snapshot) = store_->DigestOf(link);
  }
  std::vector<Manifests> out;
  for (auto& [version, manifests] : versions) {
    AddTorrents(manifests);
    out.push_back(manifests);
  }
  return out;
}

std::vector<std::pair<PolicyVersion, Digest256>> PolicyShelf::Roots() const {
  std::map<PolicyVersion, Digest256> roots;
  for (const PolicyLink& link : store_->Links()) {
    if (link.version > version_) continue;
    if (const auto root = store_->RootOf(link.version)) roots[link.version] = *root;
  }
  return {roots.begin(), roots.end()};
}

}  // namespace waggle
