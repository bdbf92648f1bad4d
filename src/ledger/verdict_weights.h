// What validators of an audited run would say of its workers under GRAIL's rule of weights, what
// Yuma consensus would pay for it, and what this ledger paid: a pure function of the ledger's log.
//
// The score of a worker with one validator, over the last `windows` epochs that had batches:
// rollouts of the batches that this validator accepted, extrapolated to the epochs that it did not
// check (times epochs with a batch, over epochs checked); zero if it found any of them bad. Where
// only some of a batch were drawn, all its rollouts count (estimated_unique = total when all that
// was looked at holds). Weights: s = min(u, cap)^exponent / cap^exponent; the workers get pool *
// min(1, sum s) in proportion to s, the place that burns gets the rest.
//
// Source: sheet grail.md 1.11, 1.13, 5.1. Deployed: cap 60000, exponent 4, pool 0.1, 12 windows. An
// epoch is a window here, verdicts are those of the ledger, stake is what a validator has at stake
// in the run, weights are in the open (verdicts are), and the emission of an epoch is what the
// ledger paid its workers and validators in it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "ledger/events.h"
#include "ledger/ledger.h"
#include "ledger/yuma.h"

namespace waggle {

struct GrailScoring {
  std::uint64_t cap = 0;  // rollouts of all windows; 0: of each validator, its largest score
  unsigned exponent = 4;
  Fixed pool = Fixed::Ratio(1, 10);
  std::uint32_t windows = 12;
  YumaVersion version = YumaVersion::k2;
};

struct WeighedNode {
  std::optional<NodeId> node;           // nothing: the place that burns
  std::uint64_t stake = 0;              // as a validator, at the epoch's settlement
  bool validator = false;               // gave a verdict in the run, so far
  Credits worker_paid, validator_paid;  // by this ledger, vesting included
};
struct WeighedEpoch {
  LedgerRun run;
  std::uint64_t epoch = 0;
  std::vector<WeighedNode> nodes;           // by uid: who burns, then by id
  std::vector<std::vector<Fixed>> weights;  // by uid of the validator: shares; empty: none set
  YumaOutcome outcome;
  YumaEmission emission;  // of what the ledger paid, in its millionths of a unit
};

// Fed with a log from its beginning.
class VerdictBook {
 public:
  // `events`: what the entry did; `after`: the ledger then.
  void See(const LedgerEntry& entry, std::span<const LedgerEvent> events, const Ledger& after);
  // Epochs that are settled and had a verdict, ascending; bonds are carried from one to the next.
  // Errors (Blame::kOperator): more nodes than one market has places for.
  Result<std::vector<WeighedEpoch>> Weigh(const GrailScoring& scoring) const;

 private:
  struct Epoch {
    std::map<NodeId, std::uint32_t> rollouts;              // of batches, by worker
    std::map<NodeId, std::map<NodeId, Finding>> verdicts;  // by validator, by worker
    std::map<NodeId, std::uint64_t> stakes;                // of validators, at settlement
    std::map<NodeId, Credits> worker_paid, validator_paid;
    bool settled = false;
  };
  using Epochs = std::map<std::uint64_t, Epoch>;
  // Scores of every worker of the last windows up to `last`.
  static std::map<NodeId, std::uint64_t> ScoresOf(const GrailScoring& scoring, const Epochs& epochs,
                                                  std::uint64_t last, const NodeId& validator);
  class Market;  // one run's, from epoch to epoch

  std::map<LedgerRun, Epochs> runs_;
};

}  // namespace waggle
