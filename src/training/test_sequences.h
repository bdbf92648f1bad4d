// Hand-made responses for the tests of advantages and credits.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "training/algorithm.h"

namespace waggle {

// Responses with these rewards and lengths in one group; all log-probs are -1.
inline void AppendGroup(std::vector<LossSequence>& sequences, std::uint32_t group,
                        const std::vector<double>& rewards,
                        const std::vector<std::size_t>& lengths) {
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    LossSequence sequence;
    sequence.group = group;
    sequence.tokens.assign(lengths[i], 7);
    sequence.mask.assign(lengths[i], 1);
    sequence.reward = rewards[i];
    sequence.correct = rewards[i] > 0.5;
    sequence.behaviour = sequence.proximal = sequence.current =
        std::vector<float>(lengths[i], -1.0f);
    sequence.reference = sequence.current;
    sequence.advantage.assign(lengths[i], 0.0);
    sequences.push_back(sequence);
  }
}

// The sheet's KAT B: two responses of different prompts with every kind of log-prob.
inline std::vector<LossSequence> KatB() {
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1}, {3});
  AppendGroup(s, 1, {0}, {2});
  s[0].advantage.assign(3, 1.0);
  s[0].current = {-0.5f, -1.2f, -2.0f};
  s[0].proximal = {-0.7f, -1.0f, -2.3f};
  s[0].behaviour = {-0.72f, -1.05f, -1.2f};
  s[0].reference = {-0.6f, -1.1f, -2.5f};
  s[1].advantage.assign(2, -1.0);
  s[1].current = {-0.9f, -0.4f};
  s[1].proximal = {-1.5f, -0.3f};
  s[1].behaviour = {-1.45f, -0.32f};
  s[1].reference = {-1.0f, -0.5f};
  return s;
}

inline AlgorithmConfig Named(const char* name) { return NamedAlgorithm(name).value(); }

inline std::vector<double> AdvantagesOf(const AlgorithmConfig& config,
                                        std::vector<LossSequence> sequences) {
  PlaceAdvantages(config, config.kl.beta, sequences);
  std::vector<double> first;
  for (const LossSequence& sequence : sequences)
    first.push_back(sequence.advantage.empty() ? 0.0 : sequence.advantage[0]);
  return first;
}

inline std::vector<double> Flat(const std::vector<std::vector<float>>& rows) {
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

inline void ExpectNear(const std::vector<double>& got, const std::vector<double>& want,
                       double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], tolerance) << "element " << i;
}

}  // namespace waggle
