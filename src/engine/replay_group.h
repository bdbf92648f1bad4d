// The replay of a whole group, as an auditor does it: the prompt is computed once, then the
// responses of all rollouts go through the layers together. Same answer as ReplayRollout for each,
// at a fraction of the cost for short responses.
#pragma once

#include <functional>
#include <vector>

#include "engine/engine.h"

namespace waggle {

// The weights of a version, which stay valid until the replay returns. Blame::kMachine where they
// are not to be had: nobody's lie.
using PolicyLookup = std::function<Result<const Model*>(PolicyVersion)>;

// Where a group's replay shall show that it computed (ActivationProbe), as a place in the group: at
// the position whose logits give this token of the response.
struct GroupProbe {
  std::uint32_t rollout = 0, token = 0;
  std::uint32_t layer = 0;
  Hash256 challenge{};  // what else the beacon draws in this group: positions of its fingerprints
};

struct GroupReplay {
  std::vector<ReplayReport> rollouts;  // one each
  std::uint64_t tokens = 0;            // that the replay computed, prompts included
  std::vector<float> activation;       // (d) at the probe; empty without one
};

// Rollout i is sample i of `options`. REQUIRES a probe inside the group. Errors as ReplayRollout's,
// and those of `policies`.
Result<GroupReplay> ReplayGroup(const PolicyLookup& policies, ThreadPool& pool, const Group& group,
                                const SamplingOptions& options, const GroupProbe* probe = nullptr);

}  // namespace waggle
