// Delegated reinforcement learning in one process: the honest run is the product's own, and whoever
// departs from it anywhere is the one who loses.
#include "delegation/delegated_run.h"

#include "base/hex.h"
#include "base/test_source.h"
#include "delegation/step_spec.h"
#include "delegation/test_cheating_run.h"
#include "delegation/test_run.h"
#include "host/local_run.h"
#include "host/test_run.h"
#include "proofs/dispute/test_disputes.h"

namespace waggle {
namespace {

using testing_delegation::CheatingRun;
using testing_delegation::OpenRun;
using testing_delegation::RunLie;
using testing_delegation::TinyRun;
using testing_delegation::WriteRecipe;
using testing_dispute::CheapSigner;

class DelegatedRunTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    recipe_ = new Recipe(TinyRun(*folder_));
    file_ = WriteRecipe(*folder_, *recipe_);
    pool_ = new ThreadPool(1);
    honest_ = OpenRun(file_, folder_->path() / "alice", *pool_).release();
  }
  static void TearDownTestSuite() {
    delete honest_;
    delete pool_;
    delete recipe_;
    delete folder_;
  }

  // Both orders; the verdict of the first, where the honest one is b.
  static DisputeVerdict Against(Answerer& honest, Answerer& liar, RefereeStats* stats = nullptr) {
    DisputeVerdict first;
    for (const std::size_t side : {std::size_t{0}, std::size_t{1}}) {  // of the liar
      DisputeTerms terms;
      terms.program = honest.program();
      const CheapSigner signers[2] = {CheapSigner(1), CheapSigner(2)};
      terms.a = signers[0].id();
      terms.b = signers[1].id();
      const auto a = (side == 0 ? liar : honest).Side(terms, 0);
      const auto b = (side == 0 ? honest : liar).Side(terms, 1);
      auto referee = Referee::Open(terms, signers[0], 0, ReadRunGround);
      EXPECT_TRUE(referee) << referee.error().what;
      RunDispute(*referee, *a, *b, signers[0], signers[1]);
      const DisputeVerdict v = *referee->verdict();
      EXPECT_EQ(v.a_loses, side == 0) << ToString(v.reason) << " " << referee->Place();
      EXPECT_EQ(v.b_loses, side == 1) << ToString(v.reason) << " " << referee->Place();
      // The evidence says the same to somebody who was not there, and nothing to who cannot grade.
      const auto evidence = DecodeDisputeEvidence(Encode(referee->evidence()));
      EXPECT_TRUE(evidence);
      EXPECT_TRUE(CheckDisputeEvidence(*evidence, signers[0], ReadRunGround));
      EXPECT_FALSE(CheckDisputeEvidence(*evidence, signers[0]));
      if (side == 0) first = v;
      if (side == 0 && stats != nullptr) *stats = referee->stats();
    }
    return first;
  }
  static DisputeVerdict Caught(RunLie lie, std::uint64_t batch, std::uint64_t sequence = 0) {
    CheatingRun liar(honest_->work(), lie, batch, sequence);
    return Against(*honest_, liar);
  }

  static TempFolder* folder_;
  static Recipe* recipe_;
  static std::filesystem::path file_;
  static ThreadPool* pool_;
  static ReinforcedRun* honest_;
};
TempFolder* DelegatedRunTest::folder_ = nullptr;
Recipe* DelegatedRunTest::recipe_ = nullptr;
std::filesystem::path DelegatedRunTest::file_;
ThreadPool* DelegatedRunTest::pool_ = nullptr;
ReinforcedRun* DelegatedRunTest::honest_ = nullptr;

TEST_F(DelegatedRunTest, IsTheRunThatTheProductRuns) {
  const auto options = SmallRunOptions(folder_->path(), "product");
  auto product = LocalRun::Open(*recipe_, options, SystemClock());
  ASSERT_TRUE(product) << product.error().what;
  const auto summary = (*product)->Drive();
  ASSERT_TRUE(summary);
  const RunWork& work = honest_->work();
  EXPECT_EQ(summary->run_id, work.run.run->id);
  const auto trainer = Trainer::LoadCheckpoint(folder_->path() / "alice" / "checkpoints" / "step-3",
                                               work.base.config, work.numerics, work.recipe.trainer,
                                               BestOps(), *pool_);
  ASSERT_TRUE(trainer) << trainer.error().what;
  EXPECT_EQ(ToHex((*trainer)->StateHash()), ToHex(summary->weight_hash));
  EXPECT_EQ(StateRootOf(work.state, **trainer), honest_->records().back().state_out);
  // And the run that its graphs are: tokens, log-probs, states.
  CheatingRun graphs(work, RunLie::kNone, 0);
  EXPECT_EQ(graphs.responses(), honest_->responses());
  EXPECT_EQ(graphs.Commit().units, honest_->Commit().units);
  // It learns something, so that steps are worth lying about.
  for (const StepRecord& record : honest_->records()) EXPECT_NE(record.state_in, record.state_out);
}

TEST_F(DelegatedRunTest, GoesOnFromWhereverItWasKilled) {
  namespace fs = std::filesystem;
  const fs::path alice = folder_->path() / "alice", bob = folder_->path() / "bob";
  fs::copy(alice, bob, fs::copy_options::recursive);
  // In the middle of the third batch: half a response, half a record, an older checkpoint.
  fs::resize_file(bob / "responses.log", fs::file_size(bob / "responses.log") - 30);
  fs::resize_file(bob / "commitment.log", 2 * kStepRecordBytes + 7);
  fs::remove_all(bob / "checkpoints" / "step-3");
  ThreadPool two(2);
  EXPECT_EQ(OpenRun({}, bob, two)->Commit().units, honest_->Commit().units);
  // A step that was committed to and comes out otherwise is this machine's fault.
  fs::remove_all(bob / "checkpoints" / "step-3");
  fs::resize_file(bob / "responses.log", fs::file_size(bob / "responses.log") - 30);
  std::string log = *ReadFile(bob / "commitment.log", 1 << 20);
  log[2 * kStepRecordBytes + 100] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(bob / "commitment.log", log));
  const auto again = PrepareRun(bob, {}, {}, BestOps(), two, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().blame, Blame::kMachine);
}

TEST_F(DelegatedRunTest, LiesAboutAnswersAreFoundAtTheirToken) {
  for (const RunLie lie : {RunLie::kToken, RunLie::kLogProb}) {
    for (const std::uint64_t batch : {0, 2}) {
      const DisputeVerdict v = Caught(lie, batch, 5);
      EXPECT_EQ(v.reason, DisputeCase::kOutput);
      EXPECT_EQ(v.unit, 2 * batch);
      EXPECT_EQ(v.sequence, 5u);
      EXPECT_EQ(v.token, 0u);
    }
  }
  const DisputeVerdict v = Caught(RunLie::kWeights, 1);
  EXPECT_EQ(v.reason, DisputeCase::kResult);  // of the graph that it has to admit to
  EXPECT_EQ(v.unit, 2u);
}

TEST_F(DelegatedRunTest, AnotherStartIsFoundInTheFirstBatch) {
  const DisputeVerdict v = Caught(RunLie::kStart, 0);
  EXPECT_EQ(v.reason, DisputeCase::kState);
  EXPECT_EQ(v.unit, 0u);
}

TEST_F(DelegatedRunTest, LiesAboutStepsAreFoundInTheirStep) {
  const auto caught = [](RunLie lie, std::uint64_t batch) {
    const DisputeVerdict v = Caught(lie, batch);
    EXPECT_EQ(v.unit, 2 * batch + 1);
    return v.reason;
  };
  EXPECT_EQ(caught(RunLie::kGradient, 0), DisputeCase::kOutput);
  EXPECT_EQ(caught(RunLie::kGradient, 2), DisputeCase::kOutput);
  EXPECT_EQ(caught(RunLie::kSkip, 1), DisputeCase::kData);
  EXPECT_EQ(caught(RunLie::kTokens, 1), DisputeCase::kData);
  EXPECT_EQ(caught(RunLie::kReward, 2), DisputeCase::kData);
  EXPECT_EQ(caught(RunLie::kSecretReward, 2), DisputeCase::kInput);
  EXPECT_EQ(caught(RunLie::kIdle, 1), DisputeCase::kData);
}

// Batches in which every answer is worth the same move nothing: no step is taken, the optimizer's
// clock stands still, and whoever says otherwise about one is found there.
TEST_F(DelegatedRunTest, BatchesThatTeachNothing) {
  Recipe recipe = *recipe_;
  recipe.orchestrator.steps = 8;
  recipe.orchestrator.groups_per_step = 1;
  recipe.orchestrator.group_size = 2;
  recipe.checkpoint_every = 8;
  recipe.evaluation.tasks = 0;
  recipe.trainer.schedule.warmup_steps = 4;  // so that a step's number matters
  TempFolder folder;
  const auto run = OpenRun(WriteRecipe(folder, recipe), folder.path() / "alice", *pool_);
  auto product = LocalRun::Open(recipe, SmallRunOptions(folder.path(), "product"), SystemClock());
  ASSERT_TRUE(product) << product.error().what;
  const auto summary = (*product)->Drive();
  ASSERT_TRUE(summary);
  const auto trainer = Trainer::LoadCheckpoint(folder.path() / "alice" / "checkpoints" / "step-8",
                                               run->work().base.config, run->work().numerics,
                                               recipe.trainer, BestOps(), *pool_);
  ASSERT_TRUE(trainer) << trainer.error().what;
  EXPECT_EQ(ToHex((*trainer)->StateHash()), ToHex(summary->weight_hash));
  std::optional<std::uint64_t> idle, later;
  for (std::uint64_t b = 0; b < 8; ++b) {
    const StepRecord& record = run->records()[b];
    const bool moved = record.state_in != record.state_out;
    if (!moved && !idle) idle = b;
    if (moved && idle) later = b;
  }
  ASSERT_TRUE(idle && later) << "batches of both kinds";
  EXPECT_LT(run->records()[*later].step, *later);
  CheatingRun moved(run->work(), RunLie::kMoved, *idle);
  DisputeVerdict v = Against(*run, moved);
  EXPECT_EQ(v.reason, DisputeCase::kResult);
  EXPECT_EQ(v.unit, 2 * *idle + 1);
  CheatingRun gradient(run->work(), RunLie::kGradient, *later);
  v = Against(*run, gradient);
  EXPECT_EQ(v.reason, DisputeCase::kOutput);
  EXPECT_EQ(v.unit, 2 * *later + 1);
  CheatingRun token(run->work(), RunLie::kLogProb, *later);
  v = Against(*run, token);
  EXPECT_EQ(v.reason, DisputeCase::kOutput);
  EXPECT_EQ(v.unit, 2 * *later);
}

TEST_F(DelegatedRunTest, SoUnderOtherSettings) {
  const std::vector<std::vector<std::string>> settings = {
      {"model.weights=bf16", "model.kv=bf16", "trainer.clip=0"},
      {"trainer.algorithm.aggregation=const", "trainer.algorithm.length_max=12",
       "trainer.algorithm.advantage.kind=loo", "sampling.top_p=0.8", "sampling.temperature=0.7"},
      {"trainer.algorithm.ratio=seq_geo", "trainer.algorithm.ratio_to=behaviour",
       "orchestrator.reward=random"},
      {"trainer.algorithm.rule=cispo", "trainer.algorithm.advantage.kind=group_std",
       "environment.length.targets=2,3", "trainer.optimizer.weight_decay=0.1"},
  };
  for (const auto& overrides : settings) {
    SCOPED_TRACE(overrides.front());
    TempFolder folder;
    std::vector<std::string> all = overrides;
    all.push_back("orchestrator.steps=2");
    const auto run = OpenRun(file_, folder.path() / "alice", *pool_, all);
    CheatingRun graphs(run->work(), RunLie::kNone, 0);
    EXPECT_EQ(graphs.Commit().units, run->Commit().units);
    CheatingRun gradient(run->work(), RunLie::kGradient, 1);
    EXPECT_EQ(Against(*run, gradient).unit, 3u);
    CheatingRun bit(run->work(), RunLie::kLogProb, 1, 3);
    EXPECT_EQ(Against(*run, bit).reason, DisputeCase::kOutput);
  }
}

// Somebody who has the records right and says something else when it is asked for what they stand
// for. Only a is asked, so as b it is never caught, nor does it harm anybody.
class Forging : public DisputeParty {
 public:
  Forging(std::unique_ptr<DisputeParty> inner, RequestKind kind, int way)
      : inner_(std::move(inner)), kind_(kind), way_(way) {}
  std::optional<DisputeReply> Answer(const DisputeRequest& request) override {
    auto reply = inner_->Answer(request);
    if (!reply || request.kind != kind_) return reply;
    if (kind_ == RequestKind::kBatch) {
      if (way_ == 0) reply->words[1] ^= 1;           // another token
      if (way_ == 1) reply->words.pop_back();        // cut short
      if (way_ == 2) reply->words[0] = 0xffffffffu;  // more tokens than there are
      if (way_ == 3) reply->words.clear();
    } else {
      Bytes& at = way_ == 0 ? reply->record : way_ == 1 ? reply->extra : reply->proof;
      if (way_ == 3 || at.empty())
        *reply = {.dispute = reply->dispute, .round = reply->round, .party = reply->party};
      else
        at[at.size() / 2] ^= 1;
    }
    return reply;
  }

 private:
  std::unique_ptr<DisputeParty> inner_;
  const RequestKind kind_;
  const int way_;
};

TEST_F(DelegatedRunTest, WhatDoesNotHashCostsWhoSaysIt) {
  CheatingRun liar(honest_->work(), RunLie::kGradient, 1);
  const CheapSigner signers[2] = {CheapSigner(1), CheapSigner(2)};
  DisputeTerms terms;
  terms.program = honest_->program();
  terms.a = signers[0].id();
  terms.b = signers[1].id();
  for (const RequestKind kind :
       {RequestKind::kGround, RequestKind::kBatch, RequestKind::kDescription}) {
    for (int way = 0; way < 4; ++way) {
      Forging a(liar.Side(terms, 0), kind, way);
      const auto b = honest_->Side(terms, 1);
      auto referee = Referee::Open(terms, signers[0], 0, ReadRunGround);
      RunDispute(*referee, a, *b, signers[0], signers[1]);
      EXPECT_EQ(referee->verdict()->reason, DisputeCase::kInconsistent) << ToString(kind) << way;
      EXPECT_TRUE(referee->verdict()->a_loses);
      EXPECT_FALSE(referee->verdict()->b_loses);
    }
  }
}

TEST_F(DelegatedRunTest, RefusesWhatCannotBeDisputed) {
  const std::pair<const char*, const char*> refused[] = {
      {"warmup.steps=1", "warmup.steps"},
      {"orchestrator.ahead=1", "orchestrator.ahead"},
      {"orchestrator.drop_uniform=true", "drop_uniform"},
      {"orchestrator.difficulty.tasks=8", "difficulty.tasks"},
      {"trainer.passes=2", "trainer.passes"},
      {"trainer.updates_per_batch=2", "updates_per_batch"},
      {"trainer.lora.rank=2", "adapters"},
      {"trainer.optimizer.kind=muon", "Muon"},
      {"trainer.rounding=stochastic", "rounding"},
      {"trainer.algorithm.kl.mode=loss", "kl.mode"},
      {"trainer.algorithm.entropy_bonus=0.1", "entropies"},
      {"trainer.algorithm.advantage.kind=gae", "critics"},
      {"model.weights=int8", "disputes do not know"},
      {"environment.name=tool-demo", "tool-demo"},
      {"sampling.tokens_max=63", "positions"},
      {"orchestrator.groups_per_step=2048", "past the limits"},
      {"orchestrator.steps=1000000", "at most"},
      {"model.path=", "model.path"},
      {"environment.settings=length_min=1,length_max=1,alphabet=0", "hold some out"},
  };
  for (const auto& [setting, words] : refused) {
    const auto program = ReadDelegatedProgram(file_, {setting});
    ASSERT_FALSE(program) << setting;
    EXPECT_EQ(program.error().blame, Blame::kOperator) << setting;
    EXPECT_NE(program.error().what.find(words), std::string::npos)
        << setting << ": " << program.error().what;
  }
  // A recipe says the program, wherever its weights lie; other weights are another one.
  const auto program = ReadDelegatedProgram(file_, {});
  ASSERT_TRUE(program);
  EXPECT_EQ(*program, honest_->program());
}

// Descriptions and responses come from strangers' files: whatever they are, there is an answer.
TEST_F(DelegatedRunTest, NoDescriptionAndNoBatchBringTheGraderDown) {
  const RunWork& work = honest_->work();
  const auto responses = work.BatchIn(honest_->responses(), 0);
  std::size_t read = 0;
  for (std::size_t i = 0; i < work.description.size(); i += 7) {
    Bytes changed = work.description;
    changed[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    const auto ground = ReadRunGround(work.run, changed);
    if (!ground) continue;
    ++read;
    (void)(*ground)->Inputs(0, 0, responses);
  }
  EXPECT_LT(read, work.description.size() / 14);  // most are none
  const auto refused = [&](const auto& change) {
    RolloutClaims claims(responses.begin(), responses.end());
    change(claims);
    const auto inputs = work.ground->Inputs(0, 0, claims);
    return !inputs && inputs.error().blame == Blame::kPeer;
  };
  EXPECT_FALSE(refused([](RolloutClaims&) {}));
  EXPECT_TRUE(refused([](RolloutClaims& c) { c[2][0].token = -5; }));
  EXPECT_TRUE(refused([](RolloutClaims& c) { c[2][0].token = 1 << 20; }));
  EXPECT_TRUE(refused([](RolloutClaims& c) { c[2][0].logp = 0x7fc00000; }));
  EXPECT_TRUE(refused([](RolloutClaims& c) { c[2][0].logp = 0x3f800000; }));
  EXPECT_TRUE(refused([](RolloutClaims& c) { c[2].resize(1), c[2][0].token = 3; }));
  EXPECT_FALSE(work.ground->Inputs(0, 7, responses));  // more steps than batches
}

// Evidence of another machine, of recipes/verde/run.toml: an answer, and rewards that were turned
// round in secret. Seeds of the fuzzer too.
TEST(DelegatedRunEvidence, IsDecidedAsItWas) {
  for (const auto& [name, where] : {std::pair("run_token", "batch 3, sequence 9, token 0, node 33"),
                                    std::pair("run_step", "step 4, node 35: logprob_grad")}) {
    const std::string text =
        ReadFile(TestSource() / "tests/fuzz/corpus/dispute_evidence" / name, 1 << 20).value();
    const auto evidence =
        DecodeDisputeEvidence({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    ASSERT_TRUE(evidence) << evidence.error().what;
    const KeyPair judge = KeyPair::Generate();
    const auto referee = ReplayDispute(*evidence, judge, ReadRunGround);
    ASSERT_TRUE(referee) << referee.error().what;
    EXPECT_TRUE(referee->Place().starts_with(where)) << referee->Place();
    // Who changes an answer, or the description, in it convinces nobody.
    DisputeEvidence changed = *evidence;
    Bytes& body = changed.entries[changed.entries.size() / 2].body;
    body[body.size() / 2] ^= 1;
    EXPECT_FALSE(CheckDisputeEvidence(changed, judge, ReadRunGround));
  }
}

TEST_F(DelegatedRunTest, TermsThatAreNoneAreRefused) {
  const CheapSigner signers[2] = {CheapSigner(1), CheapSigner(2)};
  DisputeTerms terms;
  terms.a = signers[0].id();
  terms.b = signers[1].id();
  const auto refused = [&](const auto& change) {
    terms.program = honest_->program();
    change(terms.program);
    return !Referee::Open(terms, signers[0], 0, ReadRunGround).has_value();
  };
  EXPECT_FALSE(refused([](RunProgram&) {}));
  EXPECT_TRUE(refused([](RunProgram& p) { p.run.reset(); }));
  EXPECT_TRUE(refused([](RunProgram& p) { ++p.units; }));
  EXPECT_TRUE(refused([](RunProgram& p) { p.group = 4097; }));
  EXPECT_TRUE(refused([](RunProgram& p) { p.tokens_max = 1u << 16; }));
  EXPECT_TRUE(refused([](RunProgram& p) { p.kind = DisputeKind::kTraining; }));
  terms.program = honest_->program();
  EXPECT_FALSE(Referee::Open(terms, signers[0], 0));  // nobody to read descriptions
}

}  // namespace
}  // namespace waggle
