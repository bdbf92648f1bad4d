// Training steps that validators take again, over real sockets: an honest host's hold, one that
// lies in what it trains on is named with evidence that decides offline, and who joins late can
// check all the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "audit/public_inputs.h"
#include "base/files.h"
#include "join/test_party.h"

namespace waggle {
namespace {

Recipe SteppedRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.orchestrator.steps = 8;
  recipe.evaluation.every = 0;
  recipe.checkpoints_kept = 2;  // the host keeps what audits need beside them
  recipe.checkpoint_every = 3;
  recipe.trust.audits = true;
  recipe.trust.epoch_versions = 4;
  recipe.trust.step_audits = 2;
  recipe.trust.dispute_epochs = 1;
  recipe.trust.window_seconds = 1;
  recipe.trust.sign_seconds = 3;
  return recipe;
}

// A teacher of another shape, in a model directory.
void AddTeacher(Recipe& recipe, const std::filesystem::path& folder) {
  Recipe other = recipe;
  other.seed += 1;
  other.model.hidden = 16;
  other.model.heads = 2;
  ThreadPool pool(1);
  const BaseModel teacher = PrepareBaseModel(other, {.ops = &BestOps(),
                                                     .pool = &pool,
                                                     .cache_directory = folder / "cache",
                                                     .say = [](const std::string&) {}})
                                .value();
  ASSERT_TRUE(SaveBaseModel(folder / "teacher", teacher.model.config, teacher.model.parameters,
                            teacher.tokenizer, WeightFormat::kF32));
  recipe.trainer.algorithm.kl.mode = "loss";
  recipe.trainer.algorithm.kl.beta = 0.1;
  recipe.trainer.algorithm.kl.teacher = folder / "teacher";
}

// Whoever takes steps of a run with a teacher again fetches the teacher too.
TEST(StepAuditRun, StepsWithATeacherHold) {
  const TempFolder folder;
  Recipe recipe = SteppedRecipe();
  AddTeacher(recipe, folder.path());
  const auto party = OpenParty(folder, recipe);
  for (const PartyNode& node : {Node("one", 2), Node("two", 3), Node("vera", 4, true)})
    party->Add(node);
  const auto hosted = party->Drive();
  ASSERT_TRUE(hosted) << hosted.error().what;
  const auto vera = party->SummaryOf("vera");
  ASSERT_TRUE(vera) << vera.error().what;
  EXPECT_EQ(vera->steps.drawn, 4u);
  EXPECT_EQ(vera->steps.hold, 4u);
  // And so does whoever has the run's folder, but not with another teacher in it.
  ThreadPool pool(1);
  const RunFolder run(folder.path() / "hosted");
  const auto checked = CheckSteps(run, {.from = 6}, BestOps(), pool, nullptr);
  ASSERT_TRUE(checked) << checked.error().what;
  EXPECT_FALSE(checked->wrong) << checked->why;
  BaseModel forged = LoadBaseModel(run.teacher()).value();
  forged.model.parameters.begin()->second.data[0] += 1.0f;
  ASSERT_TRUE(SaveBaseModel(run.teacher(), forged.model.config, forged.model.parameters,
                            forged.tokenizer, WeightFormat::kF32));
  const auto refused = CheckSteps(run, {.from = 6}, BestOps(), pool, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("is not the run's teacher"), std::string::npos);
}

using Tamper = std::function<void(PolicyVersion, std::vector<ScoredGroup>&)>;

TEST(StepAuditRun, AnHonestHostsStepsHold) {
  const TempFolder folder;
  const Recipe recipe = SteppedRecipe();
  const auto party = OpenParty(folder, recipe);
  for (const PartyNode& node : {Node("one", 2), Node("two", 3), Node("vera", 4, true)})
    party->Add(node);
  const auto hosted = party->Drive();
  ASSERT_TRUE(hosted) << hosted.error().what;
  const auto vera = party->SummaryOf("vera");
  ASSERT_TRUE(vera) << vera.error().what;
  EXPECT_EQ(vera->steps.drawn, 4u);  // two of each of two epochs
  EXPECT_EQ(vera->steps.hold, 4u);
  EXPECT_EQ(vera->steps.withheld + vera->steps.faults + vera->steps.wrong, 0u);
  EXPECT_EQ(vera->validated.faults, 0u);
  EXPECT_GT(vera->costs.step_tokens, 0u);
  EXPECT_GT(vera->costs.cpu_seconds, 0.0);
  ThreadPool pool(1);
  const auto checked =
      CheckSteps(RunFolder(folder.path() / "hosted"), {.from = 6}, BestOps(), pool, nullptr);
  ASSERT_TRUE(checked) << checked.error().what;
  EXPECT_FALSE(checked->wrong) << checked->why;
  EXPECT_EQ(checked->left_out, "");
}

// A host that would go on for long, one worker, one validator; all end when the validator has.
Result<JoinSummary> WatchALiar(const TempFolder& folder, const Recipe& recipe,
                               const Tamper& tamper) {
  std::atomic<bool> over = false;
  HostOptions host{.software = "waggle", .http = "off"};
  host.wants_to_end = [&] { return over.load(); };
  host.tamper = tamper;
  const auto run = HostRun::Open(recipe, SmallRunOptions(folder.path(), "hosted"), std::move(host),
                                 KeyOf(1), SystemClock())
                       .value();
  JoinOptions options{.invite = run->invite(),
                      .ops = &BestOps(),
                      .patience_ms = 3'000,
                      .cache_directory = folder.path() / "worker",
                      .software = "waggle"};
  options.wants_to_leave = [&] { return over.load(); };
  std::thread works([&, options] {
    const auto summary = JoinAndSample(options, KeyOf(2), SystemClock());
    static_cast<void>(summary);  // its host is gone, sooner or later
  });
  options.cache_directory = folder.path() / "vera";
  options.validate = ValidateOptions{.evidence_directory = folder.path() / "vera/evidence"};
  options.wants_to_leave = nullptr;
  std::optional<Result<JoinSummary>> summary;
  std::thread validates([&] {
    summary.emplace(JoinAndSample(options, KeyOf(4), SystemClock()));
    over = true;
  });
  const auto hosted = run->Drive();
  EXPECT_TRUE(hosted) << hosted.error().what;  // the host itself notices nothing
  works.join();
  validates.join();
  return std::move(*summary);
}

// What it says ends in the name of an evidence file, which anybody can decide.
void ExpectCaught(const Tamper& tamper, bool teacher = false) {
  const TempFolder folder;
  Recipe recipe = SteppedRecipe();
  if (teacher) AddTeacher(recipe, folder.path());
  recipe.orchestrator.steps = 1000;
  recipe.checkpoint_every = 100;  // however fast it is
  recipe.trust.step_audits = 4;   // all of them: whichever step it lies in, it is drawn
  const auto vera = WatchALiar(folder, recipe, tamper);
  ASSERT_FALSE(vera);
  EXPECT_EQ(vera.error().blame, Blame::kPeer);
  EXPECT_NE(vera.error().what.find("the host lied: the step from version 2"), std::string::npos)
      << vera.error().what;
  std::filesystem::path mirror, file;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "vera/audits"))
    mirror = entry.path();
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "vera/evidence"))
    file = entry.path();
  EXPECT_NE(vera.error().what.find(file.string()), std::string::npos) << vera.error().what;
  const std::string text = ReadFile(file, kEvidenceBytesMax).value();
  const auto evidence =
      OpenEvidence({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  ASSERT_TRUE(evidence) << evidence.error().what;
  EXPECT_EQ(evidence->accused, KeyOf(1).id());
  EXPECT_EQ(evidence->reason, RejectReason::kWrongStep);
  ThreadPool pool(1);
  FolderInputs inputs({mirror}, BestOps(), pool);  // the host has no say in it
  const Decision decision = Decide(*evidence, inputs, pool);
  EXPECT_EQ(decision.kind, Decision::Kind::kProved) << decision.text;
}

TEST(StepAuditRun, AScaledGradientIsProved) {
  ExpectCaught([](PolicyVersion version, std::vector<ScoredGroup>& groups) {
    if (version.value != 2) return;
    // The first counts twice.
    const ScoredGroup first = groups.front();
    groups.push_back(first);
  });
}

TEST(StepAuditRun, ASkippedSampleIsProved) {
  ExpectCaught([](PolicyVersion version, std::vector<ScoredGroup>& groups) {
    if (version.value == 2 && groups.size() > 1) groups.pop_back();
  });
}

TEST(StepAuditRun, ASkippedSampleIsProvedWithATeacherToo) {
  ExpectCaught(
      [](PolicyVersion version, std::vector<ScoredGroup>& groups) {
        if (version.value == 2 && groups.size() > 1) groups.pop_back();
      },
      /*teacher=*/true);
}

TEST(StepAuditRun, SwappedDataIsProved) {
  ExpectCaught([](PolicyVersion version, std::vector<ScoredGroup>& groups) {
    if (version.value != 2) return;
    for (ScoredGroup& group : groups) {
      for (auto& reward : group.rewards) reward = reward ? 1.0 - *reward : 1.0;
      if (!group.rewards.empty()) group.rewards.front() = 2.0;  // never all the same
    }
  });
}

// A refusal is no proof, and no success either.
TEST(StepAuditRun, WhatIsNotShownIsWithheld) {
  const TempFolder folder;
  Recipe recipe = SteppedRecipe();
  recipe.orchestrator.steps = 4;
  recipe.checkpoint_every = 100;
  const auto vera = WatchALiar(folder, recipe, [&](PolicyVersion, std::vector<ScoredGroup>&) {
    std::filesystem::remove_all(RunFolder(folder.path() / "hosted").checkpoint(0));
  });
  ASSERT_TRUE(vera) << vera.error().what;
  EXPECT_EQ(vera->steps.drawn, 2u);
  EXPECT_EQ(vera->steps.withheld, 2u);
  EXPECT_EQ(vera->steps.hold, 0u);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "vera/evidence"));
}

// Everything is unsettled, since an epoch waits for a validator; what its groups name is announced
// no more.
TEST(StepAuditRun, WhoJoinsLateCanCheckWhatItDraws) {
  const TempFolder folder;
  Recipe recipe = SteppedRecipe();
  recipe.orchestrator.steps = 12;
  recipe.trust.epoch_versions = 3;
  recipe.trust.window_seconds = 2;
  const auto party = OpenParty(folder, recipe);
  for (const PartyNode& node : {Node("one", 2), Node("two", 3)}) party->Add(node);
  JoinOptions options{.invite = party->host().invite(),
                      .ops = &BestOps(),
                      .cache_directory = folder.path() / "late",
                      .validate = ValidateOptions{.evidence_directory = folder.path() / "evidence"},
                      .software = "waggle"};
  if (std::getenv("WAGGLE_SAY") != nullptr)
    options.say = [](const std::string& line) { fmt::print(stderr, "late: {}\n", line); };
  std::optional<Result<JoinSummary>> late;
  std::thread joins([&] {
    const auto passed = [&] {
      const auto text = ReadFile(folder.path() / "hosted/metrics.jsonl", 1 << 20);
      return text && std::ranges::count(*text, '\n') >= 10;
    };
    while (!passed()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    late.emplace(JoinAndSample(options, Party::KeyOf(Node("late", 7)), SystemClock()));
  });
  const auto hosted = party->Drive();
  joins.join();
  ASSERT_TRUE(hosted) << hosted.error().what;
  ASSERT_TRUE(*late) << late->error().what;
  const JoinSummary& summary = **late;
  EXPECT_GT(summary.validated.accepted, 0u);
  EXPECT_EQ(summary.validated.faults, 0u);
  EXPECT_GE(summary.steps.drawn, 8u);  // all of an epoch that nobody gave a beacon
  EXPECT_EQ(summary.steps.hold, summary.steps.drawn);
  std::filesystem::path mirror;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "late/audits"))
    mirror = entry.path();
  EXPECT_TRUE(std::filesystem::exists(mirror / "policies"));  // it had to ask
}

}  // namespace
}  // namespace waggle
