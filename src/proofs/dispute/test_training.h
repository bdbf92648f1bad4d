// A small training run, its honest party, and liars, for the tests of this folder.
#pragma once

#include "proofs/dispute/test_disputes.h"
#include "proofs/dispute/test_steps.h"
#include "proofs/dispute/training_party.h"

namespace waggle::testing_dispute {

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
      StepOutcome outcome = ExecuteStep(terms_.program, model_, specs_[s], s, history.states[s],
                                        BestOps(), pool_, 1u << 30, s == at ? lies : Lies{});
      history.records.push_back(outcome.record);
      history.records.back().nodes = {};  // nobody has them before a dispute
      TakeOver(outcome, state);
    }
    return history;
  }

  struct Party {
    std::unique_ptr<History> history;
    std::unique_ptr<TrainingParty> party;
    bool on_top = false;  // the lie alone changes no state: another one was put on top, at the end
  };
  Party Make(std::uint8_t side, std::uint64_t at, Lies lies) {
    Party made;
    made.history =
        std::make_unique<History>(at == kSteps ? honest_ : Run(at, lies, honest_.states[0]));
    if (at != kSteps && Encode(made.history->records[at]) == Encode(honest_.records[at])) {
      made.on_top = true;
      const auto last = static_cast<std::uint32_t>(
          StepProgramOf(terms_.program, model_, specs_[at])->nodes.size() - 1);
      lies.outputs = [inner = std::move(lies.outputs), last](std::uint32_t node,
                                                             std::vector<HostTensor>& out) {
        if (inner) inner(node, out);
        if (node == last) out[0].SetCell(0, out[0].Cell(0) ^ 1);
      };
      *made.history = Run(at, lies, honest_.states[0]);
    }
    made.party = With(side, *made.history, lies);
    return made;
  }
  // `history` outlives the party.
  std::unique_ptr<TrainingParty> With(std::uint8_t side, const History& history, Lies lies = {}) {
    return std::make_unique<TrainingParty>(
        terms_, side,
        TrainingParty::Setting{specs_, [this](std::uint64_t s) { return data_[s]; },
                               [&history](std::uint64_t s) { return &history.states[s]; },
                               BestOps(), pool_},
        history.records, std::move(lies));
  }
  Party Honest(std::uint8_t side) { return Make(side, kSteps, {}); }

  DisputeVerdict Play(DisputeParty& a, DisputeParty& b) {
    auto referee = Referee::Open(terms_, signers_[0], 0);
    EXPECT_TRUE(referee.has_value());
    RunDispute(*referee, a, b, signers_[0], signers_[1]);
    const auto evidence = DecodeDisputeEvidence(Encode(referee->evidence()));
    EXPECT_TRUE(evidence.has_value());
    EXPECT_TRUE(CheckDisputeEvidence(*evidence, signers_[0]));
    return *referee->verdict();
  }
  DisputeVerdict AgainstHonest(std::uint8_t side, std::uint64_t at, const Lies& lies) {
    const Party liar = Make(side, at, lies), honest = Honest(side ^ 1);
    const DisputeVerdict v =
        side == 0 ? Play(*liar.party, *honest.party) : Play(*honest.party, *liar.party);
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

// Random bits in random places of random steps; the honest never lose, the liars always do.
inline void PlayRandomTrainingGames(std::uint64_t seed, int games) {
  TrainingGame game;
  Rng rng(seed);
  const TrainingGame::Party honest[2] = {game.Honest(0), game.Honest(1)};
  for (int i = 0; i < games; ++i) {
    const Program& program = game.program();
    const std::uint32_t node = rng.Below(static_cast<std::uint32_t>(program.nodes.size()));
    const auto slot = static_cast<std::uint8_t>(
        rng.Below(static_cast<std::uint32_t>(program.nodes[node].outputs.size())));
    const std::uint32_t element =
        rng.Below(static_cast<std::uint32_t>(program.nodes[node].outputs[slot].elements()));
    const auto side = static_cast<std::uint8_t>(rng.Below(2));
    const std::uint32_t bit = rng.Below(23);
    const std::uint64_t step = rng.Below(TrainingGame::kSteps);
    Lies lies = RolloutGame::WrongBit(node, slot, element, bit);
    if (rng.Below(4) == 0) {
      lies = {};
      lies.records = [=](std::vector<NodeRecord>& records) {
        if (!records[node].inputs.empty()) records[node].inputs[0].root[bit] ^= 1;
      };
    }
    const TrainingGame::Party liar = game.Make(side, step, lies);
    const DisputeVerdict v = side == 0 ? game.Play(*liar.party, *honest[1].party)
                                       : game.Play(*honest[0].party, *liar.party);
    ASSERT_TRUE(side == 0 ? v.a_loses : v.b_loses) << i << ": " << ToString(v.reason);
    ASSERT_FALSE(side == 0 ? v.b_loses : v.a_loses) << i << ": " << ToString(v.reason);
    ASSERT_EQ(v.unit, step);
    if (!liar.on_top) {  // else the place may not exist in that step
      ASSERT_EQ(v.node, node);
    }
  }
}

}  // namespace waggle::testing_dispute
