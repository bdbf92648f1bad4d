// A host's part in the swarm (docs/adr/0016-swarm.md): gives what it publishes, and writes magnet
// links into its announcements. Without --swarm it does neither, and policies leave by gRPC and
// mirrors alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/swarm_channel.h"
#include "host/host_core.h"
#include "run/policy_shelf.h"

namespace waggle {

class HostSwarm {
 public:
  struct Place {
    std::optional<SwarmOptions> swarm;  // none: no swarm
    std::vector<std::string> hosts;     // under which others reach this node, whatever the port
  };
  // What is put on the shelf from here on is given. `pool` and `clock` outlive it, and it outlives
  // the shelf.
  static Result<std::unique_ptr<HostSwarm>> Open(const Place& place, const KeyPair& key,
                                                 const Hash256& run, PolicyShelf& shelf,
                                                 ThreadPool& pool, Clock& clock);

  // What newcomers are told: two ways to the version where a newer chain begins.
  std::vector<PolicyAnnouncement> Chain(const PolicyShelf& shelf) const;
  PolicyOut OutOf(const PolicyShelf::Manifests& manifests) const;

  // The newest policy, for BitTorrent's hash table, if that is wanted: a snapshot where there is
  // one, which needs nothing else.
  void Publish(const PolicyOut& out);
  void Publish(const PolicyAnnouncement& newest);

  // For people; empty without a swarm.
  std::vector<std::string> Greeting() const;
  std::string Farewell() const;

 private:
  explicit HostSwarm(std::array<std::uint8_t, 32> seed) : key_seed_(seed) {}
  void Publish(PolicyVersion version, const Digest256& manifest, const std::string& torrent);
  std::string LinkOf(const std::optional<Magnet>& torrent) const;

  const std::array<std::uint8_t, 32> key_seed_;  // of the run's key in the hash table
  bool dht_ = false;
  std::unique_ptr<Swarm> swarm_;
  std::optional<SwarmChannel> channel_;
  std::vector<std::string> peers_;  // host:port of this very node, for magnet links
};

}  // namespace waggle
