// A run with money over real sockets: a host, honest volunteers, a cheat, a validator. The cheat is
// caught, its evidence is kept and decides the same afterwards, its pay is forfeited; the others
// are paid; the weights are those of the honest run.
#include <gtest/gtest.h>

#include <thread>

#include "base/files.h"
#include "base/hex.h"
#include "base/test_folder.h"
#include "roles/host_run.h"
#include "roles/join_run.h"
#include "roles/local_run.h"
#include "roles/public_inputs.h"
#include "roles/test_recipe.h"
#include "roles/trust_terms.h"
#include "store/ledger_store.h"

namespace waggle {
namespace {

Recipe AuditedRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.trust.audits = true;
  recipe.trust.epoch_versions = 2;
  recipe.trust.dispute_epochs = 1;
  recipe.trust.window_seconds = 1;
  recipe.trust.sign_seconds = 3;
  return recipe;
}

KeyPair KeyOf(std::uint8_t number) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(number);
  return KeyPair::FromSeed(seed);
}

class Party {
 public:
  Party(const TempFolder& folder, const Recipe& recipe)
      : folder_(folder),
        host_(HostRun::Open(recipe, SmallRunOptions(folder.path(), "hosted"), HostOptions{},
                            KeyOf(1), SystemClock())
                  .value()) {}
  ~Party() { Wait(); }

  void Join(std::uint8_t number, const std::string& role,
            std::function<void(const Lease&, Group&)> tamper = nullptr) {
    JoinOptions options;
    options.invite = host_->invite();
    options.ops = &BestOps();
    options.rollouts_max = 8;
    options.cache_directory = folder_.path() / ("node" + std::to_string(number));
    options.tamper = std::move(tamper);
    options.software = "test";
    if (std::getenv("WAGGLE_SAY") != nullptr) {
      options.say = [number](const std::string& line) {
        fmt::print(stderr, "{}: {}\n", number, line);
      };
    }
    if (role == "validator")
      options.validate = ValidateOptions{.evidence_directory = folder_.path() / "evidence"};
    threads_.emplace_back([this, number, options] {
      const auto summary = JoinAndSample(options, KeyOf(number), SystemClock());
      const std::lock_guard lock(mutex_);
      summaries_.emplace(number, summary);
    });
  }
  RunSummary Drive() {
    const RunSummary summary = host_->Drive().value();
    Wait();
    return summary;
  }
  void Wait() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  const HostRun& host() const { return *host_; }
  const Result<JoinSummary>& SummaryOf(std::uint8_t number) { return summaries_.at(number); }

 private:
  const TempFolder& folder_;
  std::unique_ptr<HostRun> host_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::map<std::uint8_t, Result<JoinSummary>> summaries_;
};

TEST(AuditRun, ACheatIsCaughtAndTheHonestArePaid) {
  const TempFolder folder;
  const Recipe recipe = AuditedRecipe();
  Party party(folder, recipe);
  const NodeId cheat = KeyOf(4).id();
  party.Join(2, "worker");
  party.Join(3, "worker");
  party.Join(4, "worker", [](const Lease&, Group& group) { group.rollouts[0].reward = 0.5f; });
  party.Join(5, "validator");
  const RunSummary hosted = party.Drive();

  // The run's id, and its weights, are those of a run without audits, sampled by one honest node.
  Recipe plain = recipe;
  plain.trust = TrustRecipe{};
  const auto local =
      LocalRun::Open(plain, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  const RunSummary honest = local->Drive().value();
  EXPECT_EQ(hosted.run_id, honest.run_id);
  EXPECT_EQ(ToHex(hosted.weight_hash), ToHex(honest.weight_hash));

  const Ledger& ledger = *party.host().ledger();
  if (std::getenv("WAGGLE_SAY") != nullptr) {
    const auto store = LedgerStore::Open((folder.path() / "hosted/ledger.db").string(),
                                         LedgerStore::Access::kRead, std::nullopt);
    for (const LogRecord& record : store.value()->Read(1, 10'000).value()) {
      const LedgerEntry entry = DecodeEntry(record.entry).value();
      fmt::print(stderr, "{} {} {} {}\n", entry.sequence, entry.at_ms, NameOf(entry.request.body),
                 ToHex(entry.request.author.value).substr(0, 6));
    }
  }
  const LedgerRun run{hosted.run_id};
  EXPECT_EQ(TotalOf(ledger.state()), ledger.state().supply);
  const auto validated = party.SummaryOf(5);
  ASSERT_TRUE(validated) << validated.error().what;
  EXPECT_GE(validated->validated.rejected, 1u);
  EXPECT_GE(validated->validated.accepted, 1u);
  EXPECT_GT(validated->earned.value, 0);
  EXPECT_GT(ledger.BalanceOf(KeyOf(2).id()).value + ledger.BalanceOf(KeyOf(3).id()).value, 0);
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
    EXPECT_EQ(Decide(*evidence, inputs, pool, KeyOf(1).id()).kind, Decision::Kind::kProved);
    ++files;
  }
  EXPECT_GE(files, 1);
}

// Newcomers are replayed before they are believed: what does not hold is never trained on.
TEST(AuditRun, NewcomersThatCheatNeverEnterTheWeights) {
  const TempFolder folder;
  Recipe recipe = SmallRecipe();
  recipe.trust.newcomer_groups = 1'000;
  Party party(folder, recipe);
  party.Join(2, "worker");
  party.Join(3, "worker", [](const Lease&, Group& group) {
    Rollout& rollout = group.rollouts[1];
    rollout.logps[0] *= 0.5f;
  });
  const RunSummary hosted = party.Drive();
  Recipe plain = recipe;
  plain.trust = TrustRecipe{};
  const auto local =
      LocalRun::Open(plain, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  EXPECT_EQ(ToHex(hosted.weight_hash), ToHex(local->Drive().value().weight_hash));
  EXPECT_GT(party.SummaryOf(3)->counts.rejected, 0u);
  EXPECT_EQ(party.SummaryOf(3)->counts.accepted, 0u);
}

}  // namespace
}  // namespace waggle
