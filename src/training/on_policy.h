// What a policy step reads where every token was sampled under the very weights that train: then
// no model is needed, since the current log-probs are the sampler's, bit for bit, and all that is
// computed from groups is credit.
#pragma once

#include "training/algorithm.h"
#include "training/samples.h"

namespace waggle {

// Samples as Trainer::PolicyStep places them before its one update, in order, those without a
// gradient included. REQUIRES an algorithm without reference, critic and entropies. Blame::kPeer:
// a group that is ill-formed, or was not sampled under `current`.
Result<std::vector<TrainingSample>> OnPolicySamples(const ModelConfig& model,
                                                    const AlgorithmConfig& algorithm,
                                                    const std::vector<ScoredGroup>& groups,
                                                    PolicyVersion current);

}  // namespace waggle
