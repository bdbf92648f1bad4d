// Workers who choose how many items to make up, under the engine's own rules. For tests.
#pragma once

#include "ledger/deterrence.h"
#include "ledger/test_ledger.h"
#include "ledger/test_model_pair.h"

namespace waggle {

struct Economy {
  double chance = 1;  // P
  std::uint32_t audited = 1, items = 64;
  double detection = 1;  // d
  double stake = 0;
};

inline BatchGame GameOf(const Economy& e) {
  return {double(e.items), 1.2, 1, .1, double(e.audited), e.detection};
}

// What one epoch with `bad` made-up items brings on average to many workers who do the same, in
// units: pay and change of stake as the ledger has them, less what their items cost.
inline double ProfitOf(const Economy& e, std::uint32_t bad, int workers, std::uint64_t seed) {
  TestLedger t;
  RunTerms terms = t.Terms();
  terms.price_rollout = Credits{1'200'000};
  terms.epoch_budget = Units(100'000'000);
  // The audit rate is set by hand: nothing to save, so the floor it is. A proof takes all.
  terms.item_cheat_cost = terms.item_cost;
  terms.audit_floor = Bps{static_cast<std::uint32_t>(e.chance * 10'000)};
  terms.audit_items = e.audited;
  terms.slash_first = terms.slash_second = terms.slash_third = kWhole;
  terms.whistle = Bps{0};
  t.Open(terms);
  t.Give("sponsor", Units(100'000'000));
  t.Must("sponsor", LockBudget{t.run, Units(100'000'000)});
  const Credits stake{static_cast<std::int64_t>(e.stake * kCreditsPerUnit)};
  std::vector<NodeId> ids;
  const auto apply = [&](const NodeId& who, LedgerBody body) {
    const auto done =
        t.ledger.Apply(t.ledger.Next(t.now_ms, {who, t.ledger.NonceOf(who), std::move(body), {}}));
    ASSERT_TRUE(done) << done.error().what;
  };
  for (int n = 0; n < workers; ++n) {
    const NodeId id{DigestOf("worker " + std::to_string(n))};
    ids.push_back(id);
    if (stake.value > 0) {
      apply(t.Id("bridge"), Deposit{id, stake, {}});
      apply(id, Stake{t.run, stake});
    }
    BatchClaim claim = t.Claim("", 0, e.items, std::to_string(seed) + "/" + std::to_string(n));
    claim.worker = id;
    apply(t.Id("orchestrator"), CommitBatch{claim, {}});
  }
  t.Seal(std::to_string(seed));
  TestRandom random(seed);
  for (const AuditDuty& duty : t.ledger.DutiesOf(t.run, t.Id("validator"))) {
    Finding finding = Finding::kAccepted;
    for (const std::uint32_t item : duty.items) {
      const bool proven = double(random.Below(1'000'000)) < e.detection * 1e6;
      if (item < bad && proven) finding = Finding::kWrong;
    }
    apply(t.Id("validator"), GiveVerdict{t.run, 0, duty.claim.worker, finding, 0, {}, {}});
  }
  t.Seal();
  t.now_ms += terms.contest_ms;
  apply(t.Id("anybody"), SettleEpoch{t.run, 0});
  double sum = 0;
  for (const NodeId& id : ids) {
    const RunMember& member = *t.ledger.MemberOf(t.run, id);
    sum += double((t.ledger.BalanceOf(id) + member.AtStake() - stake).value) / kCreditsPerUnit;
  }
  const BatchGame game = GameOf(e);
  return sum / workers - game.cost * (e.items - bad) - game.cheat_cost * bad;
}

// How many workers have to be asked until luck is less than a third of what a reply gains or
// loses by.
inline int WorkersFor(const Economy& e) {
  const BatchGame game = GameOf(e);
  const double caught = e.chance * Detection(game, e.items / 2);
  const double lost = game.Withheld() + e.stake;
  const double gain = GainOfCheating(game, e.chance, e.stake, e.items) / 2;
  const double workers = 12 * lost * lost * caught * (1 - caught) / (gain * gain + 1e-9);
  return static_cast<int>(std::clamp(workers, 500.0, 200'000.0));
}

// The number of made-up items that pays best. Few are not asked for: what they bring is too little
// to be told from luck, and the gain is linear or convex in their number (4.3).
inline std::uint32_t BestReply(const Economy& e, std::uint64_t seed) {
  constexpr int kEpoch = 4'000;
  const int epochs = (WorkersFor(e) + kEpoch - 1) / kEpoch;
  std::uint32_t best = 0;
  double most = ProfitOf(e, 0, 100, seed);  // no luck in it
  for (const std::uint32_t bad : {e.items / 2, e.items}) {
    double profit = 0;
    for (int i = 0; i < epochs; ++i)
      profit += ProfitOf(e, bad, kEpoch, seed + static_cast<std::uint64_t>(i)) / epochs;
    if (profit > most) most = profit, best = bad;
  }
  return best;
}

}  // namespace waggle
