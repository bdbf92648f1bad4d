// For tests: somebody who was given a run of reinforcement learning, does it wrong at one place,
// goes on from what comes of it, commits to that and answers for it as consistently as it can.
#pragma once

#include <bit>

#include "base/check.h"
#include "delegation/delegated_run.h"
#include "model/checkpoint.h"
#include "roles/sample_group.h"

namespace waggle::testing_delegation {

enum class RunLie : std::uint8_t {
  kNone,
  kToken,         // another token than the one that was drawn
  kLogProb,       // one bit of a log-prob
  kWeights,       // answers that other weights gave, under the state that was agreed on
  kStart,         // other weights from the beginning
  kGradient,      // a gradient times 1.5
  kSkip,          // a sample left out
  kTokens,        // a sample's tokens swapped for others
  kReward,        // credit that other rewards would give
  kSecretReward,  // the same, said to be the credit that is due
  kIdle,          // a step that was none, where one was due
  kMoved,         // a state that moved where nothing carries a gradient
};

class CheatingRun : public Answerer {
 public:
  // batch: where it lies; sequence: from which on it looks for an answer to lie about. work
  // outlives it.
  CheatingRun(const RunWork& work, RunLie lie, std::uint64_t batch, std::uint64_t sequence = 0)
      : work_(work), lie_(lie), at_(batch), sequence_(sequence), pool_(1) {
    StepState state;
    for (const StateEntry& entry : work.state) {
      HostTensor w = HostTensor::Zero(entry.type);
      state.m.push_back(w);
      state.v.push_back(w);
      w.data = work.base.parameters.at(entry.name).data;
      state.w.push_back(std::move(w));
    }
    if (lie == RunLie::kStart) Spoil(state);
    RolloutClaims claims;
    std::uint64_t steps = 0;
    states_.reserve(BatchesIn(work.run));
    for (std::uint64_t b = 0; b < BatchesIn(work.run); ++b) {
      RolloutClaims part = Sample(b, state);
      if (b == at_) LieAbout(part);
      const bool moved = Step(b, steps, part, state);
      steps += moved ? 1 : 0;
      for (auto& response : part) {
        token_roots_.push_back(TokenRoot(response, work.run.tokens_max));
        claims.push_back(std::move(response));
      }
    }
    responses_ = std::make_shared<const RolloutClaims>(std::move(claims));
  }

  const RunProgram& program() const override { return work_.run; }
  RunCommit Commit() override {
    return {RunTree(work_.run, token_roots_, records_).root(), ProgramHash(work_.run)};
  }
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override {
    return std::make_unique<ReinforcementParty>(
        terms, side,
        ReinforcementParty::Setting{
            .specs = work_.specs,
            .steps = specs_,
            .data = [this](std::uint64_t batch) { return states_[batch].data; },
            .before = [this](std::uint64_t batch) { return &states_[batch]; },
            .description = work_.description,
            .ops = BestOps(),
            .pool = pool_},
        responses_, token_roots_, records_, rollout_lies_, step_lies_);
  }
  const std::vector<StepRecord>& records() const { return records_; }
  const RolloutClaims& responses() const { return *responses_; }

 private:
  static void Spoil(StepState& state) {
    HostTensor& head = state.w.front();
    for (std::uint64_t i = 0; i < head.type.elements(); i += 3)
      head.SetCell(i, std::bit_cast<std::uint32_t>(std::bit_cast<float>(head.Cell(i)) * 1.5f));
  }

  RolloutClaims Sample(std::uint64_t batch, StepState state) {
    if (lie_ == RunLie::kWeights && batch == at_) Spoil(state);
    Parameters weights = work_.base.parameters;
    for (std::size_t i = 0; i < work_.state.size(); ++i)
      weights.at(work_.state[i].name).data = state.w[i].data;
    auto model = Model::Create(work_.base.config, work_.numerics, weights, nullptr, BestOps());
    Check(model.has_value(), "a model of the program");
    const auto groups = SampleGroups(*work_.ground->site().codec, *work_.ground->Leases(batch),
                                     std::move(*model), PolicyVersion{batch}, {}, pool_);
    Check(groups.has_value(), "a batch can be sampled");
    RolloutClaims claims;
    for (const Group& group : *groups) {
      for (const Rollout& rollout : group.rollouts) {
        std::vector<TokenRecord>& response = claims.emplace_back();
        for (std::uint32_t t = 0; t < rollout.tokens.size(); ++t)
          response.push_back(
              {t, rollout.tokens[t], std::bit_cast<std::uint32_t>(rollout.logps[t])});
      }
    }
    return claims;
  }

  void LieAbout(RolloutClaims& part) {
    if (lie_ != RunLie::kToken && lie_ != RunLie::kLogProb) return;
    // One that can still be graded: its end is left as it is, and a log-prob stays one.
    while (part[sequence_].size() < 2 || (part[sequence_].front().logp << 1) == 0) ++sequence_;
    TokenRecord& record = part[sequence_].front();
    const auto program = TokenProgram(work_.model, work_.specs[at_ * work_.run.group], {});
    const auto last = static_cast<std::uint32_t>(program->nodes.size() - 1);
    const bool token = lie_ == RunLie::kToken;
    if (token)
      record.token = record.token == 3 ? 4 : 3;
    else
      record.logp ^= 1;
    rollout_lies_.outputs = [said = record, last](std::uint32_t node,
                                                  std::vector<HostTensor>& out) {
      if (node != last) return;
      out[0].SetCell(0, static_cast<std::uint32_t>(said.token));
      out[1].SetCell(0, said.logp);
    };
  }

  // Whether it was one.
  bool Step(std::uint64_t batch, std::uint64_t step, const RolloutClaims& part, StepState& state) {
    auto read = work_.ground->Inputs(batch, step, part);
    Check(read.has_value(), "what was sampled can be graded");
    StepInputs inputs = std::move(*read);
    const bool lies = batch == at_;
    if (lies) LieAbout(inputs);
    state.data = inputs.data;
    states_.push_back(state);
    specs_.push_back(inputs.spec);
    const Digest256 before = StateRoot(RecordsOf(work_.state, state, step));
    if (inputs.spec.rows.empty()) {
      Digest256 after = before;
      if (lies && lie_ == RunLie::kMoved) after[0] ^= 1;
      records_.push_back(RecordOfStep(work_, inputs, step, before, after));
      return false;
    }
    const StepOutcome outcome =
        ExecuteStep(work_.run, work_.model, inputs.spec, step, states_.back(), BestOps(), pool_,
                    std::uint64_t{1} << 30, lies ? step_lies_ : Lies{});
    records_.push_back(outcome.record);
    records_.back().nodes = {};
    TakeOver(outcome, state);
    return true;
  }

  void LieAbout(StepInputs& inputs) {
    StepSpec& spec = inputs.spec;
    const Digest256 honest = spec.data;
    switch (lie_) {
      case RunLie::kGradient: {
        const auto program = StepProgramOf(work_.run, work_.model, spec);
        Check(program.has_value(), "it lies about a step that moves something");
        std::uint32_t outer = 0;
        while (program->nodes[outer].op != NodeOp::kOuter) ++outer;
        step_lies_.outputs = [outer](std::uint32_t node, std::vector<HostTensor>& out) {
          if (node != outer) return;
          for (float& x : out[0].data) x *= 1.5f;
        };
        return;
      }
      case RunLie::kSkip:
        Check(spec.rows.size() > 1, "more than one sample carries a gradient");
        spec.rows.pop_back();
        spec.inv_temperature.pop_back();
        inputs.data.resize(inputs.data.size() - 3);
        break;
      case RunLie::kTokens:
        Check(!inputs.data.empty(), "it lies about a step that moves something");
        inputs.data[0].SetCell(0, (inputs.data[0].Cell(0) + 1) % 4);
        break;
      case RunLie::kReward:
      case RunLie::kSecretReward:
        Check(!inputs.data.empty(), "it lies about a step that moves something");
        for (float& u : inputs.data[2].data) u = -u;
        break;
      case RunLie::kIdle:
        inputs = {};
        inputs.spec.data = DataRoot({});
        return;
      default:
        return;
    }
    std::vector<Digest256> roots;
    for (const HostTensor& tensor : inputs.data) roots.push_back(TensorRoot(tensor));
    spec.data = DataRoot(roots);
    if (lie_ != RunLie::kSecretReward) return;
    step_lies_.step = [honest](StepRecord& record) { record.data = honest; };
  }

  const RunWork& work_;
  const RunLie lie_;
  const std::uint64_t at_;
  std::uint64_t sequence_;
  ThreadPool pool_;
  Lies rollout_lies_, step_lies_;
  std::vector<StepState> states_;
  std::vector<StepSpec> specs_;
  std::vector<StepRecord> records_;
  std::vector<Digest256> token_roots_;
  std::shared_ptr<const RolloutClaims> responses_;
};

}  // namespace waggle::testing_delegation
