// A request by hand: taken once, refused for what the ledger refuses, never beside another writer.
#include "store/ledger_submit.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/hex.h"
#include "base/test_folder.h"
#include "ledger/scenario.h"

namespace waggle {
namespace {

// A ledger with an open dispute about will's batch, whose run has referee rita.
constexpr const char* kAccused =
    "terms short orchestrator=orla trainer=tom referees=rita quorum=1 dispute_epochs=1 "
    "dispute_ms=0 vesting_epochs=0\ngive sue 10000\ngive val 500\nsue open-run run=r terms=short\n"
    "sue lock-budget run=r amount=5000\nval stake run=r amount=500\nval join-validators run=r\n"
    "give eve 20\ngive will 100\nwill stake run=r amount=100\n"
    "val beacon-commit run=r epoch=0 secret=dice0\n"
    "orla commit-batch run=r epoch=0 worker=will root=batch items=4\norla seal-epoch run=r "
    "epoch=0\neve accuse run=r epoch=0 worker=will root=batch evidence=ev\n";

class LedgerSubmitTest : public testing::Test {
 protected:
  void SetUp() override {
    where_ = (folder_.path() / "ledger.db").string();
    const auto report = RunScenario(kAccused, "accused");
    ASSERT_TRUE(report) << report.error().what;
    genesis_ = report->genesis;
    entries_ = report->log.size();
    auto store = LedgerStore::Open(where_, LedgerStore::Access::kWrite, genesis_);
    ASSERT_TRUE(store && (*store)->Append(report->log));
  }
  LedgerRequest Resolution(const char* who, bool guilty = true, std::uint64_t nonce = 0) const {
    return SignRequest(ScenarioKey(who), LedgerId{IdOf(genesis_)}, nonce,
                       Resolve{1, guilty, ScenarioDigest("evidence")});
  }
  Result<SubmitAnswer> Submit(const LedgerRequest& request, const char* sequencer = "sequencer") {
    return SubmitRequest(where_, request, ScenarioKey(sequencer), 1'000);
  }
  LedgerRefusal Refusal(const LedgerRequest& request) {
    const auto answer = Submit(request);
    EXPECT_TRUE(answer) << answer.error().what;
    const auto* refused = std::get_if<LedgerRefused>(&*answer);
    EXPECT_NE(refused, nullptr);
    return refused == nullptr ? LedgerRefusal::kAlreadyDone : refused->why;
  }
  std::uint64_t Entries() const {
    const auto store = LedgerStore::Open(where_, LedgerStore::Access::kRead, std::nullopt);
    const auto replay = (*store)->Load(/*whole=*/true);  // heads and signatures hold
    EXPECT_TRUE(replay) << replay.error().what;
    return replay->ledger().state().sequence;
  }

  TempFolder folder_;
  std::string where_;
  LedgerGenesis genesis_;
  std::uint64_t entries_ = 0;
};

TEST_F(LedgerSubmitTest, TakesARequestOnce) {
  for (const bool again : {false, true}) {
    const auto answer = Submit(Resolution("rita"));
    ASSERT_TRUE(answer) << answer.error().what;
    const auto* done = std::get_if<SubmittedRequest>(&*answer);
    ASSERT_NE(done, nullptr);
    EXPECT_EQ(done->sequence, entries_ + 1);
    EXPECT_EQ(done->was_there, again);
    const bool guilty = std::any_of(
        done->events.begin(), done->events.end(),
        [](const LedgerEvent& event) { return event.kind == LedgerEventKind::kFoundGuilty; });
    EXPECT_EQ(guilty, !again);
    EXPECT_EQ(Entries(), entries_ + 1);
  }
  // The same nonce with other words is no repetition.
  EXPECT_EQ(Refusal(Resolution("rita", false)), LedgerRefusal::kBadNonce);
}

TEST_F(LedgerSubmitTest, RefusesWhatTheLedgerRefuses) {
  EXPECT_EQ(Refusal(Resolution("eve", true, 1)), LedgerRefusal::kNotAllowed);
  EXPECT_EQ(Refusal(Resolution("rita", true, 1)), LedgerRefusal::kBadNonce);
  LedgerRequest forged = Resolution("rita");
  std::get<Resolve>(forged.body).guilty = false;
  EXPECT_EQ(Refusal(forged), LedgerRefusal::kBadSignature);
  LedgerGenesis other = genesis_;
  other.name = "another ledger";
  EXPECT_EQ(Refusal(SignRequest(ScenarioKey("rita"), IdOf(other), 0,
                                Resolve{1, true, ScenarioDigest("evidence")})),
            LedgerRefusal::kBadSignature);
  EXPECT_EQ(Refusal(SignRequest(ScenarioKey("rita"), IdOf(genesis_), 0,
                                Resolve{2, true, ScenarioDigest("evidence")})),
            LedgerRefusal::kUnknownDispute);
  EXPECT_EQ(Entries(), entries_);
  const auto unbelieved = SubmitRequest(
      where_, Resolution("rita"), ScenarioKey("sequencer"), 1'000,
      [](const Ledger&, const LedgerRequest&) { return std::optional<std::string>("no"); });
  ASSERT_TRUE(unbelieved);
  EXPECT_EQ(std::get<LedgerRefused>(*unbelieved).why, LedgerRefusal::kNotAllowed);
  EXPECT_EQ(Entries(), entries_);
}

TEST_F(LedgerSubmitTest, OnlyTheSequencerAndNeverBesideAnother) {
  const auto stranger = Submit(Resolution("rita"), "rita");
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().blame, Blame::kOperator);
  {
    const auto host = LedgerStore::Open(where_, LedgerStore::Access::kWrite, genesis_);
    ASSERT_TRUE(host);
    const auto beside = Submit(Resolution("rita"));
    ASSERT_FALSE(beside);
    EXPECT_EQ(beside.error().blame, Blame::kOperator);
    EXPECT_NE(beside.error().what.find("has a writer already"), std::string::npos);
  }
  EXPECT_EQ(Entries(), entries_);
  where_ = (folder_.path() / "nowhere.db").string();
  EXPECT_FALSE(Submit(Resolution("rita")));
  EXPECT_FALSE(std::filesystem::exists(where_));
}

TEST_F(LedgerSubmitTest, FilesAreHostile) {
  const LedgerRequest request = Resolution("rita");
  const std::string text = ToHex(Encode(request));
  for (const std::string& good : {text, text + "\n", "0x" + text + "\r\n"}) {
    const auto read = ParseRequestText(good);
    ASSERT_TRUE(read) << read.error().what;
    EXPECT_EQ(*read, request);
  }
  std::vector<std::string> bad = {
      "", "\n", "0x", "zz", text + text, text.substr(1), text + "00", std::string(1 << 20, 'a')};
  for (std::size_t cut = 2; cut < text.size(); cut += 2) bad.push_back(text.substr(0, cut));
  for (const std::string& what : bad) {
    const auto read = ParseRequestText(what);
    ASSERT_FALSE(read) << what.substr(0, 80);
    EXPECT_EQ(read.error().blame, Blame::kPeer);
  }
}

}  // namespace
}  // namespace waggle
