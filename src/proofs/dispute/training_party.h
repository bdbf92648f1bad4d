// A party to a dispute about training steps. It keeps the StepRecord of every step and can bring
// back the state before any of them (from a checkpoint, by training again); all else is computed
// when it is asked for, the roots of nodes too: StepRecord::nodes is zeros in what is committed to.
#pragma once

#include "proofs/dispute/party.h"

namespace waggle {

// State and data of one step, before it. By name order of the state; data per sample: tokens,
// targets, u.
struct StepState {
  std::vector<HostTensor> w, m, v;
  std::vector<HostTensor> data;
};

// Records of tensors that stand in a state.
std::vector<StateRecord> RecordsOf(const std::vector<StateEntry>& entries, const StepState& state,
                                   std::uint64_t step);

// One executed step: what is committed of it, and the state that it leaves.
struct StepOutcome {
  StepRecord record;
  std::vector<StateRecord> before, after;
  std::unique_ptr<UnitGraph> graph;
};
// Executes all of the step, and puts what it leaves into `state`, whose data stays.
void TakeOver(const StepOutcome& outcome, StepState& state);
// REQUIRES a spec that StepProgramOf accepts. `state` must outlive the outcome.
StepOutcome ExecuteStep(const RunProgram& run, const RunModel& model, const StepSpec& spec,
                        std::uint64_t step, const StepState& state, const Ops& ops,
                        ThreadPool& pool, std::uint64_t keep_bytes, const Lies& lies);

class TrainingParty : public DisputeParty {
 public:
  struct Setting {
    const std::vector<StepSpec>& specs;
    std::function<std::vector<HostTensor>(std::uint64_t step)> data;  // known without the state
    // With its data. Null: it cannot be had, and the party is silent.
    std::function<const StepState*(std::uint64_t step)> before;
    const Ops& ops;
    ThreadPool& pool;
    std::uint64_t keep_bytes = std::uint64_t{1} << 30;
  };
  TrainingParty(const DisputeTerms& terms, std::uint8_t side, const Setting& setting,
                std::vector<StepRecord> records, Lies lies = {});
  RunCommit Commit() const;
  std::optional<DisputeReply> Answer(const DisputeRequest& request) override;

 private:
  StepOutcome* Outcome(std::uint64_t step);
  HashTree UnitTree() const;
  void Ground(const DisputeRequest& request, DisputeReply& reply);

  const DisputeTerms terms_;
  const std::uint8_t side_;
  const Setting setting_;
  std::vector<StepRecord> records_;
  Lies lies_;
  RunModel model_;
  std::optional<StepOutcome> outcome_;
  std::uint64_t outcome_at_ = 0;
};

Digest256 SpecRoot(const std::vector<StepSpec>& specs);

}  // namespace waggle
