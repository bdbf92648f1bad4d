// A run's steps taken again, one after the other: the one way to recheck them, for whoever has the
// run's folder (step_log.h) and for validators that fetched what they need (step_auditor.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "audit/steps/step_log.h"
#include "policy/image.h"
#include "run/run_site.h"
#include "training/trainer.h"

namespace waggle {

// What taking one step again found.
struct StepRetaken {
  enum class Kind : std::uint8_t {
    kHolds = 0,
    kUnsigned = 1,  // the trainer did not sign it, or for another run
    kState = 2,     // it begins elsewhere than the step before it ended
    kBatch = 3,     // the records are not those that it names
    kStep = 4,      // its batch gives another state, or is none: evidence (StepProof)
  };
  Kind kind = Kind::kHolds;
  std::string why;                   // empty: it holds
  std::vector<GroupRecord> records;  // of its batch
};

class StepTaking {
 public:
  using Records = std::function<Result<std::vector<GroupRecord>>(const SignedStep&)>;

  // `trainer`: in the state before the first step; its run is set here. site outlives it.
  StepTaking(const RunSite& site, const Hash256& run, const NodeId& key,
             std::unique_ptr<Trainer> trainer, Records records);

  // Errors are this machine's. After anything but kHolds and kStep the trainer has not moved.
  Result<StepRetaken> Take(const SignedStep& step);

  Trainer& trainer() { return *trainer_; }
  // The root of the policy that the state stands for now.
  Hash256 PolicyRoot(ThreadPool& pool) const;

 private:
  const RunSite& site_;
  const Hash256 run_;
  const NodeId key_;
  const std::unique_ptr<Trainer> trainer_;
  const Records records_;
};

}  // namespace waggle
