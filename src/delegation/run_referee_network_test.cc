// Delegated runs of reinforcement learning over loopback: liars against an honest party, a
// tournament, silence, and a referee that goes on where it left.
#include "delegation/dispute_journal.h"
#include "delegation/referee_run.h"
#include "delegation/test_answering.h"
#include "delegation/test_cheating_run.h"
#include "delegation/test_run.h"

namespace waggle {
namespace {

using testing_delegation::Answering;
using testing_delegation::CheatingRun;
using testing_delegation::OpenRun;
using testing_delegation::RunLie;
using testing_delegation::TinyRun;
using testing_delegation::WriteRecipe;
using Standing = RefereeReport::Standing;

class RunRefereeTest : public testing::Test {
 protected:
  RunRefereeTest() : pool_(1), key_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{99})) {
    run_ = OpenRun(WriteRecipe(folder_, TinyRun(folder_)), Place("run"), pool_);
  }
  std::filesystem::path Place(const char* name) { return folder_.path() / name; }
  Result<RefereeReport> Judge(std::vector<RefereeOptions::Party> parties,
                              std::function<bool()> leave = nullptr) {
    RefereeOptions options;
    options.parties = std::move(parties);
    options.program = run_->program();
    options.out = Place("out");
    options.wants_to_leave = std::move(leave);
    return Arbitrate(options, key_, SystemClock());
  }

  TempFolder folder_;
  ThreadPool pool_;
  KeyPair key_;
  std::unique_ptr<ReinforcedRun> run_;
};

TEST_F(RunRefereeTest, EqualAnswersAreAcceptedAndLiarsFall) {
  const Answering alice(*run_, 1, Place("alice")), bob(*run_, 2, Place("bob"));
  auto report = Judge({alice.Party("alice"), bob.Party("bob")});
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_TRUE(report->disputes.empty());
  EXPECT_EQ(report->answer, run_->Commit().units);

  // Three liars at once: one dispute each, every one at the place of its lie.
  CheatingRun token(run_->work(), RunLie::kToken, 1, 6),
      gradient(run_->work(), RunLie::kGradient, 2), reward(run_->work(), RunLie::kReward, 0);
  const Answering t(token, 3, Place("t")), g(gradient, 4, Place("g")), r(reward, 5, Place("r"));
  report = Judge({t.Party("token"), alice.Party("alice"), g.Party("gradient"), r.Party("reward"),
                  bob.Party("bob")});
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->answer, run_->Commit().units);
  for (const std::size_t liar : {0u, 2u, 3u})
    EXPECT_EQ(report->parties[liar].standing, Standing::kFell);
  EXPECT_EQ(report->parties[1].standing, Standing::kStands);
  EXPECT_EQ(report->parties[4].standing, Standing::kStands);
  ASSERT_EQ(report->disputes.size(), 3u);
  for (const RefereeReport::Dispute& dispute : report->disputes) {
    EXPECT_LT(dispute.stats.bytes_in, 2u << 20);
    const auto evidence = ReadDisputeFile(dispute.evidence);
    ASSERT_TRUE(evidence);
    EXPECT_TRUE(CheckDisputeEvidence(*evidence, key_, ReadRunGround));
    const std::string& liar = report->parties[dispute.verdict.a_loses ? dispute.a : dispute.b].name;
    const std::uint64_t unit = liar == "token" ? 2 : liar == "gradient" ? 5 : 1;
    EXPECT_EQ(dispute.verdict.unit, unit) << liar;
  }
}

TEST_F(RunRefereeTest, ARefereeGoesOnWhereItLeft) {
  CheatingRun liar(run_->work(), RunLie::kGradient, 1);
  const Answering alice(*run_, 1, Place("alice")), mallory(liar, 2, Place("mallory"));
  // Leaves as soon as the batch that the step is taken on is in the journal.
  const auto words = [&]() -> std::size_t {
    for (const auto& file : std::filesystem::directory_iterator(Place("out")))
      if (file.path().extension() == kJournalExtension) return file.file_size();
    return 0;
  };
  auto report =
      Judge({mallory.Party("mallory"), alice.Party("alice")}, [&] { return words() > 4000; });
  ASSERT_TRUE(report) << report.error().what;
  ASSERT_TRUE(report->left);
  report = Judge({mallory.Party("mallory"), alice.Party("alice")});
  ASSERT_TRUE(report) << report.error().what;
  ASSERT_EQ(report->disputes.size(), 1u);
  EXPECT_TRUE(report->disputes[0].resumed);
  EXPECT_EQ(report->disputes[0].verdict.unit, 3u);
  EXPECT_EQ(report->parties[0].standing, Standing::kFell);
  // And a third time it only reads what was decided.
  report = Judge({mallory.Party("mallory"), alice.Party("alice")});
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_TRUE(report->disputes.at(0).kept);
}

}  // namespace
}  // namespace waggle
