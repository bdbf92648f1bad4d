#include "proofs/dispute/tournament.h"

namespace waggle {

// Equal answers share a champion only as long as it does not fall by silence: silence is the fault
// of one, not of its answer, so then the next of the class steps in.
TournamentResult RunTournament(const std::vector<Digest256>& commitments, const PlayDispute& play) {
  TournamentResult result;
  std::vector<bool> fallen(commitments.size(), false);
  const auto fall = [&](std::size_t who, bool alone) {
    for (std::size_t i = 0; i < commitments.size(); ++i)
      if (i == who || (!alone && commitments[i] == commitments[who])) fallen[i] = true;
  };
  const auto next = [&](std::size_t from, const std::optional<std::size_t>& champion) {
    while (from < commitments.size() &&
           (fallen[from] || (champion && commitments[from] == commitments[*champion])))
      ++from;
    return from;
  };
  std::optional<std::size_t> champion;
  for (;;) {
    if (!champion) {
      const std::size_t first = next(0, std::nullopt);
      if (first == commitments.size()) break;
      champion = first;
    }
    const std::size_t rival = next(0, champion);
    if (rival == commitments.size()) break;
    const DisputeVerdict verdict = play(*champion, rival);
    ++result.disputes;
    // What only shows how a party behaves (silence, broken proofs) speaks for it alone.
    const bool alone =
        verdict.reason == DisputeCase::kSilent || verdict.reason == DisputeCase::kInconsistent;
    if (verdict.b_loses || !verdict.a_loses) fall(rival, alone);
    if (verdict.a_loses) {
      fall(*champion, alone);
      champion.reset();
    }
  }
  if (champion) result.winner = commitments[*champion];
  for (std::size_t i = 0; i < fallen.size(); ++i)
    if (fallen[i]) result.fallen.push_back(i);
  return result;
}

}  // namespace waggle
