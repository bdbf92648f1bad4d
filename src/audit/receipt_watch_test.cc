// A worker's receipts against windows that a host signs: kept promises are forgotten, a broken one
// becomes a file that decides, and what is not shown accuses nobody.
#include "audit/receipt_watch.h"

#include "audit/steps/step_desk.h"
#include "audit/test_audit.h"

namespace waggle {
namespace {

class Receipts : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { audit_ = new TestAudit; }
  static void TearDownTestSuite() {
    delete audit_;
    audit_ = nullptr;
  }
  Receipts() : recipe_(audit_->run->recipe) {
    recipe_.trust.epoch_versions = 2;
    watch_.emplace(audit_->worker, audit_->run->run_id, recipe_, audit_->description);
    Step(HostAnswered{audit_->orchestrator.id()});
  }
  void Step(const ReceiptEvent& event) {
    for (ReceiptEffect& effect : watch_->Step(event)) {
      if (const auto* say = std::get_if<SayToHost>(&effect)) {
        asked_.push_back(std::get<StepAsk>(say->message).version.value);
      } else if (const auto* done = std::get_if<ReceiptDone>(&effect)) {
        done_.push_back(done->lease);
      } else if (auto* keep = std::get_if<KeepEvidence>(&effect)) {
        files_.push_back(std::move(keep->evidence));
      } else {
        lies_.push_back(std::get<HostLied>(effect).why);
      }
    }
  }
  static Hash256 GroupOf(LeaseId lease) { return Hash256{9, std::uint8_t(lease.value)}; }
  void Accept(LeaseId lease, std::optional<std::uint64_t> place = std::nullopt) {
    Step(ReceiptHeard{lease, ReceiptOf(*audit_, lease, GroupOf(lease), place)});
  }
  // Step `version` with a window over these, the first of which has this place.
  StepSigned Window(std::uint64_t version, const std::vector<LeaseId>& leases, const KeyPair& key,
                    std::optional<std::uint64_t> first = std::nullopt) const {
    SignedStep step{
        .step = SignClaim(StepClaim{.run = audit_->run->run_id, .version = PolicyVersion{version}},
                          key),
        .leases = {},
        .window = SignedWindow{}};
    for (const LeaseId lease : leases) {
      step.window->leases.push_back(lease);
      step.window->groups.push_back(GroupOf(lease));
    }
    WindowClaim claim{.run = audit_->run->run_id,
                      .version = PolicyVersion{version},
                      .items = static_cast<std::uint32_t>(leases.size())};
    if (!leases.empty()) claim.root = BatchRoot(step.window->groups);
    if (first) {
      claim.order = WindowOrder{*first, LeasesHash(leases)};
      step.step.claim.leases = LeasesHash({});
      step.step = SignClaim(step.step.claim, key);
    }
    step.window->window = SignClaim(claim, key);
    return MessageOf(step, true);
  }
  void Show(std::uint64_t version, const std::vector<LeaseId>& leases,
            std::optional<std::uint64_t> first = std::nullopt) {
    Step(HostSaid{Window(version, leases, audit_->orchestrator, first)});
  }
  void SignPolicy() {
    const PolicyClaim& claim = audit_->policies[0].claim;
    Step(HostSaid{
        PolicySigned{claim.version, claim.root, claim.description, audit_->policies[0].signature}});
  }

  static TestAudit* audit_;
  Recipe recipe_;
  std::optional<ReceiptWatch> watch_;
  std::vector<std::uint64_t> asked_;
  std::vector<LeaseId> done_;
  std::vector<Bytes> files_;
  std::vector<std::string> lies_;
};
TestAudit* Receipts::audit_ = nullptr;

TEST_F(Receipts, AskedForWhenTheEpochIsOverAndNotBefore) {
  const LeaseId one = LeaseIdOf(1, 0);
  Accept(one);
  Step(WatchTick{1'000, PolicyVersion{1}});
  EXPECT_TRUE(asked_.empty());
  Step(WatchTick{2'000, PolicyVersion{2}});
  EXPECT_EQ(asked_, std::vector<std::uint64_t>{1});
  Step(WatchTick{2'500, PolicyVersion{2}});
  EXPECT_EQ(asked_.size(), 1u) << "not again at once";
  Step(WatchTick{6'000, PolicyVersion{3}});
  EXPECT_EQ(asked_.size(), 1u) << "no epoch has ended since";
  Step(WatchTick{6'000, PolicyVersion{4}});
  EXPECT_EQ(asked_.size(), 2u);
  Step(WatchTick{70'000, PolicyVersion{4}});
  EXPECT_EQ(asked_.size(), 3u);
  SignPolicy();
  Show(1, {one, LeaseIdOf(1, 1)});
  EXPECT_EQ(done_, std::vector<LeaseId>{one});
  EXPECT_EQ(watch_->waits(), 0u);
  EXPECT_TRUE(files_.empty() && lies_.empty());
}

TEST_F(Receipts, ABrokenPromiseIsAFileThatDecides) {
  const LeaseId one = LeaseIdOf(1, 0), other = LeaseIdOf(1, 1);
  Accept(one);
  Accept(other);
  Show(1, {other});
  EXPECT_TRUE(files_.empty()) << "whose recipe it is has to be signed";
  SignPolicy();
  ASSERT_EQ(files_.size(), 1u);
  EXPECT_EQ(lies_.size(), 1u);
  EXPECT_EQ(watch_->counts().kept, 1u);
  const auto evidence = OpenEvidence(files_[0]);
  ASSERT_TRUE(evidence) << evidence.error().what;
  ThreadPool pool(1);
  TestInputs nothing;  // the file is enough
  const Decision decision = Decide(*evidence, nothing, pool, audit_->orchestrator.id());
  EXPECT_EQ(decision.kind, Decision::Kind::kProved) << decision.text;
}

// All windows that a group can stand in come first: which of them is up to when it was accepted.
TEST_F(Receipts, WithWavesAheadAnyOfItsWindowsWillDo) {
  recipe_.orchestrator.ahead = 2;
  recipe_.orchestrator.steps = 20;
  const LeaseId one = LeaseIdOf(5, 0);
  Accept(one);
  SignPolicy();
  Step(WatchTick{1'000, PolicyVersion{6}});
  EXPECT_EQ(asked_, (std::vector<std::uint64_t>{3, 4, 5}));
  Show(5, {});
  Show(4, {});
  EXPECT_TRUE(files_.empty() && done_.empty());
  Show(3, {one});
  EXPECT_EQ(done_, std::vector<LeaseId>{one});
  EXPECT_TRUE(files_.empty());
}

TEST_F(Receipts, WhatIsNotSignedOrNotShownAccusesNobody) {
  const LeaseId one = LeaseIdOf(1, 0);
  Accept(one);
  SignPolicy();
  Step(HostSaid{Window(1, {}, audit_->accuser)});  // another key
  StepSigned hidden = Window(1, {LeaseIdOf(1, 1)}, audit_->orchestrator);
  hidden.window_groups.clear();
  Step(HostSaid{hidden});
  StepSigned other = Window(1, {LeaseIdOf(1, 1)}, audit_->orchestrator);
  other.window_groups[0] = Hash256{3};  // not what was signed
  Step(HostSaid{other});
  Step(HostSaid{StepShown{.version = PolicyVersion{1}, .begin = PolicyVersion{1}}});
  EXPECT_TRUE(files_.empty() && done_.empty() && lies_.empty());
  EXPECT_EQ(watch_->waits(), 1u);
}

TEST_F(Receipts, WhatCanStandInNoWindowIsNotWatched) {
  const auto wants = [this](LeaseId lease, std::optional<std::uint64_t> place = std::nullopt) {
    return watch_->Wants(ReceiptOf(*audit_, lease, GroupOf(lease), place));
  };
  EXPECT_TRUE(wants(LeaseIdOf(1, 0)));
  EXPECT_FALSE(wants(LeaseIdOf(1, 0, true)));
  EXPECT_FALSE(watch_->Wants(Bytes{1, 2}));
  recipe_.orchestrator.batches = "arrival";
  EXPECT_TRUE(wants(LeaseIdOf(1, 0), 2));
  EXPECT_EQ(watch_->waits(), 0u);
  Accept(LeaseIdOf(1, 0));
  EXPECT_EQ(watch_->waits(), 0u);
  ASSERT_EQ(lies_.size(), 1u);
  EXPECT_NE(lies_[0].find("does not say which place"), std::string::npos);
}

// By arrival, a group stands at its place, or it was dropped.
TEST_F(Receipts, ByArrivalAGroupStandsAtItsPlace) {
  recipe_.orchestrator.batches = "arrival";
  recipe_.orchestrator.groups_per_step = 2;
  recipe_.orchestrator.ahead = 1;
  recipe_.orchestrator.steps = 20;
  const LeaseId a = LeaseIdOf(1, 0), b = LeaseIdOf(1, 1), c = LeaseIdOf(2, 0), d = LeaseIdOf(2, 1);
  Accept(d, 5);  // of a later lease than the next
  Accept(b, 4);
  SignPolicy();
  Step(WatchTick{1'000, PolicyVersion{4}});
  EXPECT_EQ(asked_, (std::vector<std::uint64_t>{1, 2}));
  Show(1, {a}, 3);
  Show(2, {b, c, d}, 4);  // d is there, at another place: somebody was put before it
  EXPECT_EQ(done_, (std::vector<LeaseId>{b, d}));
  EXPECT_EQ(watch_->counts().kept, 1u);
  ASSERT_EQ(files_.size(), 1u);
  const ReceiptProof proof = *OpenEvidence(files_[0])->receipt;
  const NodeId host = audit_->orchestrator.id();
  EXPECT_FALSE(WhyNotDropped(proof, recipe_, audit_->run->run_id, host));
  Recipe waves = recipe_;
  waves.orchestrator.batches = "wave";
  EXPECT_TRUE(WhyNotDropped(proof, waves, audit_->run->run_id, host));
  ReceiptProof less = proof;
  less.windows.pop_back();
  EXPECT_TRUE(WhyNotDropped(less, recipe_, audit_->run->run_id, host));
}

}  // namespace
}  // namespace waggle
