// Findings that are contested, as cores in virtual time: a desk that referees, a worker that
// defends itself, a validator that says what the test wants. Who is right is the test's to say, in
// the place of examinations.
#include <gtest/gtest.h>

#include <algorithm>

#include "audit/audit_desk.h"
#include "audit/defence_core.h"
#include "audit/test_keys.h"
#include "audit/trust_terms.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

class Court : public ::testing::Test {
 protected:
  explicit Court(double stake = 100) {
    Recipe recipe = SmallRecipe();
    recipe.trust.audits = true;
    recipe.trust.epoch_versions = 2;
    recipe.trust.window_seconds = 1;
    recipe.trust.dispute_epochs = 1;
    recipe.trust.canary_every = 0;
    recipe.trust.spot_checks = 0;
    recipe.trust.validator_stake = stake;
    settings_ = AuditSettingsOf(recipe, run_, host_.id(), Hash256{9}).value();
    desk_.emplace(host_, settings_, LedgerReplay(HostGenesis(run_, host_.id())),
                  std::vector<LogRecord>{}, std::vector<SignedWork>{});
    core_.emplace(anna_, run_, Hash256{9});
    Step(AuditTick{});  // opens the run
  }

  // Steps the desk, delivers what it says to anna, and what she answers, until nobody has more.
  void Step(const AuditEvent& event) {
    std::deque<AuditEvent> events{event};
    while (!events.empty()) {
      const AuditEvent next = std::move(events.front());
      events.pop_front();
      for (AuditEffect& effect : desk_->Step(now_, kBegin + now_, next)) {
        if (auto* tell = std::get_if<Tell>(&effect)) {
          Deliver(*tell, events);
        } else if (const auto* judge = std::get_if<JudgeItem>(&effect)) {
          ++judged_;
          events.emplace_back(ItemJudged{judge->dispute, judge->lease, truth_});
        } else if (const auto* out = std::get_if<Banish>(&effect)) {
          out_.insert(out->node);
        } else if (const auto* line = std::get_if<Refereed>(&effect)) {
          said_ += line->text + "\n";
        }
      }
    }
  }
  void Deliver(Tell& tell, std::deque<AuditEvent>& events) {
    if (const auto* declined = std::get_if<LedgerDeclined>(&tell.message))
      said_ += "declined: " + declined->text + "\n";
    if (tell.node != anna_.id() || !online_) return;
    if (const auto* proposal = std::get_if<BatchProposal>(&tell.message)) {
      events.emplace_back(NodeSaid{
          anna_.id(), BatchSignature{proposal->claim.epoch,
                                     SignBatch(anna_, proposal->ledger, proposal->claim)}});
      return;
    }
    Hear(HostSaid{std::move(tell.message)}, events);
  }
  void Hear(const DefenceEvent& event, std::deque<AuditEvent>& events) {
    for (DefenceEffect& effect : core_->Step(event)) {
      if (auto* say = std::get_if<SayToHost>(&effect)) {
        events.emplace_back(NodeSaid{anna_.id(), std::move(say->message)});
      } else if (const auto* examine = std::get_if<ExamineOwn>(&effect)) {
        ++examined_;
        Hear(OwnExamined{examine->epoch, finds_, "as the test says"}, events);
      } else if (const auto* fault = std::get_if<MachineFault>(&effect)) {
        fault_ = fault->why;
      } else if (const auto* lied = std::get_if<HostLied>(&effect)) {
        lied_about_ = lied->why;
      } else if (const auto* line = std::get_if<Noticed>(&effect)) {
        said_ += line->text + "\n";
      }
    }
  }
  void Hear(const DefenceEvent& event) {
    std::deque<AuditEvent> events;
    Hear(event, events);
    for (const AuditEvent& next : events) Step(next);
  }
  void Submit(const KeyPair& key, LedgerBody body) {
    const Ledger& ledger = desk_->ledger();
    Step(NodeSaid{key.id(), LedgerSubmission{Encode(SignRequest(
                                key, ledger.id(), ledger.NonceOf(key.id()), std::move(body)))}});
  }
  void Seat(const KeyPair& key) {
    if (settings_.terms.validator_stake_min.value > 0) {
      Submit(host_, Deposit{key.id(), Credits{200 * kCreditsPerUnit}, Digest256{key.id().value}});
      Submit(key, Stake{settings_.run, settings_.terms.validator_stake_min});
    }
    Submit(key, JoinValidators{settings_.run});
  }
  // Two groups of anna's, up to the draw.
  void Epoch() {
    const std::uint64_t epoch = Run().epoch;
    Submit(vera_, BeaconCommit{settings_.run, epoch,
                               BeaconHash(settings_.run, epoch, vera_.id(), Digest256{1})});
    for (std::uint64_t i = 0; i < 2; ++i) {
      BatchWork work;
      work.Add(settings_.terms, 10, 0);
      Step(GroupTaken{anna_.id(), LeaseId{100 * epoch + i}, Hash256{std::uint8_t(epoch * 2 + i)},
                      work});
    }
    Step(PolicyMade{PolicyVersion{2 * epoch + 2}, {}});
    ASSERT_EQ(Run().epoch, epoch + 1) << said_;
    Submit(vera_, BeaconReveal{settings_.run, epoch, Digest256{1}});
    ASSERT_TRUE(desk_->ledger().BatchOf(settings_.run, epoch, anna_.id())->audited);
  }
  void Find(std::uint64_t epoch, Finding finding, const Digest256& evidence = Digest256{8}) {
    Submit(vera_, GiveVerdict{.run = settings_.run,
                              .epoch = epoch,
                              .worker = anna_.id(),
                              .finding = finding,
                              .reason = static_cast<std::uint8_t>(RejectReason::kWrongToken),
                              .evidence = evidence});
  }
  // Time for everything that is due, settlements included.
  void Pass(Milliseconds ms, int ticks = 8) {
    for (int i = 0; i < ticks; ++i) {
      now_ += ms / ticks;
      Step(AuditTick{});
    }
  }
  void Settle() {
    Step(AuditsEnd{});
    Pass(10'000);
  }
  const LedgerRunState& Run() const { return *desk_->ledger().FindRun(settings_.run); }
  Credits StakeOf(const KeyPair& key) const {
    return desk_->ledger().MemberOf(settings_.run, key.id())->AtStake();
  }
  Credits Balance(const KeyPair& key) const { return desk_->ledger().BalanceOf(key.id()); }

  static constexpr std::uint64_t kBegin = 1'700'000'000'000;
  const Hash256 run_{3};
  const KeyPair host_ = Key(1), anna_ = Key(2), vera_ = Key(4), stranger_ = Key(5);
  AuditSettings settings_;
  Milliseconds now_ = 1'000;
  std::optional<AuditDesk> desk_;
  std::optional<DefenceCore> core_;
  Verdict truth_ = Accepted{};                           // as the host finds it
  OwnExamined::Kind finds_ = OwnExamined::Kind::kHolds;  // as anna does
  bool online_ = true;
  int judged_ = 0, examined_ = 0;
  std::set<NodeId> out_;
  std::string said_, fault_, lied_about_;
};

TEST_F(Court, AFalseFindingIsContestedTheWorkerPaidAndItsAuthorOut) {
  Seat(vera_);
  Submit(host_, Deposit{anna_.id(), Credits{20 * kCreditsPerUnit}, Digest256{1}});
  Hear(HostAnswered{host_.id()});
  Epoch();
  EXPECT_EQ(examined_, 0);
  EXPECT_EQ(core_->ledger(), nullptr) << "nothing to follow";
  Find(0, Finding::kWrong);
  EXPECT_EQ(examined_, 1);
  EXPECT_EQ(core_->counts().contested, 1u);
  EXPECT_EQ(Balance(anna_), Credits{10 * kCreditsPerUnit}) << "the bond";
  Pass(1'000);
  EXPECT_GT(judged_, 0);
  EXPECT_EQ(core_->counts().won, 1u);
  EXPECT_EQ(Balance(anna_).value, 50 * kCreditsPerUnit) << "the bond, and 30 % of the slash";
  EXPECT_EQ(StakeOf(vera_).value, 0);
  EXPECT_FALSE(Run().validators.contains(vera_.id()));
  EXPECT_TRUE(out_.contains(vera_.id()));
  EXPECT_FALSE(out_.contains(anna_.id()));
  Settle();
  EXPECT_GT(Balance(anna_).value, 50 * kCreditsPerUnit) << "its pay" << said_;
  EXPECT_TRUE(desk_->settled());
  EXPECT_EQ(TotalOf(desk_->ledger().state()), desk_->ledger().state().supply);
}

// Contesting what is true costs the bond, and the host one replay of what was audited.
TEST_F(Court, WhoContestsATrueFindingLosesTheBond) {
  Seat(vera_);
  Submit(host_, Deposit{anna_.id(), Credits{20 * kCreditsPerUnit}, Digest256{1}});
  truth_ = Reject{RejectReason::kWrongToken, "another token"};
  Hear(HostAnswered{host_.id()});
  Epoch();
  const Credits before = Balance(vera_);
  Find(0, Finding::kWrong);
  Pass(1'000);
  EXPECT_EQ(judged_, 1);
  EXPECT_EQ(Balance(anna_), Credits{10 * kCreditsPerUnit});
  EXPECT_EQ(Balance(vera_), before + Credits{9 * kCreditsPerUnit});
  EXPECT_TRUE(out_.contains(anna_.id()));
  EXPECT_NE(lied_about_.find("upholds"), std::string::npos) << "she found that it holds";
  Settle();
  EXPECT_EQ(Balance(anna_), Credits{10 * kCreditsPerUnit}) << "its pay is forfeited";
  EXPECT_EQ(StakeOf(vera_), settings_.terms.validator_stake_min);
}

TEST_F(Court, AFaultOfThisMachineIsSaidAndNotContested) {
  Seat(vera_);
  Submit(host_, Deposit{anna_.id(), Credits{20 * kCreditsPerUnit}, Digest256{1}});
  finds_ = OwnExamined::Kind::kFails;
  Hear(HostAnswered{host_.id()});
  Epoch();
  Find(0, Finding::kWrong);
  EXPECT_NE(fault_.find("This machine"), std::string::npos);
  Settle();
  EXPECT_EQ(core_->counts().contested, 0u);
  EXPECT_EQ(judged_, 0);
  EXPECT_EQ(Balance(anna_), Credits{20 * kCreditsPerUnit});
}

TEST_F(Court, WhatCannotBeToldIsNotContested) {
  Seat(vera_);
  Submit(host_, Deposit{anna_.id(), Credits{20 * kCreditsPerUnit}, Digest256{1}});
  finds_ = OwnExamined::Kind::kUnknown;
  Hear(HostAnswered{host_.id()});
  Epoch();
  Find(0, Finding::kInvalid);
  EXPECT_NE(said_.find("cannot be told here"), std::string::npos);
  EXPECT_TRUE(fault_.empty());
  EXPECT_EQ(core_->counts().contested, 0u);
}

TEST_F(Court, WhoCannotPayTheBondIsTold) {
  Seat(vera_);
  Hear(HostAnswered{host_.id()});
  Epoch();
  Find(0, Finding::kWrong);
  EXPECT_NE(said_.find("takes a bond of 10.000000"), std::string::npos) << said_;
  EXPECT_EQ(core_->counts().contested, 0u);
}

TEST_F(Court, TestsWithAToleranceAreNotContested) {
  Seat(vera_);
  Hear(HostAnswered{host_.id()});
  Epoch();
  Find(0, Finding::kStatistical);
  EXPECT_EQ(examined_, 0);
  EXPECT_EQ(core_->ledger(), nullptr);
}

TEST_F(Court, WhoWasAwayHearsOfItWhenItComesBack) {
  Seat(vera_);
  Submit(host_, Deposit{anna_.id(), Credits{20 * kCreditsPerUnit}, Digest256{1}});
  Hear(HostAnswered{host_.id()});
  Epoch();
  online_ = false;
  Find(0, Finding::kWrong);
  Step(NodeGone{anna_.id()});
  core_.emplace(anna_, run_, Hash256{9});  // another process
  online_ = true;
  Hear(HostAnswered{host_.id()});
  EXPECT_EQ(examined_, 0);
  Step(NodeCame{anna_.id()});
  EXPECT_EQ(core_->counts().contested, 1u) << said_;
}

// Nobody is punished for what was never decided: the host lets it lapse, and if it does not, the
// worker does.
TEST_F(Court, WhatTheHostCannotTellLapses) {
  Seat(vera_);
  Submit(host_, Deposit{anna_.id(), Credits{20 * kCreditsPerUnit}, Digest256{1}});
  truth_ = Fault{"the weights are gone"};
  Hear(HostAnswered{host_.id()});
  Epoch();
  Find(0, Finding::kWrong);
  Pass(10'000);
  EXPECT_NE(said_.find("cannot be decided here"), std::string::npos) << said_;
  EXPECT_EQ(desk_->ledger().state().disputes.size(), 1u);
  now_ += settings_.terms.referee_ms;
  online_ = true;
  // A host that sits on it.
  Hear(DefenceTick{kBegin + now_});
  EXPECT_TRUE(desk_->ledger().state().disputes.empty());
  EXPECT_EQ(Balance(anna_), Credits{20 * kCreditsPerUnit});
  EXPECT_EQ(StakeOf(vera_), settings_.terms.validator_stake_min);
  Settle();
  EXPECT_GT(Balance(anna_).value, 20 * kCreditsPerUnit) << "and the work is paid";
}

// An accusation with nothing behind it holds up nobody's pay for longer than it takes to show a
// file; an accuser that is a validator is out.
TEST_F(Court, AnAccusationWithoutEvidenceFalls) {
  Seat(vera_);
  Hear(HostAnswered{host_.id()});
  Epoch();
  const Digest256 root = desk_->ledger().BatchOf(settings_.run, 0, anna_.id())->claim.root;
  Submit(vera_, Accuse{settings_.run, 0, anna_.id(), root, Digest256{7}});
  ASSERT_EQ(desk_->ledger().state().disputes.size(), 1u);
  EXPECT_EQ(examined_, 1);
  EXPECT_NE(said_.find("accused falsely"), std::string::npos) << said_;
  Pass(12'000, 48);
  EXPECT_TRUE(desk_->ledger().state().disputes.empty());
  EXPECT_EQ(judged_, 0);
  EXPECT_EQ(StakeOf(vera_).value, 0);
  EXPECT_TRUE(out_.contains(vera_.id()));
  EXPECT_EQ(Balance(anna_).value, 39 * kCreditsPerUnit) << "of the accuser's bond, and its stake";
}

// Evidence about something else proves nothing here, true as it may be.
TEST_F(Court, AnAccusationWithEvidenceAboutAnotherBatchFalls) {
  Seat(vera_);
  Hear(HostAnswered{host_.id()});
  Epoch();
  const Digest256 root = desk_->ledger().BatchOf(settings_.run, 0, anna_.id())->claim.root;
  for (const bool fault : {true, false}) {
    Step(EvidenceDecided{.evidence = Digest256{7},
                         .proved = !fault,
                         .fault = fault,
                         .accused = stranger_.id(),
                         .accuser = vera_.id(),
                         .batch = Digest256{1}});
  }
  Submit(vera_, Accuse{settings_.run, 0, anna_.id(), root, Digest256{7}});
  Pass(1'000);
  EXPECT_TRUE(desk_->ledger().state().disputes.empty());
  EXPECT_EQ(judged_, 0);
  EXPECT_TRUE(out_.contains(vera_.id()));
  EXPECT_FALSE(out_.contains(anna_.id()));
}

class FreeCourt : public Court {
 protected:
  FreeCourt() : Court(0) {}
};

// With nothing at stake, contesting is free; it is answered once for each batch, whatever is said.
TEST_F(FreeCourt, ContestingForFreeCostsTheHostOneReplayOfEachBatch) {
  Seat(vera_);
  truth_ = Reject{RejectReason::kWrongToken, "another token"};
  Hear(HostAnswered{host_.id()});
  Epoch();
  Find(0, Finding::kWrong);
  Pass(1'000);
  for (int i = 0; i < 10; ++i) Submit(anna_, Contest{settings_.run, 0, {}});
  Pass(10'000);
  EXPECT_EQ(judged_, 1);
  EXPECT_TRUE(out_.contains(anna_.id()));
}

}  // namespace
}  // namespace waggle
