// Save, load, damage, kill: a resumed trainer is the uninterrupted one, byte for byte.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/files.h"
#include "training/checkpoint_folder.h"
#include "training/test_policy.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

TrainerConfig FullConfig() {
  TrainerConfig config = FastTrainer();
  config.algorithm = NamedAlgorithm("grpo").value();
  config.algorithm.kl.target = 0.1;  // the coefficient is state
  config.schedule = {.kind = "cosine", .warmup_steps = 2, .total_steps = 30};
  config.updates_per_batch = 2;
  return config;
}

// Step k of a run: the batch depends on k and on the weights, as in a real run.
void StepOnce(Trainer& trainer, ThreadPool& pool, std::uint64_t k) {
  const auto groups = SampleGroups(trainer, pool, PolicyVersion{k}, 2, 3, 4, kEvenTokens, k);
  const Hash256 before = trainer.StateHash();
  const auto report = trainer.PolicyStep(groups, PolicyVersion{k});
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_NE(trainer.StateHash(), before) << "a step that teaches nothing tests nothing";
  trainer.SetCursor("after " + std::to_string(k));
}

std::unique_ptr<Trainer> LoadTrainer(const fs::path& folder, const TrainerConfig& config,
                                     ThreadPool& pool) {
  auto loaded = Trainer::LoadCheckpoint(folder, TinyModel(), {}, config, BestOps(), pool);
  if (!loaded) {
    ADD_FAILURE() << loaded.error().what;
    return nullptr;
  }
  return std::move(*loaded);
}

TrainerConfig CriticConfig() {
  TrainerConfig config = FullConfig();
  config.algorithm = NamedAlgorithm("ppo-rlhf").value();
  config.algorithm.critic.lr = "1e-3";
  config.algorithm.critic.warmup_steps = 2;  // the first of three batches: counted by the critic
  return config;
}

TEST(CheckpointTest, AResumedTrainerIsTheUninterruptedOne) {
  ThreadPool pool(1);
  struct Case {
    TrainerConfig config;
    std::size_t files;  // masters, m, v, adapters or reference, state, manifest; the critic's three
  };
  TrainerConfig adapters = FullConfig();
  adapters.lora.rank = 3;
  for (const Case& c : {Case{FullConfig(), 6}, Case{adapters, 6}, Case{CriticConfig(), 9}}) {
    TempFolder folder;
    const TrainerConfig& config = c.config;
    const auto straight = MakeTrainer(config, pool);
    for (std::uint64_t k = 0; k < 3; ++k) StepOnce(*straight, pool, k);
    straight->SetRunId({1, 2, 3});
    ASSERT_TRUE(straight->SaveCheckpoint(folder.path() / "sub" / "c"));
    const auto resumed = LoadTrainer(folder.path() / "sub" / "c", config, pool);
    ASSERT_NE(resumed, nullptr);
    EXPECT_EQ(resumed->StateHash(), straight->StateHash());
    EXPECT_EQ(resumed->cursor(), "after 2");
    for (std::uint64_t k = 3; k < 6; ++k) {
      StepOnce(*straight, pool, k);
      StepOnce(*resumed, pool, k);
    }
    EXPECT_EQ(resumed->StateHash(), straight->StateHash());
    // And their checkpoints are equal files.
    ASSERT_TRUE(straight->SaveCheckpoint(folder.path() / "a"));
    ASSERT_TRUE(resumed->SaveCheckpoint(folder.path() / "b"));
    std::size_t files = 0;
    for (const auto& entry : fs::directory_iterator(folder.path() / "a")) {
      const auto name = entry.path().filename();
      EXPECT_EQ(ReadFile(entry.path(), 1 << 30).value(),
                ReadFile(folder.path() / "b" / name, 1 << 30).value())
          << name;
      ++files;
    }
    EXPECT_EQ(files, c.files);
  }
}

TEST(CheckpointTest, DamageIsFoundWhereverItIs) {
  ThreadPool pool(1);
  TempFolder folder;
  const TrainerConfig config = CriticConfig();
  const auto trainer = MakeTrainer(config, pool);
  StepOnce(*trainer, pool, 0);
  const fs::path good = folder.path() / "good", bad = folder.path() / "bad";
  ASSERT_TRUE(trainer->SaveCheckpoint(good));
  const auto refused = [&](const auto& damage, const char* part) {
    fs::remove_all(bad);
    fs::copy(good, bad);
    damage();
    const auto loaded = Trainer::LoadCheckpoint(bad, TinyModel(), {}, config, BestOps(), pool);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().blame, Blame::kOperator);
    EXPECT_NE(loaded.error().what.find(part), std::string::npos) << loaded.error().what;
  };
  for (const char* name :
       {"masters.safetensors", "m.safetensors", "v.safetensors", "reference.safetensors",
        "critic.safetensors", "critic_m.safetensors", "critic_v.safetensors", "state.json"}) {
    refused([&] { fs::remove(bad / name); }, name);
    refused([&] { fs::resize_file(bad / name, fs::file_size(bad / name) - 1); }, name);
    refused(
        [&] {
          std::fstream file(bad / name, std::ios::in | std::ios::out | std::ios::binary);
          file.seekp(static_cast<std::streamoff>(fs::file_size(bad / name) / 2));
          const char old = static_cast<char>(file.peek());
          file.put(static_cast<char>(old ^ 1));
        },
        name);
  }
  refused([&] { fs::remove(bad / "manifest.json"); }, "manifest.json");
  refused([&] { std::ofstream(bad / "manifest.json") << "{"; }, "manifest.json");
  refused(
      [&] {
        std::ofstream(bad / "manifest.json")
            << R"({"format":"waggle-folder-1","files":[{"name":"../x","bytes":1,"sha256":""}]})";
      },
      "strange");
  EXPECT_FALSE(Trainer::LoadCheckpoint(folder.path() / "none", TinyModel(), {}, FullConfig(),
                                       BestOps(), pool));
}

TEST(CheckpointTest, OtherModelsAdaptersAndAlgorithmsAreRefused) {
  ThreadPool pool(1);
  TempFolder folder;
  const auto trainer = MakeTrainer(FastTrainer(), pool);
  ASSERT_TRUE(trainer->SaveCheckpoint(folder.path() / "c"));
  ModelConfig wider = TinyModel();
  wider.intermediate = 64;
  EXPECT_FALSE(
      Trainer::LoadCheckpoint(folder.path() / "c", wider, {}, FastTrainer(), BestOps(), pool));
  TrainerConfig adapters = FastTrainer(), reference = FastTrainer(), critic = FastTrainer();
  adapters.lora.rank = 2;
  critic.algorithm.advantage.kind = "gae";
  EXPECT_FALSE(
      Trainer::LoadCheckpoint(folder.path() / "c", TinyModel(), {}, critic, BestOps(), pool));
  reference.algorithm.kl.mode = "metric";
  EXPECT_FALSE(
      Trainer::LoadCheckpoint(folder.path() / "c", TinyModel(), {}, adapters, BestOps(), pool));
  EXPECT_FALSE(
      Trainer::LoadCheckpoint(folder.path() / "c", TinyModel(), {}, reference, BestOps(), pool));
  EXPECT_TRUE(Trainer::LoadCheckpoint(folder.path() / "c", TinyModel(), {}, FastTrainer("1e-3"),
                                      BestOps(), pool));
}

TEST(CheckpointTest, OverwritingKeepsOneCompleteFolderAtEveryMoment) {
  TempFolder folder;
  const fs::path target = folder.path() / "c";
  const auto write = [&](const std::string& text) {
    return WriteFolder(target,
                       [&](const fs::path& staged) { return WriteFileAtomic(staged / "x", text); });
  };
  ASSERT_TRUE(write("one"));
  ASSERT_TRUE(write("two"));
  EXPECT_EQ(ReadFile(VerifiedFolder(target).value() / "x", 10).value(), "two");
  // A failing writer leaves the old content.
  EXPECT_FALSE(
      WriteFolder(target, [](const fs::path&) -> Status { return Fail(Blame::kMachine, "no"); }));
  EXPECT_EQ(ReadFile(VerifiedFolder(target).value() / "x", 10).value(), "two");
  // Cut between the two renames: the older folder counts.
  fs::rename(target, folder.path() / "c.old");
  EXPECT_EQ(ReadFile(VerifiedFolder(target).value() / "x", 10).value(), "two");
  ASSERT_TRUE(write("three"));
  EXPECT_EQ(ReadFile(VerifiedFolder(target).value() / "x", 10).value(), "three");
  EXPECT_FALSE(fs::exists(folder.path() / "c.old"));
}

TEST(CheckpointTest, OnlyTheNewestStepsAreKept) {
  TempFolder folder;
  for (const std::uint64_t step : {3u, 10u, 7u}) {
    ASSERT_TRUE(WriteFolder(StepFolder(folder.path(), step), [](const fs::path& staged) {
      return WriteFileAtomic(staged / "x", "1");
    }));
  }
  fs::create_directories(folder.path() / "step-11");      // no manifest
  fs::create_directories(folder.path() / "step-12.tmp");  // staging
  fs::create_directories(folder.path() / "steps");
  EXPECT_EQ(CompleteSteps(folder.path()), (std::vector<std::uint64_t>{3, 7, 10}));
  ASSERT_TRUE(PruneSteps(folder.path(), 2));
  EXPECT_EQ(CompleteSteps(folder.path()), (std::vector<std::uint64_t>{7, 10}));
  EXPECT_TRUE(CompleteSteps(folder.path() / "none").empty());
}

// Goes on from the newest complete step of `root` until step `last`, saving every step.
int RunTo(const fs::path& root, std::uint64_t last) {
  ThreadPool pool(1);
  const TrainerConfig config = FullConfig();
  const auto steps = CompleteSteps(root);
  std::unique_ptr<Trainer> trainer;
  if (steps.empty()) {
    trainer = MakeTrainer(config, pool);
  } else {
    trainer = LoadTrainer(StepFolder(root, steps.back()), config, pool);
  }
  if (trainer == nullptr) return 1;
  for (std::uint64_t k = steps.empty() ? 0 : steps.back(); k < last; ++k) {
    StepOnce(*trainer, pool, k);
    if (!trainer->SaveCheckpoint(StepFolder(root, k + 1)) || !PruneSteps(root, 2)) return 2;
  }
  return ::testing::Test::HasFailure() ? 3 : 0;
}

TEST(CheckpointTest, KilledAtAnyMomentTheRunEndsWithTheSameBits) {
  constexpr std::uint64_t kLast = 6;
  TempFolder straight, killed;
  ASSERT_EQ(RunTo(straight.path(), kLast), 0);
  Rng rng(static_cast<std::uint64_t>(::getpid()));
  int kills = 0;
  for (int attempt = 0; attempt < 25; ++attempt) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(RunTo(killed.path(), kLast));
    ::usleep(2000 + rng.Below(30000) + static_cast<unsigned>(attempt) * 2000);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ++kills;
  }
  ASSERT_EQ(RunTo(killed.path(), kLast), 0);  // in case the kills never let it finish
  EXPECT_GT(kills, 0);
  for (const auto& entry : fs::directory_iterator(StepFolder(straight.path(), kLast))) {
    const auto name = entry.path().filename();
    EXPECT_EQ(ReadFile(entry.path(), 1 << 30).value(),
              ReadFile(StepFolder(killed.path(), kLast) / name, 1 << 30).value())
        << name;
  }
}

}  // namespace
}  // namespace waggle
