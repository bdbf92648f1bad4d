// Who defends itself, over real sockets: a worker against a validator that accuses it and shows
// nothing, an honest machine that computes wrongly, a validator against a host that calls a good
// canary bad.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "audit/public_inputs.h"
#include "base/files.h"
#include "join/test_party.h"
#include "run/lease_maker.h"

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

// Everything in this folder accuses the host of this, and anybody decides so.
void ExpectProved(const TempFolder& folder, const char* place, RejectReason reason) {
  ThreadPool pool(1);
  FolderInputs inputs({folder.path() / "hosted"}, BestOps(), pool);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / place)) {
    const std::string text = ReadFile(entry.path(), kEvidenceBytesMax).value();
    const auto evidence =
        OpenEvidence({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    ASSERT_TRUE(evidence) << evidence.error().what;
    if (evidence->reason != reason) continue;  // of canaries that were true
    EXPECT_EQ(evidence->accused, KeyOf(1).id());
    const Decision decision = Decide(*evidence, inputs, pool, KeyOf(1).id());
    EXPECT_EQ(decision.kind, Decision::Kind::kProved) << decision.text;
    ++files;
  }
  EXPECT_GE(files, 1);
}

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

// What one lies about, the referee finds out, since it looks: here they are one host, which erred.
TEST(DefenceRun, AValidatorThatLookedKeepsItsSeatAgainstAFalseCanary) {
  const TempFolder folder;
  Recipe recipe = AuditedRecipe();
  recipe.trust.canary_every = 1;
  Talk talk;
  PartyNode host = Node("host", 1);
  host.false_canaries = true;
  const auto party = OpenParty(folder, recipe, talk.Into(), host);
  for (const PartyNode& node : {Node("anna", 2), Node("vera", 4, true)}) party->Add(node);
  const RunSummary hosted = party->Drive().value();
  const auto& vera = party->SummaryOf("vera");
  ASSERT_TRUE(vera) << vera.error().what << talk.said;
  EXPECT_GE(vera->validated.contested, 1u) << talk.said;
  EXPECT_NE(talk.said.find("the referee agrees"), std::string::npos) << talk.said;
  const LedgerRunState& run = *party->host().ledger()->FindRun(LedgerRun{hosted.run_id});
  EXPECT_TRUE(run.validators.contains(KeyOf(4).id())) << talk.said;
  ExpectProved(folder, "vera/evidence", RejectReason::kFalseCanary);
}

// A host that takes the first group of wave 1, signs for it, and lets it vanish; one worker and one
// validator, until the first of the two that `waits_for` says has left.
struct CensoredRun {
  CensoredRun(Recipe recipe, bool waits_for_worker) {
    recipe.orchestrator.steps = 1000;
    recipe.evaluation.every = 0;
    recipe.checkpoint_every = 100;
    std::atomic<bool> over = false;
    HostOptions host{.software = "waggle", .http = "off"};
    host.wants_to_end = [&] { return over.load(); };
    host.censors = [](LeaseId lease) { return WaveOf(lease) == 1 && IndexOf(lease) == 0; };
    const auto run = HostRun::Open(recipe, SmallRunOptions(folder.path(), "hosted"),
                                   std::move(host), KeyOf(1), SystemClock())
                         .value();
    JoinOptions options{.invite = run->invite(),
                        .ops = &BestOps(),
                        .patience_ms = 3'000,
                        .cache_directory = folder.path() / "anna",
                        .software = "waggle"};
    if (!waits_for_worker) options.wants_to_leave = [&] { return over.load(); };
    std::thread works([&, options] {
      anna.emplace(JoinAndSample(options, KeyOf(2), SystemClock()));
      over = true;
    });
    options.cache_directory = folder.path() / "vera";
    options.validate = ValidateOptions{.evidence_directory = folder.path() / "vera/evidence"};
    if (waits_for_worker) options.wants_to_leave = [&] { return over.load(); };
    std::thread validates([&, options] {
      vera.emplace(JoinAndSample(options, KeyOf(4), SystemClock()));
      if (!waits_for_worker) over = true;
    });
    const auto hosted = run->Drive();
    EXPECT_TRUE(hosted) << hosted.error().what;
    works.join();
    validates.join();
  }

  const TempFolder folder;
  std::optional<Result<JoinSummary>> anna, vera;
};

// The worker's receipt is the proof, whoever else looked away.
TEST(DefenceRun, AWorkerProvesThatItsGroupWasDropped) {
  Recipe recipe = AuditedRecipe();
  recipe.orchestrator.drop_uniform = true;  // batches are as large as they turn out
  const CensoredRun run(recipe, /*waits_for_worker=*/true);
  ASSERT_FALSE(*run.anna) << "everything was kept";
  const Error& error = run.anna->error();
  EXPECT_EQ(error.blame, Blame::kPeer) << error.what;
  EXPECT_NE(error.what.find("without it; evidence in"), std::string::npos) << error.what;
  ExpectProved(run.folder, "anna/evidence", RejectReason::kDroppedGroup);
}

// Where batches form by arrival, windows leave a trainer no choice: whoever hears of its steps
// has the proof before anything is taken again.
TEST(DefenceRun, ByArrivalAValidatorProvesThatABatchWasChosen) {
  Recipe recipe = AuditedRecipe();
  recipe.orchestrator.batches = "arrival";
  recipe.orchestrator.ahead = 1;
  const CensoredRun run(recipe, /*waits_for_worker=*/false);
  ASSERT_FALSE(*run.vera) << "every step was its own";
  const Error& error = run.vera->error();
  EXPECT_EQ(error.blame, Blame::kPeer) << error.what;
  EXPECT_NE(error.what.find("on a batch of its own choice"), std::string::npos) << error.what;
  ExpectProved(run.folder, "vera/evidence", RejectReason::kWrongStep);
}

// Nobody is accused by an honest host's receipts, however often it is stopped and resumed: groups
// that were accepted before stand in windows that are signed afterwards.
void ResumeHonestly(const char* batches) {
  const TempFolder folder;
  Recipe recipe = AuditedRecipe();
  recipe.orchestrator.batches = batches;
  recipe.orchestrator.steps = 40;
  recipe.orchestrator.ahead = 2;
  recipe.checkpoint_every = 4;
  recipe.trust.window_seconds = 1;
  RunOptions options = SmallRunOptions(folder.path(), "hosted");
  options.stop_after = 12;
  HostOptions host{.software = "waggle", .http = "off"};
  auto run = HostRun::Open(recipe, options, host, KeyOf(1), SystemClock()).value();
  const Endpoint at = run->invite().hosts.front();
  host.listen = fmt::format("{}:{}", at.host, at.port);
  JoinOptions join{.invite = run->invite(),
                   .ops = &BestOps(),
                   .patience_ms = 20'000,
                   .cache_directory = folder.path() / "anna",
                   .software = "waggle"};
  std::optional<Result<JoinSummary>> anna, vera;
  std::thread works([&, join] { anna.emplace(JoinAndSample(join, KeyOf(2), SystemClock())); });
  join.cache_directory = folder.path() / "vera";
  join.validate = ValidateOptions{.evidence_directory = folder.path() / "vera/evidence"};
  std::thread validates([&, join] { vera.emplace(JoinAndSample(join, KeyOf(4), SystemClock())); });
  for (const std::uint64_t stop : {26u, 0u}) {
    const auto hosted = run->Drive();
    EXPECT_TRUE(hosted) << hosted.error().what;
    run.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds(1'200));  // windows are over meanwhile
    options.stop_after = stop;
    run = HostRun::Resume(options, host, KeyOf(1), SystemClock()).value();
  }
  const auto hosted = run->Drive();
  EXPECT_TRUE(hosted) << hosted.error().what;
  works.join();
  validates.join();
  ASSERT_TRUE(*anna) << anna->error().what;
  ASSERT_TRUE(*vera) << vera->error().what;
  EXPECT_EQ((*anna)->receipts.dropped, 0u);
  EXPECT_GT((*anna)->receipts.kept, 10u);
  EXPECT_EQ((*anna)->defended.looked, 0u);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "anna/evidence"));
}

TEST(DefenceRun, AnHonestHostThatIsResumedKeepsItsPromises) { ResumeHonestly("wave"); }
TEST(DefenceRun, AndSoDoesOneWhoseBatchesFormByArrival) { ResumeHonestly("arrival"); }

}  // namespace
}  // namespace waggle
