// Delegated rollouts over loopback: liars of every kind against honest samplers, and what the
// referee makes of them.
#include <bit>

#include "delegation/dispute_journal.h"
#include "delegation/referee_run.h"
#include "delegation/response_fetch.h"
#include "delegation/test_answering.h"
#include "delegation/test_rollouts.h"

namespace waggle {
namespace {

using testing_delegation::Answering;
using testing_delegation::OpenSampled;
using testing_delegation::TinyRollouts;
using Standing = RefereeReport::Standing;

// Claims what a test changed, and answers for it with a policy and lies of its own.
class Liar : public Answerer {
 public:
  explicit Liar(const SampledRun& honest) : honest_(honest), pool_(1), claims_(honest.responses()) {
    const RolloutWork& work = honest.work();
    policy_ =
        PolicyStateOf(StateOf(work.model.config, work.model.numerics), **OpenPolicy(work.recipe));
  }
  RolloutClaims& claims() { return claims_; }
  PolicyState& policy() { return policy_; }
  Lies lies;
  std::optional<RequestKind> silent_at;

  const RunProgram& program() const override { return honest_.program(); }
  RunCommit Commit() override {
    std::vector<Digest256> roots;
    for (const auto& claim : claims_) roots.push_back(TokenRoot(claim, program().tokens_max));
    return {BatchTree(program(), roots).root(), ProgramHash(program())};
  }
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override {
    return std::make_unique<Mute>(
        std::make_unique<RolloutParty>(terms, side,
                                       RolloutParty::Setting{.policy = [this] { return &policy_; },
                                                             .specs = honest_.work().specs,
                                                             .ops = BestOps(),
                                                             .pool = pool_},
                                       std::make_shared<const RolloutClaims>(claims_), lies),
        silent_at);
  }

 private:
  class Mute : public DisputeParty {
   public:
    Mute(std::unique_ptr<DisputeParty> inner, std::optional<RequestKind> at)
        : inner_(std::move(inner)), at_(at) {}
    std::optional<DisputeReply> Answer(const DisputeRequest& request) override {
      if (request.kind == at_) return std::nullopt;
      return inner_->Answer(request);
    }

   private:
    std::unique_ptr<DisputeParty> inner_;
    const std::optional<RequestKind> at_;
  };
  const SampledRun& honest_;
  ThreadPool pool_;
  RolloutClaims claims_;
  PolicyState policy_;
};

class RolloutRefereeTest : public testing::Test {
 protected:
  RolloutRefereeTest() : pool_(1), key_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{99})) {
    run_ = OpenSampled(TinyRollouts(folder_), Place("run"), pool_);
  }
  std::filesystem::path Place(const char* name) { return folder_.path() / name; }
  RefereeReport Judge(std::vector<RefereeOptions::Party> parties, std::int64_t deadline_ms = 0) {
    RefereeOptions options;
    options.parties = std::move(parties);
    options.program = run_->program();
    options.out = Place("out");
    if (deadline_ms > 0) {
      options.rules.hash_ns = options.rules.work_ns = deadline_ms * 1'000'000;
      options.rules.extensions = 0;
    }
    auto report = Arbitrate(options, key_, SystemClock());
    EXPECT_TRUE(report) << report.error().what;
    return std::move(*report);
  }
  // The liar against an honest one, on either side; the verdict of both, which is one.
  DisputeVerdict Caught(Liar& liar) {
    DisputeVerdict verdict;
    for (const bool first : {true, false}) {
      std::filesystem::remove_all(Place("out"));
      const Answering a(first ? static_cast<Answerer&>(liar) : *run_, 1, Place("a"));
      const Answering b(first ? static_cast<Answerer&>(*run_) : liar, 2, Place("b"));
      const RefereeReport report = Judge({a.Party("a"), b.Party("b")});
      EXPECT_EQ(report.parties[first ? 0 : 1].standing, Standing::kFell);
      EXPECT_EQ(report.parties[first ? 1 : 0].standing, Standing::kStands);
      EXPECT_EQ(report.answer, run_->Commit().units);
      EXPECT_EQ(report.disputes.size(), 1u);
      if (report.disputes.empty()) return verdict;
      verdict = report.disputes[0].verdict;
      EXPECT_EQ(verdict.a_loses, first);
      EXPECT_EQ(verdict.b_loses, !first);
      const auto evidence = ReadDisputeFile(report.disputes[0].evidence);
      EXPECT_TRUE(evidence && CheckDisputeEvidence(*evidence, key_));
    }
    return verdict;
  }
  void ExpectPlace(const DisputeVerdict& verdict, std::size_t sequence, std::uint32_t token) {
    EXPECT_EQ(verdict.unit, sequence / run_->program().group);
    EXPECT_EQ(verdict.sequence, sequence % run_->program().group);
    EXPECT_EQ(verdict.token, token);
  }

  TempFolder folder_;
  ThreadPool pool_;
  KeyPair key_;
  std::unique_ptr<SampledRun> run_;
};

TEST_F(RolloutRefereeTest, EqualAnswersAreAccepted) {
  const Answering a(*run_, 1, Place("a")), b(*run_, 2, Place("b"));
  const RefereeReport report = Judge({a.Party("a"), b.Party("b")});
  EXPECT_TRUE(report.disputes.empty());
  EXPECT_EQ(report.answer, run_->Commit().units);
}

TEST_F(RolloutRefereeTest, GivesWhatWasAcceptedAndNothingElse) {
  // A frame holds some of them: the rest is asked for.
  class Slices : public Liar {
   public:
    using Liar::Liar;
    Bytes Responses(std::uint64_t first) const override {
      Bytes bytes;
      for (std::uint64_t s = first; s < std::min<std::uint64_t>(first + 4, shown.size()); ++s)
        AppendResponse(shown[s], bytes);
      if (torn && !bytes.empty()) bytes.pop_back();
      return bytes;
    }
    RolloutClaims shown;
    bool torn = false;
  };
  Slices other(*run_);
  other.shown = run_->responses();
  const FetchOptions options{run_->program(), run_->Commit().units, 1'500'000'000, nullptr};
  const auto fetch = [&](const Answering& from) {
    return FetchResponses(from.Party("").invite, options, key_, SystemClock());
  };
  {
    const Answering a(*run_, 1, Place("a")), b(other, 2, Place("b"));
    EXPECT_EQ(fetch(a).value(), run_->responses());
    EXPECT_EQ(fetch(b).value(), run_->responses());
  }
  const auto refused = [&](const char* words) {
    const Answering b(other, 2, Place("b"));
    const auto got = fetch(b);
    ASSERT_FALSE(got) << words;
    EXPECT_EQ(got.error().blame, Blame::kPeer);
    EXPECT_NE(got.error().what.find(words), std::string::npos) << got.error().what;
  };
  other.shown[5][0].logp ^= 1;
  refused("not those that were committed to");
  other.shown = run_->responses();
  other.shown.pop_back();
  refused("does not give");
  other.torn = true;
  refused("no whole responses");
  other.torn = false;
  other.shown = run_->responses();
  other.shown.push_back(other.shown.back());
  refused("more responses");
}

TEST_F(RolloutRefereeTest, ALogProbOrATokenThatItsOwnGraphDoesNotGive) {
  Liar logp(*run_);
  logp.claims()[7][1].logp ^= 1;
  const DisputeVerdict bit = Caught(logp);
  EXPECT_EQ(bit.reason, DisputeCase::kResult);
  ExpectPlace(bit, 7, 1);
  Liar token(*run_);
  TokenId& id = token.claims()[4][0].token;
  id = (id + 1) % 12 + 1;
  const DisputeVerdict other = Caught(token);
  EXPECT_EQ(other.reason, DisputeCase::kResult);
  ExpectPlace(other, 4, 0);
}

TEST_F(RolloutRefereeTest, ALieInTheDrawItself) {
  Liar liar(*run_);
  liar.claims()[7][1].logp ^= 1;
  liar.lies.outputs = [](std::uint32_t, std::vector<HostTensor>& out) {
    if (out.size() == 2) out[1].SetCell(0, out[1].Cell(0) ^ 1);  // token and log-prob
  };
  const DisputeVerdict verdict = Caught(liar);
  EXPECT_EQ(verdict.reason, DisputeCase::kOutput);
  ExpectPlace(verdict, 7, 1);
}

TEST_F(RolloutRefereeTest, OtherWeightsUnderTheNamedRoot) {
  Liar liar(*run_);
  // It knows the records of the true weights, not the weights.
  for (HostTensor& tensor : liar.policy().tensors) {
    if (tensor.type.dims.size() < 2) continue;
    for (std::uint64_t i = 0; i < tensor.type.elements(); ++i)
      tensor.SetCell(i, std::bit_cast<std::uint32_t>(std::bit_cast<float>(tensor.Cell(i)) * 1.5f));
  }
  liar.claims()[0][0].logp ^= 0x1000;
  const DisputeVerdict verdict = Caught(liar);
  EXPECT_TRUE(verdict.reason == DisputeCase::kInput || verdict.reason == DisputeCase::kResult)
      << ToString(verdict.reason);
  ExpectPlace(verdict, 0, 0);
  // Under their own root they are not the client's policy.
  liar.policy().root[0] ^= 1;
  EXPECT_EQ(Caught(liar).reason, DisputeCase::kState);
}

TEST_F(RolloutRefereeTest, ResponsesEndWhenTheyEnd) {
  Liar liar(*run_);
  std::size_t longest = 0;
  for (std::size_t s = 0; s < liar.claims().size(); ++s)
    if (liar.claims()[s].size() > liar.claims()[longest].size()) longest = s;
  liar.claims()[longest].pop_back();
  const DisputeVerdict verdict = Caught(liar);
  EXPECT_EQ(verdict.reason, DisputeCase::kPresence);
  ExpectPlace(verdict, longest, static_cast<std::uint32_t>(liar.claims()[longest].size()));
}

TEST_F(RolloutRefereeTest, WhoIsSilentFallsAlone) {
  Liar liar(*run_);
  liar.claims()[7][1].logp ^= 1;
  liar.silent_at = RequestKind::kGraph;
  const Answering a(*run_, 1, Place("a")), b(liar, 2, Place("b"));
  const RefereeReport report = Judge({a.Party("a"), b.Party("b")}, 1'500);
  EXPECT_EQ(report.parties[1].standing, Standing::kSilent);
  EXPECT_EQ(report.parties[0].standing, Standing::kStands);
  EXPECT_EQ(report.answer, run_->Commit().units);
}

TEST_F(RolloutRefereeTest, MoreThanTwoAnswers) {
  Liar one(*run_), two(*run_);
  one.claims()[7][1].logp ^= 1;
  two.claims()[2][0].logp ^= 2;
  const Answering a(one, 1, Place("a")), b(two, 2, Place("b")), c(*run_, 3, Place("c")),
      d(*run_, 4, Place("d"));
  const RefereeReport report = Judge({a.Party("a"), b.Party("b"), c.Party("c"), d.Party("d")});
  EXPECT_EQ(report.answer, run_->Commit().units);
  EXPECT_EQ(report.parties[0].standing, Standing::kFell);
  EXPECT_EQ(report.parties[1].standing, Standing::kFell);
  EXPECT_EQ(report.parties[2].standing, Standing::kStands);
  EXPECT_EQ(report.parties[3].standing, Standing::kStands);
  EXPECT_LE(report.disputes.size(), 2u);
}

}  // namespace
}  // namespace waggle
