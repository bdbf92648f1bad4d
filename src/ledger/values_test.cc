// Money, terms and encodings.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "ledger/audit.h"
#include "ledger/entries.h"
#include "ledger/ledger.h"
#include "ledger/scenario.h"

namespace waggle {
namespace {

TEST(Money, RoundsDownAndUp) {
  EXPECT_EQ(MulDiv(7, 10, 3), 23);
  EXPECT_EQ(MulDivUp(7, 10, 3), 24);
  EXPECT_EQ(MulDivUp(6, 10, 3), 20);
  EXPECT_EQ(MulDiv(kSupplyMax.value, 10'000, 10'000), kSupplyMax.value);
  EXPECT_EQ(Share(Credits{9}, Bps{1'000}), Credits{0});
  EXPECT_EQ(Share(kSupplyMax, kWhole), kSupplyMax);
}

TEST(Money, ReadsBackWhatItPrints) {
  EXPECT_EQ(ToText(Credits{1'250'000}), "1.25");
  EXPECT_EQ(ToText(Credits{-1}), "-0.000001");
  EXPECT_EQ(ToText(Credits{0}), "0");
  for (const char* bad : {"", ".", "1.", ".5x", "1.2345678", "1e3", "0x1", " 1", "1 ", "--1",
                          "99999999999999999999", "+1", "1.-5"})
    EXPECT_FALSE(ParseCredits(bad)) << bad;
  EXPECT_TRUE(rc::check("credits", [] {
    const Credits amount{*rc::gen::inRange<std::int64_t>(-kSupplyMax.value, kSupplyMax.value)};
    const auto again = ParseCredits(ToText(amount));
    RC_ASSERT(again && *again == amount);
  }));
}

TEST(Terms, DefaultsAreSaneAndEachRuleIsKept) {
  RunTerms good;
  good.orchestrator = ScenarioKey("o").id();
  good.trainer = ScenarioKey("t").id();
  good.referees = {ScenarioKey("r").id()};
  good.quorum = 1;
  ASSERT_EQ(WhyBadTerms(good), nullptr) << WhyBadTerms(good);
  const auto bad = [&](auto&& change) {
    RunTerms terms = good;
    change(terms);
    const char* why = WhyBadTerms(terms);
    EXPECT_NE(why, nullptr);
    return std::string(why == nullptr ? "" : why);
  };
  bad([](RunTerms& t) { t.orchestrator = {}; });
  bad([](RunTerms& t) { t.trainer = {}; });
  bad([](RunTerms& t) { t.epoch_budget = Credits{0}; });
  bad([](RunTerms& t) { t.price_rollout = Credits{-1}; });
  bad([](RunTerms& t) { t.price_rollout = kTermsLimits.price_max + Credits{1}; });
  bad([](RunTerms& t) { t.price_ktoken_min = t.price_ktoken + Credits{1}; });
  bad([](RunTerms& t) { t.price_ktoken_max = t.price_ktoken - Credits{1}; });
  bad([](RunTerms& t) { t.token_cap = 0; });
  bad([](RunTerms& t) { t.token_cap = kTermsLimits.token_cap_max + 1; });
  bad([](RunTerms& t) { t.staleness_max = 2'000; });
  bad([](RunTerms& t) { t.workers.value += 1; });
  bad([](RunTerms& t) { t.workers.value = 0, t.data.value += 7'000; });
  bad([](RunTerms& t) { t.data.value = 0xffffffff; });
  bad([](RunTerms& t) { t.audit_items = 0; });
  bad([](RunTerms& t) { t.audit_items = 257; });
  bad([](RunTerms& t) { t.batch_min = kTermsLimits.items_max + 1; });
  bad([](RunTerms& t) { t.audit_floor = Bps{0}; });
  bad([](RunTerms& t) { t.audit_factor = Bps{9'999}; });
  bad([](RunTerms& t) { t.detection = Bps{0}; });
  bad([](RunTerms& t) { t.item_cheat_cost = t.item_cost + Credits{1}; });
  bad([](RunTerms& t) { t.auditors = 0; });
  bad([](RunTerms& t) { t.auditors = 17; });
  bad([](RunTerms& t) { t.dispute_epochs = 0, t.dispute_ms = 0; });
  bad([](RunTerms& t) { t.dispute_epochs = 1'001; });
  bad([](RunTerms& t) { t.vesting_over = 0; });
  bad([](RunTerms& t) { t.unbonding_ms = 3'599'999; });
  bad([](RunTerms& t) { t.contest_ms = t.unbonding_ms; });
  bad([](RunTerms& t) { t.contest_ms = ~std::uint64_t{0}; });
  bad([](RunTerms& t) { t.stall_ms = 1; });
  bad([](RunTerms& t) { t.drand_period_ms = 0; });
  bad([](RunTerms& t) { t.drand_margin = ~std::uint64_t{0}; });
  bad([](RunTerms& t) { t.slash_second = Bps{1}; });
  bad([](RunTerms& t) { t.slash_third = Bps{10'001}; });
  bad([](RunTerms& t) { t.whistle = Bps{3'001}; });
  bad([](RunTerms& t) { t.accuse_bond = Credits{-1}; });
  bad([](RunTerms& t) { t.jail_after = 0; });
  bad([](RunTerms& t) { t.beacon_forfeit = t.validator_stake_min + Credits{1}; });
  bad([](RunTerms& t) { t.referees.push_back(t.referees[0]); });
  bad([](RunTerms& t) { t.referees.clear(); });
  bad([](RunTerms& t) { t.quorum = 0; });
  bad([](RunTerms& t) { t.quorum = 2; });
}

TEST(Terms, FreshnessIsLinear) {
  EXPECT_EQ(Freshness(0, 3), kWhole);
  EXPECT_EQ(Freshness(1, 3), Bps{7'500});
  EXPECT_EQ(Freshness(3, 3), Bps{2'500});
  EXPECT_EQ(Freshness(4, 3), Bps{0});
  EXPECT_EQ(Freshness(0xffffffff, 3), Bps{0});
  RunTerms terms;
  terms.staleness_max = 3, terms.token_cap = 100;
  BatchWork work;
  work.Add(terms, 1'000, 0);  // capped
  work.Add(terms, 50, 1);
  EXPECT_EQ(work, (BatchWork{2, 17'500, 100 * 10'000 + 50 * 7'500}));
  EXPECT_EQ(PriceOf(work, Credits{1'000'000}, Credits{2'000'000}), Credits{2'025'000});
}

TEST(Terms, NoBatchWithinTheLimitsOverflows) {
  const std::uint64_t most = kTermsLimits.rollouts_max * std::uint64_t{10'000};
  const BatchWork work{kTermsLimits.rollouts_max, most, most * kTermsLimits.token_cap_max};
  const Credits pay = PriceOf(work, kTermsLimits.price_max, kTermsLimits.price_max);
  EXPECT_GT(pay, Credits{0});
  RunTerms terms;
  terms.item_cost = kTermsLimits.cost_max;
  terms.item_cheat_cost = Credits{0};
  terms.audit_factor = Bps{1'000'000};
  EXPECT_EQ(AuditChance(terms, kTermsLimits.items_max, Credits{1}, Credits{0}), kCertain);
  EXPECT_EQ(AuditChance(terms, 0, kSupplyMax, kSupplyMax), kCertain) << "smaller than the minimum";
  terms.batch_min = 0;
  EXPECT_EQ(AuditChance(terms, 1, kSupplyMax, kSupplyMax).value, 20'000'000u) << "the floor";
}

TEST(Audit, ItemsAreDistinctAndOfTheBatch) {
  EXPECT_TRUE(rc::check("items", [] {
    Digest256 beacon{}, root{};
    beacon[0] = *rc::gen::arbitrary<std::uint8_t>();
    root[5] = *rc::gen::arbitrary<std::uint8_t>();
    const auto n = *rc::gen::inRange<std::uint32_t>(1, 300);
    const auto m = *rc::gen::inRange<std::uint32_t>(1, 40);
    auto items = AuditedItems(beacon, root, n, m);
    RC_ASSERT(items.size() == std::min(n, m));
    RC_ASSERT(items == AuditedItems(beacon, root, n, m));
    std::ranges::sort(items);
    RC_ASSERT(std::ranges::adjacent_find(items) == items.end());
    RC_ASSERT(items.back() < n);
  }));
}

// Drawn again in another language (Python's hashlib.shake_256).
TEST(Audit, KnownDraws) {
  Digest256 beacon, root;
  beacon.fill(1), root.fill(2);
  EXPECT_EQ(AuditedItems(beacon, root, 64, 8),
            (std::vector<std::uint32_t>{55, 19, 63, 35, 27, 52, 54, 15}));
  EXPECT_EQ(AuditedItems(beacon, root, 1'000, 3), (std::vector<std::uint32_t>{191, 491, 799}));
  EXPECT_EQ(Auditors(beacon, root, 5, 2), (std::vector<std::uint32_t>{1, 3}));
  EXPECT_TRUE(IsAudited(beacon, root, Chance{855'586'003}));
  EXPECT_FALSE(IsAudited(beacon, root, Chance{855'586'002}));
}

// A coin of chance P falls so often.
TEST(Audit, CoinsAreFair) {
  int heads = 0;
  constexpr int kCoins = 20'000;
  Digest256 root{};
  for (int i = 0; i < kCoins; ++i) {
    root[0] = static_cast<std::uint8_t>(i), root[1] = static_cast<std::uint8_t>(i >> 8);
    heads += IsAudited(Digest256{7}, root, Chance{250'000'000}) ? 1 : 0;
    ASSERT_TRUE(IsAudited(Digest256{7}, root, kCertain));
    ASSERT_FALSE(IsAudited(Digest256{7}, root, Chance{0}));
  }
  EXPECT_NEAR(heads, kCoins / 4, 200);  // three standard errors
}

TEST(Entries, RefuseWhatIsNotTheirOneEncoding) {
  const LedgerEntry entry{
      3, 4, {ScenarioKey("a").id(), 5, Transfer{ScenarioKey("b").id(), Credits{6}}, {}}};
  const Bytes bytes = Encode(entry);
  ASSERT_TRUE(DecodeEntry(bytes) && *DecodeEntry(bytes) == entry);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(DecodeEntry(std::span(bytes).first(size))) << size;
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(DecodeEntry(longer));
  Bytes other = bytes;
  other[16 + 32 + 8] = 0;
  EXPECT_FALSE(DecodeEntry(other)) << "kind 0";
  other[16 + 32 + 8] = static_cast<std::uint8_t>(std::variant_size_v<LedgerBody> + 1);
  EXPECT_FALSE(DecodeEntry(other)) << "a kind that does not exist";
  EXPECT_FALSE(DecodeEntry(Bytes(kEntryBytesMax + 100)));
}

// The largest request fits the limit, and limits say how they relate.
TEST(Entries, TheLargestFits) {
  OpenRun open;
  open.terms.referees.resize(kTermsLimits.referees_max);
  LedgerEntry entry{1, 1, {{}, 0, open, {}}};
  EXPECT_LE(Encode(entry).size(), kEntryBytesMax);
  EXPECT_TRUE(DecodeEntry(Encode(entry)));
}

TEST(Entries, EveryNameIsDifferent) {
  std::set<std::string_view> names(LedgerBodyNames().begin(), LedgerBodyNames().end());
  EXPECT_EQ(names.size(), std::variant_size_v<LedgerBody>);
  std::set<std::string_view> refusals, events;
  for (std::uint8_t n = 1; n <= kLedgerRefusals; ++n)
    refusals.insert(ToString(static_cast<LedgerRefusal>(n)));
  EXPECT_EQ(refusals.size(), kLedgerRefusals);
  for (std::uint8_t n = 1; n <= kLedgerEventKinds; ++n)
    events.insert(ToString(static_cast<LedgerEventKind>(n)));
  EXPECT_EQ(events.size(), kLedgerEventKinds);
}

}  // namespace
}  // namespace waggle
