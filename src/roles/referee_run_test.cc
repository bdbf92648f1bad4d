// A referee and those who answer, over loopback: who says two things, who says nothing that fits,
// and who is right.
#include "roles/referee_run.h"

#include <atomic>
#include <future>
#include <thread>

#include "roles/answer_run.h"
#include "roles/dispute_journal.h"
#include "roles/test_delegation.h"

namespace waggle {
namespace {

using testing_delegation::TinyRecipe;
using testing_delegation::TrainInto;
using Standing = RefereeReport::Standing;

// Answers on a thread until it goes out of scope.
class Answering {
 public:
  Answering(Answerer& answerer, std::uint8_t seed, const std::filesystem::path& folder)
      : key_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{seed})) {
    std::filesystem::create_directories(folder);
    std::promise<std::string> invite;
    auto ready = invite.get_future();
    AnswerOptions options;
    options.listen = "127.0.0.1:0";
    options.folder = folder;
    options.listening = [&](const std::string& line) { invite.set_value(line); };
    options.wants_to_leave = [this] { return leave_.load(); };
    thread_ = std::thread([this, &answerer, options] {
      EXPECT_TRUE(AnswerForRun(options, answerer, key_, SystemClock()));
    });
    invite_ = *ParseInvite(ready.get());
  }
  ~Answering() {
    leave_ = true;
    thread_.join();
  }
  const NodeId& id() const { return key_.id(); }
  RefereeOptions::Party Party(const std::string& name) const { return {name, invite_}; }

 private:
  KeyPair key_;
  std::atomic<bool> leave_{false};
  Invite invite_;
  std::thread thread_;
};

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
