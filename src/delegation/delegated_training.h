// Delegated training (delegation.h): supervised training on the client's texts. A unit is a step;
// a party keeps the StepRecord of each, and brings back the state before any of them when asked.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "delegation/delegation.h"
#include "delegation/record_file.h"
#include "proofs/dispute/training_party.h"
#include "run/sft_run.h"

namespace waggle {

// Whether every number of a run's steps is in the graphs of disputes (proofs/dispute/program.h).
// Blame::kOperator names the first setting that is not: adapters, Muon, stochastic rounding,
// mixtures of experts, int8 and ci8 weights, batches and models past the limits.
Status CheckDelegable(const SftWork& work);

class DelegatedProgram {
 public:
  // Forms the specs of all steps: reads every batch once, trains nothing. `work` must outlive it.
  static Result<DelegatedProgram> Of(const SftWork& work);

  const RunProgram& run() const { return run_; }
  const RunModel& model() const { return model_; }
  const std::vector<StepSpec>& specs() const { return specs_; }
  const std::vector<StateEntry>& state() const { return state_; }
  // REQUIRES step < run().units.
  std::vector<HostTensor> DataOf(std::uint64_t step) const;
  Digest256 TemplateOf(std::uint64_t step) const;

 private:
  const SftWork* work_ = nullptr;
  RunProgram run_;
  RunModel model_;
  std::vector<StateEntry> state_;
  std::vector<StepSpec> specs_;
  std::vector<SftBatcher::Cursor> cursors_;  // before each step
};

// The records of a run's steps in its folder, as they are committed to: the roots of nodes zero.
class CommitmentLog {
 public:
  // Opens or creates; a torn last record is forgotten.
  static Result<CommitmentLog> Open(const std::filesystem::path& folder);
  static Result<std::vector<StepRecord>> Read(const std::filesystem::path& folder);

  // A step that is there already (the run was gone on with from further back) must be the same, or
  // it is Blame::kMachine: steps are functions of what goes in.
  Status Add(const StepRecord& record);
  const std::vector<StepRecord>& records() const { return records_; }

 private:
  explicit CommitmentLog(RecordFile file) : file_(std::move(file)) {}
  RecordFile file_;
  std::vector<StepRecord> records_;
};

// Notes the steps of a trainer as it goes along.
class StepNotary {
 public:
  // `trainer` stands at a step that the folder's log has reached.
  static Result<StepNotary> Open(const SftWork& work, const std::filesystem::path& folder,
                                 const Trainer& trainer);
  Status AfterStep(const Trainer& trainer);

 private:
  StepNotary(DelegatedProgram program, CommitmentLog log)
      : program_(std::move(program)), log_(std::move(log)) {}
  DelegatedProgram program_;
  CommitmentLog log_;
  Digest256 before_{};
};

// A finished folder of `waggle sft` with a commitment. States before a step come from the nearest
// checkpoint, by training on.
class TrainedRun : public Answerer {
 public:
  // Blame::kOperator: no such folder, no commitment, not all of its steps.
  static Result<std::unique_ptr<TrainedRun>> Open(const std::filesystem::path& folder,
                                                  const Ops& ops, ThreadPool& pool);

  const RunProgram& program() const override { return program_->run(); }
  RunCommit Commit() override;
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override;
  const std::vector<StepRecord>& records() const { return records_; }
  // The state before a step, with its data, until the next call. Null: it cannot be had.
  const StepState* Before(std::uint64_t step);

 private:
  TrainedRun(const std::filesystem::path& folder, SftWork work, const Ops& ops, ThreadPool& pool)
      : folder_(folder), work_(std::move(work)), ops_(ops), pool_(pool) {}

  const std::filesystem::path folder_;
  const SftWork work_;
  const Ops& ops_;
  ThreadPool& pool_;
  std::optional<DelegatedProgram> program_;
  std::vector<StepRecord> records_;
  StepState state_;
  std::optional<std::uint64_t> state_at_;
};

}  // namespace waggle
