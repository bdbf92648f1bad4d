// One step is one set of bits: on every instruction set, thread count and cut into micro-batches,
// for every weight format, with adapters and without.
#include "training/test_policy.h"

namespace waggle {
namespace {

constexpr PolicyVersion kVersion{3};

ModelConfig WideModel() {
  ModelConfig config = TinyModel();
  config.hidden = 128;  // one scale group of the integer formats
  config.intermediate = 128;
  config.head_dim = 64;
  return config;
}

struct Machine {
  const Ops* ops;
  unsigned threads;
  std::uint64_t micro_batch_tokens;
  const char* recompute;
};

std::unique_ptr<Trainer> TrainerOn(const Machine& machine, ThreadPool& pool,
                                   const NumericsConfig& numerics, std::uint32_t rank) {
  TrainerConfig config = FastTrainer("1e-3");
  config.lora.rank = rank;
  config.micro_batch_tokens = machine.micro_batch_tokens;
  config.recompute = machine.recompute;
  auto trainer = Trainer::Create(WideModel(), numerics, RandomParameters(WideModel(), 5, 0.2f),
                                 config, *machine.ops, pool);
  EXPECT_TRUE(trainer) << (trainer ? "" : trainer.error().what);
  return trainer ? std::move(*trainer) : nullptr;
}

// After a supervised step and a policy step on groups that this machine sampled itself.
Hash256 StateOn(const Machine& machine, const NumericsConfig& numerics, std::uint32_t rank) {
  ThreadPool pool(machine.threads);
  const auto trainer = TrainerOn(machine, pool, numerics, rank);
  if (!trainer) return {};
  const Hash256 before = trainer->StateHash();
  EXPECT_TRUE(trainer->SftStep(CountingSamples(3, 6)));
  const auto groups = SampleGroups(*trainer, pool, kVersion, 2, 4, 4, kEvenTokens, 1);
  const auto report = trainer->PolicyStep(groups, kVersion);
  EXPECT_TRUE(report) << (report ? "" : report.error().what);
  EXPECT_NE(trainer->StateHash(), before);
  return trainer->StateHash();
}

TEST(TrainerBitsTest, EveryMachineGivesTheSameStateInEveryFormat) {
  std::vector<Machine> machines;
  for (const Ops* ops : AvailableOps()) machines.push_back({ops, 1, 4096, "block"});
  machines.push_back({&BestOps(), 2, 13, "none"});
  machines.push_back({&BestOps(), 3, 1, "swiglu"});
  std::vector<Hash256> seen;
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
    for (const std::uint32_t rank : {0u, 2u}) {
      const NumericsConfig numerics{.weights = format};
      const Hash256 want = StateOn(machines[0], numerics, rank);
      for (const Machine& machine : machines) {
        EXPECT_EQ(StateOn(machine, numerics, rank), want)
            << ToString(format) << ", rank " << rank << ", " << machine.ops->name << ", "
            << machine.threads << " threads, " << machine.recompute;
      }
      // Another format is another policy; the test would see a format that is not used.
      EXPECT_EQ(std::count(seen.begin(), seen.end(), want), 0) << ToString(format);
      seen.push_back(want);
    }
  }
}

}  // namespace
}  // namespace waggle
