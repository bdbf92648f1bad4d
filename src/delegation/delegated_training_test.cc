// Delegated programs: the trainer's steps are those of the graphs, and what graphs do not hold is
// refused.
#include "delegation/test_delegation.h"

namespace waggle {
namespace {

using testing_delegation::TinyRecipe;
using testing_delegation::TrainInto;

// Everything honest trainers rely on: what the product's trainer leaves after every step is what
// the graph of that step leaves, to the bit; or an honest one would lose its own dispute.
void ExpectGraphsToBeTheTrainer(const SftRecipe& recipe) {
  TempFolder out;
  ThreadPool pool(2);
  TrainInto(recipe, out.path() / "run", pool);
  const auto run = TrainedRun::Open(out.path() / "run", BestOps(), pool);
  ASSERT_TRUE(run) << run.error().what;
  const SftWork work = OpenSftWork(recipe).value();
  const DelegatedProgram program = DelegatedProgram::Of(work).value();
  EXPECT_EQ((*run)->Commit().program, ProgramHash(program.run()));
  ASSERT_EQ((*run)->records().size(), program.run().units);
  for (std::uint64_t step = 0; step < program.run().units; ++step) {
    const StepState* before = (*run)->Before(step);
    ASSERT_NE(before, nullptr);
    const StepOutcome outcome = ExecuteStep(program.run(), program.model(), program.specs()[step],
                                            step, *before, BestOps(), pool, 1u << 30, {});
    StepRecord committed = (*run)->records()[step];
    EXPECT_EQ(committed.nodes, Digest256{});
    committed.nodes = outcome.record.nodes;
    EXPECT_EQ(Encode(committed), Encode(outcome.record)) << "step " << step;
    if (step == 0) {
      EXPECT_EQ(committed.state_in, program.run().state);
    }
  }
}

TEST(Delegation, TheTrainersStepsAreThoseOfTheGraphs) {
  TempFolder folder;
  const SftRecipe plain = TinyRecipe(folder);
  ExpectGraphsToBeTheTrainer(plain);
}

TEST(Delegation, SoUnderOtherSettings) {
  TempFolder folder;
  SftRecipe recipe = TinyRecipe(folder);
  recipe.trainer.clip = 0;
  recipe.trainer.optimizer.weight_decay = "0.1";
  recipe.trainer.optimizer.decay = "all";
  recipe.trainer.schedule.kind = "cosine";
  recipe.trainer.schedule.warmup_steps = 2;
  recipe.model.architecture = "Qwen3ForCausalLM";
  recipe.model.tied_head = false;
  recipe.model.weights = "bf16";
  recipe.model.kv = "bf16";
  ExpectGraphsToBeTheTrainer(recipe);
  recipe.model.weights = "f32";
  recipe.trainer.clip = 0.01;  // that bites
  recipe.trainer.micro_batch_tokens = 12;
  ExpectGraphsToBeTheTrainer(recipe);
}

TEST(Delegation, RefusesWhatGraphsDoNotHold) {
  TempFolder folder;
  const auto refused = [&](const std::function<void(SftRecipe&)>& change, const char* setting) {
    SftRecipe recipe = TinyRecipe(folder);
    change(recipe);
    const SftWork work = OpenSftWork(recipe).value();
    const auto program = DelegatedProgram::Of(work);
    ASSERT_FALSE(program) << setting;
    EXPECT_EQ(program.error().blame, Blame::kOperator);
    EXPECT_NE(program.error().what.find(setting), std::string::npos) << program.error().what;
  };
  refused([](SftRecipe& r) { r.trainer.lora.rank = 2; }, "trainer.lora.rank");
  refused([](SftRecipe& r) { r.trainer.optimizer.kind = "muon"; }, "trainer.optimizer.kind");
  refused([](SftRecipe& r) { r.model.weights = "int8"; }, "numerics");
  refused(
      [](SftRecipe& r) {
        r.model.weights = "bf16";
        r.trainer.rounding = "stochastic";
      },
      "trainer.rounding");
}

TEST(Delegation, AnotherProgramHasAnotherHash) {
  TempFolder folder;
  std::set<Digest256> hashes;
  const auto add = [&](const std::function<void(SftRecipe&)>& change) {
    SftRecipe recipe = TinyRecipe(folder);
    change(recipe);
    const SftWork work = OpenSftWork(recipe).value();
    hashes.insert(ProgramHash(DelegatedProgram::Of(work).value().run()));
  };
  add([](SftRecipe&) {});
  add([](SftRecipe& r) { r.checkpoint_every = 1; });  // no bit of the result
  EXPECT_EQ(hashes.size(), 1u);
  add([](SftRecipe& r) { r.data.seed = 2; });
  add([](SftRecipe& r) { r.model.seed = 2; });
  add([](SftRecipe& r) { r.data.steps = 5; });
  add([](SftRecipe& r) { r.trainer.optimizer.lr = "2e-2"; });
  add([](SftRecipe& r) { r.trainer.optimizer.beta2 = "0.99"; });
  add([](SftRecipe& r) { r.trainer.clip = 0.5; });
  add([](SftRecipe& r) { r.trainer.optimizer.weight_decay = "0.1"; });
  EXPECT_EQ(hashes.size(), 8u);
}

TEST(CommitmentLog, ForgetsATornRecordAndNoticesAnotherState) {
  TempFolder folder;
  StepRecord record;
  {
    auto log = CommitmentLog::Open(folder.path()).value();
    for (record.step = 0; record.step < 3; ++record.step) ASSERT_TRUE(log.Add(record));
  }
  const auto file = folder.path() / "commitment.log";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  auto log = CommitmentLog::Open(folder.path()).value();
  ASSERT_EQ(log.records().size(), 2u);
  record.step = 1;
  EXPECT_TRUE(log.Add(record));
  record.state_out[0] = 1;
  const Status other = log.Add(record);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().blame, Blame::kMachine);
}

TEST(TrainedRun, WantsEveryStep) {
  TempFolder folder;
  ThreadPool pool(1);
  TrainInto(TinyRecipe(folder), folder.path() / "run", pool);
  const auto file = folder.path() / "run" / "commitment.log";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  const auto run = TrainedRun::Open(folder.path() / "run", BestOps(), pool);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().blame, Blame::kOperator);
}

}  // namespace
}  // namespace waggle
