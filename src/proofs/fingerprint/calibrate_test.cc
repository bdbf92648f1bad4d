#include "proofs/fingerprint/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "proofs/fingerprint/test_views.h"

namespace waggle {
namespace {

using namespace testing_views;

const CaseDoc& CaseNamed(std::string_view name) {
  for (const CaseDoc& doc : CalibrationCases()) {
    if (doc.name == name) return doc;
  }
  throw std::runtime_error("no such case");
}

const SchemeReport& SchemeNamed(const CalibrationReport& report, std::string_view name) {
  for (const SchemeReport& s : report.schemes) {
    if (s.info.name == name) return s;
  }
  throw std::runtime_error("no such scheme");
}

const CaseReport& CaseOf(const SchemeReport& scheme, std::string_view name) {
  for (const CaseReport& c : scheme.cases) {
    if (c.doc.name == name) return c;
  }
  throw std::runtime_error("no such case");
}

// One calibration for the tests below: every case, on a model of 4 layers and width 64.
const CalibrationReport& Report() {
  static const CalibrationReport report = [] {
    SmallRun run(6, 2, 36);
    const auto fingerprints = AllFingerprints();
    std::vector<CaseScores> cases;
    for (const CaseDoc& doc : CalibrationCases()) {
      auto scores = RunCase(run.plan, doc, fingerprints);
      if (!scores) throw std::runtime_error(scores.error().what);
      cases.push_back(std::move(*scores));
    }
    return Calibrate(fingerprints, cases);
  }();
  return report;
}

TEST(Calibration, TheControlHasNoDistanceAndHonestEnginesPass) {
  for (const SchemeReport& s : Report().schemes) {
    const CaseReport& control = CaseOf(s, "canonical");
    EXPECT_EQ(control.refused, 0u) << s.info.name;
    if (s.info.name == "sampling" || s.info.name == "grail-distribution") continue;
    for (const Spread& spread : control.spreads) EXPECT_EQ(spread.most, 0.0) << s.info.name;
    EXPECT_EQ(control.accepted_calibrated, 1.0) << s.info.name;
  }
}

TEST(Calibration, OurStrictFormsTakeTheHonestAndLeaveTheCheats) {
  for (const char* name : {"toploc+", "dense"}) {
    const SchemeReport& s = SchemeNamed(Report(), name);
    EXPECT_EQ(s.false_rejects_calibrated, 0.0) << name;
    for (const char* cheat : {"int4-weights", "no-layer", "other-model", "other-prompt",
                              "zero-states", "unrelated", "neighbour-far"})
      EXPECT_EQ(CaseOf(s, cheat).accepted_calibrated, 0.0) << name << " " << cheat;
  }
}

TEST(Calibration, SomeLimitsAreNeverLooserThanPublished) {
  for (const char* name : {"dense", "verillm", "sketch-quorum"}) {
    const SchemeReport& s = SchemeNamed(Report(), name);
    for (std::size_t k = 0; k < s.calibrated.size(); ++k)
      EXPECT_LE(s.calibrated[k], s.published[k]) << name;
  }
}

TEST(Calibration, PublishedTolerancesThatTheNullPassesAreWarnedOf) {
  const SchemeReport& v5 = SchemeNamed(Report(), "grail-v5");
  for (const char* cheat : {"zero-states", "unrelated", "other-model"})
    EXPECT_GT(CaseOf(v5, cheat).accepted_published, 0.9) << cheat;
  EXPECT_FALSE(v5.warnings.empty());
  const std::string text = ReportText(Report());
  EXPECT_NE(text.find("warning: grail-v5"), std::string::npos);
  EXPECT_NE(text.find("honest rollouts on other engines"), std::string::npos);
}

TEST(Calibration, StatesAreBlindForDraftsAndTheRaceIsNot) {
  const SchemeReport& race = SchemeNamed(Report(), "race");
  for (const char* cheat : {"draft", "cold", "other-sample"}) {
    EXPECT_EQ(CaseOf(race, cheat).accepted_published, 0.0) << cheat;
    for (const char* name : {"toploc+", "dense", "verillm", "grail-v5"}) {
      const CaseReport& c = CaseOf(SchemeNamed(Report(), name), cheat);
      EXPECT_TRUE(c.blind);
      EXPECT_EQ(c.accepted_calibrated, 1.0) << name << " " << cheat;
    }
  }
  EXPECT_TRUE(CaseOf(race, "zero-states").blind);
}

// The null cases are what they say.
TEST(NullCases, ALayerThatIsLeftOutChangesNothing) {
  SmallRun run;
  const RolloutClaim claim = HonestClaim(run, 0);
  const auto without = WithoutLayer(run.config, run.parameters, 2);
  const auto model = testing_models::MakeModel(run.config, without, BestOps());
  const RolloutView view = LookAt(*model, run.pool, claim).value();
  EXPECT_EQ(view.states[3], view.states[2]);
  EXPECT_NE(view.states[2], view.states[1]);
  EXPECT_NE(view.states[4], view.states[3]);
}

TEST(NullCases, WeightsAreOffByWhatIsSaid) {
  SmallRun run(2, 1, 4);
  const auto off = [&](const Parameters& other, const std::string& name) {
    double difference = 0, size = 0;
    const auto &a = run.parameters.at(name).data, &b = other.at(name).data;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto d = static_cast<double>(a[i] - b[i]), w = static_cast<double>(a[i]);
      difference += d * d, size += w * w;
    }
    return std::sqrt(difference / size);
  };
  const Parameters near = PerturbedWeights(run.parameters, 1, 1e-2);
  const std::string linear = "model.layers.1.mlp.up_proj.weight", norm = "model.norm.weight";
  EXPECT_NEAR(off(near, linear), 1e-2, 1e-3);
  EXPECT_NEAR(off(near, norm), 1e-2, 3e-3);
  const Parameters rounded = RoundedWeights(run.parameters, 7);
  EXPECT_EQ(off(rounded, norm), 0.0);
  EXPECT_GT(off(rounded, linear), 0.05);
  EXPECT_LT(off(rounded, linear), 0.2);
  std::set<float> values;
  for (std::size_t i = 0; i < 64; ++i) values.insert(rounded.at(linear).data[i]);  // one row
  EXPECT_LE(values.size(), 15u);
}

TEST(Calibration, IsDeterministic) {
  SmallRun run(2, 1, 10), again(2, 1, 10);
  const auto fingerprints = AllFingerprints();
  const auto a = RunCase(run.plan, CaseNamed("fast-tiles"), fingerprints).value();
  const auto b = RunCase(again.plan, CaseNamed("fast-tiles"), fingerprints).value();
  for (std::size_t f = 0; f < fingerprints.size(); ++f)
    EXPECT_EQ(a.schemes[f].rollouts, b.schemes[f].rollouts);
  CalibrationPlan one = run.plan;
  one.prompts.resize(1);
  EXPECT_FALSE(RunCase(one, CaseNamed("canonical"), fingerprints).has_value());
}

TEST(Calibration, LimitsFollowTheirRules) {
  // A made-up fingerprint's scores: honest values 0, 1, .., 99 on even and on odd rollouts.
  const auto fingerprints = StateFingerprints();
  std::vector<CaseScores> cases(2);
  cases[0].doc = {.name = "fast-tiles", .honest = true}, cases[1].doc = {.name = "other-model"};
  for (CaseScores& c : cases) {
    c.rollouts = 200, c.tokens = 200;
    for (const auto& f : fingerprints) {
      SchemeScores s;
      for (std::size_t i = 0; i < 200; ++i) {
        const double value = c.doc.honest ? static_cast<double>(i / 2) / 99.0 : 1e6;
        s.rollouts.push_back({UnitScores(f->info().statistics.size(), value)});
        s.numbers.push_back(i);
      }
      c.schemes.push_back(std::move(s));
    }
  }
  const CalibrationReport report = Calibrate(fingerprints, cases);
  EXPECT_NEAR(SchemeNamed(report, "toploc").calibrated[0], 1.0, 0.02);
  EXPECT_NEAR(SchemeNamed(report, "toploc+").calibrated[0], 3.0, 0.02);
  EXPECT_NEAR(SchemeNamed(report, "toploc+").calibrated[1], 2.0, 0.02);
  EXPECT_EQ(SchemeNamed(report, "dense").calibrated[0], 0.12);
  for (const SchemeReport& s : report.schemes)
    EXPECT_EQ(CaseOf(s, "other-model").accepted_calibrated, 0.0) << s.info.name;
}

}  // namespace
}  // namespace waggle
