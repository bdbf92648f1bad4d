// More than two answers: pairwise disputes until one class of equal answers stands (sheet
// gensyn.md 3.3). An answer that is shown to be wrong falls, with all that are equal to it; whoever
// is silent or inconsistent falls alone, since an equal answer may have an honest owner. An honest
// one never falls. Every dispute fells at least one answer: at most n - 1 of them, n - 1 being
// needed only if all differ or misbehave.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "crypto/hash.h"
#include "proofs/dispute/referee.h"

namespace waggle {

struct TournamentResult {
  std::optional<Digest256> winner;  // commitment of the answer that stands; none: all fell
  std::vector<std::size_t> fallen;  // indices of answers that lost a dispute or share its fate
  std::size_t disputes = 0;
};

// commitments: of each answer. play(i, j) settles one dispute between answers i and j. When neither
// loses (kNotComparable), the earlier one stays: the fault is the client's.
using PlayDispute = std::function<DisputeVerdict(std::size_t a, std::size_t b)>;
TournamentResult RunTournament(const std::vector<Digest256>& commitments, const PlayDispute& play);

}  // namespace waggle
