#include <cmath>
#include <functional>

#include "training/correction.h"
#include "training/rules.h"
#include "training/test_sequences.h"

namespace waggle {
namespace {

constexpr double kDigits = 1.1e-6;

AlgorithmConfig With(const char* rule, const char* aggregation,
                     const std::function<void(AlgorithmConfig&)>& set = {}) {
  AlgorithmConfig config;
  config.rule = rule;
  config.aggregation = aggregation;
  config.clip_low = config.clip_high = 0.2;
  if (set) set(config);
  return config;
}

struct Answer {
  const char* name;
  AlgorithmConfig config;
  double loss;
  std::vector<double> g;
  bool differentiable = true;  // false: part of the surrogate is under a stopped gradient
};

std::vector<Answer> KnownAnswers() {
  const char *tm = "token_mean", *smtm = "seq_mean_token_mean";
  const auto kl = [](const char* estimator, double beta) {
    return [=](AlgorithmConfig& c) {
      c.kl.mode = "loss";
      c.kl.estimator = estimator;
      c.kl.beta = beta;
    };
  };
  std::vector<Answer> rows = {
      {"clip token-mean", With("clip", tm), -0.098355, {0, -0.163746, 0, 0.364424, 0.180967}},
      {"clip seq-mean-token-mean",
       With("clip", smtm),
       0.145284,
       {0, -0.136455, 0, 0.455530, 0.226209}},
      {"clip seq-mean-token-sum",
       With("clip", "seq_mean_token_sum"),
       -0.245887,
       {0, -0.409365, 0, 0.911059, 0.452419}},
      {"clip const",
       With("clip", "const", [](auto& c) { c.length_max = 4; }),
       -0.061472,
       {0, -0.102341, 0, 0.227765, 0.113105}},
      {"DAPO",
       With("clip", tm, [](auto& c) { c.clip_high = 0.28; }),
       -0.118635,
       {-0.244281, -0.163746, 0, 0.364424, 0.180967}},
      {"GRPO k3 .04",
       With("clip", smtm, kl("k3", 0.04)),
       0.146158,
       {0.000634, -0.137156, 0.002623, 0.456481, 0.227161}},
      {"GRPO k3 .001",
       With("clip", smtm, kl("k3", 0.001)),
       0.145306,
       {0.000016, -0.136473, 0.000066, 0.455553, 0.226233}},
      {"dual clip",
       With("clip", tm, [](auto& c) { c.dual_clip = 1.5; }),
       -0.162779,
       {0, -0.163746, 0, 0, 0.180967}},
      {"two-sided",
       With("clip", tm, [](auto& c) { c.two_sided = 1.5; }),
       -0.162779,
       {0, -0.163746, 0, 0, 0.180967}},
      {"GSPO 3e-4", Named("gspo"), 0.141813, {0, 0, 0, 0.321006, 0.321006}},
      {"GSPO .2",
       With("clip", smtm, [](auto& c) { c.ratio = "seq_geo"; }),
       0.089427,
       {-0.184195, -0.184195, -0.184195, 0.321006, 0.321006}},
      {"LUSPO .2",
       With("clip", smtm,
            [](auto& c) {
              c.ratio = "seq_geo";
              c.length_scaled = true;
            }),
       -0.373731,
       {-0.552585, -0.552585, -0.552585, 0.642013, 0.642013}},
      {"GMPO .25",
       With("gmpo", smtm, [](auto& c) { c.gmpo_clip = 0.25; }),
       0.098561,
       {-0.181151, -0.181151, 0, 0.321006, 0.321006}},
      {"CISPO [.8, 1.2]",
       With("cispo", tm,
            [](auto& c) {
              c.cispo_low = 0.8;
              c.cispo_high = 1.2;
            }),
       0.508108,
       {-0.24, -0.163746, -0.24, 0.24, 0.180967},
       false},
      {"CISPO (0, 5]",
       Named("cispo"),
       0.458211,
       {-0.244281, -0.163746, -0.269972, 0.364424, 0.180967},
       false},
      {"REINFORCE", With("reinforce", tm), 0.48, {-0.2, -0.2, -0.2, 0.2, 0.2}},
      {"soft gate",
       With("soft_gate", smtm),
       0.057918,
       {-0.201093, -0.135340, -0.218230, 0.380195, 0.225646}},
  };
  // Behaviour corrections on the first row: KAT B3 prints the losses.
  const auto corrected = [&](const char* name, double loss,
                             const std::function<void(CorrectionConfig&)>& set) {
    rows.push_back(
        {name, With("clip", tm, [&](AlgorithmConfig& c) { set(c.correction); }), loss, {}});
  };
  const auto weigh = [](const char* weight, const char* bound, double low, double high) {
    return [=](CorrectionConfig& c) {
      c.weight = weight;
      c.bound = bound;
      c.low = low;
      c.high = high;
    };
  };
  corrected("TIS", 0.034395, weigh("token", "trunc", 0, 2));
  corrected("clamped weight", -0.005716, weigh("token", "trunc", 0.5, 2));
  corrected("IcePop", 0.114284, weigh("token", "mask", 0.5, 5));
  corrected("Seq-TIS", 0.299451, weigh("seq_prod", "trunc", 0, 2));
  corrected("Seq-MIS", 0.529272, weigh("seq_prod", "mask", 0.5, 2));
  corrected("Geo-RS", 0.545391, [](CorrectionConfig& c) {
    c.reject = "seq_mean_k1";
    c.reject_low = 0.9;
    c.reject_high = 1.1;
  });
  corrected("decoupled without cap", 0.034395, weigh("token", "trunc", 0, 1e30));
  return rows;
}

TEST(CreditTest, EveryRowOfTheSheetGivesItsLossAndGradients) {
  for (const Answer& row : KnownAnswers()) {
    SCOPED_TRACE(row.name);
    ASSERT_TRUE(Validate(row.config)) << Validate(row.config).error().what;
    const TokenCredits credits = AssignCredit(row.config, row.config.kl.beta, KatB());
    EXPECT_NEAR(credits.loss, row.loss, kDigits);
    if (!row.g.empty()) ExpectNear(Flat(credits.u), row.g, kDigits);
  }
}

// g against central differences of the loss itself. The step is a power of two and the log-ratios
// are exact in fp32.
void ExpectDifferences(const AlgorithmConfig& config, const std::vector<LossSequence>& sequences) {
  const TokenCredits credits = AssignCredit(config, config.kl.beta, sequences);
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    for (std::size_t t = 0; t < sequences[s].mask.size(); ++t) {
      auto up = sequences, down = sequences;
      up[s].current[t] += 0x1p-9f;
      down[s].current[t] -= 0x1p-9f;
      const double width =
          static_cast<double>(up[s].current[t]) - static_cast<double>(down[s].current[t]);
      const double slope = (AssignCredit(config, config.kl.beta, up).loss -
                            AssignCredit(config, config.kl.beta, down).loss) /
                           width;
      EXPECT_NEAR(static_cast<double>(credits.u[s][t]), slope, 2e-6)
          << "sequence " << s << " token " << t;
    }
  }
}

TEST(CreditTest, GradientsAreThoseOfTheLoss) {
  for (const Answer& row : KnownAnswers()) {
    SCOPED_TRACE(row.name);
    if (row.differentiable) ExpectDifferences(row.config, KatB());
  }
  for (const char* estimator : {"k1", "k2", "k3", "k3_ratio"}) {
    SCOPED_TRACE(estimator);
    AlgorithmConfig config = With("clip", "token_mean");
    config.kl = {.mode = "loss", .estimator = estimator, .beta = 0.3};
    ExpectDifferences(config, KatB());
    config.kl.ratio_to = "proximal";
    ExpectDifferences(config, KatB());
  }
  for (const char* aggregation : {"seq_mean_token_sum", "token_mean", "prompt_mean"}) {
    SCOPED_TRACE(aggregation);
    ExpectDifferences(With("clip", aggregation,
                           [](auto& c) {
                             c.ratio = "seq_prod";
                             c.clip_high = 2.0;
                           }),
                      KatB());
    ExpectDifferences(With("dppo", aggregation, [](auto& c) { c.ratio_to = "behaviour"; }), KatB());
  }
}

TEST(CreditTest, KlEstimatorsGiveTheKnownAnswers) {
  struct Row {
    const char *estimator, *ratio_to;
    std::vector<double> value, slope;
  };
  const std::vector<double> k3 = {.004837, .005171, .106531, .004837, .004837},
                            d = {.1, -.1, .5, .1, .1};
  for (const Row& row : {Row{"k1", "behaviour", d, {1, 1, 1, 1, 1}},
                         Row{"k2", "behaviour", {.005, .005, .125, .005, .005}, d},
                         Row{"k3", "behaviour", k3, {.095163, -.105171, .393469, .095163, .095163}},
                         Row{"k3plus", "behaviour", k3, d},
                         Row{"k3_ratio",
                             "behaviour",
                             {.006028, .004451, .047867, .008384, .004465},
                             {.124608, -.086071, .224664, .173325, .092312}},
                         Row{"k3_ratio",
                             "proximal",
                             {.005908, .004234, .143801, .008814, .004377},
                             {.122140, -.081873, .674929, .182212, .090484}}}) {
    SCOPED_TRACE(row.estimator);
    AlgorithmConfig config = With("reinforce", "seq_mean_token_sum");
    config.kl = {.mode = "loss", .estimator = row.estimator, .ratio_to = row.ratio_to, .beta = 1.0};
    auto sequences = KatB();
    for (LossSequence& sequence : sequences) sequence.advantage.assign(sequence.mask.size(), 0.0);
    const TokenCredits credits = AssignCredit(config, 1.0, sequences);
    double loss = 0;
    std::vector<double> slope = row.slope;
    for (double& value : slope) value /= 2;
    for (const double value : row.value) loss += value / 2;
    EXPECT_NEAR(credits.loss, loss, 3e-6);
    ExpectNear(Flat(credits.u), slope, kDigits);
  }
}

TEST(CreditTest, MismatchMetricsGiveTheKnownAnswers) {
  const AlgorithmMetrics metrics = AssignCredit(With("clip", "token_mean"), 0, KatB()).metrics;
  EXPECT_NEAR(metrics.kl_behaviour_k1, 0.212, kDigits);
  EXPECT_NEAR(metrics.kl_behaviour_k3, 0.087155, kDigits);
  EXPECT_NEAR(metrics.chi2, -0.159513, kDigits);
  EXPECT_NEAR(metrics.effective_sample_size, 0.911253, kDigits);
  EXPECT_EQ(metrics.loss_tokens, 5u);
  EXPECT_NEAR(metrics.clip_fraction_high, 0.4, kDigits);
}

TEST(CreditTest, GammaWeightsOfVespo) {
  auto config = Named("vespo");
  config.ratio_to = "proximal";  // as the sheet's numbers
  const auto rules = ApplyRule(config, KatB());
  EXPECT_NEAR(rules[0][0].phi, 0.637898, kDigits);
  EXPECT_NEAR(rules[1][1].phi, 1.224530, kDigits);
}

TEST(CreditTest, M2poMasksTheLargestUntilTheMeanIsSmall) {
  const std::vector<double> squares = {.25, .16, .01, .04, 0, .09, .0025};
  EXPECT_EQ(MaskLargest(squares, 0.04),
            (std::vector<bool>{true, true, false, false, false, false, false}));
  EXPECT_EQ(MaskLargest(squares, 1.0), std::vector<bool>(7, false));
  const auto most = MaskLargest(squares, -1.0);  // one always stays
  EXPECT_EQ(std::count(most.begin(), most.end(), true), 6);
}

TEST(CreditTest, TheCapOfM2poBringsTheMeanToTheThreshold) {
  const std::vector<double> squares = {.25, .16, .01, .04, 0, .09, .0025};
  const double cap = CapOfSquares(squares, squares.size(), 0.04);
  double sum = 0;
  for (const double square : squares) sum += std::min(square, cap);
  EXPECT_NEAR(sum / 7, 0.04, 1e-15);
  EXPECT_EQ(CapOfSquares(squares, squares.size(), 0.1), HUGE_VAL);
}

// The INTELLECT-2 token loss and the later rules of the same stack (prime sheet 13.2).
TEST(CreditTest, TwoSidedClipTable) {
  auto config = Named("intellect-2");
  config.kl = {};
  config.length_max = 1;  // one slot, so that the step's loss is the token's
  const double r[] = {.5, .9, 1, 1.1, 1.5, 3, 10}, up[] = {-.5, -.9, -1, -1.1, -1.2, -1.2, -1.2},
               down[] = {.8, .9, 1, 1.1, 1.5, 3, 4};
  for (int i = 0; i < 7; ++i) {
    for (const double advantage : {1.0, -1.0}) {
      std::vector<LossSequence> s;
      AppendGroup(s, 0, {1}, {1});
      s[0].advantage[0] = advantage;
      s[0].current[0] = static_cast<float>(-4.0 + std::log(r[i]));
      s[0].proximal[0] = s[0].behaviour[0] = -4.0f;
      const TokenCredits credits = AssignCredit(config, 0, s);
      EXPECT_NEAR(credits.loss, advantage > 0 ? up[i] : down[i], 1e-5);
      const bool clipped = advantage > 0 ? r[i] > 1.2 : r[i] < .8 || r[i] > 4;
      EXPECT_EQ(credits.u[0][0] == 0.0f, clipped) << r[i] << " " << advantage;
    }
  }
}

TEST(CreditTest, PackedRowsAreFilledLongestFirst) {
  const std::vector<std::size_t> lengths = {3, 7, 2, 6, 4, 3};
  EXPECT_EQ(PackedBins(lengths, 10), 3u);  // [7,3] [6,4] [3,2]
  EXPECT_EQ(PackedBins(lengths, 5), 5u);   // 7 and 6 are cut: [5] [5] [4] [3,2] [3]
  EXPECT_EQ(PackedBins({}, 10), 0u);
}

// The whole objective: max(-c1 A, -c2 A) over the slots of the packed step, less the entropy bonus;
// the KL term is told, not paid.
TEST(CreditTest, GrpoPlusDividesByTheSlotsOfThePackedStep) {
  auto config = Named("intellect-2");
  config.kl.mode = "metric";
  config.length_max = 8;
  std::vector<LossSequence> s = KatB();
  for (LossSequence& sequence : s) {
    sequence.prompt = 2;
    sequence.entropy.assign(sequence.mask.size(), 0.5f);
    sequence.age.assign(sequence.mask.size(), 3);
  }
  s[1].age = {0, 40};
  const double slots = 16;  // 5 and 4 tokens do not share a row of 8
  const TokenCredits credits = AssignCredit(config, config.kl.beta, s);
  EXPECT_NEAR(credits.loss, (-0.098355 * 5 - 0.001 * 5 * 0.5) / slots, 1e-6);
  ExpectNear(Flat(credits.u),
             {0, -0.163746 * 5 / slots, 0, 0.364424 * 5 / slots, 0.180967 * 5 / slots}, 1e-6);
  ExpectNear(Flat(credits.u_entropy), std::vector<double>(5, -0.001 / slots), 1e-9);
  EXPECT_GT(credits.metrics.kl_reference_k3, 0.01);
  EXPECT_EQ(credits.metrics.tokens_of_age[3], 3u);
  EXPECT_EQ(credits.metrics.tokens_of_age[0], 1u);
  EXPECT_EQ(credits.metrics.tokens_of_age[kAges - 1], 1u);
  config.length_max = 9;  // now they do
  EXPECT_NEAR(AssignCredit(config, 0, s).loss, credits.loss * slots / 9, 1e-9);
}

TEST(CreditTest, DppoAndIcePopTables) {
  struct Row {
    double train, behaviour, advantage, loss;
  };
  const auto one = [](const char* name, double current, double behaviour, double advantage) {
    std::vector<LossSequence> s;
    AppendGroup(s, 0, {1}, {1});
    s[0].advantage[0] = advantage;
    s[0].current[0] = s[0].proximal[0] = static_cast<float>(std::log(current));
    s[0].behaviour[0] = static_cast<float>(std::log(behaviour));
    return AssignCredit(Named(name), 0, s);
  };
  for (const Row& row : {Row{.5, .4, 1, -1.24995}, Row{.7, .4, 1, .000313}, Row{.3, .6, -1, .00048},
                         Row{.3, .4, -1, .750083}, Row{.6, .3, -1, 2.00048}}) {
    EXPECT_NEAR(one("prime-dppo", row.train, row.behaviour, row.advantage).loss, row.loss, 1e-6);
  }
  EXPECT_EQ(one("intellect-3", .049, .1, 1).loss, 0);
  EXPECT_EQ(one("intellect-3", .501, .1, 1).loss, 0);
  EXPECT_NEAR(one("intellect-3", .0501, .1, 1).loss, -.501, 1e-6);
  EXPECT_NEAR(one("intellect-3", .499, .1, -1).loss, 4.99, 1e-5);
  // One token far below the sampler's probability masks the whole response.
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1}, {2});
  s[0].advantage.assign(2, 1.0);
  s[0].behaviour[1] = s[0].current[1] - static_cast<float>(std::log(9e-6));
  const TokenCredits credits = AssignCredit(Named("intellect-3"), 0, s);
  EXPECT_EQ(credits.loss, 0);
  EXPECT_EQ(credits.u[0], (std::vector<float>{0, 0}));
  EXPECT_EQ(credits.metrics.rejected_fraction, 1.0);
}

// KAT B2: expected gradients of a two-step tree under sampler/trainer mismatch.
struct Tree {
  double first, second_if_0, second_if_1;
  double Probability(int a, int b) const {
    const double pb = a == 1 ? second_if_1 : second_if_0;
    return (a == 1 ? first : 1 - first) * (b == 1 ? pb : 1 - pb);
  }
};
std::pair<double, double> TreeGradient(const AlgorithmConfig& config) {
  const Tree pi{.6, .2, .7}, mu{.5, .4, .4};
  const auto logp = [](const Tree& tree, int a, int b) {
    const double pb = a == 1 ? tree.second_if_1 : tree.second_if_0;
    return std::vector<float>{static_cast<float>(std::log(a == 1 ? tree.first : 1 - tree.first)),
                              static_cast<float>(std::log(b == 1 ? pb : 1 - pb))};
  };
  // Only the leaf a1 = a2 = 1 is rewarded, so only it moves the policy.
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1}, {2});
  s[0].advantage.assign(2, 1.0);
  s[0].current = s[0].proximal = logp(pi, 1, 1);
  s[0].behaviour = logp(mu, 1, 1);
  const TokenCredits credits = AssignCredit(config, 0, s);
  const double weight = mu.Probability(1, 1);
  const double first = -weight * static_cast<double>(credits.u[0][0]) * (1 - pi.first);
  const double second = -weight * static_cast<double>(credits.u[0][1]) * (1 - pi.second_if_1);
  return {first, second};
}
TEST(CreditTest, CorrectionsOfATreeHaveTheKnownExpectations) {
  struct Row {
    const char *weight, *bound;
    double low, high, first, second;
  };
  for (const Row& row :
       {Row{"none", "trunc", 0, 1e30, .08, .06}, Row{"token", "trunc", 0, 1e30, .096, .105},
        Row{"seq_prod", "trunc", 0, 1e30, .168, .126}, Row{"token", "trunc", 0, 1.3, .096, .078},
        Row{"seq_prod", "trunc", 0, 1.3, .104, .078}, Row{"seq_prod", "mask", .5, 1.3, 0, 0}}) {
    AlgorithmConfig config = With("reinforce", "seq_mean_token_sum");
    config.correction.weight = row.weight;
    config.correction.bound = row.bound;
    config.correction.low = row.low;
    config.correction.high = row.high;
    const auto [first, second] = TreeGradient(config);
    EXPECT_NEAR(first, row.first, 1e-6);
    EXPECT_NEAR(second, row.second, 1e-6);
  }
}

TEST(CreditTest, ProximalInterpolationAndAdaptiveBeta) {
  const auto s = KatB();
  const double want[] = {-0.573333, -1.15, -1.733333, -1.083333, -0.373333};
  for (std::size_t t = 0; t < 3; ++t)
    EXPECT_NEAR(
        static_cast<double>(InterpolateProximal(s[0].behaviour[t], s[0].current[t], 3, 5, 6)),
        want[t], kDigits);
  for (std::size_t t = 0; t < 2; ++t)
    EXPECT_NEAR(
        static_cast<double>(InterpolateProximal(s[1].behaviour[t], s[1].current[t], 3, 5, 6)),
        want[3 + t], kDigits);
  const KlConfig config{.target = 6.0, .horizon = 10000.0};
  double beta = 0.2;
  beta = AdaptKlBeta(config, beta, 3, 256);
  EXPECT_NEAR(beta, .19897600, 1e-8);
  beta = AdaptKlBeta(config, beta, 9, 256);
  EXPECT_NEAR(beta, .19999476, 1e-8);
  beta = AdaptKlBeta(config, beta, 12, 256);
  EXPECT_NEAR(beta, .20101873, 1e-8);
  // Far above the target the move is clipped: 9 and 12 nats weigh the same.
  EXPECT_NEAR(AdaptKlBeta(config, 0.2, 9, 256), .20102400, 1e-8);
  EXPECT_NEAR(AdaptKlBeta(config, 0.2, 12, 256), .20102400, 1e-8);
}

}  // namespace
}  // namespace waggle
