// Which training steps are taken again: a pure function of an epoch's beacon and of the steps that
// were signed before it, so that anybody draws them again (docs/adr/0025-step-audits.md).
#pragma once

#include <cstdint>
#include <vector>

#include "proofs/claims.h"

namespace waggle {

// What both sides know of a run's epochs.
struct StepTerms {
  Hash256 run{};
  std::uint64_t epoch_versions = 10;
  std::uint64_t steps = 0;        // of the whole run
  std::uint32_t step_audits = 1;  // of each epoch
  std::uint64_t lag = 0;  // policies this much older than an epoch's first stand in its work
};

// Policy versions that steps of one epoch began from: [first, end).
struct EpochSteps {
  std::uint64_t first = 0, end = 0;
  bool operator==(const EpochSteps&) const = default;
};
EpochSteps StepsOfEpoch(const StepTerms& terms, std::uint64_t epoch);

// SHAKE-256 of  "steps||" | beacon | last:  min(step_audits, n) different versions of the epoch,
// ascending. last: digest of the claim of its last step, which names all before it. Where no beacon
// came (zeros), anybody could know beforehand: all of them.
std::vector<PolicyVersion> DrawnSteps(const StepTerms& terms, std::uint64_t epoch,
                                      const Digest256& beacon, const Digest256& last);

}  // namespace waggle
