// Disputes about training steps.
#include "proofs/dispute/test_training.h"
#include "proofs/dispute/training_party.h"

namespace waggle {
namespace {

using testing_dispute::TrainingGame;

TrainingGame& Game() {
  static TrainingGame game;
  return game;
}

TEST(TrainingDisputes, RandomGames) { testing_dispute::PlayRandomTrainingGames(1, 20); }

// One wrong bit in one output of a node of every kind of operation: step, node and liar are named.
TEST(TrainingDisputes, NameThePlantedTile) {
  const Program& program = Game().program();
  std::map<NodeOp, std::vector<std::uint32_t>> kinds;
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n) kinds[program.nodes[n].op].push_back(n);
  EXPECT_EQ(kinds.size(), kNodeOps - 3u);  // not: sampling, rounding, biases
  std::uint8_t side = 0;
  for (const auto& [op, nodes] : kinds) {
    const std::uint32_t node = nodes[nodes.size() / 2];
    for (std::uint8_t slot = 0; slot < program.nodes[node].outputs.size(); ++slot) {
      const TensorType& type = program.nodes[node].outputs[slot];
      const std::uint64_t tile = TilesOf(type) - 1;
      side ^= 1;
      const DisputeVerdict v = Game().AgainstHonest(
          side, 2, testing_dispute::RolloutGame::WrongBit(node, slot, type.elements() - 1, 1));
      EXPECT_EQ(v.reason, DisputeCase::kOutput) << Describe(program, node);
      EXPECT_EQ(v.unit, 2u);
      EXPECT_EQ(v.node, node) << Describe(program, node);
      EXPECT_EQ(v.slot, slot);
      EXPECT_EQ(v.tile, tile);
    }
  }
}

TEST(TrainingDisputes, OtherLies) {
  const auto against = [](std::uint64_t at, const Lies& lies) {
    return Game().AgainstHonest(1, at, lies).reason;
  };
  EXPECT_EQ(against(1, {.step = [](StepRecord& s) { s.data[1] ^= 1; }}), DisputeCase::kData);
  EXPECT_EQ(against(1, {.step = [](StepRecord& s) { s.state_in[1] ^= 1; }}), DisputeCase::kState);
  EXPECT_EQ(against(0, {.step = [](StepRecord& s) { s.state_in[1] ^= 1; }}), DisputeCase::kState);
  // Another learning rate: another template, and secretly another attribute.
  const auto adamw = static_cast<std::uint32_t>(Game().program().nodes.size() - 1);
  const auto lr = [=](Program& p) { p.nodes.back().attributes[0] ^= 1; };
  EXPECT_EQ(against(2, {.program = lr}), DisputeCase::kTemplate);
  const Digest256 honest = TemplateHash(Game().program());
  const DisputeVerdict v = Game().AgainstHonest(
      0, 2, {.step = [=](StepRecord& s) { s.program = honest; }, .program = lr});
  EXPECT_EQ(v.reason, DisputeCase::kWiring);
  EXPECT_EQ(v.node, adamw);
  EXPECT_EQ(against(2, {.records =
                            [=](std::vector<NodeRecord>& r) {
                              r[adamw].inputs[2].root[0] ^= 1;  // v of the last tensor
                            }}),
            DisputeCase::kInput);
  // Gradients of another sample's tokens.
  EXPECT_EQ(against(3, {.outputs =
                            [](std::uint32_t n, std::vector<HostTensor>& out) {
                              if (n == 0) out[0].SetCell(0, 0);
                            }}),
            DisputeCase::kOutput);
}

// A true graph whose claimed state is another: down to the tensor.
TEST(TrainingDisputes, StateThatTheGraphDoesNotLeave) {
  for (const std::uint8_t side : {0, 1}) {
    const auto liar = Game().Make(side, 2, {.step = [](StepRecord& s) { s.state_out[0] ^= 1; }});
    const auto honest = Game().Honest(side ^ 1);
    const DisputeVerdict v = side == 0 ? Game().Play(*liar.party, *honest.party)
                                       : Game().Play(*honest.party, *liar.party);
    // It cannot even name the tensors behind its root.
    EXPECT_EQ(v.reason, DisputeCase::kInconsistent);
    EXPECT_EQ(v.a_loses, side == 0);
    EXPECT_EQ(v.b_loses, side == 1);
    const DisputeVerdict w = Game().AgainstHonest(
        side, 2, {.after = [](std::vector<StateRecord>& records) { records[5].m[7] ^= 1; }});
    EXPECT_EQ(w.reason, DisputeCase::kResult);
    EXPECT_EQ(w.unit, 2u);
  }
}

// Signed replies full of what nobody asked for: the evidence still fits, the other side still gets
// its word, and whoever has used up its share is silent.
TEST(TrainingDisputes, PaddedReplies) {
  for (const std::uint8_t side : {0, 1}) {
    const auto liar = Game().Make(
        side, 1, {.after = [](std::vector<StateRecord>& records) { records[0].w[0] ^= 1; }});
    const auto honest = Game().Honest(side ^ 1);
    testing_dispute::Meddler padding(*liar.party, [](const DisputeRequest&, DisputeReply& reply) {
      reply.extra.resize(3 << 20);
      return true;
    });
    const DisputeVerdict v =
        side == 0 ? Game().Play(padding, *honest.party) : Game().Play(*honest.party, padding);
    EXPECT_EQ(v.reason, DisputeCase::kSilent);
    EXPECT_EQ(v.a_loses, side == 0);
    EXPECT_EQ(v.b_loses, side == 1);
  }
}

// Who commits to nodes, which nobody can know that soon, has committed to nothing.
TEST(TrainingDisputes, NodesInACommitment) {
  auto liar = Game().Honest(1);
  liar.history->records[1].nodes[0] = 1;
  const auto party = Game().With(1, *liar.history);
  const auto honest = Game().Honest(0);
  const DisputeVerdict v = Game().Play(*honest.party, *party);
  EXPECT_EQ(v.reason, DisputeCase::kInconsistent);
  EXPECT_TRUE(v.b_loses && !v.a_loses);
}

}  // namespace
}  // namespace waggle
