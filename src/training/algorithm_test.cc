// The family as a whole: named rows, refusals, filters, invariances, hostile batches.
#include <cmath>
#include <cstring>

#include "base/philox.h"
#include "training/test_sequences.h"

namespace waggle {
namespace {

// Groups of random rewards, lengths and log-probs, some truncated, some with environment tokens.
std::vector<ScoredGroup> RandomGroups(std::uint64_t seed, std::size_t groups, std::size_t size) {
  Rng rng(seed);
  std::vector<ScoredGroup> out;
  for (std::size_t g = 0; g < groups; ++g) {
    ScoredGroup scored;
    scored.group.lease = LeaseId{g + 1};
    scored.group.prompt = {1, 2, 3};
    scored.greedy_reward = 0.5;
    scored.weights = {1.0, 0.5};
    for (std::size_t i = 0; i < size; ++i) {
      Rollout rollout;
      const std::uint32_t n = 1 + rng.Below(9);
      for (std::uint32_t t = 0; t < n; ++t) {
        rollout.tokens.push_back(static_cast<TokenId>(rng.Below(20)));
        rollout.logps.push_back(static_cast<float>(-3.0 * rng.Unit()));
        rollout.loss_mask.push_back(t > 0 && rng.Below(6) == 0 ? 0 : 1);
      }
      rollout.spans = {{0, PolicyVersion{3}}};
      rollout.finish = rng.Below(5) == 0 ? FinishReason::kLength : FinishReason::kStop;
      const double first = rng.Below(2), second = rng.Unit();
      scored.rewards.push_back(first + 0.5 * second);
      scored.components.push_back({first, second});
      scored.correct.push_back(first > 0);
      scored.group.rollouts.push_back(rollout);
    }
    out.push_back(scored);
  }
  return out;
}

// On-policy sequences, then pushed off policy by `noise` nats.
std::vector<LossSequence> Sequences(const AlgorithmConfig& config,
                                    const std::vector<ScoredGroup>& groups, double noise) {
  auto sequences = MakeSequences(config, groups, PolicyVersion{4}).value();
  Rng rng(99);
  for (LossSequence& sequence : sequences) {
    sequence.proximal = sequence.current = sequence.reference = sequence.behaviour;
    sequence.entropy.assign(sequence.mask.size(), 0.5f);
    sequence.value.assign(sequence.mask.size(), 0.25f);
    for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
      sequence.current[t] += static_cast<float>(noise * (rng.Unit() - 0.5));
      sequence.reference[t] += static_cast<float>(noise * (rng.Unit() - 0.5));
    }
  }
  PlaceAdvantages(config, config.kl.beta, sequences);
  return sequences;
}

TEST(AlgorithmTest, EveryNamedRowIsValidAndGivesFiniteCredits) {
  EXPECT_GE(AlgorithmNames().size(), 25u);
  for (const std::string& name : AlgorithmNames()) {
    SCOPED_TRACE(name);
    const AlgorithmConfig config = Named(name.c_str());
    EXPECT_EQ(config.name, name);
    ASSERT_TRUE(Validate(config)) << Validate(config).error().what;
    const TokenCredits credits =
        AssignCredit(config, config.kl.beta, Sequences(config, RandomGroups(5, 6, 4), 0.4));
    EXPECT_TRUE(std::isfinite(credits.loss));
    double sum = 0;
    for (const double u : Flat(credits.u)) {
      EXPECT_TRUE(std::isfinite(u));
      sum += std::fabs(u);
    }
    EXPECT_GT(sum, 0);
  }
}

TEST(AlgorithmTest, TheDefaultSettingsAreTheRowTheyName) {
  AlgorithmConfig plain, named = Named("default");
  EXPECT_EQ(WriteToml(plain), WriteToml(named));
  EXPECT_FALSE(NamedAlgorithm("grpo2"));
  EXPECT_NE(NamedAlgorithm("grpo2").error().what.find("dr-grpo"), std::string::npos);
}

TEST(AlgorithmTest, RowsSurviveTheirOwnText) {
  for (const std::string& name : AlgorithmNames()) {
    AlgorithmConfig config = Named(name.c_str()), back;
    const std::string text = WriteToml(config);
    ASSERT_TRUE(ReadToml(text, "t", back)) << ReadToml(text, "t", back).error().what;
    EXPECT_EQ(WriteToml(back), text) << name;
  }
}

TEST(AlgorithmTest, DoubleCountingIsRefused) {
  const auto refused = [](const char* name, auto set) {
    AlgorithmConfig config = Named(name);
    set(config);
    const Status status = Validate(config);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().blame, Blame::kOperator);
  };
  refused("scalerl", [](auto& c) { c.correction.weight = "token"; });
  refused("soft-gate", [](auto& c) { c.correction.weight = "token"; });
  refused("opo", [](auto& c) { c.kl.mode = "loss"; });
  refused("dr-grpo", [](auto& c) { c.length_max = 0; });
  refused("grpo", [](auto& c) { c.dual_clip = 0.9; });
  refused("intellect-2", [](auto& c) { c.two_sided = 1.1; });
  refused("vespo", [](auto& c) { c.ratio = "token"; });
  refused("m2po-cap", [](auto& c) { c.ratio_to = "proximal"; });
  refused("grpo", [](auto& c) { c.ratio = "none"; });
  refused("gmpo", [](auto& c) { c.ratio = "seq_geo"; });
}

TEST(AlgorithmTest, OnPolicyAllClipRulesAreReinforce) {
  AlgorithmConfig reinforce = Named("default");
  reinforce.rule = "reinforce";
  const auto groups = RandomGroups(11, 5, 4);
  const auto want = Flat(AssignCredit(reinforce, 0, Sequences(reinforce, groups, 0)).u);
  for (const auto& set : std::vector<void (*)(AlgorithmConfig&)>{
           [](auto&) {}, [](auto& c) { c.dual_clip = 3; }, [](auto& c) { c.two_sided = 4; },
           [](auto& c) { c.rule = "cispo"; }, [](auto& c) { c.rule = "m2po"; },
           [](auto& c) { c.rule = "gmpo"; }, [](auto& c) { c.ratio = "seq_geo"; }}) {
    AlgorithmConfig config = Named("default");
    set(config);
    EXPECT_EQ(Flat(AssignCredit(config, 0, Sequences(config, groups, 0)).u), want);
  }
}

TEST(AlgorithmTest, AWeightOfOneChangesNothing) {
  const auto groups = RandomGroups(12, 5, 4);
  AlgorithmConfig plain = Named("default"), corrected = plain;
  corrected.correction.weight = "token";
  const auto sequences = Sequences(plain, groups, 0.5);  // behaviour == proximal
  EXPECT_EQ(Flat(AssignCredit(plain, 0, sequences).u),
            Flat(AssignCredit(corrected, 0, sequences).u));
  AlgorithmConfig free_kl = plain;
  free_kl.kl.mode = "loss";
  EXPECT_EQ(Flat(AssignCredit(plain, 0, sequences).u),
            Flat(AssignCredit(free_kl, 0.0, sequences).u));
}

TEST(AlgorithmTest, ObservationTokensAndTheirNumbersNeverMatter) {
  for (const std::string& name : AlgorithmNames()) {
    SCOPED_TRACE(name);
    const AlgorithmConfig config = Named(name.c_str());
    auto plain = Sequences(config, RandomGroups(13, 4, 4), 0.3), padded = plain;
    for (LossSequence& sequence : padded) {
      sequence.mask.push_back(0);
      sequence.tokens.push_back(1);
      sequence.advantage.push_back(std::nan(""));
      for (auto* logps : {&sequence.behaviour, &sequence.proximal, &sequence.current,
                          &sequence.reference, &sequence.entropy}) {
        logps->push_back(std::nanf(""));
      }
    }
    const TokenCredits a = AssignCredit(config, 0.1, plain), b = AssignCredit(config, 0.1, padded);
    EXPECT_EQ(a.loss, b.loss);
    for (std::size_t s = 0; s < plain.size(); ++s) {
      for (std::size_t t = 0; t < plain[s].mask.size(); ++t) EXPECT_EQ(a.u[s][t], b.u[s][t]);
      EXPECT_EQ(b.u[s].back(), 0.0f);
    }
  }
}

TEST(AlgorithmTest, DoublingTheBatchKeepsTheLoss) {
  for (const char* name : {"grpo", "dr-grpo", "default", "scalerl", "gspo", "rloo"}) {
    SCOPED_TRACE(name);
    AlgorithmConfig config = Named(name);
    config.advantage.kind = "group_mean";
    auto groups = RandomGroups(14, 4, 4), twice = groups;
    twice.insert(twice.end(), groups.begin(), groups.end());
    // The same noise for both copies.
    auto once = Sequences(config, groups, 0.3), doubled = once;
    for (LossSequence sequence : once) {
      sequence.group += 4;
      doubled.push_back(sequence);
    }
    EXPECT_NEAR(AssignCredit(config, 0.1, once).loss, AssignCredit(config, 0.1, doubled).loss,
                1e-12);
  }
}

TEST(AlgorithmTest, LengthBiasOfTheAggregations) {
  const auto weights = [](const char* aggregation) {
    AlgorithmConfig config;
    config.rule = "reinforce";
    config.aggregation = aggregation;
    config.length_max = 1024;
    std::vector<LossSequence> s;
    AppendGroup(s, 0, {1}, {10});
    AppendGroup(s, 1, {1}, {1000});
    for (LossSequence& sequence : s) sequence.advantage.assign(sequence.mask.size(), -1.0);
    const TokenCredits credits = AssignCredit(config, 0, s);
    return std::pair<double, double>(credits.u[0][0], credits.u[1][0]);
  };
  EXPECT_NEAR(weights("seq_mean_token_mean").first, .05, 1e-7);
  EXPECT_NEAR(weights("seq_mean_token_mean").second, .0005, 1e-7);
  EXPECT_NEAR(weights("const").first, .000488, 1e-6);
  EXPECT_EQ(weights("const").first, weights("const").second);
  EXPECT_NEAR(weights("token_mean").first, .000990, 1e-6);
  EXPECT_NEAR(weights("prompt_mean").second, .0005, 1e-7);
}

TEST(AlgorithmTest, FiltersLookAtAccuracyAndLeaveTheCounts) {
  auto groups = RandomGroups(15, 3, 4);
  groups[1].correct.assign(4, true);  // rewards still vary, as with a length penalty
  AlgorithmConfig config = Named("dapo");
  const auto sequences = Sequences(config, groups, 0);
  std::size_t tokens = 0;
  for (const LossSequence& sequence : sequences) {
    EXPECT_TRUE(sequence.group != 1 || sequence.LossTokens() == 0);
    tokens += sequence.LossTokens();
  }
  EXPECT_EQ(AssignCredit(config, 0, sequences).metrics.loss_tokens, tokens);
  config.shaping.drop_uniform = false;
  config.shaping.accuracy_max = 0.9;
  EXPECT_EQ(Sequences(config, groups, 0)[4].LossTokens(), 0u);
}

TEST(AlgorithmTest, OverlongFilterMasksButKeepsTheReward) {
  auto groups = RandomGroups(16, 1, 4);
  for (Rollout& rollout : groups[0].group.rollouts) rollout.finish = FinishReason::kStop;
  groups[0].group.rollouts[2].finish = FinishReason::kLength;
  AlgorithmConfig config = Named("default"), filtered = config;
  filtered.shaping.overlong_filter = true;
  const auto plain = Sequences(config, groups, 0), masked = Sequences(filtered, groups, 0);
  EXPECT_EQ(masked[2].LossTokens(), 0u);
  EXPECT_EQ(masked[0].advantage[0], plain[0].advantage[0]);
  EXPECT_EQ(AssignCredit(filtered, 0, masked).metrics.trained_responses, 3u);
}

// A response that turned stale ships no tokens (its mask is empty), but its reward is part of the
// group's mean; and ages are told by the spans.
TEST(AlgorithmTest, AWithheldResponseStillShapesTheGroupsMean) {
  auto groups = RandomGroups(23, 1, 4);
  groups[0].rewards = {1.0, 0.0, 0.0, 1.0};
  for (Rollout& rollout : groups[0].group.rollouts)
    std::fill(rollout.loss_mask.begin(), rollout.loss_mask.end(), std::uint8_t{1});
  const AlgorithmConfig config = Named("dr-grpo");
  auto withheld = groups;
  std::vector<std::uint8_t>& mask = withheld[0].group.rollouts[3].loss_mask;
  std::fill(mask.begin(), mask.end(), std::uint8_t{0});
  const auto all = Sequences(config, groups, 0), rest = Sequences(config, withheld, 0);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(rest[i].advantage, all[i].advantage);
  EXPECT_EQ(rest[0].advantage[0], 0.5);
  const TokenCredits credits = AssignCredit(config, 0, rest);
  for (const float u : credits.u[3]) EXPECT_EQ(u, 0.0f);
  EXPECT_EQ(credits.metrics.trained_responses, 3u);
  EXPECT_EQ(credits.metrics.reward_mean, 0.5);
}

TEST(AlgorithmTest, AgesFollowTheSpans) {
  auto groups = RandomGroups(24, 1, 2);
  Rollout& swapped = groups[0].group.rollouts[0];
  swapped.tokens.assign(4, 1);
  swapped.logps.assign(4, -1.0f);
  swapped.loss_mask = {1, 0, 1, 1};
  swapped.spans = {{0, PolicyVersion{4}}, {2, PolicyVersion{6}, true}};
  groups[0].group.rollouts[1].spans = {{0, PolicyVersion{7}}};
  const auto sequences = MakeSequences(AlgorithmConfig{}, groups, PolicyVersion{7}).value();
  EXPECT_EQ(sequences[0].age, (std::vector<std::uint32_t>{3, 3, 1, 1}));
  EXPECT_EQ(sequences[0].lag, 3u);
  EXPECT_EQ(sequences[1].age[0], 0u);
}

TEST(AlgorithmTest, UnscorableAndFullyMaskedBatchesGiveZeroLoss) {
  for (const std::string& name : AlgorithmNames()) {
    SCOPED_TRACE(name);
    auto groups = RandomGroups(17, 2, 3);
    for (ScoredGroup& group : groups) group.rewards.assign(3, std::nullopt);
    const AlgorithmConfig config = Named(name.c_str());
    const TokenCredits credits = AssignCredit(config, 0.1, Sequences(config, groups, 0.3));
    EXPECT_EQ(credits.loss, 0);
    for (const double u : Flat(credits.u)) EXPECT_EQ(u, 0);
    EXPECT_EQ(credits.metrics.loss_tokens, 0u);
  }
}

TEST(AlgorithmTest, HugeRatiosStayFinite) {
  for (const std::string& name : AlgorithmNames()) {
    SCOPED_TRACE(name);
    const AlgorithmConfig config = Named(name.c_str());
    auto sequences = Sequences(config, RandomGroups(18, 3, 4), 0.1);
    for (LossSequence& sequence : sequences) {
      for (float& logp : sequence.behaviour) logp = -90.0f;
      for (float& logp : sequence.proximal) logp = -1e-6f;
      for (float& logp : sequence.current) logp = -45.0f;
    }
    const TokenCredits credits = AssignCredit(config, 0.1, sequences);
    EXPECT_TRUE(std::isfinite(credits.loss));
    for (const double u : Flat(credits.u)) EXPECT_TRUE(std::isfinite(u));
  }
}

TEST(AlgorithmTest, LongSumsKeepTheirSign) {
  // 100k tokens of alternating drift: an fp32 sum would lose the 1e-6 that decides the side.
  AlgorithmConfig config = Named("gspo");
  config.clip_low = config.clip_high = 1e-9;
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1}, {100000});
  s[0].advantage.assign(100000, 1.0);
  for (std::size_t t = 0; t < 100000; ++t) s[0].current[t] = t % 2 == 0 ? -1.5f : -0.5f;
  s[0].current[7] = -0.49f;
  EXPECT_EQ(AssignCredit(config, 0, s).u[0][0], 0.0f);  // ratio above 1: clipped
  s[0].current[7] = -0.51f;
  EXPECT_NE(AssignCredit(config, 0, s).u[0][0], 0.0f);
}

TEST(AlgorithmTest, IllFormedGroupsAreRefused) {
  const AlgorithmConfig config;
  const auto refused = [&](auto spoil) {
    auto groups = RandomGroups(19, 2, 3);
    spoil(groups[1]);
    const auto made = MakeSequences(config, groups, PolicyVersion{3});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().blame, Blame::kPeer);
  };
  refused([](ScoredGroup& g) { g.rewards.pop_back(); });
  refused([](ScoredGroup& g) { g.correct.pop_back(); });
  refused([](ScoredGroup& g) { g.group.rollouts.clear(); });
  refused([](ScoredGroup& g) { g.group.prompt.clear(); });
  refused([](ScoredGroup& g) { g.group.rollouts[1].logps.pop_back(); });
  refused([](ScoredGroup& g) { g.group.rollouts[1].loss_mask.push_back(1); });
  refused([](ScoredGroup& g) { g.group.rollouts[1].logps[0] = std::nanf(""); });
  refused([](ScoredGroup& g) { g.group.rollouts[1].logps[0] = 0.5f; });
  refused([](ScoredGroup& g) { g.rewards[0] = HUGE_VAL; });
  refused([](ScoredGroup& g) { g.temperature = -1; });
  refused([](ScoredGroup& g) { g.group.rollouts[0].spans[0].version.value = 9; });
  refused([](ScoredGroup& g) { g.components.pop_back(); });
}

TEST(AlgorithmTest, MetricsOfABatch) {
  auto groups = RandomGroups(20, 2, 4);
  groups[0].correct = {true, false, false, false};
  groups[0].rewards = {1.0, 0.0, 0.0, std::nullopt};
  groups[1].correct.assign(4, true);
  groups[1].rewards.assign(4, 1.0);
  groups[1].group.rollouts[0].spans[0].version.value = 1;
  const AlgorithmConfig config;
  const AlgorithmMetrics metrics = AssignCredit(config, 0, Sequences(config, groups, 0)).metrics;
  EXPECT_DOUBLE_EQ(metrics.accuracy, 5.0 / 7);
  EXPECT_DOUBLE_EQ(metrics.reward_mean, 5.0 / 7);
  EXPECT_DOUBLE_EQ(metrics.uniform_fraction, 0.5);
  EXPECT_EQ(metrics.responses, 8u);
  EXPECT_EQ(metrics.trained_responses, 7u);
  EXPECT_EQ(metrics.lag_max, 3.0);
  EXPECT_DOUBLE_EQ(metrics.lag_mean, (7 * 1 + 3) / 8.0);
  EXPECT_EQ(metrics.effective_sample_size, 1.0);
  EXPECT_EQ(metrics.kl_behaviour_k3, 0.0);
}

TEST(AlgorithmTest, EntropyQuantileTrainsOnTheUncertainTokens) {
  AlgorithmConfig config = Named("default");
  config.entropy_quantile = 0.2;
  auto sequences = KatB();
  sequences[0].entropy = {0.1f, 0.9f, 0.2f};
  sequences[1].entropy = {0.3f, 0.4f};
  const auto u = Flat(AssignCredit(config, 0, sequences).u);
  EXPECT_EQ(u[0], 0);
  EXPECT_NEAR(u[1], -0.163746, 1.1e-6);  // the denominator stays five tokens
  EXPECT_EQ(u[3], 0);
}

TEST(AlgorithmTest, EntropyBonusAsksForItsGradient) {
  AlgorithmConfig config = Named("grpo");
  config.kl = {};
  config.entropy_bonus = 0.01;
  const TokenCredits credits = AssignCredit(config, 0, KatB());
  EXPECT_NEAR(static_cast<double>(credits.u_entropy[0][0]), -0.01 / 6, 1e-9);
  EXPECT_NEAR(static_cast<double>(credits.u_entropy[1][0]), -0.01 / 4, 1e-9);
}

}  // namespace
}  // namespace waggle
