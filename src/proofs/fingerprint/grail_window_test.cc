// The ladder of GRAIL's checks (sheet 1.10) and what climbs it (9.3).
#include "proofs/fingerprint/grail_window.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "proofs/fingerprint/test_vectors.h"

namespace waggle {
namespace {

using namespace testing_vectors;

constexpr std::size_t kWidth = 64, kPrompt = 12, kCompletion = 40;

// An honest rollout and what the validator sees of it.
struct Case {
  GrailWindow window;
  GrailRow row;
  GrailView view;
};

Case Honest() {
  Case c;
  c.window.window_start = 300, c.window.checkpoint_window = 270, c.window.block_hash = "0xab";
  c.window.vocab = 100, c.window.context = 512, c.window.randomness = Filled(7);
  c.row.window_start = 300, c.row.checkpoint_window = 270, c.row.block_hash = "0xab";
  GrailRollout& r = c.row.rollout;
  Rng rng(21);
  for (std::size_t i = 0; i < kPrompt + kCompletion; ++i)
    r.tokens.push_back(static_cast<TokenId>(rng.Below(100)));
  r.randomness = Filled(9);
  r.prompt_length = kPrompt, r.completion_length = kCompletion;
  r.reward = 0.6;
  const auto coefficients = GrailCoefficients(r.randomness, 16);
  c.view.width = kWidth;
  for (std::size_t t = 0; t < r.tokens.size(); ++t) {
    const auto h = GaussianRow(kWidth, 10, rng);
    c.view.hidden.insert(c.view.hidden.end(), h.begin(), h.end());
    r.sketches.push_back(GrailSketch(h, coefficients, r.version));
  }
  for (std::size_t i = 0; i < kCompletion; ++i) {
    r.logps.push_back(-0.1f - 0.01f * static_cast<float>(i % 5));
    c.view.logps.push_back(r.logps.back());
    c.view.chosen.push_back(0.5 + 0.01 * static_cast<double>(i % 10));
  }
  c.view.prompt.assign(r.tokens.begin(), r.tokens.begin() + kPrompt);
  c.view.ends_in_eos = true, c.view.eos_probability = 0.9;
  c.view.reward = 0.6;
  return c;
}

GrailOutcome CheckRow(const Case& c) { return CheckGrailRow(c.window, c.row, c.view); }

TEST(GrailWindow, AnHonestRolloutPasses) {
  const GrailOutcome outcome = CheckRow(Honest());
  EXPECT_FALSE(outcome.hard_failure) << ToString(outcome.failed);
  EXPECT_TRUE(outcome.soft_failures.empty());
}

TEST(GrailWindow, EveryCheckFindsItsOwnCheat) {
  const struct {
    const char* name;
    GrailCheck check;
    std::function<void(Case&)> cheat;
  } cheats[] = {
      {"another checkpoint", GrailCheck::kWeights, [](Case& c) { c.row.checkpoint_window = 240; }},
      {"row not signed", GrailCheck::kWeights, [](Case& c) { c.view.row_signature_holds = false; }},
      {"a sketch too few", GrailCheck::kSchema, [](Case& c) { c.row.rollout.sketches.pop_back(); }},
      {"NaN reward", GrailCheck::kSchema, [](Case& c) { c.row.rollout.reward = std::nan(""); }},
      {"NaN log-prob", GrailCheck::kSchema,
       [](Case& c) { c.row.rollout.logps[3] = std::nanf(""); }},
      {"huge length", GrailCheck::kSchema,
       [](Case& c) { c.row.rollout.completion_length = std::numeric_limits<std::int64_t>::max(); }},
      {"negative length", GrailCheck::kSchema,
       [](Case& c) { c.row.rollout.prompt_length = -1, c.row.rollout.completion_length = 53; }},
      {"truncated completion", GrailCheck::kSchema,
       [](Case& c) { c.row.rollout.tokens.resize(20); }},
      {"id out of vocabulary", GrailCheck::kTokens,
       [](Case& c) { c.row.rollout.tokens[30] = 100; }},
      {"negative id", GrailCheck::kTokens, [](Case& c) { c.row.rollout.tokens[30] = -5; }},
      {"another prompt", GrailCheck::kPrompt,
       [](Case& c) { c.row.rollout.tokens[2] = (c.row.rollout.tokens[2] + 1) % 100; }},
      {"commit not signed", GrailCheck::kProof,
       [](Case& c) { c.view.commit_signature_holds = false; }},
      {"EOS with p 0.01", GrailCheck::kTermination, [](Case& c) { c.view.eos_probability = 0.01; }},
      {"no end at all", GrailCheck::kTermination, [](Case& c) { c.view.ends_in_eos = false; }},
      {"environment refuses", GrailCheck::kEvaluation,
       [](Case& c) { c.view.evaluation_runs = false; }},
      {"log-probs of another model", GrailCheck::kLogProbs,
       [](Case& c) {
         for (float& lp : c.view.logps) lp -= 0.2f;
       }},
      {"reward off by 3 %", GrailCheck::kReward,
       [](Case& c) { c.row.rollout.reward = 0.6 * 1.03; }},
      {"a draft model's tokens", GrailCheck::kDistribution,
       [](Case& c) {
         for (std::size_t i = 0; i < c.view.chosen.size(); i += 5) c.view.chosen[i] = 1e-3;
       }},
  };
  for (const auto& cheat : cheats) {
    Case c = Honest();
    cheat.cheat(c);
    const GrailOutcome outcome = CheckRow(c);
    if (IsSoft(cheat.check)) {
      EXPECT_FALSE(outcome.hard_failure) << cheat.name;
      EXPECT_EQ(outcome.soft_failures, std::vector<GrailCheck>{cheat.check}) << cheat.name;
    } else {
      EXPECT_TRUE(outcome.hard_failure) << cheat.name;
      EXPECT_EQ(ToString(outcome.failed), std::string(ToString(cheat.check))) << cheat.name;
    }
  }
}

// What passes a deployed validator though nobody computed it: sheet 1.7.
TEST(GrailWindow, SketchesOfNothingAndOfOthersPassTheProof) {
  Case zero = Honest();
  for (auto& s : zero.row.rollout.sketches) s = 0;
  EXPECT_FALSE(CheckRow(zero).hard_failure);
  Case others = Honest();
  std::reverse(others.row.rollout.sketches.begin(), others.row.rollout.sketches.end());
  EXPECT_FALSE(CheckRow(others).hard_failure);
  // The prover names the coefficients: any randomness is as good.
  Case own = Honest();
  own.row.rollout.randomness = Filled(0);
  EXPECT_FALSE(CheckRow(own).hard_failure);
  // Version 4 finds both.
  for (Case* c : {&zero, &others}) {
    c->row.rollout.version = GrailVersion::kV4;
    const GrailOutcome outcome = CheckRow(*c);
    EXPECT_TRUE(outcome.hard_failure && outcome.failed == GrailCheck::kProof);
  }
}

// Sampling from a cheap draft and one prefill with the true model: everything hard is honest, and
// the only trace is how likely the tokens were, which is soft.
TEST(GrailWindow, ADraftThatIsPrefilledPassesAllButTheDistribution) {
  Case c = Honest();
  for (std::size_t i = 0; i < c.view.chosen.size(); ++i) c.view.chosen[i] = i % 4 == 0 ? 0.01 : 0.9;
  const GrailOutcome outcome = CheckRow(c);
  EXPECT_FALSE(outcome.hard_failure);
  EXPECT_EQ(outcome.soft_failures, std::vector<GrailCheck>{GrailCheck::kDistribution});
  EXPECT_FALSE(GrailSoftFails(GrailCheck::kDistribution, 8, 16));  // half of 16 is not enough
  EXPECT_TRUE(GrailSoftFails(GrailCheck::kDistribution, 9, 16));
  EXPECT_TRUE(GrailSoftFails(GrailCheck::kReward, 1, 4));
}

std::vector<GrailRow> File() {
  std::vector<GrailRow> rows(32);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].window_start = 300, rows[i].block_hash = "0xab";
    rows[i].nonce = static_cast<std::int64_t>(i), rows[i].group = static_cast<std::int64_t>(i / 16);
    rows[i].rollout.reward = i % 2 == 0 ? 1.0 : 0.0;
    rows[i].rollout.advantage = i % 2 == 0 ? 1.0 : -1.0;
  }
  return rows;
}

TEST(GrailWindow, FilesAndGroups) {
  const GrailWindow window = Honest().window;
  EXPECT_EQ(CheckGrailFile(window, File()), "");
  const auto fine = File();
  EXPECT_EQ(CheckGrailGroup(std::span(fine).first(16)), "");
  auto rows = File();
  rows[4].nonce = 5;
  EXPECT_NE(CheckGrailFile(window, rows), "");
  rows = File();
  rows.pop_back();  // a group of 15
  EXPECT_NE(CheckGrailFile(window, rows), "");
  rows = File();
  rows[0].block_hash = "0xac";
  EXPECT_NE(CheckGrailFile(window, rows), "");
  // Gaps in group ids are not looked at: a worker may search for easy tasks. Ours must count from
  // 0.
  rows = File();
  for (std::size_t i = 16; i < 32; ++i) rows[i].group = 77;
  EXPECT_EQ(CheckGrailFile(window, rows), "");
  rows = File();
  rows[0].rollout.advantage = 1.1;
  EXPECT_NE(CheckGrailGroup(std::span(rows).first(16)), "");
  rows[0].rollout.advantage = std::nan("");
  EXPECT_NE(CheckGrailGroup(std::span(rows).first(16)), "");
  EXPECT_NE(CheckGrailGroup(std::span(rows).first(15)), "");
}

TEST(GrailWindow, DistributionHeuristics) {
  const std::vector<double> fine(60, 0.8);
  EXPECT_FALSE(GrailDistributionSuspicious(fine));
  EXPECT_TRUE(GrailDistributionSuspicious(std::span(fine).first(29)));
  EXPECT_TRUE(GrailDistributionSuspicious(std::vector<double>(60, 0.3)));
  std::vector<double> one_impossible = fine, low_tail = fine;
  one_impossible[50] = 1e-6;
  EXPECT_TRUE(GrailDistributionSuspicious(one_impossible));
  for (std::size_t i = 0; i < 7; ++i) low_tail[i * 8] = 0.02;
  EXPECT_TRUE(GrailDistributionSuspicious(low_tail));
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_EQ(Quantile({7}, 0.9), 7);
}

}  // namespace
}  // namespace waggle
