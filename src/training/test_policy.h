// A tiny policy and a sampler for the trainer's tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/test_folder.h"
#include "training/trainer.h"

namespace waggle {

inline ModelConfig TinyModel(bool tied = true) {
  ModelConfig config;
  config.vocab = 12;
  config.hidden = 32;
  config.intermediate = 48;
  config.layers = 2;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 16;
  config.max_positions = 64;
  config.tied_head = tied;
  config.eos = {1};
  return config;
}

inline TrainerConfig FastTrainer(const char* lr = "3e-3") {
  TrainerConfig config;
  config.optimizer.lr = lr;
  return config;
}

inline std::unique_ptr<Trainer> MakeTrainer(const TrainerConfig& config, ThreadPool& pool,
                                            const ModelConfig& model = TinyModel(),
                                            const NumericsConfig& numerics = {}) {
  auto trainer =
      Trainer::Create(model, numerics, RandomParameters(model, 5, 0.2f), config, BestOps(), pool);
  if (!trainer) {
    ADD_FAILURE() << trainer.error().what;
    return nullptr;
  }
  return std::move(*trainer);
}

// One response of `tokens` tokens, sampled token by token with a cache of its own.
inline Rollout SampleResponse(const Model& model, ThreadPool& pool,
                              const std::vector<TokenId>& prompt, std::size_t tokens,
                              float temperature, PhiloxKey key, std::uint32_t sample,
                              PolicyVersion version) {
  KvPool kv(model.config(), model.numerics().kv, 1);
  const std::uint32_t page = 0;
  std::vector<float> hidden(prompt.size() * model.config().hidden), logits(model.config().vocab),
      scratch(logits.size());
  std::vector<TokenId> input = prompt;
  std::size_t position = 0;
  Rollout rollout;
  rollout.spans = {{0, version}};
  while (rollout.tokens.size() < tokens) {
    const SequenceChunk chunk{
        .tokens = input, .first_position = position, .pages = std::span(&page, 1)};
    model.Forward(pool, kv, std::span(&chunk, 1), hidden.data());
    model.Logits(pool, hidden.data() + (input.size() - 1) * model.config().hidden, 1,
                 logits.data());
    position += input.size();
    const SampleParams params{.temperature = temperature,
                              .key = key,
                              .sample = sample,
                              .position = static_cast<std::uint32_t>(position)};
    const SampleResult result =
        model.ops().Sample(logits.data(), logits.size(), params, scratch.data());
    rollout.tokens.push_back(result.token);
    rollout.logps.push_back(result.logp);
    rollout.loss_mask.push_back(1);
    input = {result.token};
  }
  return rollout;
}

inline constexpr TokenId kEvenTokens = -1;

// Groups whose reward is the share of `wanted` tokens, or of even ones.
inline std::vector<ScoredGroup> SampleGroups(Trainer& trainer, ThreadPool& pool,
                                             PolicyVersion version, std::size_t groups,
                                             std::size_t size, std::size_t tokens, TokenId wanted,
                                             std::uint64_t seed, float temperature = 1.0f) {
  const auto model = trainer.WorkingModel().value();
  std::vector<ScoredGroup> batch;
  for (std::size_t g = 0; g < groups; ++g) {
    ScoredGroup scored;
    scored.temperature = temperature;
    scored.group.lease = LeaseId{g};
    scored.group.prompt = {0, static_cast<TokenId>(2 + g % 3)};
    scored.greedy_reward = 0.5;
    scored.weights = {1.0};
    for (std::size_t i = 0; i < size; ++i) {
      const PhiloxKey key = PhiloxKeyFrom(seed * 1000 + g);
      Rollout rollout = SampleResponse(*model, pool, scored.group.prompt, tokens, temperature, key,
                                       static_cast<std::uint32_t>(i), version);
      const auto hit = [&](TokenId token) {
        return wanted == kEvenTokens ? token % 2 == 0 : token == wanted;
      };
      const double hits =
          static_cast<double>(std::count_if(rollout.tokens.begin(), rollout.tokens.end(), hit));
      scored.rewards.push_back(hits / static_cast<double>(tokens));
      scored.components.push_back({scored.rewards.back()});
      scored.correct.push_back(hits == static_cast<double>(tokens));
      scored.group.rollouts.push_back(std::move(rollout));
    }
    batch.push_back(std::move(scored));
  }
  return batch;
}

// Texts that count upwards from their first token.
inline std::vector<SftSample> CountingSamples(std::size_t count, std::size_t length) {
  std::vector<SftSample> samples;
  for (std::size_t s = 0; s < count; ++s) {
    SftSample sample;
    for (std::size_t i = 0; i < length + s % 3; ++i)
      sample.tokens.push_back(static_cast<TokenId>((s + i) % 12));
    sample.loss_mask.assign(sample.tokens.size(), 1);
    samples.push_back(sample);
  }
  return samples;
}
}  // namespace waggle
