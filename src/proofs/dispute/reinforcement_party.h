// A party to a dispute about a run of reinforcement learning: a rollout party for its batches and a
// training party for its steps, over the records of both by turns. Keeps responses and the
// StepRecord of every step; states are brought back when they are asked for.
#pragma once

#include "proofs/dispute/step_ground.h"
#include "proofs/dispute/training_party.h"

namespace waggle {

class ReinforcementParty : public DisputeParty {
 public:
  struct Setting {
    const std::vector<SequenceSpec>& specs;  // of all batches
    const std::vector<StepSpec>& steps;      // by batch; without rows: it moved nothing
    std::function<std::vector<HostTensor>(std::uint64_t batch)> data;
    // The state that samples a batch and takes the step on it, with that step's data, until the
    // next call. Null: it cannot be had, and the party is silent.
    std::function<const StepState*(std::uint64_t batch)> before;
    const Bytes& description;
    const Ops& ops;
    ThreadPool& pool;
    std::uint64_t keep_bytes = std::uint64_t{1} << 30;
  };
  // token_roots: of all responses. rollout_lies, step_lies: of the graphs of either kind of unit.
  ReinforcementParty(const DisputeTerms& terms, std::uint8_t side, const Setting& setting,
                     std::shared_ptr<const RolloutClaims> responses,
                     std::vector<Digest256> token_roots, std::vector<StepRecord> records,
                     Lies rollout_lies = {}, Lies step_lies = {});
  std::optional<DisputeReply> Answer(const DisputeRequest& request) override;

 private:
  const HashTree& UnitTree();
  Bytes UnitRecord(std::uint64_t unit) const;
  const PolicyState* Policy(std::uint64_t batch);
  RolloutParty& Rollouts(std::uint64_t batch);
  // False: it is not known without a graph.
  bool AnswerRun(const DisputeRequest& request, DisputeReply& reply);
  void StepGround(const DisputeRequest& request, DisputeReply& reply);

  const DisputeTerms terms_;
  const std::uint8_t side_;
  const Setting setting_;
  const std::shared_ptr<const RolloutClaims> responses_;
  const std::vector<Digest256> token_roots_;
  const std::vector<StepRecord> records_;
  const Lies rollout_lies_;
  RunModel model_;
  std::optional<HashTree> units_;  // from the first question on
  std::unique_ptr<TrainingParty> steps_;
  std::unique_ptr<RolloutParty> rollouts_;  // of rollouts_at_
  std::uint64_t rollouts_at_ = 0;
  std::optional<PolicyState> policy_;  // of the same
};

// Leaves: BatchRecord and StepRecord by turns.
HashTree RunTree(const RunProgram& program, std::span<const Digest256> token_roots,
                 const std::vector<StepRecord>& records);

}  // namespace waggle
