// Rounds of drand for the audits of a run, from a file that grows, or a folder of such files: JSON
// lines as drand's HTTP API gives them (proofs/beacon/recorded_rounds.h). Whoever fetches them, a
// line of cron with curl, need not be trusted: a round is believed for its signature alone, and one
// that is not there is waited for. Of a file, 64 MiB are read at once at most.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "audit/audit_desk.h"
#include "crypto/drand.h"
#include "ledger/ledger.h"
#include "run/recipe.h"

namespace waggle {

class RoundKeeper {
 public:
  // Nothing where the beacon is another. Blame::kOperator: rounds without such a beacon, the beacon
  // without rounds, no such file or folder.
  static Result<std::optional<RoundKeeper>> For(const TrustRecipe& trust,
                                                const std::filesystem::path& place);

  struct Looked {
    std::optional<RoundFound> found;
    std::string say;  // for people, once for each round: that it is missing, or that it is forged
  };
  Looked Look(const WantRound& want, double unix_seconds);

 private:
  RoundKeeper(const DrandNetwork& network, std::filesystem::path place)
      : network_(&network), place_(std::move(place)) {}
  void ReadNews();
  void ReadNews(const std::filesystem::path& file);
  void Take(std::string_view line);

  struct File {
    std::uintmax_t size = 0;  // when it was read
    std::filesystem::file_time_type written{};
    std::uintmax_t read = 0;  // up to the end of the last whole line
  };
  const DrandNetwork* network_;
  std::filesystem::path place_;
  std::map<std::filesystem::path, File> files_;
  std::map<std::uint64_t, std::string> lines_;  // by the round that they say they are; not verified
  std::set<std::uint64_t> said_, forged_;
};

// Why this is not the beacon of an epoch under these terms: for whoever reads a ledger and does not
// believe its host. Nothing: the network signed it.
std::optional<std::string> WhyNotBeacon(const RunTerms& terms, const BeaconExternal& beacon);

}  // namespace waggle
