// What a run of a fingerprint tier asks and says: honest engines pass, what was computed otherwise
// does not, and bytes of any kind are a finding and never an error.
#include "proofs/fingerprint/tier.h"

#include <gmock/gmock.h>

#include "kernels/fast/fast.h"
#include "proofs/fingerprint/test_views.h"
#include "rollout/limits.h"

namespace waggle {
namespace {

using testing_views::HonestClaim;
using testing_views::SmallRun;

const std::vector<std::string> kLimits = {"dense=0.06", "toploc+=20/6/6", "race=1/0.2",
                                          "log-probs=4/0.02"};

class Tiers : public ::testing::Test {
 protected:
  std::unique_ptr<FingerprintTier> Make(const std::string& name) {
    return FingerprintTier::Make(name, kLimits).value();
  }
  RolloutView Look(const RolloutClaim& claim, const Parameters& parameters,
                   const Ops& ops = BestOps()) {
    return LookAt(*testing_models::MakeModel(run_.config, parameters, ops), run_.pool, claim)
        .value();
  }
  // What a worker with these weights and this engine posts is judged canonically.
  std::string Why(const std::string& name, const RolloutClaim& claim, const RolloutView& prover,
                  const std::function<void(Bytes&)>& tamper = nullptr) {
    const auto tier = Make(name);
    Bytes posted = tier->Prove(scope_, prover).value();
    EXPECT_LE(posted.size(), FingerprintBytesMax(claim.response()));
    if (tamper) tamper(posted);
    const RolloutView own = Look(claim, run_.parameters);
    const Digest256 challenge{5};
    const auto finding = tier->Judge({.scope = scope_,
                                      .posted = posted,
                                      .challenge = challenge,
                                      .logps = claim.logps,
                                      .own = own});
    EXPECT_TRUE(finding) << finding.error().what;
    return finding->why;
  }

  SmallRun run_{2, 1, 70};
  const Lease lease_{.id = LeaseId{3}, .key = {1, 2}};
  const FingerprintScope scope_ = ScopeOf(Hash256{9}, lease_, 0);
};

TEST_F(Tiers, HonestEnginesPassAll) {
  for (const TierDoc& doc : FingerprintTiers()) {
    for (const FastEngine engine : AllFastEngines()) {
      const RolloutClaim claim = HonestClaim(run_, 0, FastOps(engine));
      EXPECT_EQ(Why(std::string(doc.name), claim, Look(claim, run_.parameters, FastOps(engine))),
                "")
          << doc.name << " " << FastOps(engine).name;
    }
  }
}

TEST_F(Tiers, OtherModelsDoNotPassButGrail) {
  for (const std::string name : {"toploc", "toploc+", "dense"}) {
    const RolloutClaim claim = HonestClaim(run_, 0);
    EXPECT_NE(Why(name, claim, Look(claim, run_.other)), "") << name;
  }
  // The published tolerance of the sketch is wider than its range.
  const RolloutClaim claim = HonestClaim(run_, 0);
  EXPECT_EQ(Why("grail", claim, Look(claim, run_.other)), "");
  EXPECT_EQ(Why("grail", claim, Look(claim, run_.parameters),
                [](Bytes& posted) { std::fill(posted.begin(), posted.end(), std::uint8_t{0}); }),
            "");
}

TEST_F(Tiers, TheRaceFindsTokensThatTheKeyDidNotDraw) {
  RolloutClaim claim = HonestClaim(run_, 0);
  claim.options.key[0] ^= 1;
  const RolloutView prover = Look(claim, run_.parameters);
  EXPECT_THAT(Why("dense", claim, prover), ::testing::StartsWith("race"));
  EXPECT_THAT(Why("toploc+", claim, prover), ::testing::StartsWith("race"));
  EXPECT_EQ(Why("toploc", claim, prover), "");
  EXPECT_EQ(Why("grail", claim, prover), "");
}

TEST_F(Tiers, LogProbsAreThoseOfTheWeights) {
  RolloutClaim claim = HonestClaim(run_, 0);
  const RolloutView prover = Look(claim, run_.parameters);
  for (float& logp : claim.logps) logp *= 0.5f;
  EXPECT_THAT(Why("dense", claim, prover), ::testing::StartsWith("log-probs"));
  EXPECT_EQ(Why("grail", claim, prover), "GRAIL's check of log-probs fails");
  EXPECT_EQ(Why("toploc", claim, prover), "");
}

TEST_F(Tiers, BytesOfAnyKindAreAFinding) {
  const RolloutClaim claim = HonestClaim(run_, 0);
  const RolloutView prover = Look(claim, run_.parameters);
  for (const TierDoc& doc : FingerprintTiers()) {
    const std::string name(doc.name);
    EXPECT_NE(Why(name, claim, prover, [](Bytes& posted) { posted.clear(); }), "") << name;
    EXPECT_NE(Why(name, claim, prover, [](Bytes& posted) { posted.pop_back(); }), "") << name;
    EXPECT_NE(Why(name, claim, prover, [](Bytes& posted) { posted.push_back(0); }), "") << name;
    Rng rng(3);
    for (int i = 0; i < 50; ++i)
      static_cast<void>(Why(name, claim, prover, [&](Bytes& posted) {
        posted[rng.Below(static_cast<std::uint32_t>(posted.size()))] ^= 0x41;
      }));
  }
}

// What one worker posted is nothing for another lease or place.
TEST_F(Tiers, TheLeaseDrawsTheProjections) {
  const RolloutClaim claim = HonestClaim(run_, 0);
  const RolloutView view = Look(claim, run_.parameters);
  const auto tier = Make("dense");
  Lease other = lease_;
  other.key[1] ^= 1;
  EXPECT_NE(tier->Prove(scope_, view).value(),
            tier->Prove(ScopeOf(Hash256{9}, other, 0), view).value());
  EXPECT_NE(ScopeOf(Hash256{9}, lease_, 0).rollout, ScopeOf(Hash256{9}, lease_, 1).rollout);
}

TEST_F(Tiers, AGroupIsConcludedOverAllItsRollouts) {
  const auto dense = Make("dense"), grail = Make("grail");
  std::vector<RolloutFinding> findings(4);
  EXPECT_FALSE(dense->Conclude(findings));
  findings[2].why = "dense: far";
  const auto found = dense->Conclude(findings);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rollout, 2u);
  // Soft failures: GRAIL counts them.
  findings = std::vector<RolloutFinding>(4);
  findings[0].soft = findings[1].soft = true;
  EXPECT_FALSE(grail->Conclude(findings));
  findings[2].soft = true;
  EXPECT_TRUE(grail->Conclude(findings));
  // Tokens that are all too likely: a colder temperature.
  findings = std::vector<RolloutFinding>(4);
  for (RolloutFinding& finding : findings) {
    for (int i = 0; i < 200; ++i)
      finding.record.Add(0.005 * i, {.logp = -0.1, .mean = -1, .variance = 1});
  }
  const auto cold = dense->Conclude(findings);
  ASSERT_TRUE(cold);
  EXPECT_THAT(cold->why, ::testing::HasSubstr("surprise"));
}

TEST(TierLimits, AreThoseOfACalibrationOrNone) {
  const auto make = [](const std::string& tier, const std::vector<std::string>& limits) {
    const auto made = FingerprintTier::Make(tier, limits);
    return made ? std::string() : made.error().what;
  };
  EXPECT_EQ(make("dense", {"dense=0.001", "grail-v5=0.1", "race=-/0.1"}), "");
  EXPECT_EQ(make("toploc", {"sampling=-/-/1"}), "");
  EXPECT_NE(make("sparse", {}), "");
  EXPECT_NE(make("dense", {"dense"}), "");
  EXPECT_NE(make("dense", {"dense=x"}), "");
  EXPECT_NE(make("dense", {"dense=-1"}), "");
  EXPECT_NE(make("dense", {"dense=nan"}), "");
  EXPECT_NE(make("dense", {"dense=0.1/0.1"}), "");
  EXPECT_NE(make("dense", {"other=0.1"}), "");
}

}  // namespace
}  // namespace waggle
