// Beacons from drand: rounds from a file that grows, believed for their signatures alone; the desk
// takes the one round that the seal's time allows; a validator believes no draw that the network
// did not sign. With rounds that were really published.
#include "audit/round_keeper.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "audit/trust_terms.h"
#include "audit/validator_core.h"
#include "base/files.h"
#include "base/test_folder.h"
#include "base/test_source.h"
#include "proofs/beacon/recorded_rounds.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

constexpr std::uint64_t kRound = 1000;

std::vector<std::string> RecordedLines() {
  const std::string text =
      ReadFile(TestSource() / "tests/golden/beacons/quicknet.jsonl", 1 << 20).value();
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}
TrustRecipe Drand() {
  TrustRecipe trust;
  trust.audits = true;
  trust.beacon = "drand";
  trust.canary_every = 0;
  return trust;
}
void Append(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

TEST(RoundKeeper, ARoundIsWaitedForAndFoundWhenTheFileHasGrown) {
  const TempFolder folder;
  const auto path = folder.path() / "rounds.jsonl";
  Append(path, "");
  auto keeper = RoundKeeper::For(Drand(), path).value();
  ASSERT_TRUE(keeper);
  const double due = static_cast<double>(DrandTimeOf(DrandQuicknet(), kRound));
  RoundKeeper::Looked looked = keeper->Look({7, kRound}, due + 1);
  EXPECT_FALSE(looked.found);
  EXPECT_EQ(looked.say, "");
  EXPECT_NE(keeper->Look({7, kRound}, due + 11).say.find("epoch 7 waits for round 1000"),
            std::string::npos);
  EXPECT_EQ(keeper->Look({7, kRound}, due + 12).say, "") << "said once";

  const std::string line = RecordedLines()[0];
  Append(path, "not a round\n" + RecordedLines()[1] + "\n" + line.substr(0, 60));
  EXPECT_FALSE(keeper->Look({7, kRound}, due + 13).found) << "half a line";
  Append(path, line.substr(60));
  looked = keeper->Look({7, kRound}, due + 14);
  ASSERT_TRUE(looked.found);
  EXPECT_EQ(looked.found->epoch, 7u);
  EXPECT_EQ(looked.found->round, kRound);
  EXPECT_EQ(looked.found->randomness, ParseDrandRound(DrandQuicknet(), line)->randomness);
  EXPECT_TRUE(keeper->Look({8, 123}, due).found);
}

TEST(RoundKeeper, AFileThatIsWrittenAnewIsReadAnew) {
  const TempFolder folder;
  const auto path = folder.path() / "latest.json";
  auto keeper = RoundKeeper::For(Drand(), folder.path()).value();
  for (const std::size_t which : {1u, 0u, 1u, 0u}) {  // shorter, then longer
    std::filesystem::remove(path);
    Append(path, RecordedLines()[which] + "\n");
    EXPECT_TRUE(keeper->Look({0, which == 0 ? kRound : 123}, 0).found) << which;
  }
  auto fresh = RoundKeeper::For(Drand(), path).value();
  EXPECT_TRUE(fresh->Look({0, kRound}, 0).found);
  EXPECT_FALSE(fresh->Look({0, 123}, 0).found);
}

TEST(RoundKeeper, AForgedRoundIsNone) {
  const TempFolder folder;
  const auto path = folder.path() / "1000.json";
  std::string forged = RecordedLines()[0];
  const std::size_t at = forged.find("\"signature\":\"") + 40;
  forged[at] = forged[at] == '0' ? '1' : '0';
  Append(path, forged + "\n");
  auto keeper = RoundKeeper::For(Drand(), folder.path()).value();  // the folder: every file in it
  const RoundKeeper::Looked looked = keeper->Look({0, kRound}, 0);
  EXPECT_FALSE(looked.found);
  EXPECT_NE(looked.say, "");
  EXPECT_EQ(keeper->Look({0, kRound}, 0).say, "");
  Append(folder.path() / "later.json", RecordedLines()[0]);
  EXPECT_TRUE(keeper->Look({0, kRound}, 0).found);
}

TEST(RoundKeeper, BeaconAndRoundsBelongTogether) {
  const TempFolder folder;
  EXPECT_FALSE(RoundKeeper::For(TrustRecipe{}, "").value());
  EXPECT_FALSE(RoundKeeper::For(TrustRecipe{}, folder.path()));
  EXPECT_FALSE(RoundKeeper::For(Drand(), ""));
  EXPECT_FALSE(RoundKeeper::For(Drand(), folder.path() / "none"));
  EXPECT_TRUE(RoundKeeper::For(Drand(), folder.path()));
}

// A desk whose clock stands where round 1000 is the one, and a validator that follows it.
class DrandDesk : public ::testing::Test {
 protected:
  static KeyPair Key(std::uint8_t number) {
    std::array<std::uint8_t, 32> seed{};
    seed.fill(number);
    return KeyPair::FromSeed(seed);
  }
  DrandDesk() {
    Recipe recipe = SmallRecipe();
    recipe.trust = Drand();
    recipe.trust.epoch_versions = 2;
    recipe.trust.window_seconds = 1;
    settings_ = AuditSettingsOf(recipe, run_, host_.id(), Hash256{9}).value();
    desk_.emplace(host_, settings_, LedgerReplay(HostGenesis(run_, host_.id())),
                  std::vector<LogRecord>{}, std::vector<SignedWork>{});
    // The seal's own round, and two more.
    wall_ms_ = static_cast<std::uint64_t>(DrandTimeOf(DrandQuicknet(), kRound - 2)) * 1000 + 500;
  }
  std::vector<AuditEffect> Step(const AuditEvent& event) {
    return desk_->Step(1'000, wall_ms_, event);
  }
  std::optional<WantRound> Wanted() {
    for (const AuditEffect& effect : Step(AuditTick{}))
      if (const auto* want = std::get_if<WantRound>(&effect)) return *want;
    return std::nullopt;
  }
  void SealOne() {
    BatchWork work;
    work.Add(settings_.terms, 10, 0);
    Step(GroupTaken{anna_.id(), LeaseId{1}, Hash256{1}, work});
    for (const AuditEffect& effect : Step(PolicyMade{PolicyVersion{2}, {}})) {
      const auto* tell = std::get_if<Tell>(&effect);
      const auto* proposal = tell ? std::get_if<BatchProposal>(&tell->message) : nullptr;
      if (proposal == nullptr) continue;
      Step(NodeSaid{anna_.id(),
                    BatchSignature{0, SignBatch(anna_, proposal->ledger, proposal->claim)}});
    }
  }
  void JoinAsValidator() {
    const Ledger& ledger = desk_->ledger();
    Step(NodeSaid{vera_.id(), LedgerSubmission{Encode(SignRequest(
                                  vera_, ledger.id(), 0, JoinValidators{settings_.run}))}});
  }
  // What a validator makes of the desk's ledger.
  std::optional<std::string> Lies() {
    ValidatorCore core(vera_, {.run = run_, .layers = 2, .description_hash = Hash256{9}});
    static_cast<void>(core.Step(HostAnswered{host_.id()}));
    for (const AuditEffect& effect : Step(NodeSaid{stranger_.id(), LedgerAsk{0}})) {
      for (const ValidatorEffect& heard : core.Step(HostSaid{std::get<Tell>(effect).message}))
        if (const auto* lied = std::get_if<HostLied>(&heard)) return lied->why;
    }
    EXPECT_TRUE(core.joined());
    return std::nullopt;
  }
  RoundFound Recorded() const {
    const DrandRound round = ParseDrandRound(DrandQuicknet(), RecordedLines()[0]).value();
    return {0, round.round, round.signature, round.previous, round.randomness};
  }

  const Hash256 run_{3};
  const KeyPair host_ = Key(1), anna_ = Key(2), vera_ = Key(4), stranger_ = Key(5);
  AuditSettings settings_;
  std::uint64_t wall_ms_ = 0;
  std::optional<AuditDesk> desk_;
};

TEST_F(DrandDesk, TheRoundOfTheSealDrawsAndAValidatorBelievesIt) {
  SealOne();
  EXPECT_FALSE(Wanted()) << "nobody could be drawn";
  JoinAsValidator();
  const auto want = Wanted();
  ASSERT_TRUE(want);
  EXPECT_EQ(want->epoch, 0u);
  EXPECT_EQ(want->round, kRound);
  EXPECT_FALSE(desk_->ledger().BatchOf(settings_.run, 0, anna_.id())->audited);
  EXPECT_TRUE(Wanted()) << "again with each tick";
  Step(Recorded());
  EXPECT_FALSE(Wanted());
  const LedgerBatch& batch = *desk_->ledger().BatchOf(settings_.run, 0, anna_.id());
  EXPECT_TRUE(batch.audited);
  EXPECT_EQ(batch.auditors.at(0).validator, vera_.id());
  EXPECT_EQ(Lies(), std::nullopt);
}

TEST_F(DrandDesk, AValidatorBelievesNoBeaconThatTheNetworkDidNotSign) {
  JoinAsValidator();
  SealOne();
  ASSERT_TRUE(Wanted());
  RoundFound forged = Recorded();
  forged.randomness[0] ^= 1;  // the ledger's machine takes it: it checks no pairings
  Step(forged);
  ASSERT_TRUE(desk_->ledger().BatchOf(settings_.run, 0, anna_.id())->audited);
  const auto lies = Lies();
  ASSERT_TRUE(lies);
  EXPECT_NE(lies->find("not what round 1000 of drand says"), std::string::npos) << *lies;
}

TEST_F(DrandDesk, ASignatureOfAnotherRoundIsNone) {
  const RunTerms& terms = settings_.terms;
  const RoundFound good = Recorded();
  BeaconExternal beacon{settings_.run, 0, good.round, good.randomness, good.signature, {}};
  EXPECT_EQ(WhyNotBeacon(terms, beacon), std::nullopt);
  beacon.round = kRound + 1;
  EXPECT_TRUE(WhyNotBeacon(terms, beacon));
  beacon.round = kRound;
  beacon.signature.clear();
  EXPECT_TRUE(WhyNotBeacon(terms, beacon));
  RunTerms other = terms;
  other.drand_genesis_ms += 3'000;  // a network that nobody knows
  EXPECT_TRUE(WhyNotBeacon(
      other, BeaconExternal{settings_.run, 0, good.round, good.randomness, good.signature, {}}));
}

}  // namespace
}  // namespace waggle
