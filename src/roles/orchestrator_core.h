// The orchestrator: hands out leases, admits groups, forms training batches, evaluates on held-out
// tasks. A state machine without I/O (no clock, no sockets, no threads): events in, effects out,
// the driver performs them.
//
// Sampling goes in waves: wave w is the leases of training batch w. `ahead` waves are sampled
// before the trainer needs them, so at lag `ahead` the trainer never waits; at 0 the run is
// synchronous and strictly on-policy. A lease is a function of (run, wave, index in the wave,
// policy version). A batch is a wave in lease order, so that the run's bits do not depend on who
// was fast; or, with batches = "arrival", the groups that came first (orchestrator_arrival.cc),
// and the bits are a function of the order in which groups were accepted. A driver that asks for
// work after every event samples wave w under version w - ahead.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "rollout/encoding.h"
#include "run/admission.h"
#include "run/lease_maker.h"
#include "run/lease_source.h"
#include "run/recipe.h"
#include "run/task_codec.h"
#include "run/task_pool.h"

namespace waggle {

class OrchestratorCore final : public LeaseSource {
 public:
  OrchestratorCore(const Hash256& run, const Recipe& recipe, const TaskCodec& codec,
                   std::size_t vocab);

  [[nodiscard]] std::vector<OrchestratorEffect> Step(const OrchestratorEvent& event) override;

  // No lease is out and no batch is in training: the moment to save. State as JSON text, and back;
  // complete waves that wait for the trainer are part of it.
  bool quiescent() const;
  std::string Save() const;
  Status Load(std::string_view state);

  // Position alone, at any moment between two steps of the trainer: for a driver that keeps every
  // accepted group itself, and gives them back to Remember() after Load().
  std::string SavePosition() const override;

  // Groups that were accepted after what Load() read. When the turn of their leases comes they are
  // taken as they were instead of being sampled again, so the batches are those of before. Judged
  // here, staleness apart; one that would be refused now is Blame::kMachine. In any order, and
  // again for later waves. With batches by arrival: each once, in the order in which they were
  // accepted, from the first that is in no batch before version() on.
  Status Remember(std::vector<GroupRecord> records) override;

  const Lease* LeaseOut(LeaseId id) const override;

  PolicyVersion version() const override { return version_; }
  const TaskPool* pool() const { return pool_ ? &*pool_ : nullptr; }  // null: each lease a new task
  bool training() const override { return batch_in_training_; }  // SavePosition waits for its end
  std::optional<std::uint64_t> NextPlace() const override;
  std::uint64_t batches_sent() const { return batches_sent_; }

 private:
  struct Outstanding {
    Lease lease;
    WorkerId worker;
    std::uint64_t wave = 0;
  };
  struct Admitted {
    Lease lease;
    ScoredGroup scored;
  };
  struct Wave {
    std::uint64_t number = 0;
    std::uint32_t to_grant = 0, granted = 0, resolved = 0, rounds = 1;
    std::map<std::uint64_t, Admitted> groups;  // by lease id
  };
  // What is known of a lease from before a restart.
  struct Memory {
    Outstanding out;                    // worker: who holds it, or nobody
    std::optional<ScoredGroup> scored;  // accepted
  };
  struct EvaluationRound {
    struct Outcome {
      bool correct = false;
      double reward = 0, length = 0;
      std::string sample;  // JSON, for the first few
    };
    Evaluation result;
    std::uint64_t granted = 0;
    std::map<std::uint64_t, Outcome>
        outcomes;  // by task seed, so that sums do not depend on arrival
  };

  void GrantTo(WorkerIdle idle, std::vector<OrchestratorEffect>& effects);
  std::optional<Lease> NextEvaluationLease();
  std::optional<Lease> NextTrainingLease(std::uint64_t& wave);
  Wave* WaveWithWork();
  Lease EvaluationLease(std::uint64_t index) const;
  Lease TrainingLease(std::uint64_t wave, std::uint32_t index) const;
  bool Recall();
  void Recall(Outstanding out);
  bool Remembers(LeaseId first, LeaseId end) const;
  LeaseMaker Maker() const { return {run_, recipe_, codec_}; }
  Admission Judge(const Lease& lease, const Group& group, PolicyVersion current,
                  std::uint64_t lag_versions_max) const;
  Result<ScoredGroup> JudgeKept(const GroupRecord& record) const;
  std::string StateOf(std::uint64_t next_wave, nlohmann::json waves) const;
  Status LoadWave(const nlohmann::json& saved);
  void OnGroup(const GroupArrived& event, std::vector<OrchestratorEffect>& effects);
  void OnLost(WorkerLost event);
  void OnTakenBack(LeaseTakenBack event);
  void OnKept(const GroupKept& event, std::vector<OrchestratorEffect>& effects);
  void Admit(const Outstanding& out, ScoredGroup scored);
  void OnEvaluationGroup(const Lease& lease, const ScoredGroup& scored);
  void FinishEvaluation(std::vector<OrchestratorEffect>& effects);
  void Advance(std::vector<OrchestratorEffect>& effects);
  bool TopUp(Wave& wave);
  void MeasureTasks(const Wave& wave);
  void StartEvaluationIfDue();
  void FormBatchOfWave(std::vector<OrchestratorEffect>& effects);
  void SendBatch(TrainOn batch, std::vector<OrchestratorEffect>& effects);

  // orchestrator_arrival.cc
  void OpenWave();
  void OpenUpTo(std::uint64_t lease);
  void Reconcile();
  void FormBatchByArrival(std::vector<OrchestratorEffect>& effects);
  nlohmann::json UnusedJson() const;
  Status LoadUnused(const nlohmann::json& state);

  const Hash256 run_;
  const Recipe recipe_;
  const TaskCodec& codec_;
  const std::size_t vocab_;
  const bool by_arrival_;

  PolicyVersion version_;
  std::uint64_t next_wave_ = 0, batches_sent_ = 0;
  bool batch_in_training_ = false, paused_ = false, finished_ = false;
  std::map<std::uint64_t, Outstanding> outstanding_;
  std::deque<Outstanding> returned_;        // leases without a worker, first to be granted again
  std::deque<Wave> waves_;                  // oldest first
  std::map<std::uint64_t, Memory> memory_;  // by lease id
  // Batches by arrival: accepted groups that are in no batch, oldest first.
  std::deque<Admitted> arrived_;
  std::set<std::uint64_t> unused_;  // leases made, and in no batch
  bool unreconciled_ = false;       // unused_ was read from disk
  std::optional<TaskPool> pool_;    // measured in lease order, as waves complete
  std::optional<EvaluationRound> evaluation_;
  std::optional<std::uint64_t> evaluated_version_;
};

}  // namespace waggle
