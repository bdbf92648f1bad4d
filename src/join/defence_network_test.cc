// Who defends itself, over real sockets: a worker against a validator that accuses it and shows
// nothing, an honest machine that computes wrongly, a validator against a host that calls a good
// canary bad.
#include <gtest/gtest.h>

#include "base/files.h"
#include "join/test_party.h"

namespace waggle {
namespace {

Recipe AuditedRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.orchestrator.steps = 8;
  recipe.checkpoints_kept = 20;
  recipe.trust.audits = true;
  recipe.trust.epoch_versions = 2;
  recipe.trust.dispute_epochs = 1;
  recipe.trust.window_seconds = 2;
  recipe.trust.sign_seconds = 3;
  recipe.trust.canary_every = 0;
  return recipe;
}

// Collects what everybody says.
struct Talk {
  std::mutex mutex;
  std::string said;
  Party::Say Into() {
    return [this](const std::string& name, const std::string& line) {
      const std::lock_guard lock(mutex);
      said += name + ": " + line + "\n";
      if (std::getenv("WAGGLE_SAY") != nullptr) fmt::print(stderr, "{}: {}\n", name, line);
    };
  }
};

TEST(DefenceRun, AFalseAccuserLosesItsSeatAndTheWorkerIsPaid) {
  const TempFolder folder;
  const Recipe recipe = AuditedRecipe();
  Talk talk;
  const auto party = OpenParty(folder, recipe, talk.Into());
  const PartyNode anna = Node("anna", 2), vera = Node("vera", 4, true);
  PartyNode accuser = Node("accuser", 5, true);
  accuser.accuses = true;
  for (const PartyNode& node : {anna, vera, accuser}) party->Add(node);
  const RunSummary hosted = party->Drive().value();
  const Ledger& ledger = *party->host().ledger();
  const LedgerRunState& run = *ledger.FindRun(LedgerRun{hosted.run_id});
  const auto& worked = party->SummaryOf("anna");
  ASSERT_TRUE(worked) << worked.error().what << talk.said;
  EXPECT_GE(worked->defended.contested, 1u) << talk.said;
  EXPECT_EQ(worked->defended.won, worked->defended.contested) << talk.said;
  EXPECT_FALSE(run.validators.contains(Party::KeyOf(accuser).id())) << talk.said;
  EXPECT_TRUE(run.validators.contains(Party::KeyOf(vera).id())) << talk.said;
  const RunMember& member = *ledger.MemberOf(LedgerRun{hosted.run_id}, Party::KeyOf(anna).id());
  EXPECT_TRUE(member.offences_ms.empty());
  EXPECT_EQ(member.frozen, 0u);
  // Every batch of hers is paid: nothing was forfeited, and nothing waits.
  for (const auto& [number, epoch] : run.epochs) {
    for (const auto& [worker, batch] : epoch.batches)
      EXPECT_EQ(batch.state, BatchState::kDone) << "epoch " << number << talk.said;
  }
  EXPECT_GT(ledger.BalanceOf(Party::KeyOf(anna).id()).value, 0);
  EXPECT_EQ(ledger.BalanceOf(Party::KeyOf(accuser).id()).value, 0);
  EXPECT_EQ(TotalOf(ledger.state()), ledger.state().supply);
}

// It is proved wrong and sent away; it looks at its own work, finds the same, and says so.
TEST(DefenceRun, AMachineThatComputesWronglySaysSo) {
  const TempFolder folder;
  Recipe recipe = AuditedRecipe();
  recipe.trust.dispute_epochs = 1;
  Talk talk;
  const auto party = OpenParty(folder, recipe, talk.Into());
  PartyNode broken = Node("broken", 3);
  broken.tamper = [](const Lease&, Group& group) {
    TokenId& token = group.rollouts.back().tokens.front();
    token = token == 5 ? 6 : 5;
  };
  broken.unaware = true;
  for (const PartyNode& node : {Node("anna", 2), broken, Node("vera", 4, true)}) party->Add(node);
  const auto hosted = party->Drive();
  ASSERT_TRUE(hosted) << hosted.error().what;
  const auto& summary = party->SummaryOf("broken");
  ASSERT_FALSE(summary) << talk.said;
  EXPECT_EQ(summary.error().blame, Blame::kMachine) << summary.error().what;
  EXPECT_NE(summary.error().what.find("does not hold here either"), std::string::npos)
      << summary.error().what;
}

}  // namespace
}  // namespace waggle
