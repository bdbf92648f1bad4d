#include "channel/swarm_channel.h"

#include <algorithm>

#include "crypto/hash.h"

namespace waggle {
namespace {

constexpr std::int64_t kRestMsMin = 1'000, kRestMsMax = 120'000;  // after a fetch in vain; doubles

// Straight from the store's file, which stays readable whatever is pruned.
class StoredSource final : public PayloadSource {
 public:
  explicit StoredSource(PolicyStore::Stored stored) : stored_(std::move(stored)) {}
  Status Read(std::size_t chunk, std::uint64_t offset, std::span<std::uint8_t> out) override {
    const auto bytes = ChunkOf(stored_.manifest, stored_.bytes(), chunk);
    std::ranges::copy(bytes.subspan(offset, out.size()), out.begin());
    return {};
  }

 private:
  const PolicyStore::Stored stored_;
};

}  // namespace

PolicyTorrent TorrentOf(Bytes info) {
  PolicyTorrent torrent{.blob = Sha256(info), .infohash = InfohashOf(info)};
  torrent.info = std::move(info);
  return torrent;
}

Status SwarmChannel::Follow(PolicyStore& store) {
  std::set<Digest256> manifests;
  for (const PolicyLink& link : store.Links()) {
    const Digest256 digest = *store.DigestOf(link);
    if (link.bytes < kSwarmBytesMin || !TorrentLayout::Of(*store.Find(digest))) continue;
    manifests.insert(digest);
    if (given_.contains(digest)) continue;
    WG_ASSIGN(auto stored, store.Read(link.base, link.version));
    const PolicyManifest manifest = stored->manifest;
    std::optional<PolicyTorrent> torrent;
    if (const auto known = fetched_.find(digest); known != fetched_.end()) {
      torrent = std::move(known->second);
    } else {
      WG_ASSIGN(Bytes info, MakeTorrentInfo(manifest, stored->bytes(), pool_));
      torrent = TorrentOf(std::move(info));
    }
    WG_TRY(Give(manifest, std::move(*torrent), std::make_shared<StoredSource>(std::move(*stored))));
  }
  fetched_.clear();
  Retain(manifests);
  return {};
}

Status SwarmChannel::Give(const PolicyManifest& manifest, PolicyTorrent torrent,
                          std::shared_ptr<PayloadSource> source) {
  WG_TRY(swarm_.Give(manifest, torrent.info, std::move(source)));
  given_.insert_or_assign(DigestOf(manifest), std::move(torrent));
  return {};
}

void SwarmChannel::Retain(const std::set<Digest256>& manifests) {
  std::erase_if(given_, [&](const auto& one) { return !manifests.contains(one.first); });
  std::set<Infohash> infohashes;
  for (const auto& [digest, torrent] : given_) infohashes.insert(torrent.infohash);
  swarm_.Retain(infohashes);
}

const PolicyTorrent* SwarmChannel::Find(const Digest256& manifest) const {
  const auto found = given_.find(manifest);
  return found == given_.end() ? nullptr : &found->second;
}

void SwarmChannel::Rest() {
  rest_ms_ = std::clamp(2 * rest_ms_, kRestMsMin, kRestMsMax);
  ready_at_ms_ = NowMs() + rest_ms_;
}

Status SwarmChannel::Fetch(BlobFetcher& blobs, NodeClient* host, const Wanted& wanted,
                           const Swarm::Take& take) {
  const PolicyManifest& manifest = wanted.manifest;
  if (manifest.payload_bytes < kSwarmBytesMin || wanted.chunks.empty() || NowMs() < ready_at_ms_)
    return {};
  const auto layout = TorrentLayout::Of(manifest);
  if (!layout) return {};
  const auto info = blobs.Fetch(host, wanted.magnet.info, layout->info_bytes());
  if (!info || !layout->CheckInfo(*info)) {
    Rest();
    return {};
  }
  Status taken;
  const auto fetched = swarm_.Fetch({.manifest = manifest,
                                     .info = *info,
                                     .peers = wanted.magnet.peers,
                                     .web_seeds = wanted.mirrors,
                                     .chunks = wanted.chunks,
                                     .patience = patience_,
                                     .stop = wanted.stop},
                                    [&](std::size_t chunk, std::span<const std::uint8_t> bytes) {
                                      taken = take(chunk, bytes);
                                      return taken;
                                    });
  if (!taken) return taken;
  if (!fetched || !*fetched) {
    if (!wanted.stop || !wanted.stop()) Rest();
  } else {
    rest_ms_ = 0;
  }
  if (fetched) fetched_.insert_or_assign(DigestOf(manifest), TorrentOf(*info));
  return {};
}

}  // namespace waggle
