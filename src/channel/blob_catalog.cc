#include "channel/blob_catalog.h"

#include <cstring>
#include <set>

namespace waggle {

class BlobCatalog::PartBlob final : public Blob {
 public:
  PartBlob(Part part, std::shared_ptr<std::atomic<std::uint64_t>> read)
      : part_(std::move(part)), read_(std::move(read)) {}
  std::uint64_t size() const override { return part_.bytes.size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), part_.bytes.data() + offset, out.size());
    *read_ += out.size();
    return {};
  }

 private:
  const Part part_;
  const std::shared_ptr<std::atomic<std::uint64_t>> read_;
};

void BlobCatalog::Put(const Digest256& name, Bytes bytes) {
  const auto owner = std::make_shared<const Bytes>(std::move(bytes));
  const std::lock_guard lock(mutex_);
  named_[name] = {owner, *owner};
}

Status BlobCatalog::Follow(PolicyStore& store, const SwarmChannel* swarm) {
  std::map<Digest256, Parts> updates;
  for (const PolicyLink& link : store.Links()) {
    const Digest256 digest = *store.DigestOf(link);
    if (const auto known = updates_.find(digest); known != updates_.end()) {
      updates.insert(*known);
      continue;
    }
    WG_ASSIGN(auto stored, store.Read(link.base, link.version));
    const auto payload = std::make_shared<const PolicyStore::Stored>(std::move(*stored));
    const PolicyManifest& manifest = payload->manifest;
    Parts parts;
    for (std::size_t c = 0; c < manifest.chunks.size(); ++c)
      parts[manifest.chunks[c]] = {payload, ChunkOf(manifest, payload->bytes(), c)};
    const auto encoded = std::make_shared<const Bytes>(Encode(manifest));
    parts[digest] = {encoded, *encoded};
    if (const PolicyTorrent* torrent = swarm != nullptr ? swarm->Find(digest) : nullptr) {
      const auto info = std::make_shared<const Bytes>(torrent->info);
      parts[torrent->blob] = {info, *info};
    }
    updates.emplace(digest, std::move(parts));
  }
  updates_ = std::move(updates);
  Parts all;
  for (const auto& [digest, parts] : updates_) all.insert(parts.begin(), parts.end());
  const std::lock_guard lock(mutex_);
  parts_ = std::move(all);
  return {};
}

Result<std::unique_ptr<Blob>> BlobCatalog::Open(const Digest256& hash) {
  const std::lock_guard lock(mutex_);
  for (const Parts* parts : {&named_, &parts_}) {
    const auto found = parts->find(hash);
    if (found != parts->end())
      return std::unique_ptr<Blob>(std::make_unique<PartBlob>(found->second, read_));
  }
  return std::unique_ptr<Blob>();
}

}  // namespace waggle
