// The lease book in front of the real orchestrator, with workers of given speeds in virtual time.
#include <gtest/gtest.h>

#include <map>

#include "roles/orchestrator_core.h"
#include "run/lease_book.h"
#include "run/test_echo.h"

namespace waggle {
namespace {

constexpr std::uint64_t kTokens = 200;  // what the work of one group costs
constexpr Milliseconds kEnd = 3'600'000;

struct Crew {
  std::vector<std::uint32_t> tokens_per_second;  // 0: takes leases and never answers
};
struct RunResult {
  std::vector<std::vector<Lease>> batches;
  std::vector<Milliseconds> steps;  // when each batch was complete
  std::map<std::size_t, std::map<Outcome, int>> outcomes;
};

class LeaseBookRun : public EchoTest {
 protected:
  Recipe SomeRecipe(std::uint64_t ahead) {
    Recipe recipe = MakeRecipe();
    recipe.orchestrator.steps = 20;
    recipe.orchestrator.groups_per_step = 40;
    recipe.orchestrator.ahead = ahead;
    recipe.evaluation.tasks = 0;
    return recipe;
  }

  RunResult Run(const Recipe& recipe, const Crew& crew, Milliseconds deadline_ms_max) {
    crew_ = crew;
    result_ = {};
    jobs_.clear();
    busy_until_.assign(crew.tokens_per_second.size(), 0);
    finished_ = false;
    now_ = 0;
    core_.emplace(run_, recipe, codec_, tokenizer_.vocab_size());
    book_.emplace(LeaseBookSettings{.target_ms = 3'000,
                                    .deadline_ms_min = 2'000,
                                    .deadline_ms_max = deadline_ms_max,
                                    .tokens_per_rollout = kTokens / 2});
    for (std::size_t i = 0; i < busy_until_.size(); ++i)
      Do(WorkerJoined{Node(i), crew.tokens_per_second[i]});
    while (!finished_ && now_ < kEnd) {
      for (std::size_t i = 0; i < busy_until_.size(); ++i) {
        Do(WorkerHeard{Node(i)});
        if (busy_until_[i] <= now_) Do(WorkRequested{Node(i), 64});
      }
      now_ += 100;
      while (!jobs_.empty() && jobs_.begin()->first <= now_) {
        const auto [node, lease] = jobs_.begin()->second;
        jobs_.erase(jobs_.begin());
        submitted_ = Answer(lease);
        Do(GroupCame{Node(node), lease.id, Hash256{}});
      }
      Do(TimePassed{});
    }
    EXPECT_TRUE(finished_);
    return std::move(result_);
  }

 private:
  static NodeId Node(std::size_t i) {
    NodeId id;
    id.value[0] = static_cast<std::uint8_t>(i);
    return id;
  }

  void Do(const LeaseBookEvent& event) {
    for (const LeaseBookEffect& effect : book_->Step(now_, event)) Perform(effect);
  }
  void Perform(const LeaseBookEffect& effect) {
    if (const auto* take = std::get_if<TakeBack>(&effect)) {
      Hear(core_->Step(LeaseTakenBack{take->worker, take->lease}));
    } else if (const auto* ask = std::get_if<AskOrchestrator>(&effect)) {
      const auto effects = core_->Step(WorkerIdle{ask->worker, ask->rollouts_max});
      WorkOffered offer{ask->worker, {}};
      for (const GrantLease& grant : Only<GrantLease>(effects)) offer.leases.push_back(grant.lease);
      Do(offer);
      Hear(effects);
    } else if (const auto* judge = std::get_if<JudgeGroup>(&effect)) {
      const auto effects = core_->Step(GroupArrived{judge->worker, submitted_});
      Do(GroupGraded{judge->worker, judge->lease, Only<GroupJudged>(effects).at(0).verdict,
                     kTokens});
      Hear(effects);
    } else {
      Receive(std::get<SendTo>(effect));
    }
  }
  // The trainer takes no time.
  void Hear(const std::vector<OrchestratorEffect>& effects) {
    for (const TrainOn& batch : Only<TrainOn>(effects)) {
      result_.batches.push_back(batch.leases);
      result_.steps.push_back(now_);
      Hear(core_->Step(PolicyPublished{PolicyVersion{batch.batch + 1}}));
      Do(WorkMayExist{});
    }
    if (!Only<RunFinished>(effects).empty()) finished_ = true;
  }
  void Receive(const SendTo& sent) {
    const std::size_t node = sent.node.value[0];
    if (const auto* record = std::get_if<OutcomeRecord>(&sent.message)) {
      ++result_.outcomes[node][record->outcome];
    } else if (const auto* grant = std::get_if<LeaseGrant>(&sent.message)) {
      const std::uint32_t rate = crew_.tokens_per_second[node];
      for (const GrantedLease& granted : grant->leases) {
        if (rate == 0) {
          busy_until_[node] = kEnd;
          continue;
        }
        busy_until_[node] = std::max(busy_until_[node], now_) + kTokens * 1000 / rate;
        jobs_.emplace(busy_until_[node], std::pair{node, granted.lease});
      }
    }
  }

  Crew crew_;
  RunResult result_;
  std::optional<OrchestratorCore> core_;
  std::optional<LeaseBook> book_;
  std::multimap<Milliseconds, std::pair<std::size_t, Lease>> jobs_;  // by when they are done
  std::vector<Milliseconds> busy_until_;
  Group submitted_;
  Milliseconds now_ = 0;
  bool finished_ = false;
};

// 1000 and 20 tokens per second: a group takes 0.2 seconds, or 10.
TEST_F(LeaseBookRun, AWorkerFiftyTimesSlowerContributesAndDelaysNothing) {
  const Recipe recipe = SomeRecipe(/*ahead=*/2);
  const RunResult alone = Run(recipe, {{1000}}, 20'000);
  RunResult both = Run(recipe, {{1000, 20}}, 20'000);
  EXPECT_GT(both.outcomes[1][Outcome::kAccepted], 0);
  ASSERT_EQ(both.steps.size(), 20u);
  EXPECT_LE(both.steps.back(), alone.steps.back() + 500);
  for (std::size_t step = 0; step < 20; ++step) {
    ASSERT_EQ(both.batches[step].size(), alone.batches[step].size());
    for (std::size_t i = 0; i < both.batches[step].size(); ++i) {
      EXPECT_EQ(both.batches[step][i].id, alone.batches[step][i].id);
      EXPECT_EQ(both.batches[step][i].task_seed, alone.batches[step][i].task_seed);
    }
  }
}

// Where its groups take longer than any deadline, its leases are granted anew and it comes too
// late.
TEST_F(LeaseBookRun, AWorkerSlowerThanTheDeadlineIsOvertaken) {
  const Recipe recipe = SomeRecipe(/*ahead=*/2);
  const RunResult alone = Run(recipe, {{1000}}, 5'000);
  RunResult both = Run(recipe, {{1000, 20}}, 5'000);
  EXPECT_GT(both.outcomes[1][Outcome::kStale], 0);
  EXPECT_LE(both.steps.back(), alone.steps.back() + 1'000);
}

// Synchronous: a lease out of reach costs its deadline, once, and the bits stay the same.
TEST_F(LeaseBookRun, SpeedNeverDecidesABatch) {
  const Recipe recipe = SomeRecipe(/*ahead=*/0);
  const RunResult alone = Run(recipe, {{1000}}, 5'000);
  const RunResult crowd = Run(recipe, {{1000, 20, 333, 0, 70}}, 5'000);
  EXPECT_EQ(crowd.batches, alone.batches);
  const RunResult others = Run(recipe, {{90, 0, 500}}, 5'000);
  EXPECT_EQ(others.batches, alone.batches);
}

}  // namespace
}  // namespace waggle
