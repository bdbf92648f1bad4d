// The ledger with an adversary in it: the real state machine, real signatures, a handful of honest
// people, and one who is not, over many epochs. What it earned is compared with what its honest
// twin earned in the same place.
#pragma once

#include <cstdint>
#include <string>

#include "ledger/ledger.h"

namespace waggle {

enum class Conduct : std::uint8_t {
  kHonest,
  kHonestPair,  // a worker and a validator together
  // Workers. Those who are caught come back at once under a new key, for nothing.
  kMadeUp,       // no item holds
  kMadeUpSome,   // one item in eight does not
  kUnlikely,     // every item fails a fingerprint, none can be replayed
  kStale,        // honest work of the version before, said so
  kTwice,        // samples everything twice and hands in one of the two
  kEquivocates,  // signs a second batch for the epoch
  kWithholds,    // does no work, and shows nothing when it is asked
  kLate,         // shows its batch when the epoch is sealed
  kSplits,       // makes everything up, under four keys
  kColludes,     // makes everything up; one validator of three is its own
  kColludesTwo,  // the same where two auditors are drawn
  // Validators.
  kHonestValidator,
  kLazy,          // says "accepted" and replays nothing
  kFalseAccuser,  // says that honest work is wrong
  kKeepsSecret,   // does not show its share of the beacon
};

// Rules as a run's own host sets them (audit/trust_terms.h).
struct GameRules {
  RunTerms terms;
  Credits budget;
  std::uint32_t items = 16;       // groups in a worker's batch
  std::uint32_t rollouts = 4;     // in a group
  std::uint64_t tokens = 24;      // in a group
  Credits work_cost, cheat_cost;  // of a group, honest and made up
  Credits check_cost{2'000};      // of a validator, for an item
  std::uint64_t epochs = 24, games = 100;
  std::uint64_t seed = 1;
};

struct GameResult {
  // Units per epoch, over all games: money in, less slashes, less what its work cost it.
  double profit = 0;
  // Until the first punishment: epochs, by the rules and as it happened (over those games in which
  // it did). Zero: never.
  double epochs_computed = 0, epochs_simulated = 0;
  double caught_games = 0;  // share
  std::string found;        // what the ledger did to it, by its events; empty: nothing
};

// Who sits in the same place and is honest.
Conduct TwinOf(Conduct conduct);
GameResult PlayGames(Conduct conduct, const GameRules& rules);

}  // namespace waggle
