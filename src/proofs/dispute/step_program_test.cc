#include <gtest/gtest.h>

#include "model/backward.h"
#include "proofs/dispute/ground.h"
#include "proofs/dispute/test_programs.h"
#include "proofs/dispute/test_steps.h"

namespace waggle {
namespace {

using testing_dispute::StepCase;

// A step as trainer and optimizer take it: Backward, FinishGradients, GradientNorm, AdamW; bit for
// bit.
void CompareWithTrainer(const ModelConfig& config, const NumericsConfig& numerics,
                        const std::vector<std::size_t>& lengths, float temperature, bool clip,
                        bool entropy = false) {
  StepCase step(config, numerics, lengths, temperature, clip, entropy);
  const auto program = StepProgramOf(step.run, step.model, step.spec);
  ASSERT_TRUE(program) << program.error().what;
  ThreadPool pool(1);
  Execution execution(*program, step.Inputs(), BestOps(), pool, 1u << 30);
  const Parameters expected = step.TrainersStep(pool);
  for (std::size_t i = 0; i < program->state.size(); ++i) {
    const std::string& name = program->state[i].name;
    const HostTensor& ours = execution.Tensor(program->results[i * 3]);
    const AlignedVector<float>& theirs = expected.at(name).data;
    ASSERT_EQ(ours.data.size(), theirs.size());
    EXPECT_EQ(std::memcmp(ours.data.data(), theirs.data(), theirs.size() * 4), 0) << name;
  }
}

TEST(StepPrograms, AreTheTrainersSteps) {
  using testing_models::AnswerConfig;
  CompareWithTrainer(AnswerConfig(false), {}, {70}, 1.0f, false);
  CompareWithTrainer(AnswerConfig(false), {}, {70, 300, 41}, 0.7f, true);
  CompareWithTrainer(AnswerConfig(true), {}, {70, 300, 41}, 0.7f, true, true);
  CompareWithTrainer(AnswerConfig(true), {.weights = WeightFormat::kBf16, .kv = KvFormat::kBf16},
                     {40, 9}, 1.0f, true);
}

// Every tile of every node of a step; a part of them from integers.
TEST(StepPrograms, TilesAreTheKernels) {
  for (const bool optional_parts : {false, true}) {
    StepCase step(testing_models::AnswerConfig(optional_parts), {}, {37, 270}, 0.7f, true,
                  optional_parts);
    const auto program = StepProgramOf(step.run, step.model, step.spec);
    ASSERT_TRUE(program) << program.error().what;
    ThreadPool pool(1);
    Execution execution(*program, step.Inputs(), BestOps(), pool, 1u << 30);
    EXPECT_EQ(testing_dispute::CompareTiles(execution, step.data, false, 5), "");
    EXPECT_EQ(testing_dispute::CompareTiles(execution, step.data, true, 149), "");
  }
}

}  // namespace
}  // namespace waggle
