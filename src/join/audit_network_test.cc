// A run with money over real sockets: a host, honest volunteers, a cheat, a validator. The cheat is
// caught, its evidence is kept and decides the same afterwards, its pay is forfeited; the others
// are paid; the weights are those of the honest run.
#include <gtest/gtest.h>

#include "audit/public_inputs.h"
#include "audit/steps/step_log.h"
#include "audit/trust_terms.h"
#include "base/files.h"
#include "base/hex.h"
#include "host/audit_books.h"
#include "host/local_run.h"
#include "join/test_party.h"
#include "store/ledger_store.h"

namespace waggle {
namespace {

Recipe AuditedRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.checkpoints_kept = 10;
  recipe.checkpoint_every = 3;
  recipe.trust.audits = true;
  recipe.trust.epoch_versions = 2;
  recipe.trust.dispute_epochs = 1;
  recipe.trust.window_seconds = 1;
  recipe.trust.sign_seconds = 3;
  recipe.trust.canary_every = 0;  // who is accused here is a cheat
  return recipe;
}

TEST(AuditRun, ACheatIsCaughtAndTheHonestArePaid) {
  const TempFolder folder;
  const Recipe recipe = AuditedRecipe();
  auto party = OpenParty(folder, recipe);
  const PartyNode one = Node("one", 2), two = Node("two", 3);
  PartyNode liar = Node("liar", 4);
  liar.tamper = [](const Lease&, Group& group) { group.rollouts[0].reward = 0.5f; };
  const PartyNode watcher = Node("watcher", 5, true);
  for (const PartyNode& node : {one, two, liar, watcher}) party->Add(node);
  const NodeId cheat = Party::KeyOf(liar).id();
  const RunSummary hosted = party->Drive().value();

  // The run's id, and its weights, are those of a run without audits, sampled by one honest node.
  Recipe plain = recipe;
  plain.trust = TrustRecipe{};
  const auto local =
      LocalRun::Open(plain, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  const RunSummary honest = local->Drive().value();
  EXPECT_EQ(hosted.run_id, honest.run_id);
  EXPECT_EQ(ToHex(hosted.weight_hash), ToHex(honest.weight_hash));

  const Ledger& ledger = *party->host().ledger();
  if (std::getenv("WAGGLE_SAY") != nullptr) {
    const auto store = LedgerStore::Open((folder.path() / "hosted/ledger.db").string(),
                                         LedgerStore::Access::kRead, std::nullopt);
    const std::vector<LogRecord> records = store.value()->Read(1, 10'000).value();
    for (const LogRecord& record : records) {
      const LedgerEntry entry = DecodeEntry(record.entry).value();
      fmt::print(stderr, "{} {} {} {}\n", entry.sequence, entry.at_ms, NameOf(entry.request.body),
                 ToHex(entry.request.author.value).substr(0, 6));
    }
  }
  const LedgerRun run{hosted.run_id};
  EXPECT_EQ(TotalOf(ledger.state()), ledger.state().supply);
  const auto validated = party->SummaryOf("watcher");
  ASSERT_TRUE(validated) << validated.error().what;
  EXPECT_GE(validated->validated.rejected, 1u);
  EXPECT_GE(validated->validated.accepted, 1u);
  EXPECT_GT(validated->earned.value, 0);
  EXPECT_GT(ledger.BalanceOf(Party::KeyOf(one).id()).value +
                ledger.BalanceOf(Party::KeyOf(two).id()).value,
            0);
  EXPECT_EQ(ledger.BalanceOf(cheat).value, 0);
  ASSERT_NE(ledger.MemberOf(run, cheat), nullptr);
  EXPECT_FALSE(ledger.MemberOf(run, cheat)->offences_ms.empty());

  int files = 0;
  ThreadPool pool(1);
  FolderInputs inputs({folder.path() / "hosted"}, BestOps(), pool);
  for (const auto& entry :
       std::filesystem::directory_iterator(folder.path() / "hosted/audits/evidence")) {
    const std::string text = ReadFile(entry.path(), kEvidenceBytesMax).value();
    const auto evidence =
        OpenEvidence({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    ASSERT_TRUE(evidence) << evidence.error().what;
    EXPECT_EQ(evidence->accused, cheat);
    EXPECT_EQ(evidence->reason, RejectReason::kWrongReward);
    EXPECT_EQ(Decide(*evidence, inputs, pool, Party::KeyOf(Node("host", 1)).id()).kind,
              Decision::Kind::kProved);
    ++files;
  }
  EXPECT_GE(files, 1);

  const RunFolder hosted_folder(folder.path() / "hosted");
  const auto checked = CheckSteps(hosted_folder, {}, BestOps(), pool, nullptr);
  ASSERT_TRUE(checked) << checked.error().what;
  EXPECT_FALSE(checked->wrong) << checked->why;
  EXPECT_EQ(checked->steps, recipe.orchestrator.steps);

  // Whoever was sent away stays away when the host comes back.
  party.reset();
  const auto again =
      RunParts::Resume(SmallRunOptions(folder.path(), "hosted"), SystemClock()).value();
  const std::string text =
      ReadFile(folder.path() / "hosted/description.bin", kDescriptionBytesMax).value();
  const auto books =
      AuditBooks::Open(*again, Party::KeyOf(Node("host", 1)).id(), Bytes(text.begin(), text.end()))
          .value();
  const KeyPair host = Party::KeyOf(Node("host", 1));
  const AuditDesk desk = books->MakeDesk(host);
  ASSERT_EQ(desk.banished().size(), 1u);
  EXPECT_EQ(desk.banished().begin()->first, cheat);
  EXPECT_NE(desk.banished().begin()->second.find("wrong reward"), std::string::npos);
}

// Newcomers are replayed before they are believed: what does not hold is never trained on.
TEST(AuditRun, NewcomersThatCheatNeverEnterTheWeights) {
  const TempFolder folder;
  Recipe recipe = SmallRecipe();
  recipe.trust.newcomer_groups = 1'000;
  const auto party = OpenParty(folder, recipe);
  party->Add(Node("honest", 2));
  PartyNode liar = Node("liar", 3);
  liar.tamper = [](const Lease&, Group& group) { group.rollouts.back().logps[0] *= 0.5f; };
  party->Add(liar);
  const RunSummary hosted = party->Drive().value();
  Recipe plain = recipe;
  plain.trust = TrustRecipe{};
  const auto local =
      LocalRun::Open(plain, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  EXPECT_EQ(ToHex(hosted.weight_hash), ToHex(local->Drive().value().weight_hash));
  EXPECT_GT(party->SummaryOf("liar")->counts.rejected, 0u);
  EXPECT_EQ(party->SummaryOf("liar")->counts.accepted, 0u);
}

}  // namespace
}  // namespace waggle
