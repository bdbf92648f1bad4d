#include <gtest/gtest.h>

#include "base/hex.h"
#include "engine/engine.h"
#include "proofs/dispute/test_disputes.h"
#include "proofs/dispute/test_programs.h"
#include "proofs/dispute/test_steps.h"

namespace waggle {
namespace {

using testing_dispute::CompareTiles;
using testing_dispute::SomeTokens;
using testing_dispute::StateTensors;
using testing_models::AnswerConfig;
using testing_models::AnswerParameters;

struct Case {
  const char* name;
  bool optional_parts;
  NumericsConfig numerics;
  std::size_t tokens;
  float temperature;
};

class ForwardPrograms : public testing::TestWithParam<Case> {};

// The same hidden states, logits, token and log-prob as Model::Forward and the sampler.
TEST_P(ForwardPrograms, IsTheModelsForward) {
  const Case& p = GetParam();
  const ModelConfig config = AnswerConfig(p.optional_parts);
  const Parameters parameters = AnswerParameters(config);
  const std::vector<TokenId> tokens = SomeTokens(p.tokens, config.vocab);
  const DrawSpec draw{.temperature = p.temperature, .key = {5, 6}, .sample = 3};
  const auto program = ForwardProgram(config, p.numerics, tokens.size(), draw);
  ASSERT_TRUE(program) << program.error().what;
  const std::vector<HostTensor> state = StateTensors(program->state, parameters);
  const std::vector<HostTensor> data{TokensTensor(tokens)};
  ThreadPool pool(1);
  Execution run(*program, {[&](std::uint32_t i, std::uint8_t) { return &state[i]; }, data},
                BestOps(), pool, 1u << 30);

  const auto model = testing_models::MakeModel(config, parameters, BestOps(), p.numerics);
  const std::vector<float> hidden = testing_models::ForwardInChunks(*model, pool, tokens, 0);
  const auto nodes = static_cast<std::uint32_t>(program->nodes.size());
  const HostTensor& ours = run.Tensor({Source::kNode, nodes - 3, 0});
  ASSERT_EQ(ours.data.size(), hidden.size());
  EXPECT_EQ(std::memcmp(ours.data.data(), hidden.data(), hidden.size() * 4), 0);

  std::vector<float> logits(config.vocab), scratch(config.vocab);
  model->Logits(pool, hidden.data() + (tokens.size() - 1) * config.hidden, 1, logits.data());
  const SampleResult drawn =
      BestOps().Sample(logits.data(), config.vocab,
                       {.temperature = p.temperature,
                        .key = {5, 6},
                        .sample = 3,
                        .position = static_cast<std::uint32_t>(tokens.size())},
                       scratch.data());
  EXPECT_EQ(run.Tensor(program->results[0]).Cell(0), static_cast<std::uint32_t>(drawn.token));
  EXPECT_EQ(run.Tensor(program->results[1]).Cell(0), std::bit_cast<std::uint32_t>(drawn.logp));
}

// Every tile of every node by its tile program, on the processor and from integers.
TEST_P(ForwardPrograms, TilesAreTheKernels) {
  const Case& p = GetParam();
  const ModelConfig config = AnswerConfig(p.optional_parts);
  const std::vector<TokenId> tokens = SomeTokens(p.tokens, config.vocab);
  const auto program = ForwardProgram(config, p.numerics, tokens.size(),
                                      {.temperature = p.temperature, .key = {5, 6}, .sample = 3});
  ASSERT_TRUE(program);
  const std::vector<HostTensor> state = StateTensors(program->state, AnswerParameters(config));
  const std::vector<HostTensor> data{TokensTensor(tokens)};
  ThreadPool pool(1);
  Execution run(*program, {[&](std::uint32_t i, std::uint8_t) { return &state[i]; }, data},
                BestOps(), pool, 1u << 30);
  EXPECT_EQ(CompareTiles(run, data, false), "");
  EXPECT_EQ(CompareTiles(run, data, true, 17), "");
}

INSTANTIATE_TEST_SUITE_P(
    Models, ForwardPrograms,
    testing::Values(
        Case{"llama", false, {}, 70, 1.0f}, Case{"greedy", false, {}, 1, 0.0f},
        Case{"qwen3_window", true, {}, 131, 0.7f},
        Case{"bf16", false, {.weights = WeightFormat::kBf16, .kv = KvFormat::kBf16}, 33, 1.0f},
        Case{"qwen3_bf16", true, {.weights = WeightFormat::kBf16}, 40, 1.3f}),
    [](const auto& info) { return info.param.name; });

// Hashes that parties sign: whoever changes one of these changes the protocol.
TEST(ForwardProgram, TemplateIsPinned) {
  const auto program = ForwardProgram(testing_models::AnswerConfig(false), {}, 5, {});
  ASSERT_TRUE(program);
  EXPECT_EQ(ToHex(TemplateHash(*program)),
            "513bd1806fd2b8ad0d21c97997587995b602f33e3302857e10dcacd65f15d8d8");
  RunProgram run;
  run.config = "{}";
  run.units = 3;
  EXPECT_EQ(ToHex(ProgramHash(run)),
            "6a11d240e9aea56fea5f18c5595595095d2b9ff8250843d0269786649069cfb0");
  testing_dispute::StepCase step(testing_models::AnswerConfig(false), {}, {3, 2}, 1.0f, true);
  EXPECT_EQ(ToHex(TemplateHash(*StepProgramOf(step.run, step.model, step.spec))),
            "2c14b57ba55bad9e706933b18de37aca1d9b9b7476c2f5c89584a0ca13a54bbc");
}

// What outgrew the budget is computed again, to the same roots.
TEST(ForwardProgram, RecomputesWhatItDoesNotKeep) {
  const ModelConfig config = AnswerConfig(true);
  const auto program = ForwardProgram(config, {}, 20, {});
  ASSERT_TRUE(program);
  const std::vector<HostTensor> state = StateTensors(program->state, AnswerParameters(config));
  const std::vector<HostTensor> data{TokensTensor(SomeTokens(20, config.vocab))};
  ThreadPool pool(1);
  const ProgramInputs inputs{[&](std::uint32_t i, std::uint8_t) { return &state[i]; }, data};
  Execution all(*program, inputs, BestOps(), pool, 1u << 30),
      none(*program, inputs, BestOps(), pool, 0);
  EXPECT_EQ(all.records(), none.records());
  for (std::uint32_t n : {3u, 20u, 7u})
    EXPECT_EQ(TensorRoot(none.Tensor({Source::kNode, n, 0})), all.records()[n].outputs[0]);
}

// What programs draw token by token is what a validator's replay finds.
TEST(ForwardProgram, ResponsesReplay) {
  testing_dispute::RolloutGame game;
  const Parameters parameters = testing_models::AnswerParameters(game.model().config);
  const auto model = testing_models::MakeModel(game.model().config, parameters, BestOps());
  for (std::size_t s = 0; s < game.specs().size(); ++s) {
    const SequenceSpec& spec = game.specs()[s];
    Rollout rollout;
    for (const TokenRecord& token : game.honest_claims()[s]) {
      rollout.tokens.push_back(token.token);
      rollout.logps.push_back(std::bit_cast<float>(token.logp));
      rollout.loss_mask.push_back(1);
    }
    SamplingOptions options;
    options.config = {.temperature = spec.temperature, .top_p = spec.top_p};
    options.key = {spec.key0, spec.key1};
    options.stop_ids = spec.stop_ids;
    const auto report =
        ReplayRollout(*model, game.pool(), spec.prompt, rollout, options, spec.sample);
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_TRUE(report->equal) << "sequence " << s << ", token " << report->first_difference;
  }
}

TEST(ForwardProgram, RefusesWhatDisputesDoNotKnow) {
  ModelConfig config = AnswerConfig(false);
  EXPECT_EQ(ForwardProgram(config, {.weights = WeightFormat::kCi8}, 3, {}).error().blame,
            Blame::kOperator);
  EXPECT_EQ(ForwardProgram(config, {}, 0, {}).error().blame, Blame::kOperator);
}

}  // namespace
}  // namespace waggle
