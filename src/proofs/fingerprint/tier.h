// The fingerprint tier of trust: which fingerprints a run asks for, what a worker posts with every
// rollout, and what a validator's own prefill says to it. One name in a recipe chooses.
//
// Nothing is asked of the worker after it has handed in: it may be gone when a beacon draws. So
// what other settings open after a challenge is posted whole (dense, 16 bytes a token), or answers
// a challenge that the posted bytes themselves give (the projections of toploc+).
//
// Whatever is found is statistical, bytes that are none included: RejectReason::kFingerprint.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proofs/fingerprint/fingerprint.h"
#include "rollout/rollout.h"

namespace waggle {

struct TierDoc {
  std::string_view name, what;
};
// toploc, toploc+, grail, dense.
std::span<const TierDoc> FingerprintTiers();

// Of rollout `index` of a lease. The lease fixes what is projected on; no field of a submission
// does.
FingerprintScope ScopeOf(const Hash256& run, const Lease& lease, std::uint32_t index);

// One rollout to be judged. Borrows.
struct TierQuestion {
  const FingerprintScope& scope;
  std::span<const std::uint8_t> posted;
  const Digest256& challenge;    // that the worker did not know: positions, variates
  std::span<const float> logps;  // claimed
  const RolloutView& own;
  bool greedy = false;  // sampled at temperature 0: there is no distribution to look at
};

struct RolloutFinding {
  std::string why;        // empty: within all limits that one rollout has to keep
  bool soft = false;      // failed what only too many of a group may fail
  SamplingRecord record;  // empty if greedy
  SamplingBets bets;      // for the node's record; none if greedy, or where a tier keeps no record
};
// What is wrong with a group: the rollout that shows it, in words.
struct GroupFinding {
  std::uint32_t rollout = 0;
  std::string why;
};

class FingerprintTier {
 public:
  // `limits`: "NAME=number/number": one for each statistic of a fingerprint, "-" the published one.
  // Fingerprints that the tier does not look at may stand there too: a calibration prints all.
  // "record=e": the tolerance of nodes' records for lost races (sampling_bets.h).
  // Blame::kOperator: no such tier, or limits that are none.
  static Result<std::unique_ptr<FingerprintTier>> Make(std::string_view name,
                                                       std::span<const std::string> limits);
  virtual ~FingerprintTier() = default;

  // At most FingerprintBytesMax of the rollout's sampled tokens. Errors: states that are no numbers
  // (blame machine).
  virtual Result<Bytes> Prove(const FingerprintScope& scope, const RolloutView& view) const = 0;
  // Errors are our own trouble; everything else is a finding.
  virtual Result<RolloutFinding> Judge(const TierQuestion& question) const = 0;
  // Nothing: the group is likely.
  virtual std::optional<GroupFinding> Conclude(std::span<const RolloutFinding> rollouts) const = 0;
};

// tier_grail.cc
std::unique_ptr<FingerprintTier> MakeGrailTier();

}  // namespace waggle
