// The group's replay against the replay of each rollout: same answer, same activations, whatever
// is honest or forged in the group.
#include "engine/replay_group.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/test_engine.h"

namespace waggle {
namespace {

using namespace testing_engine;

class GroupReplays : public ::testing::TestWithParam<std::size_t> {
 protected:
  GroupReplays() {
    ThreadPool pool(2);
    group_.prompt = TestPrompt(GetParam(), 1, 64);
    Engine engine(model_, PolicyVersion{3}, {.kv_pages = 40}, pool);
    for (const Sampled& sampled : RunAll(engine, {{group_.prompt, 5, options_}}))
      group_.rollouts.push_back(ToRollout(sampled));
  }
  GroupReplay Replay(const Group& group, const GroupProbe* probe = nullptr, unsigned threads = 2) {
    ThreadPool pool(threads);
    auto replay = ReplayGroup(policies_, pool, group, options_, probe);
    EXPECT_TRUE(replay) << replay.error().what;
    return replay ? std::move(*replay) : GroupReplay{};
  }
  ReplayReport Alone(const Group& group, std::uint32_t sample, ActivationProbe* probe = nullptr) {
    ThreadPool pool(1);
    const ReplaySpan span{PolicyVersion{3}, model_.get()};
    return ReplayRollout({&span, 1}, pool, group.prompt, group.rollouts[sample], options_, sample,
                         probe)
        .value();
  }

  const std::shared_ptr<const Model> model_ = RandomModel(AnswerConfig(false), 40);
  const SamplingOptions options_ = TestOptions(70, 0.9f);
  const PolicyLookup policies_ = [this](PolicyVersion version) -> Result<const Model*> {
    if (version == PolicyVersion{3}) return model_.get();
    return Fail(Blame::kMachine, "version {} is not here", version.value);
  };
  Group group_;
};

TEST_P(GroupReplays, HonestGroupsAreEqual) {
  for (const unsigned threads : {1u, 3u}) {
    const GroupReplay replay = Replay(group_, nullptr, threads);
    ASSERT_EQ(replay.rollouts.size(), 5u);
    for (const ReplayReport& report : replay.rollouts) EXPECT_TRUE(report.equal);
    // The prompt is computed once.
    EXPECT_LT(replay.tokens, group_.prompt.size() + 5 * 71);
  }
}

TEST_P(GroupReplays, ForgeriesAreNamedAsAlone) {
  Group forged = group_;
  forged.rollouts[1].tokens[20] = (forged.rollouts[1].tokens[20] + 1) % 64;
  forged.rollouts[3].logps.back() = std::nextafter(forged.rollouts[3].logps.back(), -1.0f);
  std::swap(forged.rollouts[2], forged.rollouts[4]);
  const GroupReplay replay = Replay(forged);
  EXPECT_TRUE(replay.rollouts[0].equal);
  for (std::uint32_t i = 1; i < 5; ++i) {
    const ReplayReport alone = Alone(forged, i);
    EXPECT_FALSE(replay.rollouts[i].equal);
    EXPECT_EQ(replay.rollouts[i].first_difference, alone.first_difference) << i;
    EXPECT_EQ(replay.rollouts[i].expected_token, alone.expected_token) << i;
    EXPECT_EQ(replay.rollouts[i].expected_logp, alone.expected_logp) << i;
  }
}

TEST_P(GroupReplays, ProbesSeeTheSameRow) {
  const auto last = static_cast<std::uint32_t>(group_.rollouts[2].tokens.size() - 1);
  const auto layers = static_cast<std::uint32_t>(model_->config().layers);
  for (const std::uint32_t token : {0u, 31u, last}) {
    for (const std::uint32_t layer : {0u, 1u, layers}) {
      const GroupProbe probe{2, token, layer};
      ActivationProbe alone{group_.prompt.size() - 1 + token, layer, {}};
      EXPECT_TRUE(Alone(group_, 2, &alone).equal);
      const GroupReplay replay = Replay(group_, &probe);
      ASSERT_EQ(replay.activation.size(), model_->config().hidden);
      EXPECT_EQ(replay.activation, alone.row);
    }
  }
}

TEST_P(GroupReplays, RolloutsOfSeveralVersionsGoAlone) {
  Group mixed = group_;
  mixed.rollouts[1].spans.push_back({40, PolicyVersion{3}});  // recomputed under the same weights
  const GroupProbe probe{1, 50, 1};
  const GroupReplay replay = Replay(mixed, &probe);
  for (const ReplayReport& report : replay.rollouts) EXPECT_TRUE(report.equal);
  EXPECT_EQ(replay.activation, Replay(group_, &probe).activation);
}

TEST_P(GroupReplays, WhatIsMissingOrMalformedIsNamed) {
  ThreadPool pool(1);
  Group other = group_;
  other.rollouts[0].spans[0].version = PolicyVersion{4};
  auto replay = ReplayGroup(policies_, pool, other, options_);
  ASSERT_FALSE(replay);
  EXPECT_EQ(replay.error().blame, Blame::kMachine);
  other = group_;
  other.rollouts[4].logps.pop_back();
  replay = ReplayGroup(policies_, pool, other, options_);
  ASSERT_FALSE(replay);
  EXPECT_EQ(replay.error().blame, Blame::kPeer);
  other = group_;
  other.rollouts[4].tokens[0] = 64;
  replay = ReplayGroup(policies_, pool, other, options_);
  ASSERT_FALSE(replay);
  EXPECT_EQ(replay.error().blame, Blame::kPeer);
  other.prompt.clear();
  EXPECT_FALSE(ReplayGroup(policies_, pool, other, options_));
}

// Prompts that end inside a page, at its border, and just behind it; and of one token.
INSTANTIATE_TEST_SUITE_P(Prompts, GroupReplays, ::testing::Values(1, 30, 64, 65, 600));

}  // namespace
}  // namespace waggle
