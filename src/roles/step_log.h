// Every step of a run as its trainer signed it: which state, which groups, which state after.
// Anyone who has the run's records takes any stretch of it again.
#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "proofs/claims.h"
#include "roles/run_folder.h"
#include "roles/run_site.h"
#include "store/run_store.h"

namespace waggle {

struct SignedStep {
  Signed<StepClaim> step;
  std::vector<LeaseId> leases;  // of the groups, in the order of the batch
  bool operator==(const SignedStep&) const = default;
};

class StepLog {
 public:
  // In a run's folder; opens or creates. A torn last record is forgotten.
  static Result<std::unique_ptr<StepLog>> Open(const RunFolder& folder);
  static Result<std::vector<SignedStep>> Read(const RunFolder& folder);

  // A step that is there already (the run was resumed further back) must be the same: steps are
  // functions of what went in. Else Blame::kMachine.
  Status Add(const Signer& trainer, StepClaim claim, std::vector<LeaseId> leases);
  const std::vector<SignedStep>& steps() const { return steps_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
  std::vector<SignedStep> steps_;  // of versions 0, 1, ...
};

struct StepRange {
  std::uint64_t from = 0, to = ~std::uint64_t{0};  // policy versions; to: as far as there are steps
};
struct StepsChecked {
  std::uint64_t begun = 0;          // version of the checkpoint that it began from
  std::uint64_t steps = 0;          // that were taken again and compared
  std::uint64_t passed = 0;         // before them, to come from the checkpoint to `from`
  std::optional<SignedStep> wrong;  // the first that does not hold, and why
  std::string why;
};

// Takes steps [from, to) of the run again, from the newest checkpoint at or before `from`, and
// compares states. Blame::kOperator: no such steps, no checkpoint.
Result<StepsChecked> CheckSteps(const RunFolder& folder, const StepRange& range, const Ops& ops,
                                ThreadPool& pool,
                                const std::function<void(std::uint64_t version)>& progress);

}  // namespace waggle
