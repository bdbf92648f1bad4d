#include "training/trainer.h"

#include <cmath>
#include <cstring>

#include "training/fault_dump.h"
#include "training/test_policy.h"

namespace waggle {
namespace {

constexpr PolicyVersion kVersion{3};

TEST(TrainerTest, SupervisedStepsLowerTheLoss) {
  ThreadPool pool(1);
  for (const bool tied : {true, false}) {
    const auto trainer = MakeTrainer(FastTrainer("1e-2"), pool, TinyModel(tied));
    const auto samples = CountingSamples(6, 9);
    const double first = trainer->SftStep(samples).value().loss;
    double last = first;
    for (int i = 0; i < 40; ++i) last = trainer->SftStep(samples).value().loss;
    EXPECT_NEAR(first, std::log(12.0), 1.0);
    EXPECT_LT(last, 0.1 * first);
    EXPECT_EQ(trainer->step(), 41u);
  }
}

// State after two supervised and two policy steps; the batch is made by `sampler`, so that it is
// the same for all.
Hash256 StateAfter(const TrainerConfig& config, unsigned threads,
                   const ModelConfig& model = TinyModel(), const NumericsConfig& numerics = {}) {
  ThreadPool pool(threads), one(1);
  const auto sampler = MakeTrainer(FastTrainer(), one, model, numerics);
  const auto groups = SampleGroups(*sampler, one, kVersion, 3, 4, 6, kEvenTokens, 1);
  const auto trainer = MakeTrainer(config, pool, model, numerics);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(trainer->SftStep(CountingSamples(5, 7)));
    const auto report = trainer->PolicyStep(groups);
    EXPECT_TRUE(report) << (report ? "" : report.error().what);
    EXPECT_TRUE(report && report->gradient_norm > 0);
  }
  return trainer->StateHash();
}

TEST(TrainerTest, MicroBatchesThreadsAndRecomputeNeverChangeABit) {
  TrainerConfig config = FastTrainer();
  config.algorithm = NamedAlgorithm("grpo").value();
  config.algorithm.entropy_bonus = 0.01;
  config.updates_per_batch = 2;
  for (const bool tied : {true, false}) {
    const Hash256 want = StateAfter(config, 1, TinyModel(tied));
    for (const std::uint64_t budget : {1u, 20u, 33u}) {
      TrainerConfig split = config;
      split.micro_batch_tokens = budget;
      EXPECT_EQ(StateAfter(split, 1, TinyModel(tied)), want) << budget;
    }
    for (const char* recompute : {"none", "swiglu"}) {
      TrainerConfig other = config;
      other.recompute = recompute;
      EXPECT_EQ(StateAfter(other, 1, TinyModel(tied)), want) << recompute;
    }
    EXPECT_EQ(StateAfter(config, 2, TinyModel(tied)), want);
    TrainerConfig slower = config;
    slower.optimizer.lr = "2e-3";
    EXPECT_NE(StateAfter(slower, 1, TinyModel(tied)), want);
  }
}

TEST(TrainerTest, SamplerLogProbsSpareTheScoringPass) {
  ThreadPool pool(1);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16}) {
    const NumericsConfig numerics{.weights = format};
    const auto a = MakeTrainer(FastTrainer(), pool, TinyModel(), numerics),
               b = MakeTrainer(FastTrainer(), pool, TinyModel(), numerics);
    for (const float temperature : {1.0f, 0.7f}) {
      const PolicyVersion version{a->step()};
      const auto groups = SampleGroups(*a, pool, version, 3, 4, 6, kEvenTokens, 2, temperature);
      const auto told =
          a->PolicyStep(groups, version);  // trusts, then checks every log-prob it computes
      ASSERT_TRUE(told) << told.error().what;
      const auto scored = b->PolicyStep(groups);
      ASSERT_TRUE(scored);
      EXPECT_EQ(a->StateHash(), b->StateHash());
      EXPECT_EQ(told->metrics.kl_behaviour_k3, 0.0);
      EXPECT_EQ(scored->metrics.kl_behaviour_k3, 0.0);
      EXPECT_EQ(scored->metrics.effective_sample_size, 1.0);
      EXPECT_GT(told->metrics.entropy, 0.5);
      EXPECT_GT(told->gradient_norm, 0.0);
    }
  }
}

TEST(TrainerTest, AForgedLogProbIsFoundAndChangesNothing) {
  ThreadPool pool(1);
  const auto trainer = MakeTrainer(FastTrainer(), pool);
  auto groups = SampleGroups(*trainer, pool, kVersion, 3, 4, 6, kEvenTokens, 3);
  groups[1].rewards = {0.0, 0.5, 1.0, 2.0};  // so that the forged response carries a gradient
  float& logp = groups[1].group.rollouts[2].logps[3];
  logp = std::nextafter(logp, -10.0f);
  const Hash256 before = trainer->StateHash();
  const auto report = trainer->PolicyStep(groups, kVersion);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().blame, Blame::kPeer);
  EXPECT_NE(report.error().what.find("group 1"), std::string::npos) << report.error().what;
  EXPECT_EQ(trainer->StateHash(), before);
  // Not comparable when the trainer does not know the version: then it is a little off-policy data.
  EXPECT_TRUE(trainer->PolicyStep(groups));
}

TEST(TrainerTest, AllForgeriesOfABatchAreNamed) {
  ThreadPool pool(1);
  const auto trainer = MakeTrainer(FastTrainer(), pool);
  auto groups = SampleGroups(*trainer, pool, kVersion, 4, 3, 4, 4, 1);
  EXPECT_TRUE(trainer->FindForgeries(groups, kVersion).value().empty());
  groups[1].group.rollouts[2].logps[0] -= 0.5f;
  groups[3].group.rollouts[0].logps[3] =
      std::nextafter(groups[3].group.rollouts[0].logps[3], -1e9f);
  const Hash256 before = trainer->StateHash();
  EXPECT_FALSE(trainer->PolicyStep(groups, kVersion));
  EXPECT_EQ(trainer->FindForgeries(groups, kVersion).value(), (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(trainer->StateHash(), before);
  groups.erase(groups.begin() + 3);
  groups.erase(groups.begin() + 1);
  EXPECT_TRUE(trainer->PolicyStep(groups, kVersion));
}

TEST(TrainerTest, TheGradientIsThatOfTheReportedLoss) {
  // One weight moved by +-h changes the REINFORCE loss by the gradient that the first AdamW step
  // saw.
  ThreadPool pool(1);
  TrainerConfig config = FastTrainer();
  config.clip = 0;
  config.algorithm.rule = "reinforce";
  const auto sampler = MakeTrainer(config, pool);
  const auto groups = SampleGroups(*sampler, pool, kVersion, 2, 4, 5, kEvenTokens, 4);
  const auto loss_at = [&](float shift, Trainer** kept, std::unique_ptr<Trainer>& owner) {
    Parameters parameters = RandomParameters(TinyModel(), 5, 0.2f);
    parameters.at("model.layers.1.mlp.up_proj.weight").data[77] += shift;
    owner = Trainer::Create(TinyModel(), {}, parameters, config, BestOps(), pool).value();
    if (kept != nullptr) *kept = owner.get();
    const StepReport report = owner->PolicyStep(groups).value();
    EXPECT_GT(report.gradient_norm, 0.0);
    return report.metrics.loss;
  };
  std::unique_ptr<Trainer> owner;
  const double slope =
      (loss_at(0x1p-7f, nullptr, owner) - loss_at(-0x1p-7f, nullptr, owner)) / 0x1p-6;
  Trainer* base = nullptr;
  loss_at(0.0f, &base, owner);
  // m after one step = (1 - beta1) g; read it back from a checkpoint.
  TempFolder folder;
  ASSERT_TRUE(base->SaveCheckpoint(folder.path() / "c"));
  const Parameters m = ReadSafetensors(folder.path() / "c" / "m.safetensors", nullptr).value();
  const double g = static_cast<double>(m.at("model.layers.1.mlp.up_proj.weight").data[77]) /
                   static_cast<double>(1.0f - 0.9f);
  EXPECT_NE(slope, 0.0);
  EXPECT_NEAR(g, slope, 1e-6 + 0.01 * std::fabs(slope));
}

TEST(TrainerTest, EveryNamedAlgorithmLearnsABandit) {
  ThreadPool pool(1);
  for (const std::string& name : AlgorithmNames()) {
    SCOPED_TRACE(name);
    TrainerConfig config = FastTrainer("2e-2");
    config.algorithm = NamedAlgorithm(name).value();
    if (config.algorithm.advantage.kind == "zero") continue;  // learns from a teacher, see below
    config.algorithm.shaping.drop_uniform = false;
    if (config.algorithm.kl.beta > 0) config.algorithm.kl.beta = 0.001;
    const auto trainer = MakeTrainer(config, pool);
    double reward = 0;
    for (std::uint64_t step = 0; step < 60 && reward < 0.97; ++step) {
      const auto groups = SampleGroups(*trainer, pool, PolicyVersion{step}, 3, 8, 1, 4, 10 + step);
      const auto report = trainer->PolicyStep(groups, PolicyVersion{step});
      ASSERT_TRUE(report) << report.error().what;
      reward = report->metrics.reward_mean;
      EXPECT_TRUE(step > 0 || reward < 0.5);
    }
    EXPECT_GT(reward, 0.95);
  }
}

TEST(TrainerTest, AdaptersTrainAndLeaveTheBaseAlone) {
  ThreadPool pool(1);
  TrainerConfig config = FastTrainer("2e-2");
  config.lora.rank = 4;
  const auto trainer = MakeTrainer(config, pool);
  const Parameters before = trainer->parameters();
  const auto samples = CountingSamples(6, 9);
  const double first = trainer->SftStep(samples).value().loss;
  double last = first;
  for (int i = 0; i < 60; ++i) last = trainer->SftStep(samples).value().loss;
  EXPECT_LT(last, 0.5 * first);
  for (const auto& [name, tensor] : before)
    EXPECT_EQ(tensor.data, trainer->parameters().at(name).data);
  ASSERT_NE(trainer->lora(), nullptr);
  // The adapter's sampler is on policy too.
  const auto groups = SampleGroups(*trainer, pool, kVersion, 2, 4, 5, kEvenTokens, 7);
  EXPECT_TRUE(trainer->PolicyStep(groups, kVersion));
}

TEST(TrainerTest, KlToTheReferenceHoldsThePolicyBack) {
  ThreadPool pool(1);
  const auto drift = [&](double beta, std::uint32_t rank) {
    TrainerConfig config = FastTrainer("1e-2");
    config.lora.rank = rank;
    config.algorithm.kl = {.mode = "loss", .estimator = "k3plus", .beta = beta};
    const auto trainer = MakeTrainer(config, pool);
    double kl = 0;
    for (std::uint64_t step = 0; step < 12; ++step) {
      const auto groups = SampleGroups(*trainer, pool, PolicyVersion{step}, 3, 8, 3, 4, 20 + step);
      const auto report = trainer->PolicyStep(groups, PolicyVersion{step});
      EXPECT_TRUE(report);
      if (step == 0) {
        EXPECT_EQ(report->metrics.kl_reference_k3, 0.0);
      }
      kl = report->metrics.kl_reference_k3;
    }
    return kl;
  };
  EXPECT_GT(drift(0.0, 0), 4 * drift(1.0, 0));
  EXPECT_GT(drift(0.0, 4), 2 * drift(1.0, 4));
}

// The teacher is another model of another shape; nothing but its log-probs teaches the policy.
TEST(TrainerTest, DistillationMovesThePolicyTowardsItsTeacher) {
  ThreadPool pool(1);
  TrainerConfig config = FastTrainer("1e-2");
  config.algorithm = NamedAlgorithm("distill").value();
  config.algorithm.kl.teacher = "somewhere";
  const auto trainer = MakeTrainer(config, pool);
  const auto step = [&](std::uint64_t index) {
    const auto groups = SampleGroups(*trainer, pool, PolicyVersion{index}, 3, 8, 3, 4, 20 + index);
    return trainer->PolicyStep(groups, PolicyVersion{index});
  };
  const auto early = step(0);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().blame, Blame::kOperator);

  ModelConfig shape = TinyModel();
  shape.vocab += 1;
  const auto teacher = [&] {
    return Model::Create(shape, {}, RandomParameters(shape, 9, 0.3f), nullptr, BestOps()).value();
  };
  EXPECT_FALSE(trainer->UseTeacher(teacher()));
  shape.vocab -= 1;
  shape.max_positions -= 1;
  EXPECT_FALSE(trainer->UseTeacher(teacher()));
  shape.max_positions += 1;
  shape.layers += 1;
  ASSERT_TRUE(trainer->UseTeacher(teacher()));
  std::vector<double> kl;
  for (std::uint64_t i = 0; i < 30; ++i) {
    const auto report = step(i);
    ASSERT_TRUE(report) << report.error().what;
    kl.push_back(report->metrics.kl_reference_k3);
  }
  EXPECT_GT(kl.front(), 0.0);
  EXPECT_LT(kl.back(), 0.5 * kl.front());
}

TEST(TrainerTest, StochasticRoundingGivesAnotherWorkingModelPerRunAndStep) {
  ThreadPool pool(1);
  TrainerConfig config = FastTrainer();
  config.rounding = "stochastic";
  const NumericsConfig numerics{.weights = WeightFormat::kBf16};
  const auto loss = [&](const Hash256& run) {
    const auto trainer = MakeTrainer(config, pool, TinyModel(), numerics);
    trainer->SetRunId(run);
    return trainer->SftStep(CountingSamples(3, 8)).value().loss;
  };
  EXPECT_EQ(loss({1}), loss({1}));
  EXPECT_NE(loss({1}), loss({2}));
}

TEST(TrainerTest, HostileBatchesAreRefusedAndChangeNothing) {
  ThreadPool pool(1);
  const auto trainer = MakeTrainer(FastTrainer(), pool);
  const Hash256 before = trainer->StateHash();
  const auto spoiled = [](auto spoil) {
    auto samples = CountingSamples(3, 6);
    spoil(samples[1]);
    return samples;
  };
  EXPECT_FALSE(trainer->SftStep({}));
  EXPECT_FALSE(trainer->SftStep(spoiled([](SftSample& s) { s.tokens[2] = 12; })));
  EXPECT_FALSE(trainer->SftStep(spoiled([](SftSample& s) { s.tokens[2] = -1; })));
  EXPECT_FALSE(trainer->SftStep(spoiled([](SftSample& s) { s.loss_mask.pop_back(); })));
  EXPECT_FALSE(trainer->SftStep(spoiled([](SftSample& s) {
    s.tokens.assign(66, 1);
    s.loss_mask.assign(66, 1);
  })));
  EXPECT_FALSE(trainer->SftStep({{.tokens = {1}, .loss_mask = {1}}}));  // nothing to predict
  auto groups = SampleGroups(*trainer, pool, kVersion, 2, 2, 3, 4, 1);
  groups[0].group.rollouts[1].tokens[0] = 99;
  EXPECT_FALSE(trainer->PolicyStep(groups));
  EXPECT_FALSE(trainer->PolicyStep({}));
  EXPECT_EQ(trainer->StateHash(), before);
  EXPECT_TRUE(
      trainer->SftStep(spoiled([](SftSample& s) { s.tokens.resize(1), s.loss_mask.resize(1); })));
}

TEST(TrainerTest, ABatchWithoutSignalMovesNothing) {
  ThreadPool pool(1);
  const auto trainer = MakeTrainer(FastTrainer(), pool);
  auto groups = SampleGroups(*trainer, pool, kVersion, 2, 3, 3, 4, 1);
  for (ScoredGroup& group : groups) group.rewards.assign(3, 1.0);
  const Hash256 before = trainer->StateHash();
  const auto report = trainer->PolicyStep(groups, kVersion);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->gradient_norm, 0.0);
  EXPECT_EQ(report->metrics.uniform_fraction, 1.0);
  EXPECT_EQ(trainer->StateHash(), before);
}

TEST(TrainerTest, ANumericFaultLeavesTheStateAndADumpThatReplays) {
  ThreadPool pool(1);
  TempFolder folder;
  const auto broken = [&] {
    Parameters parameters = RandomParameters(TinyModel(), 5, 0.2f);
    for (float& x : parameters.at("model.norm.weight").data) x = 3e38f;
    TrainerConfig config = FastTrainer();
    config.algorithm.kl.mode = "none";
    return Trainer::Create(TinyModel(), {}, parameters, config, BestOps(), pool).value();
  };
  const auto trainer = broken(), healthy = MakeTrainer(FastTrainer(), pool);
  trainer->DumpFaultsTo(folder.path());
  const Hash256 before = trainer->StateHash();
  const auto sft = trainer->SftStep(CountingSamples(3, 6));
  ASSERT_FALSE(sft);
  EXPECT_EQ(sft.error().blame, Blame::kMachine);
  EXPECT_EQ(trainer->StateHash(), before);
  const auto path = FaultDumpPath(folder.path(), 0);
  EXPECT_NE(sft.error().what.find(path.string()), std::string::npos) << sft.error().what;
  const auto again = broken()->ReplayDump(path);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().what, ReadFaultDump(path).value().error);
  const auto other = healthy->ReplayDump(path);  // another state
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().blame, Blame::kOperator);

  auto groups = SampleGroups(*healthy, pool, kVersion, 2, 3, 4, 4, 1);
  groups[0].rewards[1] = std::nullopt;
  const auto policy = trainer->PolicyStep(groups);
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().blame, Blame::kMachine) << policy.error().what;
  const FaultDump dump = ReadFaultDump(path).value();
  ASSERT_EQ(dump.batch.groups.size(), 2u);
  EXPECT_EQ(dump.batch.groups[1].group, groups[1].group);
  EXPECT_EQ(dump.batch.groups[0].rewards, groups[0].rewards);
  EXPECT_FALSE(broken()->ReplayDump(path));
}

}  // namespace
}  // namespace waggle
