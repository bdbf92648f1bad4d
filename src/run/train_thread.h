// The trainer on a thread of its own, so that the host answers its workers while a step is
// computed.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "run/policy_shelf.h"
#include "training/trainer.h"

namespace waggle {

// One step, and the policy that came out of it, ready to be fetched.
struct StepDone {
  Result<std::optional<StepReport>> report;  // none: every group was forged
  PolicyShelf::Manifests manifests;          // meaningful without an error
  double seconds = 0;
  std::vector<LeaseId> forged;  // groups whose log-probs are not those of the weights they name
  std::optional<Hash256> before, after;  // Trainer::StateHash, where steps are signed
};

// The weights that a step leaves behind, as they travel.
PolicyImage ImageOfTrainer(const Trainer& trainer, WeightFormat format, ThreadPool& pool,
                           const PolicyImage* previous);

// A step on the groups that are honest: forged ones are left out, named, and cost nobody else
// anything.
Result<std::optional<StepReport>> StepOnHonestGroups(Trainer& trainer,
                                                     std::vector<ScoredGroup> groups,
                                                     PolicyVersion current,
                                                     std::vector<LeaseId>& forged);

class TrainThread {
 public:
  // All of them outlive it. While a step is under way nobody else touches trainer, pool and shelf's
  // Put.
  TrainThread(Trainer& trainer, PolicyShelf& shelf, ThreadPool& pool, WeightFormat format,
              PolicyKind delta_kind, Clock& clock);
  void HashStates() { hash_states_ = true; }  // before the first step: they are to be signed
  ~TrainThread();                             // after the step that is under way

  void Start(std::vector<ScoredGroup> groups, PolicyVersion current);  // REQUIRES !busy()
  bool busy() const { return busy_; }
  std::optional<StepDone> Take(std::int64_t timeout_ms = 0);  // once it is done

 private:
  struct Job {
    std::vector<ScoredGroup> groups;
    PolicyVersion current;
  };
  void Work(const std::stop_token& stop);
  StepDone Run(Job job);

  Trainer& trainer_;
  PolicyShelf& shelf_;
  ThreadPool& pool_;
  const WeightFormat format_;
  const PolicyKind delta_kind_;
  Clock& clock_;
  bool busy_ = false;         // the consumer's
  bool hash_states_ = false;  // set before the thread is given work

  std::mutex mutex_;
  std::condition_variable_any ready_, finished_;
  std::optional<Job> job_;
  std::optional<StepDone> done_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace waggle
