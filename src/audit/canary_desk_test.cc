// Canaries as cores, in virtual time: which epochs have one and what it is follows from the host's
// key alone; they are as large as the batches beside them; every epoch commits to something; what
// an audit desk does with them from the first accepted group to the settlement.
#include "audit/canary_desk.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "audit/audit_desk.h"
#include "audit/canary_maker.h"
#include "audit/test_keys.h"
#include "audit/test_records.h"
#include "audit/trust_terms.h"
#include "proofs/claims.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

std::vector<LeaseId> Leases(std::uint64_t first, std::uint64_t count) {
  std::vector<LeaseId> leases;
  for (std::uint64_t i = 0; i < count; ++i) leases.push_back(LeaseId{first + i});
  return leases;
}

const LedgerRun kRun{Hash256{3}};

TEST(CanaryDesk, WhatItIsFollowsFromTheHostsKey) {
  const KeyPair host = Key(1), other = Key(2);
  const CanaryDesk desk(host, kRun, {}, {.every = 4}, {}), again(host, kRun, {}, {.every = 4}, {}),
      theirs(other, kRun, {}, {.every = 4}, {});
  int planned = 0, differs = 0;
  std::set<Digest256> commitments;
  for (std::uint64_t epoch = 0; epoch < 400; ++epoch) {
    EXPECT_EQ(desk.Planned(epoch), again.Planned(epoch));
    EXPECT_EQ(desk.Commitment(epoch), again.Commitment(epoch));
    planned += desk.Planned(epoch) ? 1 : 0;
    differs += desk.Planned(epoch) != theirs.Planned(epoch) ? 1 : 0;
    // Something is committed to in every epoch, and never the same.
    EXPECT_TRUE(commitments.insert(desk.Commitment(epoch)).second);
  }
  EXPECT_GT(planned, 70);
  EXPECT_LT(planned, 130);
  EXPECT_GT(differs, 80);
  EXPECT_FALSE(CanaryDesk(host, kRun, {}, {.every = 0}, {}).Planned(0));
}

TEST(CanaryDesk, ABatchIsAsLargeAsTheOthersAndOpensItsCommitment) {
  const KeyPair host = Key(1);
  const LedgerId ledger{Digest256{7}};
  int bad = 0;
  for (std::uint64_t epoch = 0; epoch < 40; ++epoch) {
    CanaryDesk desk(host, kRun, {}, {.every = 1, .groups_max = 6}, {});
    desk.See(epoch, Leases(100, 9), 2);
    std::set<CanaryLie> lies;
    for (int tick = 0; tick < 20; ++tick) {
      const auto make = desk.Next();
      if (!make) break;
      EXPECT_FALSE(desk.Next()) << "one at a time";
      lies.insert(make->lie);
      // The first cannot be made: another one is asked for.
      desk.Made({make->lease, tick == 0 ? std::nullopt : std::optional(RecordOf(make->lease))});
    }
    EXPECT_EQ(desk.made(), 5u);
    EXPECT_FALSE(desk.more());
    const auto canary = desk.Close(epoch, ledger);
    ASSERT_TRUE(canary);
    const BatchClaim& claim = canary->work.claim;
    EXPECT_EQ(claim.items, 5u);
    EXPECT_EQ(claim.work.rollouts, 5u);
    EXPECT_TRUE(std::ranges::is_sorted(canary->work.leases));
    EXPECT_EQ(claim.root, BatchRoot(canary->work.groups));
    EXPECT_TRUE(
        Verify(claim.worker, kBatchDomain, BatchMessage(ledger, claim), canary->work.signature));
    EXPECT_EQ(lies.contains(CanaryLie::kNone), !canary->bad);
    bad += canary->bad ? 1 : 0;
    desk.Committed(*canary);
    EXPECT_TRUE(desk.Is(claim.worker));
    ASSERT_NE(desk.Find(epoch, claim.worker), nullptr);
    EXPECT_EQ(desk.Find(epoch + 1, claim.worker), nullptr);
    const auto reveal = desk.Reveal(epoch);
    ASSERT_TRUE(reveal);
    EXPECT_EQ(CanaryHash(kRun, epoch, reveal->worker, reveal->salt, reveal->bad),
              desk.Commitment(epoch));
    EXPECT_FALSE(desk.Reveal(epoch)) << "once";
    EXPECT_EQ(DecodeCanary(Encode(*canary)).value(), *canary);
  }
  EXPECT_GT(bad, 20);
  EXPECT_LT(bad, 40);
}

TEST(CanaryMaker, NoItemOfABadOneHoldsAndEveryItemOfAGoodOneDoes) {
  const GroupRecord honest = RecordOf(LeaseId{1});
  int asked = 0;
  // Full marks are deserved here, so that this claim is no lie.
  const auto examine = [&](const GroupRecord& record) -> Verdict {
    ++asked;
    GroupRecord plain = record;
    if (plain.group.rollouts[0].reward == 1.0f) plain.group.rollouts[0].reward = 0;
    if (plain == honest) return Accepted{};
    return Reject{RejectReason::kWrongToken, ""};
  };
  for (std::uint64_t draw = 0; draw < 50; ++draw) {
    for (const CanaryLie lie : {CanaryLie::kToken, CanaryLie::kLogp, CanaryLie::kReward}) {
      const auto made = MakeCanary(honest, lie, draw, examine);
      ASSERT_TRUE(made);
      EXPECT_TRUE(std::holds_alternative<Reject>(examine(*made)));
      EXPECT_EQ(made->group.rollouts[0].tokens.size(), 4u);
    }
    EXPECT_EQ(MakeCanary(honest, CanaryLie::kNone, draw, examine), honest);
  }
  asked = 0;
  ASSERT_TRUE(MakeCanary(honest, CanaryLie::kLogp, 1, examine));
  EXPECT_EQ(asked, 1);
  // What was accepted and does not hold is no good canary; what cannot be told is none at all.
  GroupRecord false_one = honest;
  false_one.group.rollouts[0].tokens[0] = 9;
  EXPECT_FALSE(MakeCanary(false_one, CanaryLie::kNone, 1, examine));
  const auto fault = [](const GroupRecord&) -> Verdict { return Fault{"no weights"}; };
  EXPECT_FALSE(MakeCanary(honest, CanaryLie::kToken, 1, fault));
}

// A desk with one worker and two validators, of whom one looks.
class Audited : public ::testing::Test {
 protected:
  Audited() {
    Recipe recipe = SmallRecipe();
    recipe.trust.audits = true;
    recipe.trust.epoch_versions = 2;
    recipe.trust.window_seconds = 1;
    recipe.trust.canary_every = 1;
    recipe.trust.auditors = 2;
    recipe.trust.spot_checks = 0;
    settings_ = AuditSettingsOf(recipe, run_, host_.id(), Hash256{9}).value();
    desk_.emplace(host_, settings_, LedgerReplay(HostGenesis(run_, host_.id())),
                  std::vector<LogRecord>{}, std::vector<SignedWork>{});
  }
  std::vector<AuditEffect> Step(const AuditEvent& event) {
    std::vector<AuditEffect> rest;
    for (AuditEffect& effect : desk_->Step(now_, 1'700'000'000'000 + now_, event)) {
      if (const auto* make = std::get_if<MakeCanaryItem>(&effect)) {
        auto more = Step(CanaryItemMade{make->lease, RecordOf(make->lease)});
        rest.insert(rest.end(), more.begin(), more.end());
      } else if (auto* kept = std::get_if<KeepCanary>(&effect)) {
        canary_ = kept->canary;
      } else {
        rest.push_back(std::move(effect));
      }
    }
    return rest;
  }
  std::vector<AuditEffect> Submit(const KeyPair& key, LedgerBody body) {
    const Ledger& ledger = desk_->ledger();
    const auto request = SignRequest(key, ledger.id(), ledger.NonceOf(key.id()), std::move(body));
    auto effects = Step(NodeSaid{key.id(), LedgerSubmission{Encode(request)}});
    for (const AuditEffect& effect : effects) {
      const auto* tell = std::get_if<Tell>(&effect);
      const auto* declined = tell ? std::get_if<LedgerDeclined>(&tell->message) : nullptr;
      if (declined != nullptr) ADD_FAILURE() << declined->text;
    }
    return effects;
  }
  void Sign(const std::vector<AuditEffect>& effects) {
    for (const AuditEffect& effect : effects) {
      const auto* tell = std::get_if<Tell>(&effect);
      const auto* proposal = tell ? std::get_if<BatchProposal>(&tell->message) : nullptr;
      if (proposal == nullptr) continue;
      EXPECT_EQ(tell->node, anna_.id()) << "a canary is asked for no signature";
      Step(NodeSaid{anna_.id(),
                    BatchSignature{proposal->claim.epoch,
                                   SignBatch(anna_, proposal->ledger, proposal->claim)}});
    }
  }
  void Commit(const KeyPair& key) {
    const std::uint64_t epoch = Run().epoch;
    Submit(key, BeaconCommit{settings_.run, epoch,
                             BeaconHash(settings_.run, epoch, key.id(), Digest256{1})});
  }
  // One epoch of four groups up to the draw.
  void Epoch() {
    const std::uint64_t epoch = Run().epoch;
    Commit(vera_);
    if (Run().validators.contains(lazy_.id())) Commit(lazy_);
    canary_.reset();
    for (std::uint64_t i = 0; i < 4; ++i) {
      BatchWork work;
      work.Add(settings_.terms, 10, 0);
      const LeaseId lease{100 * epoch + i};
      Step(GroupTaken{anna_.id(), lease, GroupHash(RecordOf(lease).group), work});
    }
    for (int i = 0; i < 8; ++i) Step(AuditTick{});
    Sign(Step(PolicyMade{PolicyVersion{2 * epoch + 2}, {}}));
    for (int i = 0; i < 40 && Run().epoch == epoch; ++i) {  // it comes when its time has
      now_ += 10;
      Step(AuditTick{});
    }
    EXPECT_EQ(Run().epoch, epoch + 1);
    for (const KeyPair* key : {&vera_, &lazy_}) {
      const auto& seats = Run().epochs.at(epoch).seats;
      if (seats.contains(key->id())) Submit(*key, BeaconReveal{settings_.run, epoch, Digest256{1}});
    }
  }
  void Say(const KeyPair& key, std::uint64_t epoch, const NodeId& worker, Finding finding) {
    Submit(key, GiveVerdict{.run = settings_.run,
                            .epoch = epoch,
                            .worker = worker,
                            .finding = finding,
                            .evidence = Digest256{8},
                            .activation = Digest256{5}});
  }
  const LedgerRunState& Run() const { return *desk_->ledger().FindRun(settings_.run); }

  const Hash256 run_{3};
  const KeyPair host_ = Key(1), anna_ = Key(2), vera_ = Key(4), lazy_ = Key(5);
  AuditSettings settings_;
  Milliseconds now_ = 1'000;
  std::optional<AuditDesk> desk_;
  std::optional<CanaryBatch> canary_;
};

TEST_F(Audited, WhoDidNotLookIsNotPaidAndSentAwayAndWhoDidIsPaidMore) {
  Submit(vera_, JoinValidators{settings_.run});
  Submit(lazy_, JoinValidators{settings_.run});
  do {  // one epoch in four has a good one
    Epoch();
    ASSERT_TRUE(canary_);
  } while (!canary_->bad);
  const std::uint64_t epoch = canary_->work.claim.epoch;
  const CanaryBatch canary = *canary_;
  const NodeId spy = canary.work.claim.worker;
  // One like the other in everything that the ledger shows.
  const LedgerBatch& real = *desk_->ledger().BatchOf(settings_.run, epoch, anna_.id());
  const LedgerBatch& ours = *desk_->ledger().BatchOf(settings_.run, epoch, spy);
  EXPECT_EQ(ours.claim.items, real.claim.items);
  ASSERT_TRUE(ours.audited);
  ASSERT_EQ(ours.auditors.size(), 2u);

  // It is shown to validators, whole, and to nobody else.
  const auto shown = [&](const KeyPair& who) {
    for (const AuditEffect& effect : Step(NodeSaid{who.id(), AuditAsk{epoch, spy, 0}})) {
      const auto* item = std::get_if<AuditItem>(&std::get<Tell>(effect).message);
      if (item == nullptr || !item->group) return false;
      EXPECT_EQ(*item->group, canary.items[0].group);
      const MerklePath path{0, ours.claim.items, item->siblings};
      EXPECT_TRUE(MerkleHolds(ours.claim.root, BatchLeaf(GroupHash(*item->group)), path));
      return true;
    }
    return false;
  };
  EXPECT_TRUE(shown(vera_));
  EXPECT_FALSE(shown(anna_));

  Say(vera_, epoch, spy, Finding::kWrong);
  Say(lazy_, epoch, spy, Finding::kAccepted);
  Say(vera_, epoch, anna_.id(), Finding::kAccepted);
  Say(lazy_, epoch, anna_.id(), Finding::kAccepted);
  // Its evidence is true: nobody is blamed for it, and nothing is said that a validator could hear.
  for (const AuditEffect& effect :
       Step(EvidenceDecided{.proved = true, .accused = spy, .accuser = vera_.id()}))
    ADD_FAILURE() << "evidence about a canary did something: " << effect.index();
  EXPECT_TRUE(desk_->banished().empty());
  EXPECT_EQ(desk_->tally().counts().canaries, 0u) << "told before it was shown";

  std::vector<AuditEffect> effects = Step(AuditsEnd{});
  for (int i = 0; i < 400 && !desk_->settled(); ++i) {
    now_ += 100;
    auto more = Step(AuditTick{});
    effects.insert(effects.end(), more.begin(), more.end());
  }
  EXPECT_TRUE(desk_->settled());
  const auto banish = std::ranges::find_if(
      effects, [](const AuditEffect& e) { return std::holds_alternative<Banish>(e); });
  ASSERT_NE(banish, effects.end());
  EXPECT_EQ(std::get<Banish>(*banish).node, lazy_.id());
  EXPECT_FALSE(desk_->banished().contains(vera_.id()));
  EXPECT_FALSE(Run().validators.contains(lazy_.id()));
  EXPECT_TRUE(Run().validators.contains(vera_.id()));
  EXPECT_GT(desk_->ledger().BalanceOf(vera_.id()).value, settings_.terms.canary_bonus.value);
  EXPECT_EQ(desk_->ledger().BalanceOf(lazy_.id()).value, 0);
  EXPECT_GT(desk_->ledger().BalanceOf(anna_.id()).value, 0);
  EXPECT_EQ(desk_->ledger().BalanceOf(spy).value, 0);
  const AuditTally::Counts& counts = desk_->tally().counts();
  EXPECT_GE(counts.canaries, 1u);
  EXPECT_EQ(counts.canaries_found, 1u);
  EXPECT_EQ(counts.canaries_missed, 1u);
  EXPECT_EQ(counts.verdicts[static_cast<std::size_t>(Finding::kWrong)], 1u);
  EXPECT_EQ(counts.verdicts[static_cast<std::size_t>(Finding::kAccepted)], 3u);
  EXPECT_GT(counts.paid.value, 0);
  EXPECT_EQ(counts.timed, 4u);
  EXPECT_EQ(desk_->tally().seconds().size(), 4u);
}

TEST_F(Audited, AGoodOneCatchesWhoAccusesWithoutLooking) {
  Submit(vera_, JoinValidators{settings_.run});
  Submit(lazy_, JoinValidators{settings_.run});
  do {
    Epoch();
    ASSERT_TRUE(canary_);
    ASSERT_LT(Run().epoch, 40u);
  } while (canary_->bad);
  const NodeId spy = canary_->work.claim.worker;
  const std::uint64_t epoch = canary_->work.claim.epoch;
  Say(vera_, epoch, spy, Finding::kAccepted);
  Say(lazy_, epoch, spy, Finding::kWrong);
  Step(AuditsEnd{});
  for (int i = 0; i < 400 && !desk_->settled(); ++i) {
    now_ += 100;
    Step(AuditTick{});
  }
  EXPECT_TRUE(desk_->banished().contains(lazy_.id()));
  EXPECT_FALSE(desk_->banished().contains(vera_.id()));
}

TEST_F(Audited, AHostThatCameBackShowsItsCanaryAndAnswersForIt) {
  Submit(vera_, JoinValidators{settings_.run});
  Submit(lazy_, JoinValidators{settings_.run});
  Epoch();
  ASSERT_TRUE(canary_);
  const CanaryBatch canary = *canary_;
  const NodeId spy = canary.work.claim.worker;
  // As AuditBooks finds it on disk.
  std::vector<LogRecord> records;
  LedgerReplay replay(HostGenesis(run_, host_.id()));
  for (const AuditEffect& effect : Step(NodeSaid{Key(9).id(), LedgerAsk{0}})) {
    const auto* entries = std::get_if<LedgerEntries>(&std::get<Tell>(effect).message);
    for (std::size_t i = 0; entries != nullptr && i < entries->entries.size(); ++i) {
      records.push_back({entries->entries[i], std::nullopt, entries->heads[i]});
      ASSERT_TRUE(replay.Feed(records.back()));
    }
  }
  desk_.emplace(host_, settings_, std::move(replay), records, std::vector<SignedWork>{},
                std::vector<CanaryBatch>{canary});
  bool shown = false;
  for (const AuditEffect& effect :
       Step(NodeSaid{vera_.id(), AuditAsk{canary.work.claim.epoch, spy, 0}})) {
    const auto* item = std::get_if<AuditItem>(&std::get<Tell>(effect).message);
    shown = shown || (item != nullptr && item->group == canary.items[0].group);
  }
  EXPECT_TRUE(shown);
  Step(AuditsEnd{});
  for (int i = 0; i < 400 && !desk_->settled(); ++i) {
    now_ += 100;
    Step(AuditTick{});
  }
  EXPECT_EQ(desk_->tally().counts().canaries, 1u);
  EXPECT_EQ(desk_->ledger().BalanceOf(spy).value, 0);
}

}  // namespace
}  // namespace waggle
