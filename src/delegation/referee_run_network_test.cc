// A referee and those who answer, over loopback: who says two things, who says nothing that fits,
// and who is right.
#include "base/hex.h"
#include "delegation/dispute_journal.h"
#include "delegation/dispute_settlement.h"
#include "delegation/referee_run.h"
#include "delegation/test_answering.h"
#include "delegation/test_delegation.h"
#include "ledger/scenario.h"

namespace waggle {
namespace {

using testing_delegation::Answering;
using testing_delegation::TinyRecipe;
using testing_delegation::TrainInto;
using Standing = RefereeReport::Standing;

// Answers like another, but for what a test changes.
class Changed : public Answerer {
 public:
  explicit Changed(Answerer& inner) : inner_(inner) {}
  std::function<RunCommit(RunCommit)> commit;
  std::function<void(const DisputeRequest&, DisputeReply&)> reply;

  const RunProgram& program() const override { return inner_.program(); }
  RunCommit Commit() override { return commit ? commit(inner_.Commit()) : inner_.Commit(); }
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override {
    return std::make_unique<ChangedSide>(inner_.Side(terms, side), reply);
  }

 private:
  class ChangedSide : public DisputeParty {
   public:
    ChangedSide(std::unique_ptr<DisputeParty> inner,
                std::function<void(const DisputeRequest&, DisputeReply&)> change)
        : inner_(std::move(inner)), change_(std::move(change)) {}
    std::optional<DisputeReply> Answer(const DisputeRequest& request) override {
      auto reply = inner_->Answer(request);
      if (reply && change_) change_(request, *reply);
      return reply;
    }

   private:
    std::unique_ptr<DisputeParty> inner_;
    std::function<void(const DisputeRequest&, DisputeReply&)> change_;
  };
  Answerer& inner_;
};

class RefereeRunTest : public testing::Test {
 protected:
  RefereeRunTest() : pool_(1), key_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{99})) {
    const SftRecipe recipe = TinyRecipe(folder_);
    TrainInto(recipe, folder_.path() / "run", pool_);
    run_ = TrainedRun::Open(folder_.path() / "run", BestOps(), pool_).value();
  }
  RefereeReport Judge(std::vector<RefereeOptions::Party> parties) {
    RefereeOptions options;
    options.parties = std::move(parties);
    options.program = run_->program();
    options.out = folder_.path() / "out";
    return Arbitrate(options, key_, SystemClock()).value();
  }
  // A ledger in which `worker` committed to a batch with this root, and is accused of it.
  static Ledger Accused(const std::string& worker, const Digest256& root) {
    const std::string text =
        "terms short orchestrator=orla trainer=tom referees=rita quorum=1 dispute_epochs=1 "
        "dispute_ms=0 vesting_epochs=0\ngive sue 10000\ngive val 500\nsue open-run run=r "
        "terms=short\nsue lock-budget run=r amount=5000\nval stake run=r amount=500\n"
        "val join-validators run=r\ngive eve 20\ngive " +
        worker + " 100\n" + worker +
        " stake run=r amount=100\nval beacon-commit run=r epoch=0 secret=dice0\n"
        "orla commit-batch run=r epoch=0 worker=" +
        worker + " root=0x" + ToHex(root) + " items=4\norla seal-epoch run=r epoch=0\n" +
        "eve accuse run=r epoch=0 worker=" + worker + " root=0x" + ToHex(root) + " evidence=ev\n";
    const auto report = RunScenario(text, "accused");
    EXPECT_TRUE(report) << report.error().what;
    LedgerReplay replay(report->genesis);
    for (const LogRecord& record : report->log) EXPECT_TRUE(replay.Feed(record));
    return replay.ledger();
  }
  std::filesystem::path Place(const char* name) { return folder_.path() / name; }

  TempFolder folder_;
  ThreadPool pool_;
  KeyPair key_;
  std::unique_ptr<TrainedRun> run_;
};

TEST_F(RefereeRunTest, EqualAnswersAreAccepted) {
  const Answering a(*run_, 1, Place("a")), b(*run_, 2, Place("b"));
  const RefereeReport report = Judge({a.Party("a"), b.Party("b")});
  EXPECT_TRUE(report.disputes.empty());
  EXPECT_EQ(report.answer, run_->Commit().units);
  for (const auto& party : report.parties) EXPECT_EQ(party.standing, Standing::kStands);
}

TEST_F(RefereeRunTest, ACommitmentThatIsNotOpenedFallsAlone) {
  Changed liar(*run_);
  liar.commit = [](RunCommit commit) {
    commit.units[0] ^= 1;
    return commit;
  };
  const Answering a(liar, 1, Place("a")), b(*run_, 2, Place("b"));
  const RefereeReport report = Judge({a.Party("a"), b.Party("b")});
  EXPECT_EQ(report.parties[0].standing, Standing::kTwoTongues);
  EXPECT_EQ(report.parties[1].standing, Standing::kStands);
  EXPECT_EQ(report.answer, run_->Commit().units);
  // Its commitment is kept, signed.
  const auto text = ReadFile(Place("out") / (ToText(a.id()) + ".commitment"), 1 << 20).value();
  const auto frame =
      OpenFrame({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, key_);
  ASSERT_TRUE(frame);
  EXPECT_EQ(DecodeCommitment(frame->body).value().units, report.parties[0].answer);
}

TEST_F(RefereeRunTest, HashesThatDoNotFoldLose) {
  Changed liar(*run_);
  const auto wrong = [](Digest256 root) {
    root[3] ^= 4;
    return root;
  };
  liar.commit = [&](RunCommit commit) {
    commit.units = wrong(commit.units);
    return commit;
  };
  liar.reply = [&](const DisputeRequest& request, DisputeReply& reply) {
    if (request.kind != RequestKind::kOpen) return;
    RunCommit commit = *DecodeRunCommit(reply.record);
    commit.units = wrong(commit.units);
    reply.record = Encode(commit);
  };
  const Answering a(liar, 1, Place("a")), b(*run_, 2, Place("b"));
  const RefereeReport report = Judge({a.Party("a"), b.Party("b")});
  ASSERT_EQ(report.disputes.size(), 1u);
  const RefereeReport::Dispute& dispute = report.disputes[0];
  EXPECT_EQ(dispute.verdict.reason, DisputeCase::kInconsistent);
  EXPECT_TRUE(dispute.verdict.a_loses && !dispute.verdict.b_loses);
  EXPECT_EQ(report.answer, run_->Commit().units);
  const auto evidence = ReadDisputeFile(dispute.evidence);
  ASSERT_TRUE(evidence) << evidence.error().what;
  EXPECT_EQ(EvidenceHash(*evidence), dispute.evidence_hash);
  EXPECT_TRUE(CheckDisputeEvidence(*evidence, key_));
}

// The ledger's dispute about a batch whose root is the liar's commitment is resolved by this one.
TEST_F(RefereeRunTest, SettlesTheLedgersDispute) {
  Changed liar(*run_);
  const auto wrong = [](RunCommit commit) {
    commit.units[3] ^= 4;
    return commit;
  };
  liar.commit = wrong;
  liar.reply = [&](const DisputeRequest& request, DisputeReply& reply) {
    if (request.kind == RequestKind::kOpen)
      reply.record = Encode(wrong(*DecodeRunCommit(reply.record)));
  };
  const KeyPair rita = ScenarioKey("rita");
  const auto settled = [&](const char* accused, const Digest256& root) {
    const Answering a(liar, ScenarioKey("will"), Place("a")), b(*run_, 2, Place("b"));
    const RefereeReport report = Judge({a.Party("a"), b.Party("b")});
    const auto evidence = ReadDisputeFile(report.disputes.at(0).evidence).value();
    Ledger ledger = Accused(accused, root);
    const auto request = SettlementOf(ledger, 1, evidence, rita);
    EXPECT_FALSE(SettlementOf(ledger, 2, evidence, rita));  // no such dispute
    EXPECT_FALSE(SettlementOf(ledger, 1, evidence, key_));  // no referee of that run
    if (!request) return std::string("refused");
    const auto outcome = ledger.Apply(ledger.Next(0, *request));
    EXPECT_TRUE(outcome);
    const auto guilty = [](const LedgerEvent& e) {
      return e.kind == LedgerEventKind::kFoundGuilty;
    };
    return std::string(std::any_of(outcome->begin(), outcome->end(), guilty) ? "guilty" : "not");
  };
  EXPECT_EQ(settled("will", wrong(run_->Commit()).units), "guilty");
  EXPECT_EQ(settled("will", run_->Commit().units), "refused");  // another batch
  EXPECT_EQ(settled("bob", wrong(run_->Commit()).units), "refused");
}

TEST_F(RefereeRunTest, OneKeyIsOneParty) {
  const Answering a(*run_, 1, Place("a")), b(*run_, 1, Place("b"));
  RefereeOptions options;
  options.parties = {a.Party("a"), b.Party("b")};
  options.program = run_->program();
  options.out = Place("out");
  const auto report = Arbitrate(options, key_, SystemClock());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().blame, Blame::kOperator);
}

}  // namespace
}  // namespace waggle
