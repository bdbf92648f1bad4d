// Evidence against orchestrators: canaries that are not what they were called, receipts for groups
// that no window names. Honest hosts cannot be framed with any of it.
#include <cmath>

#include "audit/test_audit.h"

namespace waggle {
namespace {

using Kind = Decision::Kind;

class Orchestrators : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { audit_ = new TestAudit; }
  static void TearDownTestSuite() {
    delete audit_;
    audit_ = nullptr;
  }
  void Expect(const Evidence& evidence, Kind kind, std::string_view words) {
    const Decision decision = audit_->DecideFile(evidence);
    EXPECT_EQ(decision.kind, kind) << decision.text;
    EXPECT_NE(decision.text.find(words), std::string::npos) << decision.text;
  }
  static void Forge(Group& group) {
    group.rollouts[2].logps[0] = std::nextafter(group.rollouts[2].logps[0], -1.0f);
  }
  Evidence OnLease(LeaseId lease) { return OnReceipt(*audit_, lease, Hash256{7}); }

  static TestAudit* audit_;
};
TestAudit* Orchestrators::audit_ = nullptr;

TEST_F(Orchestrators, ACanaryThatIsCalledBadAndHoldsIsProved) {
  Expect(OnCanary(*audit_, true, [](Group&) {}), Kind::kProved, "called the canary of epoch 3 bad");
}

TEST_F(Orchestrators, ACanaryThatIsCalledGoodAndDoesNotHoldIsProved) {
  Evidence evidence = OnCanary(*audit_, false, Forge);
  evidence.rollout = 2;
  Expect(evidence, Kind::kProved, "called the canary of epoch 3 good");
  evidence.rollout = 1;
  Expect(evidence, Kind::kNotProved, "another place");
}

TEST_F(Orchestrators, ATrueCanaryProvesNothing) {
  Expect(OnCanary(*audit_, true, Forge), Kind::kNotProved, "is what it was called");
  Expect(OnCanary(*audit_, false, [](Group&) {}), Kind::kNotProved, "is what it was called");
}

// What a liar could change about the canary of an honest host.
TEST_F(Orchestrators, AnHostIsNotFramedWithItsCanary) {
  Evidence evidence = OnCanary(*audit_, false, [](Group&) {});
  evidence.group->lease.task_seed ^= 1;  // none that the run derives
  Expect(evidence, Kind::kNotProved, "none that the run derives");

  evidence = OnCanary(*audit_, false, [](Group&) {});
  Forge(evidence.group->group);
  Expect(evidence, Kind::kNotProved, "not in the batch");

  // Shown by somebody else; shown for another epoch; for another ledger.
  const auto reveal = [&](const KeyPair& by, std::uint64_t epoch, const LedgerId& ledger) {
    evidence = OnCanary(*audit_, true, [](Group&) {});
    const CanaryReveal body{.run = LedgerRun{audit_->run->run_id},
                            .epoch = epoch,
                            .worker = evidence.group->batch.claim.worker,
                            .bad = true};
    evidence.canary = CanaryProof{Encode(SignRequest(by, ledger, 5, body))};
    return evidence;
  };
  Expect(reveal(audit_->orchestrator, 3, audit_->ledger), Kind::kProved, "called");
  Expect(reveal(audit_->accuser, 3, audit_->ledger), Kind::kNotProved, "did not show this batch");
  Expect(reveal(audit_->orchestrator, 4, audit_->ledger), Kind::kNotProved, "another batch");
  Expect(reveal(audit_->orchestrator, 3, LedgerId{Digest256{8}}), Kind::kNotProved,
         "did not show this batch");
  evidence.canary = CanaryProof{{1, 2, 3}};
  Expect(evidence, Kind::kNotProved, "");

  evidence = OnCanary(*audit_, true, [](Group&) {});
  evidence.reason = RejectReason::kFalseAccusation;
  Expect(evidence, Kind::kNotProved, "something else");
  evidence = OnCanary(*audit_, true, [](Group&) {});
  evidence.policies.clear();
  Expect(evidence, Kind::kNotProved, "signed this description");
}

TEST_F(Orchestrators, WeightsThatAreNotHereAreAFault) {
  const Evidence evidence = OnCanary(*audit_, true, [](Group&) {});
  TestInputs nothing;
  ThreadPool pool(1);
  EXPECT_EQ(Decide(evidence, nothing, pool).kind, Kind::kFault);
}

TEST_F(Orchestrators, AGroupThatNoWindowNamesIsProved) {
  Expect(OnLease(LeaseIdOf(2, 1)), Kind::kProved, "without it");
}

TEST_F(Orchestrators, AGroupInAnyOfItsWindowsIsNot) {
  Evidence evidence = OnLease(LeaseIdOf(2, 1));
  for (std::size_t at = 0; at < evidence.receipt->windows.size(); ++at) {
    evidence = OnLease(LeaseIdOf(2, 1));
    ShownWindow& window = evidence.receipt->windows[at];
    window.groups.push_back(Hash256{7});
    WindowClaim claim = window.window.claim;
    claim.root = BatchRoot(window.groups);
    claim.items = 3;
    window.window = SignClaim(claim, audit_->orchestrator);
    Expect(evidence, Kind::kNotProved, "stands in window");
    // To hide it from the list does not help: the root is signed.
    window.groups.pop_back();
    Expect(evidence, Kind::kNotProved, "other groups than these");
  }
}

// Everything that an honest host's receipts and windows can be put together to.
TEST_F(Orchestrators, AHonestHostIsNotFramedWithItsReceipts) {
  // A window that is missing, or another step's.
  Evidence evidence = OnLease(LeaseIdOf(2, 1));
  evidence.receipt->windows.pop_back();
  Expect(evidence, Kind::kNotProved, "not all here");
  evidence = OnLease(LeaseIdOf(2, 1));
  evidence.receipt->windows = OnLease(LeaseIdOf(1, 1)).receipt->windows;
  Expect(evidence, Kind::kNotProved, "");
  // Signed by another key: the host's word is not in it.
  evidence = OnLease(LeaseIdOf(2, 1));
  auto& window = evidence.receipt->windows.front().window;
  window = SignClaim(window.claim, audit_->accuser);
  Expect(evidence, Kind::kNotProved, "not one that the host signed");
  // An evaluation stands in no window, nor does a lease of a step that the run does not take.
  evidence = OnLease(LeaseIdOf(2, 1));
  const auto receipt = [&](LeaseId lease, Outcome outcome) {
    Envelope envelope{.version = kProtocolVersion,
                      .kind = static_cast<std::uint8_t>(MessageKind::kOutcomeRecord),
                      .run = audit_->run->run_id};
    OutcomeRecord record{
        .lease = lease, .worker = audit_->worker.id(), .outcome = outcome, .group = Hash256{7}};
    if (outcome == Outcome::kRejected) record.reason = RejectReason::kWrongTask;
    envelope.payload = Encode(NodeMessage{record});
    return SealEnvelope(std::move(envelope), audit_->orchestrator);
  };
  evidence.receipt->receipt = receipt(LeaseIdOf(2, 1, true), Outcome::kAccepted);
  Expect(evidence, Kind::kNotProved, "no window needs to name");
  evidence.receipt->receipt = receipt(LeaseIdOf(1 << 20, 1), Outcome::kAccepted);
  Expect(evidence, Kind::kNotProved, "no window needs to name");
  // What was not accepted need not be named.
  for (const Outcome outcome : {Outcome::kStale, Outcome::kRejected, Outcome::kFault}) {
    evidence.receipt->receipt = receipt(LeaseIdOf(2, 1), outcome);
    Expect(evidence, Kind::kNotProved, "was not accepted");
  }
  evidence.receipt->receipt = {1, 2, 3};
  Expect(evidence, Kind::kNotProved, "a receipt");
  // A description of one's own: fewer waves ahead, and the window that names it is none of them.
  evidence = OnLease(LeaseIdOf(2, 1));
  evidence.policies.clear();
  Expect(evidence, Kind::kNotProved, "signed this description");
}

TEST_F(Orchestrators, WhereAGroupCanStand) {
  Recipe recipe = AuditRecipe();
  const auto of = [&](LeaseId lease, std::optional<std::uint64_t> place = std::nullopt) {
    return WindowsOf(recipe, OutcomeRecord{.lease = lease, .place = place});
  };
  EXPECT_TRUE(of(LeaseIdOf(2, 1)).has_value());
  EXPECT_FALSE(of(LeaseIdOf(2, 1), 3).has_value());  // waves have no places
  recipe.orchestrator.ahead = 3;
  EXPECT_EQ(of(LeaseIdOf(2, 1)), (WindowSpan{PolicyVersion{0}, PolicyVersion{2}}));
  recipe.orchestrator.steps = 20;
  EXPECT_EQ(of(LeaseIdOf(9, 1)), (WindowSpan{PolicyVersion{6}, PolicyVersion{9}}));
  recipe.orchestrator.batches = "arrival";
  recipe.orchestrator.groups_per_step = 4;
  EXPECT_FALSE(of(LeaseIdOf(9, 1)).has_value());
  EXPECT_EQ(of(LeaseIdOf(9, 1), 39), (WindowSpan{PolicyVersion{6}, PolicyVersion{9}}));
  EXPECT_EQ(of(LeaseIdOf(9, 1), 3), (WindowSpan{PolicyVersion{0}, PolicyVersion{0}}));
  EXPECT_FALSE(of(LeaseIdOf(9, 1), 80).has_value());
  EXPECT_FALSE(of(LeaseIdOf(9, 1, /*evaluation=*/true), 3).has_value());
}

}  // namespace
}  // namespace waggle
