// Who runs when, without any model: sequences are numbers of tokens here.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

namespace waggle {
namespace {

class SchedulerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Scheduler> Make(std::size_t pages, std::size_t step_tokens,
                                  std::size_t sequences_max = 100, bool cache = true) {
    const EngineConfig config{
        .step_tokens = step_tokens, .sequences_max = sequences_max, .prefix_cache = cache};
    return std::make_unique<Scheduler>(config, pages, [this](std::uint32_t from, std::uint32_t to) {
      copies.emplace_back(from, to);
    });
  }

  // A prompt of `tokens` ids, all equal to `id`.
  Sequence& Add(Scheduler& scheduler, std::size_t tokens, TokenId id, std::uint32_t forks = 0) {
    auto request = std::make_shared<EngineRequest>();
    request->id = next_id++;
    request->prompt_tokens = tokens;
    auto sequence = std::make_unique<Sequence>();
    sequence->request = request;
    sequence->forks = forks;
    sequence->tokens.assign(tokens, id);
    sequence->spans = {{0, {}}};
    sequence->restarted_at = tokens;
    Sequence& result = *sequence;
    scheduler.Add(std::move(sequence));
    return result;
  }

  // Plans, pretends to compute, and lets every sequence that is fully computed say one token.
  static std::vector<PlannedChunk> Step(Scheduler& scheduler) {
    const auto plan = scheduler.Plan();
    scheduler.Computed(plan);
    for (const PlannedChunk& chunk : plan) {
      Sequence& s = *chunk.sequence;
      if (s.computed == s.tokens.size()) s.tokens.push_back(1);
    }
    return plan;
  }

  static std::vector<std::pair<Sequence*, std::size_t>> Pairs(
      const std::vector<PlannedChunk>& plan) {
    std::vector<std::pair<Sequence*, std::size_t>> pairs;
    for (const PlannedChunk& chunk : plan) pairs.emplace_back(chunk.sequence, chunk.tokens);
    return pairs;
  }
  using Plan = std::vector<std::pair<Sequence*, std::size_t>>;

  std::vector<std::pair<std::uint32_t, std::uint32_t>> copies;
  RequestId next_id = 1;
};

TEST_F(SchedulerTest, ChunksFillTheBudgetInOrderOfArrival) {
  auto s = Make(100, 50);
  Sequence &a = Add(*s, 30, 1), &b = Add(*s, 80, 2), &c = Add(*s, 5, 3);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 30}, {&b, 20}}));
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}, {&b, 49}}));
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}, {&b, 11}, {&c, 5}}));
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}, {&b, 1}, {&c, 1}}));
}

TEST_F(SchedulerTest, SeatsAreLimited) {
  auto s = Make(100, 50, /*sequences_max=*/2);
  Sequence &a = Add(*s, 3, 1), &b = Add(*s, 4, 2), &c = Add(*s, 5, 3);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 3}, {&b, 4}}));
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}, {&b, 1}}));
  s->Finish(a);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 1}, {&c, 5}}));
}

TEST_F(SchedulerTest, TheYoungestGivesItsPagesBack) {
  auto s = Make(3, 1000, 100, /*cache=*/false);
  Sequence &a = Add(*s, 63, 1), &b = Add(*s, 63, 2), &c = Add(*s, 63, 3);
  EXPECT_EQ(Step(*s).size(), 3u);
  EXPECT_EQ(Step(*s).size(), 3u);  // positions 63
  EXPECT_EQ(
      Pairs(Step(*s)),
      (Plan{{&a, 1}}));  // needs a page: c gives it; b wants one then, and is itself the youngest
  EXPECT_EQ(s->preemptions(), 2u);
  EXPECT_EQ(b.computed, 0u);
  EXPECT_EQ(c.computed, 0u);
  // b comes first again, but its 65 tokens need two pages.
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}}));
  s->Finish(a);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 65}}));
  s->Finish(b);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&c, 65}}));
  s->Finish(c);
  EXPECT_TRUE(s->idle());
  EXPECT_EQ(s->blocks().used(), 0u);
}

TEST_F(SchedulerTest, ForksShareFullPagesAndCopyThePartialOne) {
  auto s = Make(10, 1000);
  Sequence& a = Add(*s, 70, 1);
  s->Computed(s->Plan());
  Sequence& b = s->Fork(a, 1);
  Sequence& c = s->Fork(a, 2);
  for (Sequence* q : {&a, &b, &c}) q->tokens.push_back(1);
  EXPECT_EQ(s->blocks().used(), 2u);
  const std::uint32_t partial = a.pages[1];
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}, {&b, 1}, {&c, 1}}));
  EXPECT_EQ(s->blocks().used(), 4u);
  EXPECT_EQ(copies, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{partial, a.pages[1]},
                                                                          {partial, b.pages[1]}}));
  EXPECT_EQ(c.pages[1], partial);  // the last user keeps it
  EXPECT_EQ(b.pages[0], a.pages[0]);
}

TEST_F(SchedulerTest, NoCopyIsNeededOnceTheOtherUsersArePreempted) {
  auto s = Make(2, 1000, 100, /*cache=*/false);
  Sequence& a = Add(*s, 70, 1);
  s->Computed(s->Plan());
  Sequence& b = s->Fork(a, 1);
  for (Sequence* q : {&a, &b}) q->tokens.push_back(1);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}}));
  EXPECT_TRUE(copies.empty());
  s->Finish(a);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 71}}));
}

TEST_F(SchedulerTest, ForksWithoutASeatWaitWithoutPages) {
  auto s = Make(10, 1000, /*sequences_max=*/1);
  Sequence& a = Add(*s, 130, 1);
  s->Computed(s->Plan());
  Sequence& b = s->Fork(a, 1);
  for (Sequence* q : {&a, &b}) q->tokens.push_back(1);
  EXPECT_TRUE(b.pages.empty());
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}}));
  s->Finish(a);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 3}}));  // 128 tokens come from the cache
  EXPECT_EQ(s->cached_tokens(), 128u);
}

TEST_F(SchedulerTest, ACachedPromptStillComputesItsLastToken) {
  auto s = Make(10, 1000);
  Sequence& a = Add(*s, 128, 1);
  Step(*s);
  s->Finish(a);
  Sequence& b = Add(*s, 128, 1);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 64}}));
}

TEST_F(SchedulerTest, CachedPagesAreOfOneSwapOnly) {
  auto s = Make(10, 1000);
  Sequence& a = Add(*s, 128, 1);
  Step(*s);
  s->Swap({nullptr, PolicyVersion{0}, 1}, SwapPolicy::kRecompute);  // even under an equal number
  EXPECT_EQ(a.computed, 0u);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 129}}));
}

TEST_F(SchedulerTest, KeepKvSwitchesAtTheLastToken) {
  auto s = Make(10, 1000);
  Sequence &a = Add(*s, 10, 1), &b = Add(*s, 3, 2);
  Step(*s);
  Step(*s);  // a: 12 tokens, 11 computed
  s->Swap({nullptr, PolicyVersion{1}, 1}, SwapPolicy::kKeepKv);
  ASSERT_EQ(a.spans.size(), 2u);
  EXPECT_EQ(a.spans[1].first_position, 11u);
  EXPECT_EQ(a.computed, 11u);
  s->Swap({nullptr, PolicyVersion{2}, 2}, SwapPolicy::kKeepKv);  // nothing was said under version 1
  ASSERT_EQ(a.spans.size(), 2u);
  EXPECT_EQ(a.spans[1].slot.version.value, 2u);
  Step(*s);
  s->Swap({nullptr, PolicyVersion{3}, 3}, SwapPolicy::kFinish);
  EXPECT_EQ(a.spans.size(), 2u);
  s->Swap({nullptr, PolicyVersion{3}, 3}, SwapPolicy::kRecompute);
  EXPECT_EQ(a.spans.size(), 1u);
  EXPECT_EQ(b.spans.size(), 1u);
  EXPECT_EQ(a.computed, 0u);
}

// Recomputed under version 1 and swapped again before it said anything: keys of version 1 would
// have no token to tell of them.
TEST_F(SchedulerTest, KeepKvKeepsOnlyWhatWasSampledWith) {
  auto s = Make(10, 1000);
  Sequence& a = Add(*s, 10, 1);
  Step(*s);
  s->Swap({nullptr, PolicyVersion{1}, 1}, SwapPolicy::kRecompute);
  s->Swap({nullptr, PolicyVersion{2}, 2}, SwapPolicy::kKeepKv);
  EXPECT_EQ(a.spans.size(), 1u);
  EXPECT_EQ(a.spans[0].slot.version.value, 2u);
  Step(*s);
  s->Swap({nullptr, PolicyVersion{3}, 3}, SwapPolicy::kKeepKv);
  EXPECT_EQ(a.spans.size(), 2u);
}

TEST_F(SchedulerTest, RecomputationFollowsTheSpans) {
  auto s = Make(4, 1000, 100, /*cache=*/false);
  Sequence &a = Add(*s, 63, 1), &b = Add(*s, 60, 2), &c = Add(*s, 100, 3);
  Step(*s);
  s->Swap({nullptr, PolicyVersion{1}, 1}, SwapPolicy::kKeepKv);
  Step(*s);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&a, 1}, {&b, 1}}));  // c lost its pages
  s->Finish(a);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 1}, {&c, 100}}));  // up to where version 1 begins
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&b, 1}, {&c, 2}}));
}

TEST_F(SchedulerTest, CancelTakesAllSamplesOfARequest) {
  auto s = Make(10, 1000, 2);
  Sequence& a = Add(*s, 10, 1);
  s->Computed(s->Plan());
  Sequence& b = s->Fork(a, 1);
  Sequence& c = s->Fork(a, 2);  // waits
  for (Sequence* q : {&a, &b, &c}) q->tokens.push_back(1);
  Sequence& d = Add(*s, 4, 2);
  s->Cancel(1);
  s->Cancel(77);
  EXPECT_EQ(s->blocks().used(), 0u);
  EXPECT_EQ(Pairs(Step(*s)), (Plan{{&d, 4}}));
}

}  // namespace
}  // namespace waggle
