#include "roles/policy_shelf.h"

#include <cstring>

#include "base/check.h"

namespace waggle {
namespace {

// A chain ends when its deltas outweigh half a snapshot, or are this many: what a newcomer fetches
// stays below one and a half snapshots.
constexpr std::uint64_t kDeltasMax = 64;

class PartBlob final : public Blob {
 public:
  PartBlob(std::shared_ptr<const Bytes> bytes, std::uint64_t offset, std::uint64_t size)
      : bytes_(std::move(bytes)), offset_(offset), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), bytes_->data() + offset_ + offset, out.size());
    return {};
  }

 private:
  const std::shared_ptr<const Bytes> bytes_;
  const std::uint64_t offset_, size_;
};

}  // namespace

void PolicyShelf::PutDescription(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  description_ = std::make_shared<const Bytes>(std::move(bytes));
}

// Manifest and chunks of one payload become blobs of the chain.
Digest256 PolicyShelf::Store(PolicyManifest facts, Bytes payload, Chain& chain) {
  const PolicyManifest manifest = MakeManifest(std::move(facts), payload, pool_);
  const auto bytes = std::make_shared<const Bytes>(std::move(payload));
  for (std::size_t c = 0; c < manifest.chunks.size(); ++c)
    chain[manifest.chunks[c]] = {bytes, manifest.ChunkOffset(c), manifest.ChunkSize(c)};
  const Digest256 digest = DigestOf(manifest);
  const auto encoded = std::make_shared<const Bytes>(Encode(manifest));
  chain[digest] = {encoded, 0, encoded->size()};
  return digest;
}

Result<PolicyShelf::Manifests> PolicyShelf::Put(PolicyVersion version, PolicyImage image,
                                                PolicyKind delta_kind) {
  Manifests out;
  Chain added;
  if (newest_) {
    Check(version.value == version_.value + 1, "versions are put in order");
    WG_ASSIGN(Bytes delta, EncodePatch(*newest_, image, pool_));
    delta_bytes_ += delta.size();
    ++deltas_;
    out.manifest = Store({.run = run_,
                          .version = version,
                          .kind = delta_kind,
                          .base = version_,
                          .base_root = newest_->root(),
                          .root = image.root()},
                         std::move(delta), added);
  }
  const bool new_chain = !newest_ || deltas_ >= kDeltasMax || 2 * delta_bytes_ > snapshot_bytes_;
  if (new_chain) {
    Bytes snapshot = EncodeSnapshot(image);
    snapshot_bytes_ = snapshot.size();
    delta_bytes_ = deltas_ = 0;
    out.snapshot =
        Store({.run = run_, .version = version, .root = image.root()}, std::move(snapshot), added);
    if (!newest_) out.manifest = *out.snapshot;
  }
  newest_.emplace(std::move(image));
  version_ = version;
  const std::lock_guard lock(mutex_);
  if (new_chain) before_ = std::exchange(current_, {});
  current_.merge(added);
  return out;
}

Result<std::unique_ptr<Blob>> PolicyShelf::Open(const Digest256& hash) {
  const std::lock_guard lock(mutex_);
  if (hash == run_ && description_ != nullptr)
    return std::unique_ptr<Blob>(std::make_unique<PartBlob>(description_, 0, description_->size()));
  for (const Chain* chain : {&current_, &before_}) {
    const auto found = chain->find(hash);
    if (found == chain->end()) continue;
    const Part& part = found->second;
    return std::unique_ptr<Blob>(std::make_unique<PartBlob>(part.bytes, part.offset, part.size));
  }
  return std::unique_ptr<Blob>();
}

}  // namespace waggle
