#include "proofs/dispute/referee.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "proofs/dispute/test_disputes.h"

namespace waggle {
namespace {

using testing_dispute::CheapSigner;
using testing_dispute::Meddler;
using testing_dispute::RolloutGame;

RolloutGame& Game() {
  static RolloutGame game;
  return game;
}

// One wrong bit in the first, a middle and the last tile of every output of every node, by either
// side: the referee names node, slot, tile and liar.
TEST(Referee, NamesThePlantedTile) {
  RolloutGame& game = Game();
  const std::size_t sequence = 3;
  const std::uint32_t token = 2;
  const Program program = game.ProgramAt(sequence, token);
  std::uint8_t side = 0;
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n) {
    for (std::uint8_t slot = 0; slot < program.nodes[n].outputs.size(); ++slot) {
      const TensorType& type = program.nodes[n].outputs[slot];
      for (const std::uint64_t tile : {std::uint64_t{0}, TilesOf(type) - 1}) {
        const TileRect rect = RectOf(type, tile);
        const std::uint64_t element =
            (rect.row + rect.rows - 1) * type.cols() + rect.col + rect.cols - 1;
        side ^= 1;
        const auto liar = game.Liar(side, sequence, token, game.WrongBit(n, slot, element));
        const auto honest = game.Honest(side ^ 1);
        const DisputeVerdict v = side == 0 ? game.Play(*liar, *honest) : game.Play(*honest, *liar);
        EXPECT_EQ(v.reason, DisputeCase::kOutput) << Describe(program, n);
        EXPECT_EQ(v.a_loses, side == 0) << Describe(program, n);
        EXPECT_EQ(v.b_loses, side == 1) << Describe(program, n);
        EXPECT_EQ(v.unit, 1u);
        EXPECT_EQ(v.sequence, 1u);
        EXPECT_EQ(v.token, token);
        EXPECT_EQ(v.node, n);
        EXPECT_EQ(v.slot, slot);
        EXPECT_EQ(v.tile, tile);
      }
    }
  }
}

std::uint32_t FirstNode(const Program& program, NodeOp op) {
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n)
    if (program.nodes[n].op == op) return n;
  return 0;
}

DisputeVerdict AgainstHonest(Lies lies, std::size_t sequence = 0, std::uint32_t token = 1) {
  const auto liar = Game().Liar(0, sequence, token, std::move(lies));
  const auto honest = Game().Honest(1);
  const DisputeVerdict v = Game().Play(*liar, *honest);
  EXPECT_TRUE(v.a_loses);
  EXPECT_FALSE(v.b_loses);
  return v;
}

TEST(Referee, DroppedOperation) {
  const std::uint32_t rope = FirstNode(Game().ProgramAt(0, 1), NodeOp::kRope);
  // q_norm's output stands in for the rotated q.
  const std::uint32_t source = Game().ProgramAt(0, 1).nodes[rope].inputs[0].index;
  auto kept = std::make_shared<HostTensor>();
  Lies lies;
  lies.outputs = [=](std::uint32_t n, std::vector<HostTensor>& out) {
    if (n == source) *kept = out[0];
    if (n == rope) out[0] = *kept;
  };
  const DisputeVerdict v = AgainstHonest(lies);
  EXPECT_EQ(v.reason, DisputeCase::kOutput);
  EXPECT_EQ(v.node, rope);
}

// Another graph, openly: another template. Secretly: the first node that is wired otherwise.
TEST(Referee, AnotherGraph) {
  const Program program = Game().ProgramAt(0, 1);
  const std::uint32_t swiglu = FirstNode(program, NodeOp::kSwiGlu);
  const std::uint32_t norm = FirstNode(program, NodeOp::kNorm);
  const std::vector<std::pair<std::uint32_t, std::function<void(Program&)>>> changes = {
      {swiglu,
       [=](Program& p) { std::swap(p.nodes[swiglu].inputs[0], p.nodes[swiglu].inputs[1]); }},
      {norm,
       [=](Program& p) {
         p.nodes[norm].inputs[1] = {Source::kState, p.StateIndex("model.norm.weight"), 0};
       }},
      {norm, [=](Program& p) { p.nodes[norm].attributes[1] ^= 1; }},
      {swiglu, [=](Program& p) { p.nodes[swiglu].op = NodeOp::kAdd; }}};
  for (const auto& [node, change] : changes) {
    EXPECT_EQ(AgainstHonest({.program = change}).reason, DisputeCase::kTemplate);
    const Digest256 honest = TemplateHash(program);
    const DisputeVerdict v = AgainstHonest(
        {.step = [=](StepRecord& step) { step.program = honest; }, .program = change});
    EXPECT_EQ(v.reason, DisputeCase::kWiring);
    EXPECT_EQ(v.node, node);
  }
}

// Records that name another root for an input than the one that it has.
TEST(Referee, WrongInputRoots) {
  const Program program = Game().ProgramAt(0, 1);
  std::set<Source> seen;
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n) {
    for (std::size_t i = 0; i < program.nodes[n].inputs.size(); ++i) {
      seen.insert(program.nodes[n].inputs[i].source);
      const auto liar = Game().Liar(1, 0, 1, {.records = [=](std::vector<NodeRecord>& records) {
                                      records[n].inputs[i].root[3] ^= 8;
                                    }});
      const auto honest = Game().Honest(0);
      const DisputeVerdict v = Game().Play(*honest, *liar);
      EXPECT_EQ(v.reason, DisputeCase::kInput);
      EXPECT_EQ(v.node, n);
      EXPECT_TRUE(v.b_loses && !v.a_loses);
    }
  }
  EXPECT_EQ(seen.size(), 4u);  // state, data, nodes, constants
}

TEST(Referee, OtherWeights) {
  RolloutGame& game = Game();
  PolicyState other = game.policy();
  std::vector<HostTensor> tensors = other.tensors;
  tensors[4].SetCell(5, tensors[4].Cell(5) ^ 1);
  const auto entries = StateOf(game.model().config, game.model().numerics);
  other = PolicyState::Of(entries, std::move(tensors));
  const auto honest = game.Honest(1);
  EXPECT_EQ(game.Play(*game.Liar(0, 0, 1, {}, &other), *honest).reason, DisputeCase::kState);
  const Digest256 root = game.policy().root;
  const DisputeVerdict v = game.Play(
      *game.Liar(0, 0, 1, {.step = [=](StepRecord& s) { s.state_in = root; }}, &other), *honest);
  EXPECT_EQ(v.reason, DisputeCase::kInconsistent);  // asked for the proof, it has none
  EXPECT_TRUE(v.a_loses && !v.b_loses);
  const auto as_a = game.Honest(0);
  const DisputeVerdict w = game.Play(
      *as_a, *game.Liar(1, 0, 1, {.step = [=](StepRecord& s) { s.state_in = root; }}, &other));
  EXPECT_EQ(w.reason, DisputeCase::kInput);
  EXPECT_TRUE(w.b_loses && !w.a_loses);
}

TEST(Referee, WrongDataAndResult) {
  EXPECT_EQ(AgainstHonest({.step = [](StepRecord& s) { s.data[0] ^= 1; }}).reason,
            DisputeCase::kData);
  EXPECT_EQ(AgainstHonest({.step = [](StepRecord& s) { s.state_out[0] ^= 1; }}).reason,
            DisputeCase::kResult);
  // A true graph under a false claim.
  RolloutGame& game = Game();
  RolloutClaims claims = game.honest_claims();
  claims[2][0].logp ^= 1;
  RolloutParty liar(game.terms(), 0, game.Setting(), std::make_shared<const RolloutClaims>(claims));
  const auto honest = game.Honest(1);
  const DisputeVerdict v = game.Play(liar, *honest);
  EXPECT_EQ(v.reason, DisputeCase::kResult);
  EXPECT_TRUE(v.a_loses && !v.b_loses);
}

TEST(Referee, ResponsesEndWhenTheyEnd) {
  RolloutGame& game = Game();
  for (const bool longer : {true, false}) {
    RolloutClaims claims = game.honest_claims();
    std::vector<TokenRecord>& claim = claims[1];  // budget 4 of 5
    const auto n = static_cast<std::uint32_t>(claim.size());
    if (longer)
      claim.push_back({n, 3, 0});
    else
      claim.pop_back();
    for (const std::uint8_t side : {0, 1}) {
      RolloutParty liar(game.terms(), side, game.Setting(),
                        std::make_shared<const RolloutClaims>(claims));
      const auto honest = game.Honest(side ^ 1);
      const DisputeVerdict v = side == 0 ? game.Play(liar, *honest) : game.Play(*honest, liar);
      EXPECT_EQ(v.reason, DisputeCase::kPresence);
      EXPECT_EQ(v.a_loses, side == 0);
      EXPECT_EQ(v.b_loses, side == 1);
    }
  }
}

TEST(Referee, EqualClaimsAreNoDispute) {
  const auto a = Game().Honest(0), b = Game().Honest(1);
  const DisputeVerdict v = Game().Play(*a, *b);
  EXPECT_EQ(v.reason, DisputeCase::kNoDispute);
  EXPECT_FALSE(v.a_loses || v.b_loses);
}

TEST(Referee, BothWrongBothLose) {
  const std::uint32_t gemm = FirstNode(Game().ProgramAt(0, 1), NodeOp::kGemm);
  const auto a = Game().Liar(0, 0, 1, RolloutGame::WrongBit(gemm, 0, 3 * 64, 27));
  const auto b = Game().Liar(1, 0, 1, RolloutGame::WrongBit(gemm, 0, 3 * 64, 30));
  const DisputeVerdict v = Game().Play(*a, *b);
  EXPECT_EQ(v.reason, DisputeCase::kOutput);
  EXPECT_TRUE(v.a_loses && v.b_loses);
}

// Whoever falls silent, or answers garbage, at whatever question of a dispute, loses it.
TEST(Referee, SilenceAndGarbageLoseAtEveryQuestion) {
  RolloutGame& game = Game();
  const std::uint32_t norm = FirstNode(game.ProgramAt(0, 1), NodeOp::kNorm);
  std::set<RequestKind> asked;
  for (std::uint32_t at = 1; at < 64; ++at) {
    bool reached = false;
    for (const bool silent : {true, false}) {
      const auto liar = game.Liar(0, 0, 1, RolloutGame::WrongBit(norm, 0, 2));
      const auto honest = game.Honest(1);
      Meddler meddler(*liar, [&](const DisputeRequest& request, DisputeReply& reply) {
        if (request.round != at) return true;
        reached = true;
        asked.insert(request.kind);
        for (Bytes* part : {&reply.record, &reply.hashes})
          if (!part->empty()) part->back() ^= 1;
        for (TileReply& tile : reply.tiles) tile.bytes.back() ^= 1;
        return !silent;
      });
      const DisputeVerdict v = game.Play(meddler, *honest);
      EXPECT_TRUE(v.a_loses);
      EXPECT_FALSE(v.b_loses);
      if (!reached) continue;
      if (silent) {
        EXPECT_EQ(v.reason, DisputeCase::kSilent);
      } else {
        EXPECT_TRUE(v.reason == DisputeCase::kInconsistent || v.reason == DisputeCase::kProgram ||
                    v.reason == DisputeCase::kResult)
            << ToString(v.reason) << " at " << at;
      }
    }
    if (!reached) break;
  }
  EXPECT_GE(asked.size(), 7u);
}

TEST(Referee, BothSilentBothLose) {
  const auto a = Game().Honest(0), b = Game().Honest(1);
  const auto never = [](const DisputeRequest&, DisputeReply&) { return false; };
  Meddler ma(*a, never), mb(*b, never);
  const DisputeVerdict v = Game().Play(ma, mb);
  EXPECT_EQ(v.reason, DisputeCase::kSilent);
  EXPECT_TRUE(v.a_loses && v.b_loses);
}

TEST(Referee, DeadlinesAndExtensions) {
  RolloutGame& game = Game();
  const DisputeRules config;
  auto referee = Referee::Open(game.terms(), game.signer(0), 1000);
  ASSERT_TRUE(referee);
  const auto honest = game.Honest(1);
  const DisputeRequest to_a = referee->requests()[0], to_b = referee->requests()[1];
  EXPECT_EQ(to_a.deadline_ns, 1000 + config.hash_ns);
  ASSERT_TRUE(referee->Deliver(1001, Sign(game.signer(1), *honest->Answer(to_b))));
  std::int64_t deadline = to_a.deadline_ns;
  for (std::uint32_t i = 0; i < config.extensions; ++i) {
    DisputeReply more;
    more.dispute = to_a.dispute;
    more.round = to_a.round;
    more.extension = true;
    // Anybody can send this; only a's signature makes it a's.
    EXPECT_FALSE(referee->Deliver(2000, Sign(game.signer(1), more)));
    ASSERT_TRUE(referee->Deliver(2000, Sign(game.signer(0), more)));
    deadline += config.hash_ns;
    EXPECT_EQ(referee->requests()[0].deadline_ns, deadline);
    if (i + 1 == config.extensions) {
      EXPECT_FALSE(referee->Deliver(2000, Sign(game.signer(0), more)));
    }
  }
  referee->Tick(deadline);
  EXPECT_FALSE(referee->verdict());
  referee->Tick(deadline + 1);
  ASSERT_TRUE(referee->verdict());
  EXPECT_EQ(referee->verdict()->reason, DisputeCase::kSilent);
  EXPECT_TRUE(referee->verdict()->a_loses && !referee->verdict()->b_loses);
  EXPECT_TRUE(CheckDisputeEvidence(referee->evidence(), game.signer(0)));
}

TEST(Referee, StrangersAndRepeatsChangeNothing) {
  RolloutGame& game = Game();
  auto referee = Referee::Open(game.terms(), game.signer(0), 0);
  ASSERT_TRUE(referee);
  const auto a = game.Honest(0);
  const DisputeRequest request = referee->requests()[0];
  const DisputeReply good = *a->Answer(request);
  DisputeReply other_dispute = good, other_round = good, other_party = good;
  other_dispute.dispute[0] ^= 1;
  ++other_round.round;
  other_party.party = 7;
  SignedReply cut = Sign(game.signer(0), good);
  cut.body.pop_back();
  EXPECT_FALSE(referee->Deliver(1, Sign(game.signer(0), other_dispute)));
  EXPECT_FALSE(referee->Deliver(1, Sign(game.signer(0), other_round)));
  EXPECT_FALSE(referee->Deliver(1, Sign(game.signer(0), other_party)));
  EXPECT_FALSE(referee->Deliver(1, Sign(game.signer(1), good)));
  EXPECT_FALSE(referee->Deliver(1, cut));
  EXPECT_EQ(referee->requests().size(), 2u);
  EXPECT_TRUE(referee->Deliver(1, Sign(game.signer(0), good)));
  EXPECT_FALSE(referee->Deliver(1, Sign(game.signer(0), good)));
  EXPECT_EQ(referee->requests().size(), 1u);
}

// A referee that asks for what does not exist gets nothing, and breaks nobody.
TEST(DisputeParties, SurviveAnyRequest) {
  const auto party = Game().Honest(0);
  Rng rng(5);
  const auto any = [&](std::uint32_t usual) {
    return rng.Below(4) == 0 ? rng.NextU32() : rng.Below(usual);
  };
  for (int i = 0; i < 3000; ++i) {
    DisputeRequest r;
    r.kind = static_cast<RequestKind>(rng.Below(10));
    r.tree = static_cast<DisputeTree>(rng.Below(6));
    r.unit = any(RolloutGame::kBatches);
    r.sequence = any(RolloutGame::kGroup);
    r.token = rng.Below(8) == 0 ? any(5) : 1;  // another token is another execution
    r.node = any(22);
    r.slot = static_cast<std::uint8_t>(any(2));
    r.tile = any(3);
    r.level = static_cast<std::uint8_t>(any(6));
    r.steps = static_cast<std::uint8_t>(any(4));
    r.index = any(22);
    const auto read = DecodeRefereeRequest(Encode(r));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, r);
    (void)party->Answer(*read);
  }
}

// Evidence that was touched anywhere is none.
TEST(DisputeEvidences, AnyChangeIsFound) {
  RolloutGame& game = Game();
  const auto liar = game.Liar(0, 0, 1, RolloutGame::WrongBit(4, 0, 0));
  const auto honest = game.Honest(1);
  DisputeEvidence evidence;
  game.Play(*liar, *honest, nullptr, &evidence);
  const Bytes bytes = Encode(evidence);
  EXPECT_LT(bytes.size(), 200000u);
  ASSERT_TRUE(CheckDisputeEvidence(evidence, game.signer(0)));
  Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    Bytes touched = bytes;
    touched[rng.Below(static_cast<std::uint32_t>(bytes.size()))] ^=
        static_cast<std::uint8_t>(1 + rng.Below(255));
    const auto read = DecodeDisputeEvidence(touched);
    if (!read) continue;
    const Status status = CheckDisputeEvidence(*read, game.signer(0));
    // Times of entries are the referee's word; all else is signed or computed.
    DisputeEvidence same = *read;
    for (std::size_t e = 0; e < same.entries.size() && e < evidence.entries.size(); ++e)
      same.entries[e].at_ns = evidence.entries[e].at_ns;
    same.opened_ns = evidence.opened_ns;
    if (Encode(same) != bytes) {
      EXPECT_FALSE(status) << i;
    } else if (!status) {
      EXPECT_EQ(status.error().blame, Blame::kPeer);
    }
  }
  evidence.verdict.b_loses = true;
  EXPECT_FALSE(CheckDisputeEvidence(evidence, game.signer(0)));
}

// Seeds of the fuzzer that no longer decode would search nothing.
TEST(DisputeEvidences, SeedsOfTheFuzzerLeadToTheirVerdicts) {
  const char* source = std::getenv("WAGGLE_SOURCE");
  if (source == nullptr) GTEST_SKIP() << "run by ctest, which says where the source is";
  int seeds = 0;
  for (const auto& file : std::filesystem::directory_iterator(
           std::filesystem::path(source) / "tests/fuzz/corpus/dispute_evidence")) {
    // Those of whole runs need a grader: delegated_run_test.cc.
    if (file.path().filename().string().starts_with("run_")) continue;
    std::ifstream stream(file.path(), std::ios::binary);
    const Bytes bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    const auto evidence = DecodeDisputeEvidence(bytes);
    ASSERT_TRUE(evidence) << file.path() << ": " << evidence.error().what;
    const Status status = CheckDisputeEvidence(*evidence, Game().signer(0));
    EXPECT_TRUE(status) << file.path() << ": " << status.error().what;
    ++seeds;
  }
  EXPECT_GE(seeds, 4);
}

}  // namespace
}  // namespace waggle
