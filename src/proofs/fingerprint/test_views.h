// A small model with large random weights, and rollouts of it, as a plan to calibrate.
#pragma once

#include "engine/test_engine.h"
#include "proofs/fingerprint/calibrate.h"

namespace waggle::testing_views {

struct SmallRun {
  ModelConfig config = testing_models::AnswerConfig(false);
  Parameters parameters, other;
  ThreadPool pool{2};
  CalibrationPlan plan;

  explicit SmallRun(std::size_t prompts = 4, std::uint32_t samples = 2, std::uint32_t tokens = 40) {
    config.max_positions = 128;
    config.layers = 4;
    parameters = RandomParameters(config, 5, 0.15f);
    other = RandomParameters(config, 6, 0.15f);
    plan.config = &config, plan.parameters = &parameters, plan.other = &other;
    plan.ops = &BestOps(), plan.pool = &pool;
    for (std::uint32_t p = 0; p < prompts; ++p)
      plan.prompts.push_back(testing_engine::TestPrompt(8 + p, p, config.vocab));
    plan.sampling.tokens_max = tokens;
    plan.samples = samples;
  }
  SmallRun(const SmallRun&) = delete;
};

// The claim of sample 0 of a prompt, with log-probs, as an honest worker on `ops` makes it.
inline RolloutClaim HonestClaim(SmallRun& run, std::size_t prompt, const Ops& ops = BestOps()) {
  const auto model = testing_models::MakeModel(run.config, run.parameters, ops);
  Engine engine(model, {}, {}, run.pool);
  RolloutClaim claim{.tokens = run.plan.prompts[prompt], .prompt = run.plan.prompts[prompt].size()};
  claim.options.config = run.plan.sampling;
  claim.options.key = PhiloxKeyFrom(77 + prompt);
  const auto s =
      testing_engine::RunAll(engine, {testing_engine::Ask{claim.tokens, 1, claim.options}}).front();
  claim.tokens.insert(claim.tokens.end(), s.tokens.begin(), s.tokens.end());
  for (const std::uint32_t bits : s.logps) claim.logps.push_back(std::bit_cast<float>(bits));
  return claim;
}

}  // namespace waggle::testing_views
