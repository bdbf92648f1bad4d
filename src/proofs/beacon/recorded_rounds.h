// Beacon rounds from a file: JSON lines as drand's HTTP API gives them (v1
// {"round","randomness","signature"[,"previous_signature"]}, v2 the same without what can be
// computed). Every signature is verified, so where the file came from does not matter: an audit can
// be repeated years later from what was recorded, and a CPU test needs no network.
//
// Source: sheet grail.md 1.2, 8.2 item 4 (no fallback: a round that is not here is not invented).
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "crypto/drand.h"

namespace waggle {

inline constexpr std::size_t kRoundLineBytesMax = 2048;
inline constexpr std::size_t kRecordedRoundsMax = 1 << 16;  // about 10 minutes to verify
inline constexpr std::size_t kRoundFileBytesMax = kRecordedRoundsMax * std::size_t{1024};

struct DrandRound {
  std::uint64_t round = 0;
  std::vector<std::uint8_t> signature;
  std::vector<std::uint8_t> previous;  // empty for an unchained network
  Digest256 randomness{};
  bool operator==(const DrandRound&) const = default;
};

// One line, verified. Errors are Blame::kPeer.
Result<DrandRound> ParseDrandRound(const DrandNetwork& network, std::string_view json);

// Immutable once read; may be shared between threads.
class RecordedRounds {
 public:
  // Refuses the whole text at the first line that is wrong, and names that line. Empty lines are
  // skipped; a round may stand there once.
  static Result<RecordedRounds> Parse(const DrandNetwork& network, std::string_view text);

  // Null when it was not recorded: then whoever needs it waits.
  const DrandRound* Find(std::uint64_t round) const;
  std::size_t size() const { return rounds_.size(); }

 private:
  std::map<std::uint64_t, DrandRound> rounds_;
};

}  // namespace waggle
