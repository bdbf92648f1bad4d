// Evidence: each reason that can be proved is, from the file alone; honest people cannot be framed
// with any of it; and what is missing is a fault, which proves nothing.
#include "proofs/evidence.h"

#include <cmath>

#include "audit/test_audit.h"
#include "run/step_check.h"
#include "run/train_thread.h"

namespace waggle {
namespace {

using Kind = Decision::Kind;

class Evidences : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { audit_ = new TestAudit; }
  static void TearDownTestSuite() {
    delete audit_;
    audit_ = nullptr;
  }
  void SetUp() override {
    for (std::uint32_t i = 0; i < 3; ++i) groups_.push_back(audit_->Sample(audit_->LeaseOf(i)));
  }
  Evidence OfForgedLogp() {
    groups_[1].rollouts[2].logps[0] = std::nextafter(groups_[1].rollouts[2].logps[0], -1.0f);
    return audit_->Accuse(groups_, 1, audit_->worker, RejectReason::kWrongLogp, 2, 0);
  }
  void Expect(const Evidence& evidence, Kind kind, std::string_view words) {
    const Decision decision = audit_->DecideFile(evidence);
    EXPECT_EQ(decision.kind, kind) << decision.text;
    EXPECT_NE(decision.text.find(words), std::string::npos) << decision.text;
  }
  Signed<AuditClaim> VerdictOn(const Group& group, std::uint32_t index, const SignedBatch& batch,
                               const std::function<void(AuditClaim&)>& change = nullptr) {
    AuditClaim claim{.run = audit_->run->run_id,
                     .epoch = batch.claim.epoch,
                     .batch = batch.claim.root,
                     .index = index,
                     .group = GroupHash(group),
                     .beacon = Hash256{5},
                     .accepted = true};
    const GroupProbe probe = ProbeOf(claim.beacon, claim.group, group, 2);
    ThreadPool pool(1);
    const Lease lease = audit_->LeaseOf(index);
    claim.activation =
        Examine(audit_->Examined(), audit_->Lookup(), pool, lease, group, &probe).activation;
    if (change) change(claim);
    return SignClaim(claim, audit_->validator);
  }

  static TestAudit* audit_;
  std::vector<Group> groups_;
};
TestAudit* Evidences::audit_ = nullptr;

TEST_F(Evidences, AForgedLogProbIsProved) {
  Expect(OfForgedLogp(), Kind::kProved, "wrong log-prob at rollout 2, token 0");
}

TEST_F(Evidences, WithoutItsInputsItIsAFault) {
  const Evidence evidence = OfForgedLogp();
  ThreadPool pool(1);
  TestInputs nothing;
  EXPECT_EQ(Decide(evidence, nothing, pool).kind, Kind::kFault);
  Evidence large = evidence;
  large.description.clear();
  EXPECT_EQ(Decide(large, nothing, pool).kind, Kind::kFault);
  nothing.description = audit_->description;
  nothing.models = audit_->inputs.models;
  EXPECT_EQ(Decide(large, nothing, pool).kind, Kind::kProved);
}

TEST_F(Evidences, HonestWorkersAreNotFramed) {
  const Evidence honest =
      audit_->Accuse(groups_, 1, audit_->worker, RejectReason::kWrongLogp, 2, 0);
  Expect(honest, Kind::kNotProved, "holds");

  const std::vector<Group> before = groups_;
  Evidence evidence = OfForgedLogp();
  // Somebody else's signature under it.
  evidence.group->batch = audit_->Batch(groups_, audit_->validator);
  Expect(evidence, Kind::kNotProved, "another worker's");
  evidence.group->batch.claim.worker = audit_->worker.id();
  Expect(evidence, Kind::kNotProved, "did not sign");
  // The batch that the worker did sign, without the forged group.
  evidence.group->batch = audit_->Batch(before, audit_->worker);
  Expect(evidence, Kind::kNotProved, "not in the batch");
  // Weights that the orchestrator never published.
  evidence = audit_->Accuse(before, 1, audit_->worker, RejectReason::kWrongToken, 0, 0);
  evidence.policies[0].claim.root[0] ^= 1;
  Expect(evidence, Kind::kNotProved, "not signed by the orchestrator");
  evidence.policies[0] = SignClaim(evidence.policies[0].claim, audit_->accuser);
  evidence.orchestrator = audit_->accuser.id();
  ThreadPool pool(1);
  const Decision strict = Decide(evidence, audit_->inputs, pool, audit_->orchestrator.id());
  EXPECT_EQ(strict.kind, Kind::kNotProved) << strict.text;
  // A lease that the run does not derive.
  evidence = audit_->Accuse(before, 1, audit_->worker, RejectReason::kWrongToken, 0, 0);
  evidence.group->lease.key[1] ^= 4;
  Expect(evidence, Kind::kNotProved, "none that the run derives");
  // Another run's rules.
  evidence.description[40] ^= 1;
  Expect(evidence, Kind::kNotProved, "not the one that it names");
}

TEST_F(Evidences, TheFirstFaultIsTheOneThatCounts) {
  Evidence evidence = OfForgedLogp();
  evidence.token = 1;
  Expect(evidence, Kind::kNotProved, "another one");
  evidence.token = 0;
  evidence.reason = RejectReason::kWrongToken;
  Expect(evidence, Kind::kNotProved, "another one");
}

TEST_F(Evidences, TwoBatchesForOneEpochAreEquivocation) {
  Evidence evidence = audit_->About(audit_->worker.id(), RejectReason::kEquivocation);
  const SignedBatch first = audit_->Batch(groups_, audit_->worker);
  groups_.pop_back();
  const SignedBatch second = audit_->Batch(groups_, audit_->worker);
  evidence.twice = {first, second};
  Expect(evidence, Kind::kProved, "signed two batches for epoch 3");
  evidence.twice = {first, first};
  Expect(evidence, Kind::kNotProved, "the same");
  evidence.twice = {first, audit_->Batch(groups_, audit_->validator)};
  Expect(evidence, Kind::kNotProved, "one worker");
  evidence.twice = {first, second};
  evidence.twice->second.claim.epoch = 4;
  Expect(evidence, Kind::kNotProved, "one epoch");
}

TEST_F(Evidences, VerdictsWithoutWorkAreProved) {
  Evidence evidence = OfForgedLogp();
  const SignedBatch batch = evidence.group->batch;
  evidence.accused = audit_->validator.id();
  evidence.reason = RejectReason::kLazyVerdict;
  // "ok" to a group that does not hold, with the right activations.
  evidence.verdict = VerdictOn(groups_[1], 1, batch);
  Expect(evidence, Kind::kProved, "without examining it");
  // What was found, but at another place.
  const auto found = [](AuditClaim& claim) {
    claim.accepted = false;
    claim.reason = RejectReason::kWrongLogp;
    claim.rollout = 2;
  };
  evidence.verdict = VerdictOn(groups_[1], 1, batch, found);
  Expect(evidence, Kind::kNotProved, "honest");
  evidence.verdict = VerdictOn(groups_[1], 1, batch, [&](AuditClaim& claim) {
    found(claim);
    claim.rollout = 1;
  });
  Expect(evidence, Kind::kProved, "finds something else");
}

TEST_F(Evidences, LazyAndFalseVerdictsOnHonestGroups) {
  Evidence evidence = audit_->Accuse(groups_, 0, audit_->worker, RejectReason::kLazyVerdict, 0, 0);
  const SignedBatch batch = evidence.group->batch;
  evidence.accused = audit_->validator.id();
  evidence.verdict = VerdictOn(groups_[0], 0, batch);
  Expect(evidence, Kind::kNotProved, "is honest");
  evidence.verdict =
      VerdictOn(groups_[0], 0, batch, [](AuditClaim& claim) { claim.activation[0] ^= 1; });
  Expect(evidence, Kind::kProved, "activations");
  evidence.verdict = VerdictOn(groups_[0], 0, batch, [](AuditClaim& claim) {
    claim.accepted = false;
    claim.reason = RejectReason::kWrongToken;
  });
  Expect(evidence, Kind::kNotProved, "something else");
  evidence.reason = RejectReason::kFalseAccusation;
  Expect(evidence, Kind::kProved, "that holds");
  evidence.verdict->signature[3] ^= 1;
  Expect(evidence, Kind::kNotProved, "did not sign");
}

TEST_F(Evidences, WrongStepsAreProvedAndRightOnesAreNot) {
  Recipe recipe = AuditRecipe();
  recipe.orchestrator.groups_per_step = 48;
  TestAudit wide(recipe);
  struct Restore {
    TestAudit* shared;
    ~Restore() { audit_ = shared; }
  } restore{std::exchange(audit_, &wide)};
  std::vector<GroupRecord> records;
  for (std::uint32_t i = 0; i < 48; ++i)
    records.push_back({audit_->LeaseOf(i), audit_->Sample(audit_->LeaseOf(i))});
  const Hash256 before = audit_->run->trainer->StateHash();
  const auto checkpoint = audit_->folder.path() / "state";
  ASSERT_TRUE(audit_->run->trainer->SaveCheckpoint(checkpoint));
  audit_->inputs.state = [&](const Hash256& hash) -> Result<std::unique_ptr<Trainer>> {
    WG_ASSIGN(auto trainer, Trainer::LoadCheckpoint(
                                checkpoint, audit_->run->base->model.config, audit_->run->numerics,
                                audit_->run->recipe.trainer, BestOps(), audit_->run->pool));
    if (trainer->StateHash() == hash) return trainer;
    return Fail(Blame::kMachine, "no such state");
  };
  auto trainer = audit_->inputs.state(before).value();
  const ExaminedRun run = audit_->Examined();
  const Hash256 after =
      StepAgain(*trainer, run.recipe, records, PolicyVersion{0}, run.codec, run.vocab).value();
  ASSERT_NE(after, before);

  Evidence evidence = audit_->About(audit_->orchestrator.id(), RejectReason::kWrongStep);
  StepClaim claim{.run = run.run, .before = before, .after = after};
  const auto accuse = [&](const std::vector<GroupRecord>& batch) {
    evidence.step = StepProof{{}, EncodeRecords(batch)};
    claim.batch = Sha256(evidence.step->records);
    evidence.step->step = SignClaim(claim, audit_->orchestrator);
  };
  accuse(records);
  Expect(evidence, Kind::kNotProved, "the step holds");
  claim.after[7] ^= 1;
  accuse(records);
  Expect(evidence, Kind::kProved, "another state");
  claim.after = after;
  // A group that the trainer left out, be it one that teaches nothing (equal rewards).
  std::size_t seen = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    std::vector<GroupRecord> fewer = records;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    accuse(fewer);
    seen += audit_->DecideFile(evidence).kind == Kind::kProved ? 1 : 0;
  }
  EXPECT_EQ(seen, records.size());
  accuse({records.begin(), records.begin() + 12});
  auto again = audit_->inputs.state(before).value();
  claim.after = StepAgain(*again, run.recipe, {records.begin(), records.begin() + 12},
                          PolicyVersion{0}, run.codec, run.vocab)
                    .value();
  accuse({records.begin(), records.begin() + 12});
  Expect(evidence, Kind::kProved, "a batch of its own choice: lease c is due");
  claim.after = after;
  // A step that holds, and a policy that was published and is not what it leads to.
  accuse(records);
  const auto root =
      ImageOfTrainer(*trainer, audit_->run->numerics.weights, audit_->run->pool, nullptr).root();
  const auto publish = [&](PolicyVersion version, const Hash256& published, const KeyPair& key) {
    evidence.policies = {
        SignClaim(PolicyClaim{run.run, version, published, evidence.description_hash}, key)};
  };
  publish(PolicyVersion{1}, root, audit_->orchestrator);
  Expect(evidence, Kind::kNotProved, "the step holds");
  publish(PolicyVersion{1}, Hash256{1}, audit_->orchestrator);
  Expect(evidence, Kind::kProved, "published other weights as version 1");
  publish(PolicyVersion{2}, Hash256{1}, audit_->orchestrator);
  Expect(evidence, Kind::kNotProved, "the step holds");
  publish(PolicyVersion{1}, Hash256{1}, audit_->worker);
  Expect(evidence, Kind::kNotProved, "not signed by the orchestrator");
  evidence.policies.clear();
  claim.before[0] ^= 1;
  accuse(records);
  Expect(evidence, Kind::kFault, "no such state");
  evidence.step->records.pop_back();
  Expect(evidence, Kind::kNotProved, "not the one that was signed");
  audit_->inputs.state = nullptr;
}

TEST_F(Evidences, FilesAreWholeOrRefused) {
  const Bytes file = SealEvidence(OfForgedLogp(), audit_->accuser);
  ASSERT_TRUE(OpenEvidence(file));
  for (const std::size_t at : {std::size_t{0}, std::size_t{9}, std::size_t{60}, file.size() / 2,
                               file.size() - 70, file.size() - 1}) {
    Bytes torn = file;
    torn[at] ^= 0x20;
    EXPECT_FALSE(OpenEvidence(torn)) << at;
    torn = file;
    torn.resize(at);
    EXPECT_FALSE(OpenEvidence(torn)) << at;
  }
  Bytes more = file;
  more.push_back(0);
  EXPECT_FALSE(OpenEvidence(more));
}

}  // namespace
}  // namespace waggle
