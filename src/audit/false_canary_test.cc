// A host that calls good canaries bad, or bad ones good, against a validator that looked: cores in
// virtual time, the validator's memory on disk. What an examination finds is the test's to say.
#include <gtest/gtest.h>

#include <deque>

#include "audit/audit_desk.h"
#include "audit/second_look.h"
#include "audit/test_keys.h"
#include "audit/test_records.h"
#include "audit/trust_terms.h"
#include "base/test_folder.h"
#include "proofs/claims.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

class FalseCanary : public ::testing::Test {
 protected:
  void Begin(double stake) {
    Recipe recipe = SmallRecipe();
    recipe.trust.audits = true;
    recipe.trust.epoch_versions = 2;
    recipe.trust.window_seconds = 1;
    recipe.trust.canary_every = 1;
    recipe.trust.spot_checks = 0;
    recipe.trust.validator_stake = stake;
    settings_ = AuditSettingsOf(recipe, run_, host_.id(), Hash256{9}).value();
    desk_.emplace(host_, settings_, LedgerReplay(HostGenesis(run_, host_.id())),
                  std::vector<LogRecord>{}, std::vector<SignedWork>{});
    Step(PolicyMade{PolicyVersion{0}, Hash256{6}});
    const ValidatorSettings mine{.run = run_,
                                 .stake = settings_.terms.validator_stake_min,
                                 .layers = 2,
                                 .description_hash = Hash256{9}};
    vera_.emplace(key_, mine);
    again_.emplace(folder_.path() / "items");
    const Credits given{settings_.terms.validator_stake_min.value + spare_};
    if (given.value > 0) Submit(Deposit{key_.id(), given, Digest256{2}});
    Tell(HostAnswered{host_.id()});
  }
  void Submit(LedgerBody body) {
    const Ledger& ledger = desk_->ledger();
    Step(NodeSaid{host_.id(), LedgerSubmission{Encode(SignRequest(
                                  host_, ledger.id(), ledger.NonceOf(host_.id()), body))}});
  }
  // The desk and the validator, until neither has more to say.
  void Step(const AuditEvent& event) {
    events_.push_back(event);
    if (std::exchange(busy_, true)) return;
    while (!events_.empty()) {
      const AuditEvent next = std::move(events_.front());
      events_.pop_front();
      for (AuditEffect& effect : desk_->Step(now_, 1'700'000'000'000 + now_, next))
        Perform(std::move(effect));
    }
    busy_ = false;
  }
  void Perform(AuditEffect effect) {
    if (const auto* make = std::get_if<MakeCanaryItem>(&effect)) {
      // Whatever lie it asks for, the group is as it was.
      events_.emplace_back(CanaryItemMade{make->lease, RecordOf(make->lease)});
    } else if (auto* show = std::get_if<ShowItem>(&effect)) {
      const GroupRecord record = RecordOf(show->lease);
      show->item.lease = record.lease;
      show->item.group = record.group;
      Tell(HostSaid{std::move(show->item)});
    } else if (const auto* judge = std::get_if<JudgeItem>(&effect)) {
      EXPECT_TRUE(judge->record) << "the canary's groups are nowhere else";
      events_.emplace_back(ItemJudged{judge->dispute, judge->lease, host_finds_});
    } else if (const auto* kept = std::get_if<KeepCanary>(&effect)) {
      canary_ = kept->canary;
    } else if (const auto* out = std::get_if<Banish>(&effect)) {
      out_.insert(out->node);
    } else if (auto* tell = std::get_if<waggle::Tell>(&effect)) {
      if (const auto* proposal = std::get_if<BatchProposal>(&tell->message)) {
        events_.emplace_back(NodeSaid{
            anna_.id(), BatchSignature{proposal->claim.epoch,
                                       SignBatch(anna_, proposal->ledger, proposal->claim)}});
      } else if (tell->node == key_.id()) {
        Tell(HostSaid{std::move(tell->message)});
      }
    }
  }
  void Tell(const ValidatorEvent& event) {
    for (ValidatorEffect& effect : vera_->Step(event)) {
      if (auto* say = std::get_if<SayToHost>(&effect)) {
        Step(NodeSaid{key_.id(), std::move(say->message)});
      } else if (const auto* examine = std::get_if<ExamineGroup>(&effect)) {
        Tell(GroupExamined{examine->ticket, {.verdict = vera_finds_, .activation = Hash256{5}}});
      } else if (const auto* keep = std::get_if<KeepItem>(&effect)) {
        ASSERT_TRUE(again_->Keep(keep->item));
      } else if (const auto* drop = std::get_if<DropItems>(&effect)) {
        again_->Drop(drop->before);
      } else if (const auto* look = std::get_if<LookAgain>(&effect)) {
        again_->Begin(*look);
        while (!again_->idle()) {
          if (auto looked = again_->Next(
                  [&](const AuditItem&) { return Examination{.verdict = vera_finds_again_}; }))
            Tell(std::move(*looked));
        }
      } else if (auto* evidence = std::get_if<KeepEvidence>(&effect)) {
        evidence_.push_back(std::move(evidence->evidence));
      } else if (const auto* fault = std::get_if<MachineFault>(&effect)) {
        fault_ = fault->why;
      } else if (const auto* lied = std::get_if<HostLied>(&effect)) {
        lied_ = lied->why;
      } else if (const auto* line = std::get_if<Noticed>(&effect)) {
        said_ += line->text + "\n";
      }
    }
  }
  // Epochs until one has a canary of this kind; then to the end of the run. Before that, the
  // validator says what the canaries are.
  void RunWithCanary(bool bad) {
    for (std::uint64_t epoch = 0;; ++epoch) {
      ASSERT_LT(epoch, 40u);
      for (std::uint64_t i = 0; i < 2; ++i) {
        BatchWork work;
        work.Add(settings_.terms, 10, 0);
        const LeaseId lease{100 * epoch + i};
        Step(GroupTaken{anna_.id(), lease, GroupHash(RecordOf(lease).group), work});
      }
      Pass(80, 8);
      Step(PolicyMade{PolicyVersion{2 * epoch + 2}, Hash256{std::uint8_t(epoch)}});
      Pass(800, 40);
      ASSERT_TRUE(canary_);
      if (canary_->bad == bad) break;
    }
    Step(AuditsEnd{});
    Pass(20'000, 80);
  }
  void Pass(Milliseconds ms, int ticks) {
    for (int i = 0; i < ticks; ++i) {
      now_ += ms / ticks;
      Step(AuditTick{});
    }
  }
  const LedgerRunState& Run() const { return *desk_->ledger().FindRun(settings_.run); }

  const TempFolder folder_;
  const Hash256 run_{3};
  const KeyPair host_ = Key(1), anna_ = Key(2), key_ = Key(4);
  AuditSettings settings_;
  std::int64_t spare_ = 20 * kCreditsPerUnit;
  Milliseconds now_ = 1'000;
  std::optional<AuditDesk> desk_;
  std::optional<ValidatorCore> vera_;
  std::optional<SecondLook> again_;
  std::deque<AuditEvent> events_;
  bool busy_ = false;
  std::optional<CanaryBatch> canary_;
  Verdict vera_finds_ = Accepted{}, vera_finds_again_ = Accepted{}, host_finds_ = Accepted{};
  std::vector<Bytes> evidence_;
  std::set<NodeId> out_;
  std::string said_, fault_, lied_;
};

// The host finds out that it erred: who looked keeps its stake and its seat.
TEST_F(FalseCanary, WhoLookedContestsAndKeepsItsStake) {
  Begin(100);
  RunWithCanary(true);
  EXPECT_EQ(vera_->counts().contested, 1u) << said_;
  EXPECT_NE(said_.find("the referee agrees"), std::string::npos) << said_;
  EXPECT_EQ(lied_, "");
  EXPECT_TRUE(Run().validators.contains(key_.id()));
  EXPECT_EQ(desk_->ledger().MemberOf(settings_.run, key_.id())->AtStake(),
            settings_.terms.validator_stake_min);
  EXPECT_TRUE(out_.empty());
  EXPECT_TRUE(desk_->settled());
  ASSERT_EQ(evidence_.size(), 1u);
  const auto evidence = OpenEvidence(evidence_[0]);
  ASSERT_TRUE(evidence) << evidence.error().what;
  EXPECT_EQ(evidence->reason, RejectReason::kFalseCanary);
  EXPECT_EQ(evidence->accused, host_.id());
  EXPECT_TRUE(evidence->canary && evidence->group && !evidence->policies.empty());
}

// One that insists takes stake and seat, since it is its own referee; it cannot take the file.
TEST_F(FalseCanary, AHostThatInsistsIsLeftWithTheEvidence) {
  Begin(100);
  host_finds_ = Reject{RejectReason::kWrongToken, "it says"};
  RunWithCanary(true);
  EXPECT_EQ(vera_->counts().contested, 1u) << said_;
  EXPECT_NE(lied_.find("insists"), std::string::npos) << said_;
  EXPECT_EQ(evidence_.size(), 1u);
  EXPECT_TRUE(out_.contains(key_.id()));
}

TEST_F(FalseCanary, WhoCannotPayTheBondKeepsTheEvidence) {
  spare_ = 0;
  Begin(100);
  RunWithCanary(true);
  EXPECT_EQ(vera_->counts().contested, 0u) << said_;
  EXPECT_NE(said_.find("takes a bond of 10.000000"), std::string::npos) << said_;
  EXPECT_EQ(evidence_.size(), 1u);
}

// It said "ok", and finds now that it is not: memory that flips bits, say.
TEST_F(FalseCanary, AFaultOfThisMachineIsSaidAndNotContested) {
  Begin(100);
  vera_finds_again_ = Reject{RejectReason::kWrongToken, "another token"};
  RunWithCanary(true);
  EXPECT_NE(fault_.find("This machine"), std::string::npos) << said_;
  EXPECT_EQ(vera_->counts().contested, 0u);
  EXPECT_TRUE(evidence_.empty());
}

// The driver of one that did not look says so: nobody contests.
TEST_F(FalseCanary, WhoDidNotLookDoesNotContest) {
  Begin(100);
  vera_finds_again_ = Fault{"nobody looked"};
  RunWithCanary(true);
  EXPECT_NE(said_.find("cannot be told here"), std::string::npos) << said_;
  EXPECT_EQ(vera_->counts().contested, 0u);
  EXPECT_FALSE(Run().validators.contains(key_.id()));
}

// With nothing at stake a lazy one may contest as it likes: it is judged all the same, after one
// replay of what it was drawn for.
TEST_F(FalseCanary, ALazyOneThatContestsForFreeIsOutAllTheSame) {
  Begin(0);
  host_finds_ = Reject{RejectReason::kWrongToken, "another token"};
  RunWithCanary(true);
  EXPECT_EQ(vera_->counts().contested, 1u) << said_;
  EXPECT_TRUE(out_.contains(key_.id()));
  EXPECT_FALSE(Run().validators.contains(key_.id()));
  EXPECT_TRUE(desk_->settled());
}

TEST_F(FalseCanary, ATrueOneIsNotLookedAtAgain) {
  Begin(100);
  RunWithCanary(false);  // good, and it says so; bad ones before it are false
  EXPECT_TRUE(fault_.empty());
  EXPECT_TRUE(Run().validators.contains(key_.id())) << said_;
}

}  // namespace
}  // namespace waggle
