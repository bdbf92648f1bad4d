// How many requests a second, for docs/ledger.md. Printed, not asserted: other programs run too.
#include <gtest/gtest.h>

#include "base/clock.h"
#include "ledger/test_ledger.h"

namespace waggle {
namespace {

template <class F>
void Measure(const char* what, int count, F&& each) {
  const std::int64_t begin = SystemClock().MonotonicNs();
  for (int i = 0; i < count; ++i) each(i);
  const double seconds = static_cast<double>(SystemClock().MonotonicNs() - begin) * 1e-9;
  fmt::print("[ SPEED    ] {}: {:.0f}/s\n", what, count / seconds);
}

TEST(Speed, OfRequestsWithoutSignatures) {
  TestLedger t;
  RunTerms terms = t.Terms();
  terms.price_rollout = Credits{1};
  t.Open(terms);
  std::vector<NodeId> ids;
  for (int i = 0; i < 4'000; ++i) ids.push_back({DigestOf(std::to_string(i))});
  const auto ask = [&](const NodeId& who, LedgerBody body) {
    const auto done =
        t.ledger.Apply(t.ledger.Next(1, {who, t.ledger.NonceOf(who), std::move(body), {}}));
    EXPECT_TRUE(done) << done.error().what;
  };
  const NodeId bridge = t.Id("bridge"), orchestrator = t.Id("orchestrator");
  Measure("deposit", 40'000, [&](int i) {
    ask(bridge, Deposit{ids[static_cast<std::size_t>(i) % ids.size()], Units(1), {}});
  });
  Measure("transfer", 40'000, [&](int i) {
    const auto at = static_cast<std::size_t>(i) % ids.size();
    ask(ids[at], Transfer{ids[(at + 7) % ids.size()], Credits{5}});
  });
  Measure("commit-batch", 4'000, [&](int i) {
    BatchClaim claim = t.Claim("", 0, 64, std::to_string(i));
    claim.worker = ids[static_cast<std::size_t>(i)];
    ask(orchestrator, CommitBatch{claim, {}});
  });
  Measure("seal and draw 4000 batches", 1, [&](int) { t.Seal(); });
  const auto duties = t.ledger.DutiesOf(t.run, t.Id("validator"));
  Measure("verdict", static_cast<int>(duties.size()), [&](int i) {
    const NodeId& worker = duties[static_cast<std::size_t>(i)].claim.worker;
    ask(t.Id("validator"), GiveVerdict{t.run, 0, worker, Finding::kAccepted, 0, {}, {}});
  });
  t.Seal();
  Measure("settle 4000 batches", 1, [&](int) { ask(bridge, SettleEpoch{t.run, 0}); });
  Measure("root of 4000 accounts", 3, [&](int) { EXPECT_NE(t.ledger.Root(), Digest256{}); });
}

TEST(Speed, OfRequestsWithSignatures) {
  TestLedger t(/*signatures=*/true);
  t.Give("alice", Units(1));
  const KeyPair alice = ScenarioKey("alice");
  std::vector<LedgerRequest> requests;
  for (std::uint64_t i = 0; i < 4'000; ++i)
    requests.push_back(SignRequest(alice, t.ledger.id(), i, Transfer{t.Id("bob"), Credits{1}}));
  Measure("transfer, signature checked", 4'000, [&](int i) {
    EXPECT_TRUE(t.ledger.Apply(t.ledger.Next(1, requests[static_cast<std::size_t>(i)])));
  });
}

}  // namespace
}  // namespace waggle
