// Groups to train on that cost nothing to make.
#pragma once

#include <algorithm>
#include <vector>

#include "training/trainer.h"

namespace waggle::bench {

inline TokenId TokenAt(std::size_t sample, std::size_t position, std::size_t vocab) {
  return static_cast<TokenId>((sample * 7919 + position * 104729 + 17) %
                              std::min(vocab, std::size_t{30011}));
}

// Groups of 8 with rewards that alternate, and the log-probs that a sampler with these weights
// would have reported: the step then trusts them, checks them, and scores nothing twice. `first`:
// number of the first sample; other numbers, other tokens.
inline std::vector<ScoredGroup> Groups(const Model& model, ThreadPool& pool, std::size_t samples,
                                       std::size_t length, std::size_t first = 0) {
  constexpr std::size_t kPrompt = 8;
  const std::size_t vocab = model.config().vocab;
  std::vector<ScoredGroup> groups;
  for (std::size_t s = 0; s < samples; ++s) {
    if (s % 8 == 0) {
      groups.emplace_back();
      groups.back().group.lease = LeaseId{s / 8};
      groups.back().weights = {1.0};
      for (std::size_t i = 0; i < kPrompt; ++i) {
        groups.back().group.prompt.push_back(TokenAt((first + s) / 8, i, vocab));
      }
    }
    ScoredGroup& scored = groups.back();
    TokenBatch batch;
    batch.tokens = scored.group.prompt;
    Rollout rollout;
    for (std::size_t i = kPrompt; i <= length; ++i) {
      rollout.tokens.push_back(TokenAt(first + s, i, vocab));
      batch.tokens.push_back(rollout.tokens.back());
    }
    batch.offsets = {0, static_cast<std::uint32_t>(batch.tokens.size())};
    TokenTargets targets;
    targets.target.assign(batch.tokens.begin() + 1, batch.tokens.end());
    targets.target.push_back(-1);
    targets.temperature = {1.0f};
    const TokenScores scores = ScoreBatch(model, pool, batch, targets);
    rollout.logps.assign(scores.logp.begin() + kPrompt - 1, scores.logp.end() - 1);
    rollout.loss_mask.assign(rollout.tokens.size(), 1);
    rollout.spans = {{0, PolicyVersion{1}}};
    scored.rewards.push_back(s % 2 == 0 ? 1.0 : 0.0);
    scored.components.push_back({scored.rewards.back()});
    scored.correct.push_back(s % 2 == 0);
    scored.group.rollouts.push_back(std::move(rollout));
  }
  return groups;
}

}  // namespace waggle::bench
