// Fingerprints of whole groups: made by who sampled, with whatever engine; judged by who replays,
// canonically. Turns of the environment are read and not judged; a rollout whose tokens are of
// several versions is looked at under each of them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/replay_group.h"
#include "proofs/fingerprint/tier.h"

namespace waggle {

// A lease's group, and how the engine was asked to sample it. Borrows.
struct PrintedGroup {
  const Hash256& run;
  const Lease& lease;
  const SamplingOptions& options;
  const Group& group;
};

// The rows of sampled tokens, and the log-probs claimed for them.
struct RolloutLook {
  RolloutView view;
  std::vector<float> logps;
};
// `policies`: the looker's own engine. `probe` may be null; its position is in prompt and response.
// Errors: LookAt's, those of `policies`; spans that cannot be replayed (blame peer).
Result<RolloutLook> LookAtRollout(const PolicyLookup& policies, ThreadPool& pool,
                                  const PrintedGroup& printed, std::uint32_t rollout,
                                  ActivationProbe* probe = nullptr);

// What group.fingerprints shall be.
Result<std::vector<Bytes>> FingerprintsOf(const FingerprintTier& tier, const PolicyLookup& policies,
                                          ThreadPool& pool, const PrintedGroup& printed);

struct PrintsJudged {
  std::optional<GroupFinding> unlikely;
  SamplingBets bets;              // of all its rollouts, for its node's record
  std::uint64_t tokens = 0;       // that were computed
  std::vector<float> activation;  // at the probe; empty without one
};
// REQUIRES a fingerprint for every rollout, and a probe inside the group. `challenge` is one that
// its worker did not know. Errors as LookAtRollout's.
Result<PrintsJudged> JudgeFingerprints(const FingerprintTier& tier, const PolicyLookup& policies,
                                       ThreadPool& pool, const PrintedGroup& printed,
                                       const Digest256& challenge,
                                       const GroupProbe* probe = nullptr);

}  // namespace waggle
