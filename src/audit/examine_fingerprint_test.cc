// Whether a group holds in a run of a fingerprint tier: honest ones do, whatever engine sampled
// them; what other weights gave does not, and that is a statistical finding: no file proves it.
#include <gmock/gmock.h>

#include "audit/examine.h"
#include "audit/prover.h"
#include "audit/test_audit.h"
#include "kernels/fast/fast.h"
#include "proofs/fingerprint/cases.h"

namespace waggle {
namespace {

Recipe TierRecipe(const std::string& tier) {
  Recipe recipe = AuditRecipe();
  recipe.trust.tier = tier;
  recipe.trust.fingerprint_limits = {"dense=0.0625", "toploc+=38/12/12", "race=0.25/0.25",
                                     "log-probs=16/0.03"};
  return recipe;
}

class TierAudit : public TestAudit {
 public:
  explicit TierAudit(const std::string& tier) : TestAudit(TierRecipe(tier)) {}

  std::shared_ptr<const Model> ModelWith(const Parameters& parameters, const Ops& ops) {
    return Model::Create(run->base->model.config, run->numerics, parameters, nullptr, ops).value();
  }
  std::shared_ptr<const Model> Honest(const Ops& ops) {
    return ModelWith(run->trainer->parameters(), ops);
  }
  Parameters Reversed() const {  // another model of the same size
    Parameters other = run->trainer->parameters();
    for (auto& [name, tensor] : other) {
      if (name.find("_proj.weight") == std::string::npos) continue;
      std::reverse(tensor.data.begin(), tensor.data.end());
    }
    return other;
  }
  // Sampled and proved as a worker does both, with these weights and this engine.
  Group HandIn(const Lease& lease, const std::shared_ptr<const Model>& model) {
    Group group = Sample(lease, model);
    const auto prover = Prover::Make(run->recipe, run->run_id, *run->codec, run->pool).value();
    prover->Loaded(lease.version, model);
    EXPECT_TRUE(prover->Prove(lease, group));
    return group;
  }
  Examination Look(const Lease& lease, const Group& group, const GroupProbe* probe = nullptr,
                   unsigned threads = 2) {
    ThreadPool pool(threads);
    return Examine(Examined(), Lookup(), pool, lease, group, probe);
  }
  std::optional<RejectReason> Found(const Lease& lease, const Group& group) {
    const Examination found = Look(lease, group);
    const auto* reject = std::get_if<Reject>(&found.verdict);
    EXPECT_FALSE(std::holds_alternative<Fault>(found.verdict));
    return reject == nullptr ? std::nullopt : std::optional(reject->reason);
  }
};

constexpr std::uint32_t kLeases = 10;

TEST(ExamineFingerprints, HonestEnginesHold) {
  for (const std::string tier : {"toploc+", "dense"}) {
    TierAudit audit(tier);
    for (std::uint32_t i = 0; i < kLeases; ++i) {
      const Lease lease = audit.LeaseOf(i);
      EXPECT_EQ(audit.Found(lease, audit.HandIn(lease, audit.Honest(BestOps()))), std::nullopt);
      for (const FastEngine engine : AllFastEngines())
        EXPECT_EQ(audit.Found(lease, audit.HandIn(lease, audit.Honest(FastOps(engine)))),
                  std::nullopt)
            << tier << " " << FastOps(engine).name;
    }
  }
}

TEST(ExamineFingerprints, OtherWeightsAreUnlikely) {
  for (const std::string tier : {"toploc", "toploc+", "dense"}) {
    TierAudit audit(tier);
    const auto model = audit.ModelWith(audit.Reversed(), BestOps());
    std::uint32_t found = 0;
    for (std::uint32_t i = 0; i < kLeases; ++i) {
      const Lease lease = audit.LeaseOf(i);
      found += audit.Found(lease, audit.HandIn(lease, model)) == RejectReason::kFingerprint ? 1 : 0;
    }
    EXPECT_EQ(found, kLeases) << tier;
  }
}

// With limits for engines that only reorder sums, weights off by a thousandth are found.
TEST(ExamineFingerprints, NeighboursAreFoundWithinLimitsOfACalibration) {
  TierAudit audit("dense");
  audit.run->recipe.trust.fingerprint_limits = {"dense=0.0005", "race=0.01/0.1",
                                                "log-probs=0.1/0.001"};
  const auto near =
      audit.ModelWith(PerturbedWeights(audit.run->trainer->parameters(), 3, 1e-2), BestOps());
  for (std::uint32_t i = 0; i < kLeases; ++i) {
    const Lease lease = audit.LeaseOf(i);
    EXPECT_EQ(audit.Found(lease, audit.HandIn(lease, audit.Honest(FastOps(FastEngine::kSplitK)))),
              std::nullopt);
    EXPECT_EQ(audit.Found(lease, audit.HandIn(lease, near)), RejectReason::kFingerprint);
  }
}

TEST(ExamineFingerprints, FormIsAFactAndContentIsNot) {
  TierAudit audit("dense");
  const Lease lease = audit.LeaseOf(1);
  const Group honest = audit.HandIn(lease, audit.Honest(BestOps()));
  Group group = honest;
  group.fingerprints.clear();
  EXPECT_EQ(audit.Found(lease, group), RejectReason::kMalformed);
  group = honest;
  group.fingerprints.pop_back();
  EXPECT_EQ(audit.Found(lease, group), RejectReason::kMalformed);
  group = honest;
  group.fingerprints[1].resize(FingerprintBytesMax(group.rollouts[1].tokens.size()) + 1);
  EXPECT_EQ(audit.Found(lease, group), RejectReason::kMalformed);
  group = honest;
  group.fingerprints[1].clear();
  EXPECT_EQ(audit.Found(lease, group), RejectReason::kFingerprint);
  group = honest;
  std::swap(group.fingerprints[0], group.fingerprints[1]);
  if (group != honest) {
    EXPECT_EQ(audit.Found(lease, group), RejectReason::kFingerprint);
  }
  // What is exact in every tier stays so.
  group = honest;
  group.rollouts[2].reward = 0.5f;
  EXPECT_EQ(audit.Found(lease, group), RejectReason::kWrongReward);

  // A run that replays bit for bit takes none.
  TestAudit exact;
  Group plain = exact.Sample(exact.LeaseOf(1));
  plain.fingerprints = honest.fingerprints;
  ThreadPool pool(1);
  const Examination found =
      Examine(exact.Examined(), exact.Lookup(), pool, exact.LeaseOf(1), plain);
  ASSERT_TRUE(std::holds_alternative<Reject>(found.verdict));
  EXPECT_EQ(std::get<Reject>(found.verdict).reason, RejectReason::kMalformed);
}

// The validator computes canonically, whoever sampled: its activations are those of a replay.
TEST(ExamineFingerprints, ActivationsAreTheReplays) {
  TierAudit audit("dense");
  const Lease lease = audit.LeaseOf(2);
  const Group group = audit.HandIn(lease, audit.Honest(BestOps()));
  TestAudit exact;
  Group plain = group;
  plain.fingerprints.clear();
  for (std::uint8_t beacon = 0; beacon < 10; ++beacon) {
    const GroupProbe probe = ProbeOf(Hash256{beacon}, GroupHash(group), group, 2);
    const Examination one = audit.Look(lease, group, &probe, 1),
                      two = audit.Look(lease, group, &probe, 3);
    EXPECT_TRUE(std::holds_alternative<Accepted>(one.verdict));
    ThreadPool pool(2);
    const Examination replay =
        Examine(exact.Examined(), exact.Lookup(), pool, exact.LeaseOf(2), plain, &probe);
    EXPECT_EQ(one.activation, two.activation);
    EXPECT_EQ(one.activation, replay.activation);
    EXPECT_NE(one.activation, Hash256{});
  }
}

TEST(ExamineFingerprints, NoFileProvesAFingerprint) {
  TierAudit audit("dense");
  const Lease lease = audit.LeaseOf(1);
  const Group unlikely = audit.HandIn(lease, audit.ModelWith(audit.Reversed(), BestOps()));
  const Examination found = audit.Look(lease, unlikely);
  ASSERT_TRUE(std::holds_alternative<Reject>(found.verdict));
  ASSERT_EQ(std::get<Reject>(found.verdict).reason, RejectReason::kFingerprint);
  // Neither as what it is, nor as what it would be where engines are canonical.
  for (const RejectReason reason :
       {RejectReason::kFingerprint, RejectReason::kWrongToken, RejectReason::kWrongLogp}) {
    const Decision decision = audit.DecideFile(
        audit.Accuse({unlikely}, 0, audit.worker, reason, found.rollout, found.token));
    EXPECT_EQ(decision.kind, Decision::Kind::kNotProved) << decision.text;
  }
  const Group other_engine = audit.HandIn(lease, audit.Honest(FastOps(FastEngine::kBf16)));
  EXPECT_EQ(
      audit
          .DecideFile(audit.Accuse({other_engine}, 0, audit.worker, RejectReason::kWrongLogp, 0, 0))
          .kind,
      Decision::Kind::kNotProved);
}

// The trainer takes log-probs of other engines as they are, and calls nobody a forger.
TEST(ExamineFingerprints, TrainingTakesOtherEnginesLogProbs) {
  TierAudit audit("dense");
  std::vector<ScoredGroup> groups;
  for (std::uint32_t i = 0; i < 2; ++i) {
    const Lease lease = audit.LeaseOf(i);
    const Group group = audit.HandIn(lease, audit.Honest(FastOps(FastEngine::kBf16)));
    Admission admission = AdmitUnder(audit.run->recipe, lease, group, PolicyVersion{0}, 0,
                                     *audit.run->codec, audit.run->base->model.config.vocab);
    ASSERT_TRUE(std::holds_alternative<Accepted>(admission.verdict));
    groups.push_back(std::move(admission.scored));
  }
  EXPECT_TRUE(audit.run->trainer->FindForgeries(groups, PolicyVersion{0}).value().empty());
  const auto report = audit.run->trainer->PolicyStep(groups, PolicyVersion{0});
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_LT(std::fabs(report->metrics.kl_behaviour_k1), 1e-2);
}

}  // namespace
}  // namespace waggle
