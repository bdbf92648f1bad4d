// A run of the dense tier over real sockets: honest volunteers with three engines, a cheat with
// other weights, a validator. The cheat is unpaid and suspected, nobody is accused, the honest are
// paid.
#include <gtest/gtest.h>

#include "base/files.h"
#include "host/local_run.h"
#include "join/test_party.h"
#include "kernels/fast/fast.h"

namespace waggle {
namespace {

Recipe DenseRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.orchestrator.steps = 12;
  recipe.trust.audits = true;
  recipe.trust.canary_every = 0;  // who is accused here is a cheat
  recipe.trust.epoch_versions = 2;
  recipe.trust.dispute_epochs = 1;
  recipe.trust.window_seconds = 1;
  recipe.trust.sign_seconds = 3;
  recipe.trust.tier = "dense";
  recipe.trust.fingerprint_limits = {"dense=0.06", "race=0.5/0.3", "log-probs=30/0.05"};
  return recipe;
}

void Reverse(const std::string& tensor, std::size_t, std::span<float> values) {
  if (tensor.find("_proj.weight") != std::string::npos) std::reverse(values.begin(), values.end());
}

TEST(FingerprintRun, OtherWeightsAreUnpaidAndNobodyIsAccused) {
  const TempFolder folder;
  const auto party = OpenParty(folder, DenseRecipe());
  PartyNode bf16 = Node("bf16", 2), tiles = Node("tiles", 3), cheat = Node("cheat", 4),
            plain = Node("plain", 5), watcher = Node("watcher", 6);
  bf16.engine = &FastOps(FastEngine::kBf16);
  tiles.engine = &FastOps(FastEngine::kTiles);
  cheat.falsify = Reverse;
  watcher.validator = true;
  for (const PartyNode& node : {bf16, tiles, plain, cheat, watcher}) party->Add(node);
  const RunSummary hosted = party->Drive().value();

  const Ledger& ledger = *party->host().ledger();
  const LedgerRun run{hosted.run_id};
  const auto id = [](const PartyNode& node) { return Party::KeyOf(node).id(); };
  EXPECT_EQ(TotalOf(ledger.state()), ledger.state().supply);
  const JoinSummary watched = party->SummaryOf("watcher").value();
  EXPECT_GE(watched.validated.unlikely, 1u);
  EXPECT_EQ(watched.validated.unlikely, watched.validated.rejected);
  EXPECT_GE(watched.validated.accepted, 1u);
  EXPECT_EQ(ledger.BalanceOf(id(cheat)).value, 0);
  ASSERT_NE(ledger.MemberOf(run, id(cheat)), nullptr);
  EXPECT_GT(ledger.MemberOf(run, id(cheat))->suspect_until_epoch, 0u);
  EXPECT_TRUE(ledger.MemberOf(run, id(cheat))->offences_ms.empty());
  EXPECT_FALSE(ledger.MemberOf(run, id(cheat))->expelled);
  // Once suspected, what it sends is looked at before it is trained on.
  EXPECT_GT(party->SummaryOf("cheat")->counts.rejected, 0u);
  std::int64_t paid = 0;
  for (const PartyNode& node : {bf16, tiles, plain}) {
    EXPECT_EQ(party->SummaryOf(node.name)->counts.rejected, 0u) << node.name;
    paid += ledger.BalanceOf(id(node)).value;
    if (const RunMember* member = ledger.MemberOf(run, id(node))) {
      EXPECT_EQ(member->suspect_until_epoch, 0u) << node.name;
    }
  }
  EXPECT_GT(paid, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "hosted/audits/evidence"));
}

// Limits so wide that every group passes by itself: what a validator remembers of a node finds it,
// and the others' records stay clean. Nobody is accused here either.
TEST(FingerprintRun, WhatNoGroupShowsTheRecordOfANodeDoes) {
  const TempFolder folder;
  Recipe recipe = DenseRecipe();
  recipe.trust.fingerprint_limits = {"dense=1000", "race=1000/1000", "log-probs=1e9/1e9",
                                     "sampling=-/-/1", "record=0.02"};
  const auto party = OpenParty(folder, recipe);
  PartyNode tiles = Node("tiles", 3), cheat = Node("cheat", 4), plain = Node("plain", 5),
            watcher = Node("watcher", 6);
  tiles.engine = &FastOps(FastEngine::kTiles);
  cheat.falsify = Reverse;
  watcher.validator = true;
  for (const PartyNode& node : {tiles, plain, cheat, watcher}) party->Add(node);
  const RunSummary hosted = party->Drive().value();

  const Ledger& ledger = *party->host().ledger();
  const LedgerRun run{hosted.run_id};
  const auto suspect_until = [&](const PartyNode& node) {
    const RunMember* member = ledger.MemberOf(run, Party::KeyOf(node).id());
    return member == nullptr ? 0 : member->suspect_until_epoch;
  };
  const JoinSummary watched = party->SummaryOf("watcher").value();
  EXPECT_GE(watched.validated.by_record, 1u);
  EXPECT_EQ(watched.validated.by_record, watched.validated.rejected);
  EXPECT_GT(suspect_until(cheat), 0u);
  EXPECT_TRUE(ledger.MemberOf(run, Party::KeyOf(cheat).id())->offences_ms.empty());
  EXPECT_EQ(suspect_until(tiles), 0u);
  EXPECT_EQ(suspect_until(plain), 0u);
  // Kept on disk: nobody who starts again has forgotten.
  std::size_t kept = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    if (entry.path().filename() != "records.bin") continue;
    const std::string text = ReadFile(entry.path(), kRecordBytesMax).value();
    const auto records =
        NodeRecords::Decode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    ASSERT_TRUE(records);
    kept += records->size();
    EXPECT_EQ(records->DistanceOf(Party::KeyOf(cheat).id()), 0.0);
  }
  EXPECT_GE(kept, 2u);
}

// Replayed on arrival, other weights never enter; a local run of the same recipe has fingerprints
// too, and the weights of a run without.
TEST(FingerprintRun, LocalRunsKeepTheirWeights) {
  const TempFolder folder;
  Recipe dense = DenseRecipe(), plain = DenseRecipe();
  plain.trust = TrustRecipe{};
  const auto with =
      LocalRun::Open(dense, SmallRunOptions(folder.path(), "with"), SystemClock()).value();
  const auto without =
      LocalRun::Open(plain, SmallRunOptions(folder.path(), "without"), SystemClock()).value();
  const RunSummary a = with->Drive().value(), b = without->Drive().value();
  EXPECT_EQ(a.run_id, b.run_id);
  EXPECT_EQ(a.weight_hash, b.weight_hash);
}

TEST(FingerprintRun, AnExactRunTakesNoOtherEngine) {
  const TempFolder folder;
  Recipe recipe = SmallRecipe();
  const auto party = Party::Open(recipe, SmallRunOptions(folder.path(), "hosted"), Node("host", 1),
                                 folder.path(), nullptr, SystemClock())
                         .value();
  PartyNode other = Node("other", 2);
  other.engine = &FastOps(FastEngine::kTiles);
  party->Add(other);
  party->Add(Node("plain", 3));
  ASSERT_TRUE(party->Drive());
  ASSERT_FALSE(party->SummaryOf("other"));
  EXPECT_EQ(party->SummaryOf("other").error().blame, Blame::kOperator);
}

}  // namespace
}  // namespace waggle
