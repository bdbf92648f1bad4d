// Delegated reinforcement learning (delegation.h): a recipe of `waggle run` whose prompts, keys and
// starting weights follow from itself, run by the product's own sampler and trainer. Units are by
// turns what the policy of a state answers, and the step on it; what is kept is the responses, the
// records of both kinds, and checkpoints from which a state is brought back when somebody asks.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "delegation/delegated_rollouts.h"
#include "delegation/delegation.h"
#include "delegation/run_ground.h"
#include "proofs/dispute/reinforcement_party.h"
#include "run/base_model.h"
#include "training/trainer.h"

namespace waggle {

inline constexpr const char* kRunRecipeName = "run.toml";

// What a recipe stands for once it is read.
struct RunWork {
  Recipe recipe;
  LoadedModel base;  // the weights that it begins with
  NumericsConfig numerics;
  Bytes description;
  RunProgram run;
  RunModel model;
  std::unique_ptr<const RunGround> ground;
  std::vector<StateEntry> state;
  std::vector<SequenceSpec> specs;  // of all batches

  std::span<const std::vector<TokenRecord>> BatchIn(const RolloutClaims& responses,
                                                    std::uint64_t batch) const {
    return std::span(responses).subspan(batch * run.group, run.group);
  }
};
// Reads the starting weights, trains and samples nothing. Blame::kOperator: what cannot be
// delegated, and why; what is named and is not there.
Result<RunWork> OpenRunWork(Recipe recipe);
// recipe: a TOML file, or a folder with recipe.toml; overrides: "section.key=value" each.
Result<RunWork> OpenRunWork(const std::filesystem::path& recipe,
                            const std::vector<std::string>& overrides);

// The record of a batch's step: from what the trainer stands at, with these inputs, to `after`.
StepRecord RecordOfStep(const RunWork& work, const StepInputs& inputs, std::uint64_t step,
                        const Digest256& before, const Digest256& after);

// What `waggle answer` begins with: claims the folder for the recipe (or takes the folder's own, if
// `recipe` is empty) and goes on with the run to its end; a process that was killed at any moment
// is gone on from. False: left before the end. Blame::kOperator: what the recipe cannot be, a
// folder of something else. Blame::kMachine: the disk; anything that comes out otherwise than it
// did.
Result<bool> PrepareRun(const std::filesystem::path& folder, const std::filesystem::path& recipe,
                        const std::vector<std::string>& overrides, const Ops& ops, ThreadPool& pool,
                        const SamplingWatch& watch);

// A folder in which the whole run was run.
class ReinforcedRun : public Answerer {
 public:
  // Blame::kOperator: no such folder, or not to its end. Blame::kMachine: responses or steps that
  // are not those that were committed to.
  static Result<std::unique_ptr<ReinforcedRun>> Open(const std::filesystem::path& folder,
                                                     const Ops& ops, ThreadPool& pool);

  const RunProgram& program() const override { return work_.run; }
  RunCommit Commit() override;
  Bytes Responses(std::uint64_t first) const override;
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override;

  const RunWork& work() const { return work_; }
  const RolloutClaims& responses() const { return *responses_; }
  const std::vector<StepRecord>& records() const { return records_; }
  // As ReinforcementParty::Setting.
  const StepState* Before(std::uint64_t batch);
  std::vector<HostTensor> DataOf(std::uint64_t batch) const;

 private:
  ReinforcedRun(const std::filesystem::path& folder, RunWork work, const Ops& ops, ThreadPool& pool)
      : folder_(folder), work_(std::move(work)), ops_(ops), pool_(pool) {}

  const std::filesystem::path folder_;
  const RunWork work_;
  const Ops& ops_;
  ThreadPool& pool_;
  std::shared_ptr<const RolloutClaims> responses_;
  std::vector<Digest256> token_roots_;
  std::vector<StepRecord> records_;
  std::vector<StepSpec> steps_;
  StepState state_;
  std::optional<std::uint64_t> state_at_;
};

}  // namespace waggle
