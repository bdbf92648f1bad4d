// The ledger against a model of it, and properties that hold after any requests.
#include <gtest/gtest.h>

#include "ledger/balance_tree.h"
#include "ledger/payouts.h"
#include "ledger/test_model_pair.h"

namespace waggle {
namespace {

constexpr std::size_t kEpisode = 1'000;

TEST(LedgerModel, AgreesAfterEveryOfManyRandomRequests) {
  std::vector<std::size_t> by_kind(std::variant_size_v<LedgerBody>);
  std::size_t taken = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    ModelPair pair(seed);
    for (std::size_t i = 0; i < kEpisode; ++i) ASSERT_TRUE(pair.Step()) << "seed " << seed;
    ASSERT_TRUE(pair.WindDown()) << "seed " << seed;
    taken += pair.taken();
    for (std::size_t kind = 0; kind < by_kind.size(); ++kind)
      by_kind[kind] += pair.taken_by_kind()[kind];
  }
  // Random requests that are all refused would agree as well.
  EXPECT_GT(taken, 100 * kEpisode / 4);
  for (std::size_t kind = 0; kind < by_kind.size(); ++kind) {
    const std::string_view name = LedgerBodyNames()[kind];
    if (name == "open-run" || name == "beacon-external") continue;
    EXPECT_GT(by_kind[kind], 30u) << name << " was hardly ever taken";
  }
}

TEST(LedgerModel, TheSameEntriesGiveTheSameStateRootAndEvents) {
  ModelPair pair(7);
  for (std::size_t i = 0; i < kEpisode; ++i) ASSERT_TRUE(pair.Step());
  Ledger again(pair.genesis(), ModelPair::Signed);
  LedgerState halfway;
  // The run is opened by entry 1, which the pair keeps to itself.
  LedgerEntry open = pair.entries().front();
  EXPECT_EQ(open.sequence, 2u);
  const LedgerRunState* run = pair.ledger().FindRun(LedgerRun{Digest256{1}});
  ASSERT_NE(run, nullptr);
  Signature good{};
  good[0] = 1;
  ASSERT_TRUE(again.Apply(
      again.Next(0, {run->sponsor, 0, OpenRun{LedgerRun{Digest256{1}}, run->terms}, good})));
  LedgerEvents events;
  for (const LedgerEntry& entry : pair.entries()) {
    // What is stored is what was applied.
    const auto read = DecodeEntry(Encode(entry));
    ASSERT_TRUE(read && *read == entry);
    auto outcome = again.Apply(*read);
    ASSERT_TRUE(outcome);
    events.insert(events.end(), outcome->begin(), outcome->end());
    // From a snapshot it goes on just so.
    if (entry.sequence % 100 != 0) continue;
    auto state = DecodeState(Encode(again.state()));
    ASSERT_TRUE(state) << state.error().what;
    ASSERT_TRUE(*state == again.state());
    again = Ledger(pair.genesis(), std::move(*state), ModelPair::Signed);
  }
  EXPECT_EQ(again.Root(), pair.ledger().Root());
  EXPECT_TRUE(events == pair.events());
}

// Every change of a balance is in exactly one event: statements add up.
TEST(LedgerModel, EventsAddUpToBalances) {
  ModelPair pair(11);
  for (std::size_t i = 0; i < 3 * kEpisode; ++i) ASSERT_TRUE(pair.Step());
  std::map<NodeId, std::int64_t> sums;
  for (const LedgerEvent& event : pair.events()) {
    const BalanceEffect effect = EffectOf(event.kind);
    sums[event.who] += effect.who * event.amount.value;
    sums[event.other] += effect.other * event.amount.value;
  }
  for (const auto& [node, account] : pair.ledger().state().accounts)
    EXPECT_EQ(sums[node], account.balance.value) << ToText(node);
}

// What people are shown adds up to what they have: `earned`, and pay fixed by the seals.
TEST(LedgerModel, PayoutsAddUp) {
  ModelPair pair(19);
  for (std::size_t i = 0; i < 3 * kEpisode; ++i) ASSERT_TRUE(pair.Step());
  const LedgerRun run{Digest256{1}};
  PayoutBook book;
  book.See(pair.events());
  Credits fixed, ended, withheld;
  for (const LedgerEvent& event : pair.events()) {
    if (event.kind == LedgerEventKind::kPayFixed) fixed += event.amount;
  }
  for (const auto& [node, payout] : book.Run(run)) {
    EXPECT_EQ(payout.paid + payout.vested + payout.roles + payout.bounties,
              pair.ledger().AccountOf(node) == nullptr ? Credits{}
                                                       : pair.ledger().AccountOf(node)->earned);
    ended += payout.paid + payout.vesting + payout.forfeited + payout.unpaid;
  }
  for (const auto& [number, epoch] : pair.ledger().FindRun(run)->epochs) {
    for (const auto& [node, batch] : epoch.batches)
      withheld += batch.state == BatchState::kPending ? batch.pay : Credits{};
  }
  EXPECT_EQ(fixed, ended + withheld);
  EXPECT_GT(ended, Credits{0});
  EXPECT_EQ(book.Epoch(run, 1'000'000), nullptr);
}

// 10.2: what a contract may be claimed for never falls.
TEST(LedgerModel, WhatWasEarnedNeverFalls) {
  ModelPair pair(13);
  std::map<NodeId, Credits> before;
  for (std::size_t i = 0; i < kEpisode; ++i) {
    ASSERT_TRUE(pair.Step());
    for (const auto& [node, account] : pair.ledger().state().accounts) {
      EXPECT_GE(account.earned, before[node]);
      before[node] = account.earned;
    }
  }
}

// A copied request is refused, whoever sends it and whenever.
TEST(LedgerModel, NothingIsTakenTwice) {
  ModelPair pair(17);
  for (std::size_t i = 0; i < kEpisode; ++i) ASSERT_TRUE(pair.Step());
  Ledger copy = pair.ledger();
  const Digest256 root = copy.Root();
  for (const LedgerEntry& entry : pair.entries()) {
    const auto outcome = copy.Apply(copy.Next(entry.at_ms, entry.request));
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().why, LedgerRefusal::kBadNonce);
  }
  EXPECT_EQ(copy.Root(), root);
}

}  // namespace
}  // namespace waggle
