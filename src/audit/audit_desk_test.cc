// The audit desk and validators as cores, in virtual time: what is not signed in time waits for the
// next epoch, nothing is paid twice, strangers are shown nothing, floods are declined, and a
// validator that did not look is sent away.
#include "audit/audit_desk.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "audit/test_keys.h"
#include "audit/trust_terms.h"
#include "audit/validator_core.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

class Desk : public ::testing::Test {
 protected:
  Desk() {
    Recipe recipe = SmallRecipe();
    recipe.trust.audits = true;
    recipe.trust.epoch_versions = 2;
    recipe.trust.window_seconds = 1;
    recipe.trust.dispute_epochs = 1;
    recipe.trust.canary_every = 0;
    settings_ = AuditSettingsOf(recipe, run_, host_.id(), Hash256{9}).value();
    Open();
  }
  void Open() {
    Ledger ledger(HostGenesis(run_, host_.id()));
    LedgerReplay replay(HostGenesis(run_, host_.id()));
    for (const LogRecord& record : records_) ASSERT_TRUE(replay.Feed(record));
    desk_.emplace(host_, settings_, std::move(replay), records_, kept_);
  }
  // What the desk says to whom; everything it keeps is kept.
  std::vector<AuditEffect> Step(const AuditEvent& event) {
    std::vector<AuditEffect> rest;
    for (AuditEffect& effect : desk_->Step(now_, 1'700'000'000'000 + now_, event)) {
      if (auto* entry = std::get_if<KeepLedgerEntry>(&effect)) {
        records_.push_back(entry->record);
      } else if (auto* work = std::get_if<KeepWork>(&effect)) {
        kept_.push_back(work->work);
      } else {
        rest.push_back(std::move(effect));
      }
    }
    return rest;
  }
  void Take(const KeyPair& worker, std::uint64_t lease) {
    BatchWork work;
    work.Add(settings_.terms, 10, 0);
    for (const AuditEffect& effect :
         Step(GroupTaken{worker.id(), LeaseId{lease}, HashOf(lease), work})) {
      FAIL() << "an effect of a group: " << effect.index();
    }
  }
  static Hash256 HashOf(std::uint64_t lease) {
    return Sha256({reinterpret_cast<const std::uint8_t*>(&lease), sizeof lease});
  }
  // One of epochs in order: anna hands in a group, and vera, who joins in the first, accepts it.
  void VeraAccepts(std::uint64_t epoch) {
    if (epoch == 0) {
      JoinAsValidator(vera_);
    } else {
      Submit(vera_, BeaconCommit{settings_.run, epoch,
                                 BeaconHash(settings_.run, epoch, vera_.id(), Digest256{1})});
    }
    Take(anna_, 100 + epoch);
    SignAll(Step(PolicyMade{PolicyVersion{2 * epoch + 2}, {}}), {&anna_});
    Submit(vera_, BeaconReveal{settings_.run, epoch, Digest256{1}});
    Submit(vera_, GiveVerdict{.run = settings_.run,
                              .epoch = epoch,
                              .worker = anna_.id(),
                              .finding = Finding::kAccepted,
                              .activation = Digest256{5}});
  }
  void JoinAsValidator(const KeyPair& key) {
    const Ledger& ledger = desk_->ledger();
    const auto request =
        SignRequest(key, ledger.id(), ledger.NonceOf(key.id()), JoinValidators{settings_.run});
    Step(NodeSaid{key.id(), LedgerSubmission{Encode(request)}});
    Submit(key, BeaconCommit{settings_.run, Epoch(),
                             BeaconHash(settings_.run, Epoch(), key.id(), Digest256{1})});
  }
  void Submit(const KeyPair& key, LedgerBody body) {
    const Ledger& ledger = desk_->ledger();
    last_ = Step(NodeSaid{key.id(), LedgerSubmission{Encode(SignRequest(
                                        key, ledger.id(), ledger.NonceOf(key.id()), body))}});
  }
  std::uint64_t Epoch() const { return desk_->ledger().FindRun(settings_.run)->epoch; }
  // The proposals among the effects are signed by whoever has a key here.
  void SignAll(const std::vector<AuditEffect>& effects, const std::vector<const KeyPair*>& keys) {
    for (const AuditEffect& effect : effects) {
      const auto* tell = std::get_if<Tell>(&effect);
      if (tell == nullptr) continue;
      const auto* proposal = std::get_if<BatchProposal>(&tell->message);
      if (proposal == nullptr) continue;
      for (const KeyPair* key : keys) {
        if (key->id() != tell->node) continue;
        last_ = Step(NodeSaid{key->id(),
                              BatchSignature{proposal->claim.epoch,
                                             SignBatch(*key, proposal->ledger, proposal->claim)}});
      }
    }
  }

  const Hash256 run_{3};
  const KeyPair host_ = Key(1), anna_ = Key(2), ben_ = Key(3), vera_ = Key(4), stranger_ = Key(5);
  AuditSettings settings_;
  Milliseconds now_ = 1'000;
  std::optional<AuditDesk> desk_;
  std::vector<LogRecord> records_;
  std::vector<SignedWork> kept_;
  std::vector<AuditEffect> last_;
};

TEST_F(Desk, WhatIsNotSignedInTimeGoesIntoTheNextBatchOnce) {
  JoinAsValidator(vera_);
  Take(anna_, 1);
  Take(anna_, 2);
  Take(ben_, 3);
  SignAll(Step(PolicyMade{PolicyVersion{2}, {}}), {&anna_});
  EXPECT_EQ(Epoch(), 0u);  // ben has time
  now_ += settings_.sign_ms;
  Step(AuditTick{});
  EXPECT_EQ(Epoch(), 1u);
  EXPECT_NE(desk_->ledger().BatchOf(settings_.run, 0, anna_.id()), nullptr);
  EXPECT_EQ(desk_->ledger().BatchOf(settings_.run, 0, ben_.id()), nullptr);
  // Accepted again after a restart: in a batch already, or still to come.
  Open();
  EXPECT_TRUE(desk_->InBatch(LeaseId{1}));
  EXPECT_FALSE(desk_->InBatch(LeaseId{3}));
  Take(anna_, 1);
  Take(ben_, 3);
  Take(ben_, 4);
  Submit(vera_,
         BeaconCommit{settings_.run, 1, BeaconHash(settings_.run, 1, vera_.id(), Digest256{1})});
  SignAll(Step(PolicyMade{PolicyVersion{4}, {}}), {&anna_, &ben_});
  ASSERT_NE(desk_->ledger().BatchOf(settings_.run, 1, ben_.id()), nullptr);
  EXPECT_EQ(desk_->ledger().BatchOf(settings_.run, 1, ben_.id())->claim.items, 2u);
  EXPECT_EQ(desk_->ledger().BatchOf(settings_.run, 1, anna_.id()), nullptr);
}

TEST_F(Desk, AnEpochWaitsForAValidator) {
  Take(anna_, 1);
  SignAll(Step(PolicyMade{PolicyVersion{2}, {}}), {&anna_});
  now_ += 60'000;
  Step(AuditTick{});
  EXPECT_EQ(Epoch(), 0u);
  JoinAsValidator(vera_);
  EXPECT_EQ(Epoch(), 1u);
}

TEST_F(Desk, StrangersAreShownNothing) {
  JoinAsValidator(vera_);
  Take(anna_, 1);
  SignAll(Step(PolicyMade{PolicyVersion{2}, {}}), {&anna_});
  Submit(vera_, BeaconReveal{settings_.run, 0, Digest256{1}});
  ASSERT_TRUE(desk_->ledger().BatchOf(settings_.run, 0, anna_.id())->audited);
  const NodeMessage ask = AuditAsk{0, anna_.id(), 0};
  const auto shown = [&](const KeyPair& who) {
    for (const AuditEffect& effect : Step(NodeSaid{who.id(), ask}))
      if (std::holds_alternative<ShowItem>(effect)) return true;
    return false;
  };
  EXPECT_FALSE(shown(stranger_));
  EXPECT_TRUE(shown(vera_));
  for (const AuditEffect& effect : Step(NodeSaid{stranger_.id(), EvidenceSubmission{{1, 2, 3}}}))
    ADD_FAILURE() << "a stranger's evidence is judged: " << effect.index();
  std::size_t judged = 0;
  for (int i = 0; i < 3; ++i)
    judged += Step(NodeSaid{vera_.id(), EvidenceSubmission{{1, 2, 3}}}).size();
  EXPECT_EQ(judged, 1u);
}

TEST_F(Desk, FloodsOfRequestsAreDeclined) {
  std::size_t entries = records_.size();
  for (int i = 0; i < 1'000; ++i) {
    if (i % 2 == 0) {
      Submit(stranger_, JoinValidators{settings_.run});
    } else {
      Submit(stranger_, LeaveValidators{settings_.run});
    }
  }
  EXPECT_LE(records_.size() - entries, 260u);
  // The ledger is told once on a link.
  EXPECT_FALSE(Step(NodeSaid{stranger_.id(), LedgerAsk{0}}).empty());
  EXPECT_TRUE(Step(NodeSaid{stranger_.id(), LedgerAsk{0}}).empty());
}

TEST_F(Desk, FalseSignaturesCommitNothing) {
  JoinAsValidator(vera_);
  Take(anna_, 1);
  Step(PolicyMade{PolicyVersion{2}, {}});
  Step(NodeSaid{anna_.id(), BatchSignature{0, Signature{7}}});
  EXPECT_EQ(desk_->ledger().BatchOf(settings_.run, 0, anna_.id()), nullptr);
  EXPECT_FALSE(desk_->InBatch(LeaseId{1}));
}

TEST_F(Desk, AsManyVerdictsAreSpotCheckedAsTheSettingSays) {
  for (const std::uint32_t one_in : {0u, 1u, 2u}) {
    settings_.spot_checks = one_in;
    records_.clear();
    kept_.clear();
    Open();
    std::size_t checked = 0;
    for (std::uint64_t epoch = 0; epoch < 24; ++epoch) {
      VeraAccepts(epoch);
      checked += static_cast<std::size_t>(std::ranges::count_if(
          last_, [](const AuditEffect& e) { return std::holds_alternative<CheckVerdict>(e); }));
    }
    if (one_in < 2) {
      EXPECT_EQ(checked, 24u * one_in);
    }
    if (one_in == 2) {
      EXPECT_GT(checked, 5u);
      EXPECT_LT(checked, 19u);
    }
  }
}

TEST_F(Desk, AVerdictWithoutWorkIsSpotCheckedAndItsAuthorSentAway) {
  int checked = 0;
  for (std::uint64_t epoch = 0; epoch < 12 && checked == 0; ++epoch) {
    VeraAccepts(epoch);
    for (const AuditEffect& effect : last_) {
      const auto* check = std::get_if<CheckVerdict>(&effect);
      if (check == nullptr) continue;
      ++checked;
      EXPECT_EQ(check->validator, vera_.id());
      EXPECT_EQ(check->leases, std::vector<LeaseId>{LeaseId{100 + epoch}});
      const auto out = Step(VerdictChecked{vera_.id(), true, "did not look"});
      ASSERT_EQ(out.size(), 1u);
      EXPECT_EQ(std::get<Banish>(out[0]).node, vera_.id());
      EXPECT_TRUE(desk_->banished().contains(vera_.id()));
    }
  }
  EXPECT_EQ(checked, 1);
}

}  // namespace
}  // namespace waggle
