// What the drivers of simulated nodes share: the world that comes in through their constructors.
#pragma once

#include <map>
#include <optional>

#include "sim/event_queue.h"
#include "sim/promises.h"
#include "sim/network.h"
#include "sim/plants.h"
#include "sim/site.h"

namespace waggle {

// What the host serves: blobs by the hash of their manifest. Lost when its process dies.
using Shelf = std::map<Hash256, ToyBlob>;

struct SimParts {
  const Scenario& scenario;
  const std::uint64_t seed;
  const Plant plant;
  EventQueue& queue;
  SimNetwork& network;
  const Site& site;
  Promises& ledger;
  Shelf& shelf;
  std::vector<const NodeId*> nodes;  // by peer; null: a stranger without a name

  bool planted(Plant what) const { return plant == what; }
};

// Somebody at the other end of a line.
class SimPeer {
 public:
  virtual ~SimPeer() = default;
  virtual void Boot() = 0;
  virtual void Kill() = 0;
  virtual void Up(LinkId link) = 0;
  virtual void Heard(LinkId link, Bytes bytes) = 0;
  virtual void Down(LinkId link, const std::string& why) = 0;
};

// The clock of a process that starts now on a machine of this number.
inline SimClock StartClock(const SimParts& parts, std::uint64_t machine, std::uint64_t start,
                           const SimClock& before) {
  const auto words =
      Philox({static_cast<std::uint32_t>(machine), static_cast<std::uint32_t>(start), 0, 17},
             PhiloxKeyFrom(parts.seed));
  SimClock clock = before;
  clock.booted = parts.queue.now();
  clock.origin_ms = words[0];  // up to seven weeks
  return clock;
}

// Nonces that differ everywhere and are the same in every run of one seed.
class NonceSource {
 public:
  NonceSource(std::uint64_t seed, std::uint32_t stream) : rng_(seed, stream) {}
  SessionNonce operator()() {
    SessionNonce nonce;
    for (std::size_t i = 0; i < nonce.size(); i += 4) {
      const std::uint32_t word = rng_.NextU32();
      for (std::size_t b = 0; b < 4; ++b) nonce[i + b] = static_cast<std::uint8_t>(word >> (8 * b));
    }
    return nonce;
  }

 private:
  Rng rng_;
};

}  // namespace waggle
