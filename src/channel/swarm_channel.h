// The swarm as one node uses it: gives what the node has, is asked first for what it lacks, and is
// left alone for a while when it had nothing. Nothing that happens in it is an error of the
// channel: what it does not give, mirrors and the host do.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "channel/blob_fetcher.h"
#include "policy/store.h"
#include "torrent/magnet.h"
#include "torrent/swarm.h"

namespace waggle {

// Smaller payloads are had from the host before a swarm has shaken hands.
inline constexpr std::uint64_t kSwarmBytesMin = 64 << 10;

// The info dictionary of a payload, and its names.
struct PolicyTorrent {
  Bytes info;
  Digest256 blob{};  // of the dictionary
  Infohash infohash{};
};
PolicyTorrent TorrentOf(Bytes info);

class SwarmChannel {
 public:
  // All outlive the channel. One thread, apart from the swarm's own.
  SwarmChannel(Swarm& swarm, ThreadPool& pool, Clock& clock, const SwarmPatience& patience = {})
      : swarm_(swarm), pool_(pool), clock_(clock), patience_(patience) {}

  // From now on gives what `store` holds, and nothing else. Damage that is found is the store's.
  Status Follow(PolicyStore& store);
  // The same, by hand: each payload, then all that stay.
  Status Give(const PolicyManifest& manifest, PolicyTorrent torrent,
              std::shared_ptr<PayloadSource> source);
  void Retain(const std::set<Digest256>& manifests);

  // Of a payload that is given; by the digest of its manifest. Null: none.
  const PolicyTorrent* Find(const Digest256& manifest) const;

  struct Wanted {
    const PolicyManifest& manifest;
    const Magnet& magnet;
    std::vector<std::string> mirrors;
    std::vector<std::size_t> chunks;
    std::function<bool()> stop = nullptr;
  };
  // As much of it as the swarm has; blocks. The dictionary comes from `blobs`. An error is
  // `take`'s.
  Status Fetch(BlobFetcher& blobs, NodeClient* host, const Wanted& wanted, const Swarm::Take& take);

  Swarm& swarm() { return swarm_; }

 private:
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }
  void Rest();

  Swarm& swarm_;
  ThreadPool& pool_;
  Clock& clock_;
  const SwarmPatience patience_;
  std::map<Digest256, PolicyTorrent> given_;    // by manifest
  std::map<Digest256, PolicyTorrent> fetched_;  // not given by Follow yet: spares the hashing
  std::int64_t rest_ms_ = 0, ready_at_ms_ = 0;
};

}  // namespace waggle
