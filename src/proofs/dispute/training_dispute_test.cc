// Disputes about training steps.
#include "proofs/dispute/training_party.h"

#include "proofs/dispute/test_disputes.h"
#include "proofs/dispute/test_steps.h"

namespace waggle {
namespace {

using testing_dispute::CheapSigner;
using testing_dispute::StepCase;

// A run of a few steps on one small model, every state kept.
class TrainingGame {
 public:
  static constexpr std::uint64_t kSteps = 4;

  TrainingGame() : pool_(1), signers_{CheapSigner(1), CheapSigner(2)} {
    ModelConfig config = testing_dispute::TinyConfig();
    config.hidden = 40;
    StepCase first(config, {}, {9, 5}, 0.7f, true);
    terms_.program = first.run;
    RunProgram& p = terms_.program;
    p.config = WriteModelConfig(config, "float32");
    p.units = kSteps;
    terms_.a = signers_[0].id();
    terms_.b = signers_[1].id();
    model_ = *ModelOf(p);
    for (std::uint64_t s = 0; s < kSteps; ++s) {
      const StepCase step(config, {}, {9 - s, 5 + s}, 0.7f, true);
      specs_.push_back(step.spec);
      specs_.back().lr ^= static_cast<std::uint32_t>(s);
      data_.push_back(step.data);
    }
    p.data = SpecRoot(specs_);
    StepState start{first.state[0], first.state[1], first.state[2], data_[0]};
    p.state = StateRoot(RecordsOf(StateOf(config, {}), start, 0));
    honest_ = Run(kSteps, {}, start);
  }

  struct History {
    std::vector<StepState> states;
    std::vector<StepRecord> records;
  };

  // The whole run, with lies at one step (kSteps: none).
  History Run(std::uint64_t at, const Lies& lies, StepState state) {
    History history;
    history.states.reserve(kSteps);
    for (std::uint64_t s = 0; s < kSteps; ++s) {
      state.data = data_[s];
      history.states.push_back(state);
      StepOutcome outcome =
          ExecuteStep(terms_.program, model_, specs_[s], s, history.states[s], BestOps(), pool_,
                      1u << 30, s == at ? lies : Lies{});
      history.records.push_back(outcome.record);
      const Program& p = outcome.graph->program();
      for (std::size_t i = 0; i < p.state.size(); ++i) {
        state.w[i] = outcome.graph->execution().Tensor(p.results[i * 3]);
        state.m[i] = outcome.graph->execution().Tensor(p.results[i * 3 + 1]);
        state.v[i] = outcome.graph->execution().Tensor(p.results[i * 3 + 2]);
      }
    }
    return history;
  }

  struct Party {
    std::unique_ptr<History> history;
    std::unique_ptr<TrainingParty> party;
  };
  Party Make(std::uint8_t side, std::uint64_t at, const Lies& lies) {
    Party made;
    made.history = std::make_unique<History>(
        at == kSteps ? honest_ : Run(at, lies, honest_.states[0]));
    const History* history = made.history.get();
    made.party = std::make_unique<TrainingParty>(
        terms_, side,
        TrainingParty::Setting{
            specs_, [history](std::uint64_t s) -> const StepState& { return history->states[s]; },
            BestOps(), pool_},
        history->records, lies);
    return made;
  }
  Party Honest(std::uint8_t side) { return Make(side, kSteps, {}); }

  DisputeVerdict Play(DisputeParty& a, DisputeParty& b) {
    auto referee = Referee::Open(terms_, signers_[0], {}, 0);
    EXPECT_TRUE(referee.has_value());
    RunDispute(*referee, a, b, signers_[0], signers_[1]);
    EXPECT_TRUE(CheckDisputeEvidence(referee->evidence(), signers_[0]));
    return *referee->verdict();
  }
  DisputeVerdict AgainstHonest(std::uint8_t side, std::uint64_t at, const Lies& lies) {
    const Party liar = Make(side, at, lies), honest = Honest(side ^ 1);
    const DisputeVerdict v = side == 0 ? Play(*liar.party, *honest.party)
                                       : Play(*honest.party, *liar.party);
    EXPECT_EQ(v.a_loses, side == 0);
    EXPECT_EQ(v.b_loses, side == 1);
    return v;
  }
  const Program& program() {
    if (!program_) program_ = *StepProgramOf(terms_.program, model_, specs_[2]);
    return *program_;
  }

 private:
  ThreadPool pool_;
  CheapSigner signers_[2];
  DisputeTerms terms_;
  RunModel model_;
  std::vector<StepSpec> specs_;
  std::vector<std::vector<HostTensor>> data_;
  History honest_;
  std::optional<Program> program_;
};

TrainingGame& Game() {
  static TrainingGame game;
  return game;
}

// One wrong bit in one output of a node of every kind of operation: step, node and liar are named.
TEST(TrainingDisputes, NameThePlantedTile) {
  const Program& program = Game().program();
  std::map<NodeOp, std::vector<std::uint32_t>> kinds;
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n)
    kinds[program.nodes[n].op].push_back(n);
  EXPECT_EQ(kinds.size(), kNodeOps - 3u);  // not: sampling, rounding, biases
  std::uint8_t side = 0;
  for (const auto& [op, nodes] : kinds) {
    const std::uint32_t node = nodes[nodes.size() / 2];
    for (std::uint8_t slot = 0; slot < program.nodes[node].outputs.size(); ++slot) {
      const TensorType& type = program.nodes[node].outputs[slot];
      const std::uint64_t tile = TilesOf(type) - 1;
      side ^= 1;
      const DisputeVerdict v = Game().AgainstHonest(
          side, 2,
          testing_dispute::RolloutGame::WrongBit(node, slot, type.elements() - 1, 1));
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
  EXPECT_EQ(against(2, {.records = [=](std::vector<NodeRecord>& r) {
              r[adamw].inputs[2].root[0] ^= 1;  // v of the last tensor
            }}),
            DisputeCase::kInput);
  // Gradients of another sample's tokens.
  EXPECT_EQ(against(3, {.outputs = [](std::uint32_t n, std::vector<HostTensor>& out) {
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

}  // namespace
}  // namespace waggle
