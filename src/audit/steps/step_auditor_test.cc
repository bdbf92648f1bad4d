// A validator's side of step audits as a core, in virtual time: what it draws, asks for and says,
// what it takes for a lie, and what for a refusal.
#include "audit/steps/step_auditor.h"

#include <gtest/gtest.h>

#include "audit/steps/test_steps.h"
#include "audit/test_keys.h"

namespace waggle {
namespace {

class Auditor : public ::testing::Test {
 protected:
  Auditor() {
    terms_ = {.run = run_, .epoch_versions = 4, .steps = 8, .step_audits = 1, .lag = 0};
    steps_ = TestSteps(host_, run_, 8);
    ledger_.validators.insert(vera_.id());
    Begin({});
  }
  void Begin(std::set<PolicyVersion> taken) {
    core_.emplace(terms_, std::move(taken));
    Step(StepLinkUp{host_.id()});
  }
  std::vector<StepAuditEffect> Step(const StepAuditEvent& event) {
    return core_->Step(now_, event);
  }
  std::vector<StepAuditEffect> Hear(const SignedStep& step) {
    return Step(StepHeard{MessageOf(step, false)});
  }
  std::vector<StepAuditEffect> Show(const SignedStep& step) {
    return Step(StepHeard{MessageOf(step, true)});
  }
  // A batch of this worker, as the ledger has it.
  std::vector<StepAuditEffect> Batch(const NodeId& worker, BatchState state, bool canary = false) {
    LedgerBatch& batch = ledger_.epochs[0].batches[worker];
    batch.state = state;
    batch.canary = canary;
    return Step(StepLedger{&ledger_, true, vera_.id()});
  }
  GroupSeen Seen(LeaseId lease, std::uint64_t group) const {
    return {lease, TestHash(group), 0, anna_.id()};
  }
  void HearAll() {
    for (const SignedStep& step : steps_) ASSERT_TRUE(Hear(step).empty());
  }
  std::vector<StepAuditEffect> CloseBeacon(std::uint64_t epoch) {
    ledger_.epochs[epoch].phase = EpochPhase::kAudited;
    ledger_.epochs[epoch].beacon = TestHash(77 + epoch);
    return Step(StepLedger{&ledger_, true, vera_.id()});
  }
  std::uint64_t DrawnOf(std::uint64_t epoch) const {
    const SignedStep& last = steps_[StepsOfEpoch(terms_, epoch).end - 1];
    return DrawnSteps(terms_, epoch, TestHash(77 + epoch), ClaimDigest(last.step.claim))[0].value;
  }
  template <class T>
  static const T* Find(const std::vector<StepAuditEffect>& effects) {
    for (const StepAuditEffect& effect : effects) {
      if (const auto* found = std::get_if<T>(&effect)) return found;
    }
    return nullptr;
  }
  template <class T>
  static const T* Said(const std::vector<StepAuditEffect>& effects) {
    for (const StepAuditEffect& effect : effects) {
      const auto* say = std::get_if<StepSay>(&effect);
      if (say == nullptr) continue;
      if (const auto* message = std::get_if<T>(&say->message)) return message;
    }
    return nullptr;
  }
  // Signed anew: what a liar with the trainer's key would send.
  SignedStep Again(SignedStep step) const {
    step.step = SignClaim(step.step.claim, host_);
    if (step.window) {
      WindowClaim& claim = step.window->window.claim;
      claim.items = static_cast<std::uint32_t>(step.window->groups.size());
      claim.root = step.window->groups.empty() ? Hash256{} : BatchRoot(step.window->groups);
      step.window->window = SignClaim(claim, host_);
    }
    return step;
  }
  void ExpectLie(const std::vector<StepAuditEffect>& effects, const std::string& words) {
    const auto* lie = Find<StepLie>(effects);
    ASSERT_NE(lie, nullptr) << words;
    EXPECT_NE(lie->why.find(words), std::string::npos) << lie->why;
  }

  const Hash256 run_{3};
  const KeyPair host_ = Key(1), vera_ = Key(4), anna_ = Key(5);
  StepTerms terms_;
  std::vector<SignedStep> steps_;
  LedgerRunState ledger_;
  Milliseconds now_ = 1'000;
  std::optional<StepAuditor> core_;
};

TEST_F(Auditor, TakesWhatIsDrawnAndSaysWhatItFound) {
  HearAll();
  EXPECT_TRUE(core_->Holds(0));
  const auto asked = CloseBeacon(0);
  ASSERT_NE(Said<StepAsk>(asked), nullptr);
  const PolicyVersion drawn = Said<StepAsk>(asked)->version;
  EXPECT_EQ(drawn.value, DrawnOf(0));
  const auto fetch = Step(StepHeard{StepShown{drawn, PolicyVersion{0}, TestHash(5), ""}});
  ASSERT_NE(Find<FetchSteps>(fetch), nullptr);
  EXPECT_EQ(Find<FetchSteps>(fetch)->steps.size(), drawn.value + 1);
  EXPECT_EQ(Find<FetchSteps>(fetch)->steps.back().step, steps_[drawn.value].step);
  EXPECT_TRUE(Step(StepFetched{drawn, ""}).empty());
  const auto done = Step(StepTaken{drawn, StepFinding::kHolds, ""});
  ASSERT_NE(Said<StepFound>(done), nullptr);
  EXPECT_EQ(*Said<StepFound>(done), (StepFound{drawn, StepFinding::kHolds}));
  EXPECT_EQ(Find<StepAudited>(done)->finding, StepFinding::kHolds);
  EXPECT_EQ(core_->counts().hold, 1u);
  EXPECT_TRUE(Step(StepLedger{&ledger_, true}).empty());  // once
  // The next epoch; a link that breaks in between, after the question.
  ASSERT_NE(Said<StepAsk>(CloseBeacon(1)), nullptr);
  const auto again = Step(StepLinkUp{host_.id()});
  ASSERT_NE(Said<StepAsk>(again), nullptr);
  EXPECT_EQ(Said<StepAsk>(again)->version.value, DrawnOf(1));
}

TEST_F(Auditor, WhatAnEarlierProcessTookIsNotTakenAgain) {
  Begin({PolicyVersion{DrawnOf(0)}});
  HearAll();
  const auto said = CloseBeacon(0);
  EXPECT_EQ(Said<StepAsk>(said), nullptr);
  ASSERT_NE(Said<StepFound>(said), nullptr);  // the host may not have heard it
  EXPECT_EQ(*Said<StepFound>(said), (StepFound{PolicyVersion{DrawnOf(0)}, StepFinding::kHolds}));
  EXPECT_TRUE(Step(StepLedger{&ledger_, true}).empty());
  EXPECT_NE(Said<StepAsk>(CloseBeacon(1)), nullptr);
}

TEST_F(Auditor, WhoeverIsNoValidatorTakesNothing) {
  HearAll();
  ledger_.epochs[0].phase = EpochPhase::kAudited;
  EXPECT_TRUE(Step(StepLedger{&ledger_, false}).empty());
}

// Only whoever has them all shows a secret: the host must have signed before it knows the draw.
TEST_F(Auditor, AnEpochIsHeldWhenAllItsStepsAre) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Hear(steps_[i]).empty());
  EXPECT_FALSE(core_->Holds(0));
  ASSERT_TRUE(Hear(steps_[3]).empty());
  EXPECT_TRUE(core_->Holds(0));
  EXPECT_FALSE(core_->Holds(1));
  EXPECT_TRUE(core_->Holds(7));  // has none
}

TEST_F(Auditor, LiesAboutStepsAreSeen) {
  SignedStep unsigned_one = steps_[0];
  unsigned_one.step.claim.after = TestHash(666);
  ExpectLie(Hear(unsigned_one), "not signed");
  Begin({});
  Hear(steps_[0]);
  SignedStep other = steps_[0];
  other.step.claim.after = TestHash(666);
  ExpectLie(Hear(Again(other)), "two different steps");
  Begin({});
  Hear(steps_[0]);
  SignedStep jump = steps_[1];
  jump.step.claim.before = TestHash(666);
  ExpectLie(Hear(Again(jump)), "do not go on");
  Begin({});
  Hear(steps_[2]);  // and backwards, as whoever came late is told
  SignedStep before = steps_[1];
  before.step.claim.after = TestHash(666);
  ExpectLie(Hear(Again(before)), "do not go on");
  Begin({});
  terms_.steps = 1;
  Begin({});
  ExpectLie(Hear(steps_[1]), "the run has none");
}

TEST_F(Auditor, LiesAboutWindowsAreSeen) {
  SignedStep forged = steps_[0];
  forged.window->groups[0] = TestHash(666);
  ExpectLie(Show(forged), "not signed");
  Begin({});
  forged = steps_[0];
  forged.window->leases.push_back(LeaseId{666});
  ExpectLie(Hear(forged), "not signed");
  Begin({});
  Hear(steps_[0]);
  forged = steps_[0];
  forged.window->leases[0] = LeaseId{666};  // other leases than were heard
  ExpectLie(Show(forged), "two different steps");
  Begin({});
  SignedStep unnamed = steps_[0];
  unnamed.leases.push_back(LeaseId{666});
  ExpectLie(Hear(Again(unnamed)), "no window names");
  Begin({});
  Hear(steps_[0]);
  SignedStep twice = steps_[1];
  twice.window->leases[1] = steps_[0].leases[0];
  ExpectLie(Hear(Again(twice)), "two windows");
}

// A group that the host accepted, and pays for, and never could have trained on.
TEST_F(Auditor, APaidGroupStandsInAWindowWhenAllThatCouldNameItAreShown) {
  const LeaseId lease = TestLeaseOf(0, 1);
  Hear(steps_[0]);
  Step(Seen(lease, lease.value));
  Step(Seen(LeaseId{4242}, 1));
  Hear(steps_[1]);
  ASSERT_TRUE(Show(steps_[0]).empty());
  ASSERT_TRUE(Show(steps_[1]).empty());  // nobody has paid it yet
  ASSERT_TRUE(Batch(anna_.id(), BatchState::kPending).empty());
  ExpectLie(Batch(anna_.id(), BatchState::kDone), "lease 1092, which it accepted, is in no");
  Begin({});
  Hear(steps_[0]);
  Step(Seen(lease, 666));  // another group of that lease
  Hear(steps_[1]);
  ASSERT_TRUE(Batch(anna_.id(), BatchState::kDone).empty());
  ASSERT_TRUE(Show(steps_[0]).empty());  // the next window may name it
  ExpectLie(Show(steps_[1]), "in no window");
  Begin({});
  HearAll();
  ASSERT_TRUE(Batch(anna_.id(), BatchState::kDone).empty());
  for (const SignedStep& step : steps_) {
    Step(Seen(TestLeaseOf(0, 0), TestLeaseOf(0, 0).value));
    ASSERT_TRUE(Show(step).empty());
  }
}

TEST_F(Auditor, ACanaryStandsInNoWindow) {
  Hear(steps_[0]);
  Step(Seen(TestLeaseOf(0, 1), 666));
  Hear(steps_[1]);
  ASSERT_TRUE(Batch(anna_.id(), BatchState::kPending, true).empty());
  ASSERT_TRUE(Batch(anna_.id(), BatchState::kDone, true).empty());
  ASSERT_TRUE(Show(steps_[0]).empty());
  EXPECT_TRUE(Show(steps_[1]).empty());
  // The ledger forgot how it ended: nothing can be told.
  Begin({});
  Hear(steps_[0]);
  Step(Seen(TestLeaseOf(0, 1), 666));
  ledger_.epochs.clear();
  Step(StepLedger{&ledger_, true, vera_.id()});
  ASSERT_TRUE(Show(steps_[0]).empty());
  ASSERT_TRUE(Hear(steps_[1]).empty());
  EXPECT_TRUE(Show(steps_[1]).empty());
}

TEST_F(Auditor, WhatAStepTrainedOnIsWhatItsWindowNames) {
  const LeaseId lease = TestLeaseOf(0, 1);
  Hear(steps_[0]);
  Step(GroupTrained{PolicyVersion{0}, lease, TestHash(lease.value)});
  ASSERT_TRUE(Show(steps_[0]).empty());
  ExpectLie(Step(GroupTrained{PolicyVersion{0}, lease, TestHash(666)}), "another group");
  Begin({});
  Hear(steps_[0]);
  Step(GroupTrained{PolicyVersion{0}, lease, TestHash(666)});
  ExpectLie(Show(steps_[0]), "another group");
}

// Whoever has seen what was accepted tells a canary without looking.
TEST_F(Auditor, VerdictsComeBeforeSteps) {
  HearAll();
  LedgerBatch& batch = ledger_.epochs[0].batches[anna_.id()];
  batch.audited = true;
  batch.auditors.push_back({.validator = vera_.id(), .finding = {}});
  StepDesk desk(terms_);
  for (const SignedStep& step : steps_) desk.Made(step);
  EXPECT_EQ(Said<StepAsk>(CloseBeacon(0)), nullptr);
  desk.Look(ledger_, {vera_.id()});
  const PolicyVersion drawn{DrawnOf(0)};
  ASSERT_TRUE(desk.IsDrawn(drawn));
  EXPECT_TRUE(desk.IsEarly(ledger_, drawn, vera_.id()));
  EXPECT_FALSE(desk.IsEarly(ledger_, drawn, anna_.id()));
  batch.auditors[0].finding = Finding::kAccepted;
  EXPECT_FALSE(desk.IsEarly(ledger_, drawn, vera_.id()));
  EXPECT_NE(Said<StepAsk>(Step(StepLedger{&ledger_, true, vera_.id()})), nullptr);
}

// Windows are told at once without their groups, and with them when their epoch is settled.
TEST_F(Auditor, WindowsAreShownWhenTheirEpochIsSettled) {
  StepDesk desk(terms_);
  for (const SignedStep& step : steps_) {
    const auto told = desk.Made(step);
    ASSERT_TRUE(told && std::get<StepSigned>(*told).window_groups.empty());
  }
  EXPECT_TRUE(desk.Shown(ledger_).empty());
  ledger_.settled = 1;
  const std::vector<NodeMessage> shown = desk.Shown(ledger_);
  ASSERT_EQ(shown.size(), terms_.epoch_versions);
  for (std::size_t i = 0; i < shown.size(); ++i)
    EXPECT_EQ(shown[i], NodeMessage(MessageOf(steps_[i], true)));
  EXPECT_TRUE(desk.Shown(ledger_).empty());  // once
  // Who comes now hears of what is settled with it, and of the rest without.
  const std::vector<NodeMessage> told = desk.Told(ledger_);
  ASSERT_EQ(told.size(), steps_.size());
  for (std::size_t i = 0; i < told.size(); ++i)
    EXPECT_EQ(std::get<StepSigned>(told[i]).window_groups.empty(), i >= terms_.epoch_versions);
}

// Whoever came late has not heard the windows of before, and accuses nobody of leaving out.
TEST_F(Auditor, WithoutTheFirstWindowsNothingIsSaidOfThem) {
  ASSERT_TRUE(Hear(steps_[4]).empty());
  Step(Seen(LeaseId{4242}, 1));
  ASSERT_TRUE(Hear(steps_[5]).empty());
  ASSERT_TRUE(Batch(anna_.id(), BatchState::kDone).empty());
  ASSERT_TRUE(Show(steps_[4]).empty());
  EXPECT_TRUE(Show(steps_[5]).empty());
}

TEST_F(Auditor, WhatIsNotShownIsWithheldAndNeverHolds) {
  HearAll();
  const PolicyVersion drawn = Said<StepAsk>(CloseBeacon(0))->version;
  const auto refused = Step(StepHeard{StepShown{drawn, drawn, std::nullopt, "no"}});
  EXPECT_EQ(Find<StepAudited>(refused)->finding, StepFinding::kWithheld);
  EXPECT_EQ(Said<StepFound>(refused)->finding, StepFinding::kWithheld);
  // No answer, three times.
  ASSERT_NE(Said<StepAsk>(CloseBeacon(1)), nullptr);
  int asked = 1;
  const StepAudited* audited = nullptr;
  std::vector<StepAuditEffect> effects;
  for (int i = 0; i < 10 && audited == nullptr; ++i) {
    now_ += 61'000;
    effects = Step(StepTick{});
    asked += Said<StepAsk>(effects) != nullptr ? 1 : 0;
    audited = Find<StepAudited>(effects);
  }
  ASSERT_NE(audited, nullptr);
  EXPECT_EQ(audited->finding, StepFinding::kWithheld);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(core_->counts().withheld, 2u);
  EXPECT_EQ(core_->counts().hold, 0u);
}

TEST_F(Auditor, TroubleWhileFetchingIsTriedAgain) {
  HearAll();
  const PolicyVersion drawn = Said<StepAsk>(CloseBeacon(0))->version;
  for (int i = 0; i < 3; ++i) {
    Step(StepHeard{StepShown{drawn, PolicyVersion{0}, TestHash(5), ""}});
    const auto effects = Step(StepFetched{drawn, "the line broke"});
    if (i < 2) {
      ASSERT_NE(Said<StepAsk>(effects), nullptr);
    } else {
      EXPECT_EQ(Find<StepAudited>(effects)->finding, StepFinding::kWithheld);
    }
  }
}

TEST_F(Auditor, StepsThatAreNotToldAreWithheld) {
  Hear(steps_[0]);
  EXPECT_TRUE(CloseBeacon(0).empty());
  now_ += 61'000;
  EXPECT_NE(Find<StepNotice>(Step(StepTick{})), nullptr);
  EXPECT_TRUE(Step(StepTick{}).empty());
  EXPECT_EQ(core_->counts().withheld, 1u);
}

// A node that follows for long keeps no more than what is unsettled.
TEST_F(Auditor, WhatIsSettledIsForgottenAndMayBeToldAgain) {
  HearAll();
  ledger_.settled = 1;
  Step(StepLedger{&ledger_, true});
  EXPECT_FALSE(core_->Holds(0));
  EXPECT_TRUE(core_->Holds(1));
  EXPECT_TRUE(Hear(steps_[0]).empty());
  SignedStep other = steps_[4];
  other.step.claim.previous = TestHash(666);
  ExpectLie(Hear(Again(other)), "two different steps");
}

TEST_F(Auditor, AnswersToNoQuestionChangeNothing) {
  HearAll();
  EXPECT_TRUE(
      Step(StepHeard{StepShown{PolicyVersion{1}, PolicyVersion{0}, TestHash(5), ""}}).empty());
  EXPECT_TRUE(Step(StepFetched{PolicyVersion{1}, ""}).empty());
  EXPECT_TRUE(Step(StepTaken{PolicyVersion{1}, StepFinding::kHolds, ""}).empty());
  EXPECT_EQ(core_->counts().hold, 0u);
}

// --- The host's side -----------------------------------------------------------------------------

class HostSide : public Auditor {};

TEST_F(HostSide, StepsAreToldOnceAndToNewcomersFromTheOldestUnsettledOn) {
  StepDesk desk(terms_);
  for (const SignedStep& step : steps_) EXPECT_TRUE(desk.Made(step).has_value());
  EXPECT_FALSE(desk.Made(steps_[3]).has_value());  // as after a restart
  EXPECT_EQ(desk.Told(ledger_).size(), 8u);
  ledger_.settled = 1;
  EXPECT_EQ(desk.Told(ledger_).size(), 8u);  // and what the epoch before it trained on, shown
  EXPECT_EQ(desk.NeededFrom(ledger_), 4u);
  ledger_.settled = 2;
  EXPECT_EQ(desk.Told(ledger_).size(), 4u);
  for (const NodeMessage& told : desk.Told(ledger_))
    EXPECT_FALSE(std::get<StepSigned>(told).window_groups.empty());
}

TEST_F(HostSide, AwaitsValidatorsThatAreHereForWhatWasDrawn) {
  StepDesk desk(terms_);
  for (const SignedStep& step : steps_) desk.Made(step);
  CloseBeacon(0);
  desk.Look(ledger_, {vera_.id(), Key(9).id()});
  const PolicyVersion drawn{DrawnOf(0)};
  EXPECT_TRUE(desk.IsDrawn(drawn));
  EXPECT_FALSE(desk.IsDrawn(PolicyVersion{drawn.value + 1}));
  EXPECT_TRUE(desk.Awaits());
  ledger_.settled = 1;  // still needed: vera is at it
  EXPECT_EQ(desk.NeededFrom(ledger_), drawn.value);
  desk.Found(Key(9).id(), {drawn, StepFinding::kHolds});
  EXPECT_TRUE(desk.Awaits());
  desk.Gone(vera_.id());
  EXPECT_FALSE(desk.Awaits());
  ledger_.settled = 0;
  desk.Look(ledger_, {vera_.id()});  // she came back
  EXPECT_TRUE(desk.Awaits());
  ledger_.settled = 1;
  desk.Found(vera_.id(), {drawn, StepFinding::kHolds});
  EXPECT_FALSE(desk.Awaits());
  EXPECT_EQ(desk.NeededFrom(ledger_), 4u);
  CloseBeacon(1);
  desk.Look(ledger_, {vera_.id()});
  EXPECT_TRUE(desk.Awaits());
  desk.Gone(vera_.id());
  EXPECT_FALSE(desk.Awaits());
}

}  // namespace
}  // namespace waggle
