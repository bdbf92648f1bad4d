// The rollout worker: takes leases, has them sampled, answers for the environment in multi-turn
// tasks, hands in groups. A state machine without I/O; the driver owns the engine and performs the
// effects.
#pragma once

#include <map>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "rollout/rollout.h"
#include "run/task_codec.h"

namespace waggle {

// Events
struct LeaseGranted {
  Lease lease;
};
struct TokensSampled {
  std::vector<TokenEvent> tokens;
};  // what one engine step gave
struct SamplingStarted {
  LeaseId lease;
  std::uint32_t first_sample = 0;
  RequestId request = 0;
};
struct LeaseDropped {
  LeaseId lease;
};  // the engine would not have it, or the driver gives it back: no group will come of it
using WorkerEvent = std::variant<LeaseGranted, TokensSampled, SamplingStarted, LeaseDropped>;

// Effects
// Samples `samples` responses to `prompt`, numbered from first_sample; the driver answers with
// SamplingStarted.
struct StartSampling {
  LeaseId lease;
  std::vector<TokenId> prompt;
  std::uint32_t samples = 1, first_sample = 0;
  SamplingOptions options;
};
struct SubmitGroup {
  Group group;
  Lease lease;
};
struct AskForWork {
  std::uint32_t rollouts_max = 0;
};
using WorkerEffect = std::variant<StartSampling, SubmitGroup, AskForWork>;

class WorkerCore {
 public:
  // rollouts_max: how many rollouts this worker holds at once.
  WorkerCore(const TaskCodec& codec, std::uint32_t rollouts_max);

  [[nodiscard]] std::vector<WorkerEffect> Step(const WorkerEvent& event);
  // Rollouts it could still take on.
  std::uint32_t room() const { return rollouts_max_ - std::min(rollouts_max_, held_); }

 private:
  struct Job {
    Lease lease;
    Task task;
    Group group;
    std::vector<bool> done;
    std::uint32_t open = 0;
  };

  void OnLease(const LeaseGranted& event, std::vector<WorkerEffect>& effects);
  void OnDropped(const LeaseDropped& event);
  void OnToken(const TokenEvent& token, std::vector<WorkerEffect>& effects);
  // After a finished policy turn: the environment's answer, if there is one and budget is left.
  bool ContinueEpisode(Job& job, std::uint32_t sample, std::vector<WorkerEffect>& effects);
  StartSampling Ask(const Job& job, std::uint32_t sample) const;

  const TaskCodec& codec_;
  const std::uint32_t rollouts_max_;
  std::uint32_t held_ = 0;
  std::map<std::uint64_t, Job> jobs_;            // by lease id
  std::map<RequestId, std::uint64_t> lease_of_;  // engine request -> lease id
};

}  // namespace waggle
