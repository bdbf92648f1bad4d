#include "host/host_swarm.h"

#include <fmt/format.h>

#include "crypto/hash.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr char kNewsSalt[] = "waggle";

// Nobody else can make it, and it signs nothing else.
std::array<std::uint8_t, 32> DhtKeySeed(const KeyPair& key, const Hash256& run) {
  constexpr std::string_view kDomain = "WGL-DHT-KEY-1";
  return Sha256Hasher()
      .Update(std::as_bytes(std::span(kDomain)))
      .Update(std::span<const std::uint8_t>(run))
      .Update(std::span<const std::uint8_t>(key.seed()))
      .Finish();
}

}  // namespace

Result<std::unique_ptr<HostSwarm>> HostSwarm::Open(const Place& place, const KeyPair& key,
                                                   const Hash256& run, PolicyShelf& shelf,
                                                   ThreadPool& pool, Clock& clock) {
  std::unique_ptr<HostSwarm> host(new HostSwarm(DhtKeySeed(key, run)));
  if (!place.swarm) return host;
  WG_ASSIGN(host->swarm_, Swarm::Open(*place.swarm, clock));
  host->dht_ = place.swarm->dht;
  host->channel_.emplace(*host->swarm_, pool, clock);
  for (const std::string& address : place.hosts) {
    host->peers_.push_back(
        fmt::format("{}:{}", address.substr(0, address.rfind(':')), host->swarm_->port()));
  }
  shelf.GiveTo(&*host->channel_);
  return host;
}

// With as many peers as a source may be long.
std::string HostSwarm::LinkOf(const std::optional<Magnet>& torrent) const {
  if (!torrent) return "";
  Magnet magnet = *torrent;
  for (const std::string& peer : peers_) {
    magnet.peers.push_back(peer);
    if (magnet.peers.size() > kMagnetPeersMax ||
        ToText(magnet).size() > kProtocol.source_bytes_max) {
      magnet.peers.pop_back();
      break;
    }
  }
  return ToText(magnet);
}

std::vector<PolicyAnnouncement> HostSwarm::Chain(const PolicyShelf& shelf) const {
  std::vector<PolicyAnnouncement> chain;
  const auto add = [&](PolicyVersion version, const std::optional<Digest256>& manifest,
                       const std::optional<Magnet>& torrent) {
    if (!manifest) return;
    chain.push_back({.version = version, .manifest = *manifest, .sources = {}});
    if (torrent) chain.back().sources.push_back(LinkOf(torrent));
  };
  for (const PolicyShelf::Manifests& one : shelf.Published()) {
    add(one.version, one.update, one.update_torrent);
    add(one.version, one.snapshot, one.snapshot_torrent);
  }
  return chain;
}

PolicyOut HostSwarm::OutOf(const PolicyShelf::Manifests& manifests) const {
  return {.manifest = manifests.update.value_or(Hash256{}),
          .snapshot = manifests.snapshot,
          .torrent = LinkOf(manifests.update_torrent),
          .snapshot_torrent = LinkOf(manifests.snapshot_torrent)};
}

void HostSwarm::Publish(const PolicyOut& out) {
  Publish(out.version, out.snapshot.value_or(out.manifest),
          out.snapshot ? out.snapshot_torrent : out.torrent);
}

void HostSwarm::Publish(const PolicyAnnouncement& newest) {
  Publish(newest.version, newest.manifest, newest.sources.empty() ? "" : newest.sources.front());
}

void HostSwarm::Publish(PolicyVersion version, const Digest256& manifest,
                        const std::string& torrent) {
  const auto magnet = ParseMagnet(torrent);
  if (!magnet || !swarm_) return;
  swarm_->Publish({.key_seed = key_seed_,
                   .salt = kNewsSalt,
                   .version = version,
                   .manifest = manifest,
                   .torrent = *magnet});
}

std::vector<std::string> HostSwarm::Greeting() const {
  if (!swarm_) return {};
  std::vector<std::string> lines = {fmt::format("BitTorrent on port {}", swarm_->port())};
  if (dht_)
    lines.push_back("the newest policy in BitTorrent's hash table: " +
                    NewsLink(key_seed_, kNewsSalt));
  return lines;
}

std::string HostSwarm::Farewell() const {
  return swarm_ ? fmt::format("swarm: {} bytes given", swarm_->counts().given) : "";
}

}  // namespace waggle
