// All fingerprints through their one interface: canonical pairs have no distance at all, unlike
// engines a small one, cheats a large one or none, and hostile bytes are the peer's fault.
#include "proofs/fingerprint/fingerprint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/fast/fast.h"
#include "proofs/fingerprint/test_vectors.h"
#include "proofs/fingerprint/test_views.h"
#include "proofs/fingerprint/toploc.h"

namespace waggle {
namespace {

using namespace testing_views;
using testing_vectors::Filled;

const FingerprintScope kScope{Filled(1), Filled(2), Filled(3)};

Result<std::vector<UnitScores>> Compare(const Fingerprint& f, const RolloutView& prover,
                                        const RolloutView& own) {
  const Digest256 challenge = Filled(9);
  const Bytes commitment = f.Commit(kScope, prover).value();
  const Bytes opening = f.Open(kScope, prover, challenge).value();
  return f.Measure(kScope, commitment, opening, challenge, LogpsOf(prover), own);
}

RolloutView View(SmallRun& run, const RolloutClaim& claim, const Ops& ops = BestOps()) {
  const auto model = testing_models::MakeModel(run.config, run.parameters, ops);
  return LookAt(*model, run.pool, claim).value();
}

TEST(Fingerprints, HaveNamesAndLimits) {
  std::set<std::string_view> names;
  for (const auto& f : AllFingerprints()) {
    const FingerprintInfo& info = f->info();
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.statistics.empty() || info.looks_at.empty() || info.unit.empty());
    EXPECT_EQ(PublishedLimits(info).size(), info.statistics.size());
    ASSERT_NE(FindFingerprint(info.name), nullptr);
    EXPECT_EQ(FindFingerprint(info.name)->info().name, info.name);
  }
  EXPECT_EQ(names.size(), 11u);
  EXPECT_EQ(FindFingerprint("exact"), nullptr);
}

TEST(Fingerprints, CanonicalPairsHaveNoDistance) {
  SmallRun run;
  const RolloutClaim claim = HonestClaim(run, 0);
  const RolloutView a = View(run, claim), b = View(run, claim, ReferenceOps());
  EXPECT_EQ(LogpsOf(a), claim.logps);
  for (const auto& f : AllFingerprints()) {
    const auto units = Compare(*f, a, b);
    ASSERT_TRUE(units) << f->info().name << ": " << units.error().what;
    if (f->info().name == "sampling" || f->info().name == "grail-distribution") continue;
    for (const UnitScores& unit : *units)
      for (const double value : unit) EXPECT_EQ(value, 0.0) << f->info().name;
    const std::vector<double> exact(f->info().statistics.size(), 0.0);
    EXPECT_EQ(Judge(f->info(), exact, *units).likeness, Likeness::kLikely) << f->info().name;
  }
}

// A decode through the KV cache and one prefill: the same states, so no error at all (prime sheet
// 13.1).
TEST(Fingerprints, DecodingAndPrefillGiveOneToplocProof) {
  SmallRun run;
  const RolloutClaim claim = HonestClaim(run, 0);
  const auto model = testing_models::MakeModel(run.config, run.parameters, BestOps());
  const auto words = [&](std::size_t chunk) {
    return Bf16Words(testing_models::ForwardInChunks(*model, run.pool, claim.tokens, chunk));
  };
  const auto decoded = words(1), prefilled = words(0);
  EXPECT_EQ(decoded, prefilled);
  const auto scores =
      CompareToploc(ProveToploc(decoded).value(), prefilled, ToplocProfile::kPlus).value();
  EXPECT_EQ(scores.mismatches, 0u);
  EXPECT_EQ(scores.strict_mean, 0.0);
}

// The engine of kernels/fast: other bits everywhere, and near.
TEST(NoisyEngines, DifferInBitsAndStayClose) {
  SmallRun run;
  const RolloutClaim claim = HonestClaim(run, 1);
  const RolloutView truth = View(run, claim);
  for (const FastEngine engine : AllFastEngines()) {
    const RolloutView noisy = View(run, claim, FastOps(engine));
    double differing = 0, most = 0, size = 0;
    for (std::size_t i = 0; i < truth.hidden.size(); ++i) {
      differing += truth.hidden[i] != noisy.hidden[i] ? 1 : 0;
      most = std::max(most, static_cast<double>(std::fabs(truth.hidden[i] - noisy.hidden[i])));
      size = std::max(size, static_cast<double>(std::fabs(truth.hidden[i])));
    }
    EXPECT_GT(differing, 0.5 * static_cast<double>(truth.hidden.size())) << FastOps(engine).name;
    EXPECT_LT(most, (engine == FastEngine::kBf16 ? 0.1 : 1e-4) * size) << FastOps(engine).name;
    // And it samples: the same engine class drives it.
    const RolloutClaim own = HonestClaim(run, 1, FastOps(engine));
    EXPECT_EQ(own.response(), claim.response());
  }
}

TEST(NoisyEngines, ReorderedSumsPassEveryFingerprintOfStates) {
  SmallRun run;
  const RolloutClaim claim = HonestClaim(run, 2);
  const RolloutView truth = View(run, claim);
  const RolloutView noisy = View(run, claim, FastOps(FastEngine::kTiles));
  for (const auto& f : StateFingerprints()) {
    const auto units = Compare(*f, noisy, truth).value();
    EXPECT_EQ(Judge(f->info(), PublishedLimits(f->info()), units).likeness, Likeness::kLikely)
        << f->info().name;
  }
}

RolloutView Zeroed(RolloutView view) {
  std::fill(view.hidden.begin(), view.hidden.end(), 0.0f);
  for (auto& s : view.states) std::fill(s.begin(), s.end(), 0.0f);
  return view;
}

bool Passes(const Fingerprint& f, const RolloutView& prover, const RolloutView& own) {
  const auto units = Compare(f, prover, own);
  EXPECT_TRUE(units || units.error().blame == Blame::kPeer);
  return units && Judge(f.info(), PublishedLimits(f.info()), *units).likeness == Likeness::kLikely;
}

TEST(Fingerprints, StatesOfNothingPassGrailVersion5Only) {
  SmallRun run;
  const RolloutView own = View(run, HonestClaim(run, 0));
  const RolloutView zero = Zeroed(own);
  for (const auto& f : StateFingerprints())
    EXPECT_EQ(Passes(*f, zero, own), f->info().name == "grail-v5") << f->info().name;
}

TEST(Fingerprints, HostileBytesAreThePeersFault) {
  SmallRun run(2, 1, 12);
  const RolloutClaim claim = HonestClaim(run, 0);
  const RolloutView own = View(run, claim);
  const Digest256 challenge = Filled(9);
  Rng rng(8);
  for (const auto& f : AllFingerprints()) {
    const Bytes commitment = f->Commit(kScope, own).value();
    const Bytes opening = f->Open(kScope, own, challenge).value();
    const auto measure = [&](const Bytes& c, const Bytes& o) {
      const auto units = f->Measure(kScope, c, o, challenge, claim.logps, own);
      EXPECT_TRUE(units || units.error().blame == Blame::kPeer) << f->info().name;
      return units.has_value();
    };
    ASSERT_TRUE(measure(commitment, opening));
    Bytes longer = commitment;
    longer.push_back(0);
    EXPECT_FALSE(measure(longer, opening)) << f->info().name;
    Bytes more = opening;
    more.push_back(0);
    if (!opening.empty() || f->info().sees != Sees::kStates) {
      EXPECT_FALSE(measure(commitment, more)) << f->info().name;
    }
    for (std::size_t n = 0; n < commitment.size(); n += 1 + commitment.size() / 40)
      EXPECT_FALSE(
          measure(Bytes(commitment.begin(), commitment.begin() + static_cast<long>(n)), opening))
          << f->info().name;
    for (int i = 0; i < 60; ++i) {
      Bytes c = commitment, o = opening;
      if (!c.empty()) c[rng.Below(static_cast<std::uint32_t>(c.size()))] ^= 1u << rng.Below(8);
      if (!o.empty() && i % 2 == 0)
        o[rng.Below(static_cast<std::uint32_t>(o.size()))] ^= 1u << rng.Below(8);
      measure(c, o);
    }
  }
}

TEST(Fingerprints, OpeningsOfOtherPositionsAreRefused) {
  SmallRun run(2, 1, 48);
  const RolloutClaim claim = HonestClaim(run, 0);
  const RolloutView own = View(run, claim);
  for (const char* name : {"dense", "verillm"}) {
    const auto f = FindFingerprint(name);
    const Bytes commitment = f->Commit(kScope, own).value();
    const Bytes early = f->Open(kScope, own, Filled(4)).value();  // before the real challenge
    const auto units = f->Measure(kScope, commitment, early, Filled(9), claim.logps, own);
    ASSERT_FALSE(units.has_value()) << name;
    EXPECT_EQ(units.error().blame, Blame::kPeer);
    // And what one rollout committed does not open another's.
    const FingerprintScope other{Filled(1), Filled(7), Filled(3)};
    const Bytes late = f->Open(kScope, own, Filled(9)).value();
    EXPECT_TRUE(f->Measure(kScope, commitment, late, Filled(9), claim.logps, own));
    if (std::string_view(name) == "verillm") {
      EXPECT_FALSE(f->Measure(other, commitment, late, Filled(9), claim.logps, own));
    }
  }
}

// Tokens edited after sampling, with activations and log-probs recomputed honestly: only the race
// can see it (gradient sheet 9.2).
TEST(Fingerprints, ForgedTokensWithHonestStatesLoseTheRace) {
  SmallRun run;
  RolloutClaim claim = HonestClaim(run, 3);
  for (std::size_t i = claim.prompt + 3; i < claim.tokens.size(); i += 7)
    claim.tokens[i] = (claim.tokens[i] + 11) % 64;
  const RolloutView view = View(run, claim);
  for (const auto& f : StateFingerprints()) EXPECT_TRUE(Passes(*f, view, view)) << f->info().name;
  EXPECT_TRUE(Passes(*FindFingerprint("log-probs"), view, view));
  EXPECT_FALSE(Passes(*FindFingerprint("race"), view, view));
}

TEST(Fingerprints, ClaimsAreCheckedBeforeAnythingIsComputed) {
  SmallRun run;
  const auto model = testing_models::MakeModel(run.config, run.parameters, BestOps());
  const RolloutClaim good = HonestClaim(run, 0);
  std::vector<RolloutClaim> bad(6, good);
  bad[0].prompt = 0, bad[1].prompt = good.tokens.size(), bad[2].tokens[20] = 64;
  bad[3].tokens[1] = -1, bad[4].logps.pop_back(), bad[5].logps[2] = std::nanf("");
  for (const RolloutClaim& claim : bad) {
    const auto view = LookAt(*model, run.pool, claim);
    ASSERT_FALSE(view.has_value());
    EXPECT_EQ(view.error().blame, Blame::kPeer);
  }
}

TEST(Judging, NeedsUnitsAndTheirQuorum) {
  const FingerprintInfo info{
      .name = "x", .statistics = {{"a", 1, {}}, {"b", 2, {}}}, .quorum = 0.75};
  const auto likely = [&](const std::vector<UnitScores>& units) {
    return Judge(info, PublishedLimits(info), units).likeness == Likeness::kLikely;
  };
  EXPECT_FALSE(likely({}));
  EXPECT_TRUE(likely({{1, 2}}));
  EXPECT_FALSE(likely({{1, 2.1}}));
  EXPECT_FALSE(likely({{std::nan(""), 0}}));
  EXPECT_TRUE(likely({{0, 0}, {0, 0}, {0, 0}, {9, 9}}));
  EXPECT_FALSE(likely({{0, 0}, {0, 0}, {0, 3}, {9, 9}}));
}

}  // namespace
}  // namespace waggle
