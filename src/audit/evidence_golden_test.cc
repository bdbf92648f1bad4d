// Evidence of every kind that can be proved, as files that this program, and every later one, must
// decide as it did: tests/golden/evidence. WAGGLE_UPDATE=1 makes them anew.
#include <cmath>

#include "audit/test_audit.h"
#include "base/files.h"
#include "base/test_source.h"
#include "policy/patch.h"
#include "policy/store.h"
#include "run/lease_maker.h"
#include "run/step_check.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

fs::path Golden() { return TestSource() / "tests/golden/evidence"; }

std::string FileName(RejectReason reason) {
  std::string name = ToString(reason);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name + ".wglevid";
}

void Put(const TestAudit& audit, const Evidence& evidence) {
  const Bytes bytes = SealEvidence(evidence, audit.accuser);
  ASSERT_TRUE(WriteFileAtomic(Golden() / FileName(evidence.reason),
                              {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
}

// One group of three in which `change` was made.
Evidence WithForged(TestAudit& audit, RejectReason reason, std::uint32_t rollout,
                    std::uint32_t token, const std::function<void(Group&)>& change) {
  std::vector<Group> groups;
  for (std::uint32_t i = 0; i < 3; ++i) groups.push_back(audit.Sample(audit.LeaseOf(i)));
  change(groups[1]);
  return audit.Accuse(groups, 1, audit.worker, reason, rollout, token);
}

Evidence OnVerdict(TestAudit& audit, RejectReason reason,
                   const std::function<void(AuditClaim&)>& change) {
  Evidence evidence = WithForged(audit, reason, 0, 0, [](Group&) {});
  evidence.accused = audit.validator.id();
  AuditClaim claim{.run = audit.run->run_id,
                   .epoch = 3,
                   .batch = evidence.group->batch.claim.root,
                   .index = 1,
                   .group = GroupHash(evidence.group->group),
                   .beacon = Hash256{5},
                   .accepted = true};
  change(claim);
  evidence.verdict = SignClaim(claim, audit.validator);
  return evidence;
}

void MakeOrchestrators(TestAudit& audit) {
  Put(audit, OnCanary(audit, /*says_bad=*/true, [](Group&) {}));
  const Lease lease = audit.LeaseOf(1, 2);
  const Group group = audit.Sample(audit.LeaseOf(1));
  Put(audit, OnReceipt(audit, lease.id, GroupHash(group)));
}

void MakeAll(TestAudit& audit) {
  fs::remove_all(Golden());
  fs::create_directories(Golden());
  Put(audit, WithForged(audit, RejectReason::kMalformed, 0, 0,
                        [](Group& group) { group.rollouts.pop_back(); }));
  Put(audit, WithForged(audit, RejectReason::kWrongTask, 0, 0,
                        [](Group& group) { group.prompt.back() = group.prompt.front(); }));
  Put(audit, WithForged(audit, RejectReason::kBadTermination, 0, 0, [](Group& group) {
        FinishReason& finish = group.rollouts[1].finish;
        finish = finish == FinishReason::kStop ? FinishReason::kLength : FinishReason::kStop;
      }));
  Put(audit, WithForged(audit, RejectReason::kWrongReward, 2, 0,
                        [](Group& group) { group.rollouts[2].reward = 0.5f; }));
  const TokenId stop = audit.run->codec->stop_ids().front();
  Put(audit, WithForged(audit, RejectReason::kWrongToken, 3, 0, [&](Group& group) {
        TokenId& token = group.rollouts[3].tokens[0];
        const TokenId before = token;
        for (token = 0; token == before || token == stop;) ++token;
      }));
  Put(audit, WithForged(audit, RejectReason::kWrongLogp, 2, 0, [](Group& group) {
        group.rollouts[2].logps[0] = std::nextafter(group.rollouts[2].logps[0], -1.0f);
      }));
  Evidence twice = audit.About(audit.worker.id(), RejectReason::kEquivocation);
  const std::vector<Group> groups = {audit.Sample(audit.LeaseOf(0)),
                                     audit.Sample(audit.LeaseOf(1))};
  twice.twice = {audit.Batch(groups, audit.worker), audit.Batch({groups[0]}, audit.worker)};
  Put(audit, twice);
  Put(audit, OnVerdict(audit, RejectReason::kLazyVerdict,
                       [](AuditClaim& claim) { claim.activation = Hash256{1}; }));
  Put(audit, OnVerdict(audit, RejectReason::kFalseAccusation, [](AuditClaim& claim) {
        claim.accepted = false;
        claim.reason = RejectReason::kWrongToken;
      }));

  MakeOrchestrators(audit);

  std::vector<GroupRecord> records;
  for (std::uint32_t i = 0; i < 4; ++i)
    records.push_back({audit.LeaseOf(i), audit.Sample(audit.LeaseOf(i))});
  Evidence step = audit.About(audit.orchestrator.id(), RejectReason::kWrongStep);
  step.step = StepProof{{}, EncodeRecords(records)};
  step.step->step = SignClaim(StepClaim{.run = audit.run->run_id,
                                        .before = audit.run->trainer->StateHash(),
                                        .after = Hash256{1},
                                        .batch = Sha256(step.step->records)},
                              audit.orchestrator);
  Put(audit, step);
}

// What the files name by hash, as a run's folder holds it.
void PutInputs(TestAudit& audit) {
  const RunFolder folder(Golden());
  const fs::path staged = folder.StageCheckpoint(0).value();
  ASSERT_TRUE(audit.run->trainer->SaveCheckpoint(staged / "trainer"));
  ASSERT_TRUE(folder.CommitCheckpoint(0));
  PolicyStore store =
      PolicyStore::Open(Golden() / "policies", audit.run->run_id, audit.run->pool).value();
  const PolicyImage image = ImageOf(audit.run->trainer->parameters(), audit.run->numerics.weights,
                                    nullptr, audit.run->pool);
  const Bytes payload = EncodeSnapshot(image);
  const PolicyManifest manifest =
      MakeManifest({.run = audit.run->run_id, .root = image.root()}, payload, audit.run->pool);
  ASSERT_TRUE(store.Publish(manifest, payload));
}

// Not provable by a file: said by the host about its own leases (unknown, stale, lease), about what
// is not there (withheld), or by a test with a tolerance.
bool NeverEvidence(RejectReason reason) {
  return reason == RejectReason::kUnknownLease || reason == RejectReason::kStalePolicy ||
         reason == RejectReason::kWrongLease || reason == RejectReason::kWithheld ||
         reason == RejectReason::kFingerprint;
}

TEST(EvidenceGolden, EveryReasonIsDecidedAsItWas) {
  if (std::getenv("WAGGLE_UPDATE") != nullptr) {
    TestAudit audit;
    MakeAll(audit);
    PutInputs(audit);
  }
  ThreadPool pool(2);
  FolderInputs inputs({Golden()}, BestOps(), pool), nothing({}, BestOps(), pool);
  for (const RejectReason reason : AllRejectReasons()) {
    if (NeverEvidence(reason)) continue;
    const auto text = ReadFile(Golden() / FileName(reason), kEvidenceBytesMax);
    ASSERT_TRUE(text) << text.error().what;
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(text->data()), text->size());
    const auto evidence = OpenEvidence(bytes);
    ASSERT_TRUE(evidence) << evidence.error().what;
    EXPECT_EQ(evidence->reason, reason);
    const Decision decision = Decide(*evidence, inputs, pool, TestKey(1).id());
    EXPECT_EQ(decision.kind, Decision::Kind::kProved) << ToString(reason) << ": " << decision.text;
    // Forms, claims and double signatures need no weights.
    const Decision blind = Decide(*evidence, nothing, pool);
    const bool needs = reason >= RejectReason::kWrongToken &&
                       reason != RejectReason::kEquivocation &&
                       reason != RejectReason::kDroppedGroup;
    EXPECT_EQ(blind.kind, needs ? Decision::Kind::kFault : Decision::Kind::kProved)
        << ToString(reason) << ": " << blind.text;
  }
}

// Of a run whose batches form by arrival: the windows of steps 0 and 1, and a step that left out
// what came second.
TEST(EvidenceGolden, AnOrderIsDecidedAsItWas) {
  const fs::path path = Golden() / "wrong_step_by_arrival.wglevid";
  if (std::getenv("WAGGLE_UPDATE") != nullptr) {
    Recipe recipe = AuditRecipe();
    recipe.orchestrator.batches = "arrival";
    recipe.orchestrator.ahead = 1;
    recipe.orchestrator.groups_per_step = 2;
    const TestAudit audit(recipe);
    Evidence evidence = audit.About(audit.orchestrator.id(), RejectReason::kWrongStep);
    evidence.policies = audit.policies;
    const std::vector<LeaseId> first = {LeaseIdOf(1, 0), LeaseIdOf(0, 0), LeaseIdOf(0, 1)};
    const std::vector<LeaseId> second = {LeaseIdOf(1, 1), LeaseIdOf(2, 0)};
    OrderProof proof{.leases = {LeaseIdOf(0, 1), LeaseIdOf(2, 0)}};
    proof.step = SignClaim(StepClaim{.run = audit.run->run_id,
                                     .version = PolicyVersion{1},
                                     .leases = LeasesHash(proof.leases)},
                           audit.orchestrator);
    std::uint64_t place = 0;
    for (const auto* leases : {&first, &second}) {
      const WindowClaim claim{.run = audit.run->run_id,
                              .version = PolicyVersion{proof.windows.size()},
                              .root = Hash256{4},
                              .items = static_cast<std::uint32_t>(leases->size()),
                              .order = WindowOrder{place, LeasesHash(*leases)}};
      proof.windows.push_back({SignClaim(claim, audit.orchestrator), *leases});
      place += leases->size();
    }
    evidence.order = std::move(proof);
    const Bytes bytes = SealEvidence(std::move(evidence), audit.accuser);
    ASSERT_TRUE(WriteFileAtomic(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  const std::string text = ReadFile(path, kEvidenceBytesMax).value();
  auto evidence = OpenEvidence({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  ASSERT_TRUE(evidence) << evidence.error().what;
  ThreadPool pool(1);
  FolderInputs nothing({}, BestOps(), pool);
  const Decision decision = Decide(*evidence, nothing, pool, TestKey(1).id());
  EXPECT_EQ(decision.kind, Decision::Kind::kProved) << decision.text;
  EXPECT_NE(decision.text.find("lease 1000001 is due in its place 1"), std::string::npos)
      << decision.text;
  // What it says is what was signed, and all of it has to be here.
  const auto refuse = [&](const std::function<void(OrderProof&)>& change, const char* why) {
    Evidence other = *evidence;
    change(*other.order);
    const Decision said = Decide(other, nothing, pool, TestKey(1).id());
    EXPECT_EQ(said.kind, Decision::Kind::kNotProved) << said.text;
    EXPECT_NE(said.text.find(why), std::string::npos) << said.text;
  };
  refuse([](OrderProof& x) { x.leases.pop_back(); }, "not those that the step was signed with");
  refuse([](OrderProof& x) { x.windows[0].leases.pop_back(); }, "is over other leases");
  refuse([](OrderProof& x) { x.windows.pop_back(); }, "are not all here");
  refuse([](OrderProof& x) { std::swap(x.windows[0], x.windows[1]); }, "not one that was signed");
  refuse([](OrderProof& x) { x.step.claim.version = PolicyVersion{0}; }, "the step is not signed");
}

}  // namespace
}  // namespace waggle
