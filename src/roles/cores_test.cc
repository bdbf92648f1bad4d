// The three cores joined by hand, with a worker that answers from a script: no engine, no weights.
#include <gtest/gtest.h>

#include <set>

#include "crypto/hash.h"
#include "roles/orchestrator_core.h"
#include "roles/trainer_core.h"
#include "roles/worker_core.h"
#include "run/test_echo.h"

namespace waggle {
namespace {

using CoresTest = EchoTest;

TEST_F(CoresTest, ARunIsEvaluatedTrainedAndFinished) {
  OrchestratorCore core(run_, MakeRecipe(), codec_, tokenizer_.vocab_size());
  std::vector<std::uint64_t> batches;
  int evaluations = 0;
  bool finished = false;
  for (int round = 0; round < 100 && !finished; ++round) {
    auto effects = core.Step(WorkerIdle{WorkerId{1}, 100});
    // Groups come back in reverse order: the batch must be in lease order all the same.
    auto grants = Only<GrantLease>(effects);
    for (auto it = grants.rbegin(); it != grants.rend(); ++it) {
      for (auto& effect : core.Step(GroupArrived{WorkerId{1}, Answer(it->lease)}))
        effects.push_back(effect);
    }
    for (const Evaluated& evaluated : Only<Evaluated>(effects)) {
      ++evaluations;
      EXPECT_EQ(evaluated.evaluation.correct, 3u);
    }
    for (const TrainOn& batch : Only<TrainOn>(effects)) {
      batches.push_back(batch.batch);
      ASSERT_EQ(batch.groups.size(), 4u);
      for (std::size_t i = 1; i < 4; ++i)
        EXPECT_LT(batch.groups[i - 1].group.lease, batch.groups[i].group.lease);
      EXPECT_EQ(batch.groups[0].rewards[0], 1.0);
      EXPECT_EQ(batch.groups[0].rewards[1], 0.0);
      EXPECT_TRUE(core.Step(PolicyPublished{PolicyVersion{batch.batch + 1}}).empty());
      EXPECT_TRUE(core.quiescent());
    }
    finished = !Only<RunFinished>(effects).empty();
  }
  EXPECT_TRUE(finished);
  EXPECT_EQ(batches, (std::vector<std::uint64_t>{0, 1, 2}));
  EXPECT_EQ(evaluations, 2);  // before and after
}

TEST_F(CoresTest, SavedStateGoesOnWithTheSameLeases) {
  OrchestratorCore straight(run_, MakeRecipe(), codec_, tokenizer_.vocab_size());
  const auto finish_wave = [&](OrchestratorCore& core) {
    std::vector<Lease> leases;
    for (int i = 0; i < 3; ++i) {
      for (const GrantLease& grant : Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 100}))) {
        leases.push_back(grant.lease);
        for (const TrainOn& batch :
             Only<TrainOn>(core.Step(GroupArrived{WorkerId{1}, Answer(grant.lease)}))) {
          static_cast<void>(core.Step(PolicyPublished{PolicyVersion{batch.batch + 1}}));
          return leases;
        }
      }
    }
    return leases;
  };
  finish_wave(straight);
  OrchestratorCore resumed(run_, MakeRecipe(), codec_, tokenizer_.vocab_size());
  ASSERT_TRUE(resumed.Load(straight.Save()).has_value());
  EXPECT_EQ(finish_wave(resumed), finish_wave(straight));
  EXPECT_EQ(resumed.Save(), straight.Save());
}

TEST_F(CoresTest, WavesAheadSurviveSaveAndLoad) {
  Recipe recipe = MakeRecipe();
  recipe.orchestrator.ahead = 2;
  recipe.evaluation.tasks = 0;
  OrchestratorCore core(run_, recipe, codec_, tokenizer_.vocab_size());
  const auto grants = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 1000}));
  ASSERT_EQ(grants.size(), 12u);  // three waves of four
  for (const GrantLease& grant : grants)
    static_cast<void>(core.Step(GroupArrived{WorkerId{1}, Answer(grant.lease)}));
  static_cast<void>(core.Step(PolicyPublished{PolicyVersion{1}}));
  ASSERT_TRUE(core.quiescent());
  OrchestratorCore resumed(run_, recipe, codec_, tokenizer_.vocab_size());
  ASSERT_TRUE(resumed.Load(core.Save()).has_value());
  const auto batch = Only<TrainOn>(core.Step(WorkerIdle{WorkerId{1}, 0}));
  const auto again = Only<TrainOn>(resumed.Step(WorkerIdle{WorkerId{1}, 0}));
  ASSERT_EQ(batch.size(), 1u);
  ASSERT_EQ(again.size(), 1u);
  ASSERT_EQ(again[0].groups.size(), batch[0].groups.size());
  EXPECT_EQ(again[0].groups[2].group, batch[0].groups[2].group);
  EXPECT_EQ(again[0].groups[2].rewards, batch[0].groups[2].rewards);
}

TEST_F(CoresTest, ALostWorkersLeasesGoToAnother) {
  OrchestratorCore core(run_, MakeRecipe(), codec_, tokenizer_.vocab_size());
  const auto first = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 2}));
  ASSERT_EQ(first.size(), 2u);
  static_cast<void>(core.Step(WorkerLost{WorkerId{1}}));
  const auto second = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{2}, 2}));
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].lease, first[0].lease);
  const auto judged =
      Only<GroupJudged>(core.Step(GroupArrived{WorkerId{1}, Answer(first[0].lease)}));
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_EQ(std::get<Reject>(judged[0].verdict).reason, RejectReason::kUnknownLease);
}

TEST_F(CoresTest, ALeaseIsTakenBackFromItsHolderAlone) {
  OrchestratorCore core(run_, MakeRecipe(), codec_, tokenizer_.vocab_size());
  const auto first = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 2}));
  ASSERT_EQ(first.size(), 2u);
  EXPECT_TRUE(core.Step(LeaseTakenBack{WorkerId{3}, first[1].lease.id}).empty());  // not its lease
  static_cast<void>(core.Step(LeaseTakenBack{WorkerId{1}, first[1].lease.id}));
  const auto second = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{2}, 1}));
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].lease, first[1].lease);
  const auto mine = Only<GroupJudged>(core.Step(GroupArrived{WorkerId{1}, Answer(first[0].lease)}));
  ASSERT_EQ(mine.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Accepted>(mine[0].verdict));
}

TEST_F(CoresTest, ALeaseThatWaitedTooLongIsMadeAnewBeforeItIsGranted) {
  Recipe recipe = MakeRecipe();
  recipe.orchestrator.lag_versions_max = 0;
  recipe.orchestrator.ahead = 1;
  recipe.evaluation.tasks = 0;
  OrchestratorCore core(run_, recipe, codec_, tokenizer_.vocab_size());
  const auto grants = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 1000}));
  ASSERT_EQ(grants.size(), 8u);
  static_cast<void>(core.Step(LeaseTakenBack{WorkerId{1}, grants[4].lease.id}));
  for (int i = 0; i < 4; ++i)
    static_cast<void>(core.Step(GroupArrived{WorkerId{1}, Answer(grants[i].lease)}));
  static_cast<void>(core.Step(PolicyPublished{PolicyVersion{1}}));
  const auto again = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{2}, 1}));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].lease.id, grants[4].lease.id);
  EXPECT_EQ(again[0].lease.version, PolicyVersion{1});
  EXPECT_EQ(again[0].lease.key, grants[4].lease.key) << "work begun before answers it too";
}

TEST_F(CoresTest, AStaleLeaseIsGrantedAnewUnderTodaysVersion) {
  Recipe recipe = MakeRecipe();
  recipe.orchestrator.lag_versions_max = 0;
  recipe.orchestrator.ahead = 1;
  recipe.evaluation.tasks = 0;
  OrchestratorCore core(run_, recipe, codec_, tokenizer_.vocab_size());
  const auto grants = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 1000}));
  ASSERT_EQ(grants.size(), 8u);
  for (int i = 0; i < 4; ++i)
    static_cast<void>(core.Step(GroupArrived{WorkerId{1}, Answer(grants[i].lease)}));
  static_cast<void>(core.Step(PolicyPublished{PolicyVersion{1}}));
  const Lease& old = grants[4].lease;
  const auto judged = Only<GroupJudged>(core.Step(GroupArrived{WorkerId{1}, Answer(old)}));
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_EQ(std::get<Reject>(judged[0].verdict).reason, RejectReason::kStalePolicy);
  const auto again = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{2}, 1}));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].lease.id, old.id);
  EXPECT_EQ(again[0].lease.task_seed, old.task_seed);
  EXPECT_EQ(again[0].lease.version, PolicyVersion{1});
  EXPECT_EQ(again[0].lease.key, old.key);
}

TEST_F(CoresTest, AdmissionNamesEveryLie) {
  Lease lease{.id = LeaseId{5},
              .environment = "echo",
              .task_seed = 7,
              .group_size = 2,
              .version = PolicyVersion{3}};
  lease.sampling.tokens_max = 4;
  const Task task = echo_.MakeTask(7).value();
  const AdmissionPolicy policy{.lag_versions_max = 2, .vocab = tokenizer_.vocab_size()};
  const auto judge = [&](auto&& tamper) -> std::optional<RejectReason> {
    Group group = Answer(lease);
    tamper(group);
    const auto admission = Admit(lease, task, group, PolicyVersion{4}, codec_, policy);
    if (const auto* reject = std::get_if<Reject>(&admission.verdict)) return reject->reason;
    return std::nullopt;
  };
  EXPECT_EQ(judge([](Group&) {}), std::nullopt);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[0].reward = 100; }),
            std::nullopt);  // believed by nobody
  EXPECT_EQ(judge([](Group& g) { g.lease = LeaseId{6}; }), RejectReason::kUnknownLease);
  EXPECT_EQ(judge([](Group& g) { g.rollouts.pop_back(); }), RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.prompt.push_back(4); }), RejectReason::kWrongTask);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].tokens[0] = 99; }), RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].tokens[0] = -1; }), RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].logps[0] = 0.1f; }), RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].logps[0] = __builtin_nanf(""); }),
            RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].logps.pop_back(); }), RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].finish = FinishReason::kLength; }),
            RejectReason::kBadTermination);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].tokens.back() = 4; }),
            RejectReason::kBadTermination);
  EXPECT_EQ(judge([](Group& g) {
              g.rollouts[1].spans.push_back({1, PolicyVersion{4}});
            }),
            std::nullopt);
  EXPECT_EQ(judge([](Group& g) {
              g.rollouts[1].spans.push_back({1, PolicyVersion{4}, true});
            }),
            RejectReason::kMalformed);  // the recipe does not say keep_kv
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].spans.clear(); }), RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].spans[0].version = PolicyVersion{5}; }),
            RejectReason::kMalformed);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].spans[0].version = PolicyVersion{1}; }),
            RejectReason::kStalePolicy);
  EXPECT_EQ(judge([](Group& g) { g.rollouts[1].loss_mask[0] = 0; }), RejectReason::kWrongTask);
}

// Prime sheet 13.4: with a bound of 8 and a trainer that makes step 12, min_fresh is 3.
TEST_F(CoresTest, StaleResponsesShipNoTokensAndKeepTheirRewards) {
  ScoredGroup scored;
  scored.rewards = {1.0, 0.0, 0.0};
  for (const std::uint64_t version : {3, 2, 2}) {
    Rollout rollout{.tokens = {4, 1}, .logps = {-1, -1}, .loss_mask = {1, 1}};
    rollout.spans = {{0, PolicyVersion{version}}};
    scored.group.rollouts.push_back(rollout);
  }
  scored.group.rollouts[2].spans.push_back({1, PolicyVersion{9}});  // its oldest token counts
  EXPECT_EQ(WithholdStale(PolicyVersion{11}, 8, scored), 2u);
  EXPECT_EQ(scored.group.rollouts[0].loss_mask, (std::vector<std::uint8_t>{1, 1}));
  EXPECT_EQ(scored.group.rollouts[1].loss_mask, (std::vector<std::uint8_t>{0, 0}));
  EXPECT_EQ(scored.group.rollouts[2].loss_mask, (std::vector<std::uint8_t>{0, 0}));
  EXPECT_EQ(scored.rewards, (std::vector<std::optional<double>>{1.0, 0.0, 0.0}));
}

TEST_F(CoresTest, AStaleGroupIsKeptForItsRewardsWhereTheRecipeSaysSo) {
  Recipe recipe = MakeRecipe();
  recipe.orchestrator.lag_versions_max = 0;
  recipe.orchestrator.ahead = 1;
  recipe.orchestrator.stale = "withhold";
  recipe.evaluation.tasks = 0;
  OrchestratorCore core(run_, recipe, codec_, tokenizer_.vocab_size());
  const auto grants = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 1000}));
  ASSERT_EQ(grants.size(), 8u);
  std::vector<TrainOn> batches;
  for (int i = 0; i < 8; ++i) {
    const auto effects = core.Step(GroupArrived{WorkerId{1}, Answer(grants[i].lease)});
    EXPECT_TRUE(std::holds_alternative<Accepted>(Only<GroupJudged>(effects).at(0).verdict));
    for (const TrainOn& batch : Only<TrainOn>(effects)) batches.push_back(batch);
    if (i == 3) static_cast<void>(core.Step(PolicyPublished{PolicyVersion{1}}));
  }
  ASSERT_EQ(batches.size(), 2u);
  const ScoredGroup &fresh = batches[0].groups[0], &stale = batches[1].groups[0];
  EXPECT_EQ(fresh.group.rollouts[0].loss_mask[0], 1);
  EXPECT_EQ(stale.group.rollouts[0].loss_mask[0], 0);
  EXPECT_EQ(stale.rewards[0], 1.0);
}

TEST_F(CoresTest, APoolDrawsItsTasksAndMovesThemByTheirPassRate) {
  Recipe recipe = MakeRecipe();
  recipe.orchestrator.steps = 9;
  recipe.orchestrator.difficulty.tasks = 6;
  recipe.orchestrator.difficulty.unseen_weight = 0.001;  // those of the first wave, above all
  recipe.evaluation.tasks = 0;
  const auto play = [&](OrchestratorCore& core) {
    std::vector<Lease> leases;
    for (const GrantLease& grant : Only<GrantLease>(core.Step(WorkerIdle{WorkerId{1}, 100}))) {
      leases.push_back(grant.lease);
      for (const TrainOn& batch :
           Only<TrainOn>(core.Step(GroupArrived{WorkerId{1}, Answer(grant.lease)})))
        static_cast<void>(core.Step(PolicyPublished{PolicyVersion{batch.batch + 1}}));
    }
    return leases;
  };
  OrchestratorCore core(run_, recipe, codec_, tokenizer_.vocab_size());
  const auto first = play(core);
  ASSERT_EQ(first.size(), 4u);
  std::set<PhiloxKey> keys;
  for (const Lease& lease : first) {
    EXPECT_EQ(core.pool()->class_of(lease.task_seed), Difficulty::kNormal);  // half are right
    keys.insert(lease.key);
  }
  EXPECT_EQ(keys.size(), 4u);  // even where a task came twice
  EXPECT_GT(core.pool()->counts()[2], 0u);
  OrchestratorCore resumed(run_, recipe, codec_, tokenizer_.vocab_size());
  ASSERT_TRUE(resumed.Load(core.Save()).has_value());
  for (int wave = 0; wave < 3; ++wave) EXPECT_EQ(play(resumed), play(core));
  OrchestratorCore forgetful(run_, MakeRecipe(), codec_, tokenizer_.vocab_size());
  EXPECT_FALSE(resumed.Load(forgetful.Save()).has_value());  // a state without its pool
}

TEST_F(CoresTest, AdmissionPaysForTheLengthThatWasAskedFor) {
  Lease lease{.id = LeaseId{5}, .environment = "echo", .task_seed = 7, .group_size = 2};
  lease.sampling.tokens_max = 4;
  Task task = echo_.MakeTask(7).value();
  const Group group = Answer(lease);  // two tokens each; the first is right
  AdmissionPolicy policy{.vocab = tokenizer_.vocab_size(), .length_weight = 0.25};
  EXPECT_EQ(Admit(lease, task, group, PolicyVersion{0}, codec_, policy).scored.rewards[0], 1.0);
  task.length_target = 4;
  const auto paid = Admit(lease, task, group, PolicyVersion{0}, codec_, policy).scored;
  EXPECT_EQ(paid.rewards[0], 0.5);
  EXPECT_EQ(paid.rewards[1], -0.5);
  EXPECT_TRUE(paid.correct[0]);
  policy.length_mode = LengthMode::kMax;
  EXPECT_EQ(Admit(lease, task, group, PolicyVersion{0}, codec_, policy).scored.rewards[0], 1.0);
}

TEST_F(CoresTest, TheWorkerPlaysBothTurnsOfAnEpisode) {
  WorkerCore worker(codec_, 100);
  Lease lease{.id = LeaseId{1}, .environment = "echo", .task_seed = 7, .group_size = 1};
  lease.sampling.tokens_max = 8;
  auto effects = worker.Step(LeaseGranted{lease});
  ASSERT_EQ(Only<StartSampling>(effects).size(), 1u);
  static_cast<void>(worker.Step(SamplingStarted{lease.id, 0, 11}));
  const auto token = [&](RequestId request, std::string_view text, bool last) {
    TokenEvent event{.request = request, .token = Id(text), .logp = -1.0f};
    if (last) event.finish = FinishReason::kStop;
    return event;
  };
  effects = worker.Step(TokensSampled{{token(11, "+", false), token(11, "</s>", true)}});
  const auto again = Only<StartSampling>(effects);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].prompt,
            (std::vector<TokenId>{Id("7"), Id("?"), Id("+"), Id("</s>"), Id("!")}));
  EXPECT_EQ(again[0].options.config.tokens_max, 5u);
  static_cast<void>(worker.Step(SamplingStarted{lease.id, 0, 12}));
  effects = worker.Step(TokensSampled{{token(12, "7", false), token(12, "</s>", true)}});
  const auto submitted = Only<SubmitGroup>(effects);
  ASSERT_EQ(submitted.size(), 1u);
  EXPECT_EQ(submitted[0].group.rollouts[0].loss_mask, (std::vector<std::uint8_t>{1, 1, 0, 1, 1}));
  const Task task = echo_.MakeTask(7).value();
  const auto admission = Admit(lease, task, submitted[0].group, PolicyVersion{0}, codec_,
                               {.lag_versions_max = 0, .vocab = tokenizer_.vocab_size()});
  EXPECT_TRUE(std::holds_alternative<Accepted>(admission.verdict));
  EXPECT_EQ(admission.scored.rewards[0], 1.0);
}

TEST_F(CoresTest, TheTrainerChecksPointsAndAborts) {
  TrainerCore core(PolicyVersion{0}, 2, 3);
  TrainOn batch{.groups = {ScoredGroup{}}};
  EXPECT_EQ(Only<RunStep>(core.Step(BatchReady{batch})).size(), 1u);
  EXPECT_TRUE(Only<SaveCheckpoint>(core.Step(StepFinished{})).empty());
  static_cast<void>(core.Step(BatchReady{batch}));
  EXPECT_EQ(Only<SaveCheckpoint>(core.Step(StepFinished{})).size(), 1u);
  const auto empty =
      core.Step(BatchReady{});  // everything was filtered out: no step, but the run goes on
  EXPECT_EQ(Only<PublishPolicy>(empty).at(0).version, PolicyVersion{3});
  EXPECT_EQ(Only<SaveCheckpoint>(empty).size(), 1u);
  static_cast<void>(core.Step(BatchReady{batch}));
  const auto failed = core.Step(StepFailed{Error{Blame::kMachine, "numeric fault"}});
  EXPECT_EQ(Only<AbortRun>(failed).size(), 1u);
  EXPECT_TRUE(Only<PublishPolicy>(failed).empty());
}

}  // namespace
}  // namespace waggle
