// A relay's driver: hears of a run's policies, from its host or from another relay, keeps the
// newest as files named by their hashes, and gives them to whoever asks over HTTP. It needs
// nobody's trust: volunteers check every byte against what the host signed.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "crypto/identity.h"
#include "protocol/invite.h"
#include "torrent/swarm.h"

namespace waggle {

struct RelayOptions {
  std::optional<Invite> invite;  // of the run's host; or
  std::string from;              // URL of another relay
  std::string listen = "127.0.0.1:0";
  std::filesystem::path folder;  // of the blobs; any static HTTP server can serve it too
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::optional<SwarmOptions> swarm = std::nullopt;  // takes part in the run's, too
  std::int64_t patience_ms = 10 * 60'000;            // without word from the host; then it gives up
  std::string software;
  std::function<void(const std::string&)> say;
  std::function<void(std::uint16_t)> listening;  // told the port, once
  std::function<bool()> wants_to_leave;          // asked often
};

struct RelaySummary {
  std::string why;  // it ended
  std::uint64_t bytes_fetched = 0, bytes_served = 0, requests = 0;
  Swarm::Counts swarm;
};

// Returns when the run is over, it is asked to leave, or patience has run out (Blame::kMachine).
Result<RelaySummary> Relay(const RelayOptions& options, const KeyPair& key, Clock& clock);

}  // namespace waggle
