// A run's watch against reward hacking: turns batches into observations, and the watch's
// actions into what happens to the batch. Decides and says; the driver reads and writes.
//
// Which version may be gone back to, and everything else here, travels with checkpoints, so a
// resumed run does the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "run/lease_source.h"
#include "run/recipe.h"
#include "run/task_codec.h"
#include "training/trainer.h"
#include "training/watch/reward_watch.h"

namespace waggle {

// Of every rollout of a batch, in order. `kl`: what the last step measured, if it keeps a
// reference.
std::vector<Observation> ObservationsOf(const TrainOn& batch, const TaskCodec& codec,
                                        std::optional<float> kl);

// A window's figures as scalars of a step.
void AddScalars(const WindowReport& report, bool strict,
                std::vector<std::pair<std::string, double>>& scalars);

class WatchKeeper {
 public:
  explicit WatchKeeper(const WatchRecipe& recipe) : recipe_(recipe) {}

  struct Look {
    std::vector<std::string> events;  // rows of events.jsonl
    std::vector<std::string> lines;   // for the terminal
    std::optional<std::uint64_t> roll_back_to;
  };
  // Looks at a batch before it trains. With a watch that acts: empties it while frozen, and later
  // puts the strict grader's word in the place of its rewards (a rollout that it did not grade is
  // unscorable then).
  Look LookAt(TrainOn& batch, const TaskCodec& codec);
  // After a step that trained: adds the watch's figures.
  void Stepped(const StepReport& report, std::vector<std::pair<std::string, double>>& scalars);
  // A checkpoint of this version is being written: it can be gone back to if all is green.
  void Checkpointed(std::uint64_t version);

  std::uint64_t green_version() const { return green_version_; }
  // Of the newest window; nothing before the first.
  std::optional<Level> level() const {
    return newest_ ? std::optional(newest_->level) : std::nullopt;
  }
  // The newest window is one to act on: a watch that acts goes back.
  bool red() const;
  bool withholds() const { return recipe_.act && watch_.frozen(); }

  std::string Save() const;
  Status Load(const std::string& state);

 private:
  const WatchRecipe recipe_;
  RewardWatch watch_;
  std::uint64_t green_version_ = 0;
  std::optional<float> kl_;
  std::optional<WindowReport> newest_;  // figures alone, not part of the state
};

}  // namespace waggle
