// Every step of a run as its trainer signed it: which state, which groups, which state after.
// Anyone who has the run's records takes any stretch of it again.
#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "proofs/claims.h"
#include "run/run_folder.h"
#include "run/run_site.h"
#include "store/run_store.h"

namespace waggle {

// The groups that were accepted since the step before, as the trainer signed them.
struct SignedWindow {
  Signed<WindowClaim> window;
  std::vector<LeaseId> leases;  // in the order of acceptance
  std::vector<Hash256> groups;  // GroupHash of each; none of them before they are shown
  bool shown() const { return groups.size() == leases.size(); }
  bool operator==(const SignedWindow&) const = default;
};

struct SignedStep {
  Signed<StepClaim> step;
  std::vector<LeaseId> leases;         // of the groups, in the order of the batch
  std::optional<SignedWindow> window;  // none: of a program that knew no windows
  bool operator==(const SignedStep&) const = default;
};

// Whether the window of a step, if it has one, is signed and, if it is shown, over these groups.
bool WindowHolds(const SignedStep& step, const NodeId& trainer);
// The groups that a run accepted for these leases. Blame::kMachine: one is not in its store.
Result<std::vector<GroupRecord>> RecordsOf(RunStore& store, std::span<const LeaseId> leases);

std::vector<LeaseId> LeasesOf(const std::vector<GroupRecord>& records);

class StepLog {
 public:
  // In a run's folder; opens or creates: steps.log, and windows.log beside it. A torn last record
  // is forgotten. ordered: what is signed says its order (proofs/claims.h).
  static Result<std::unique_ptr<StepLog>> Open(const RunFolder& folder, bool ordered = false);
  static Result<std::vector<SignedStep>> Read(const RunFolder& folder);

  // A step that is there already (the run was resumed further back) must be the same: steps are
  // functions of what went in. Else Blame::kMachine. accepted: training groups in the order in
  // which they were accepted, from this number on (RunStore::Arrived); asked for what no window
  // names yet.
  using Accepted = std::function<Result<std::vector<GroupRecord>>(std::uint64_t first)>;
  Result<SignedStep> Add(const Signer& trainer, StepClaim claim, std::vector<LeaseId> leases,
                         const Accepted& accepted);
  const std::vector<SignedStep>& steps() const { return steps_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Close>;
  Status Append(const File& file, const Bytes& record) const;
  Result<std::optional<SignedWindow>> WindowOf(const Signer& trainer, const StepClaim& claim,
                                               const Accepted& accepted);

  File file_, windows_file_;
  std::vector<SignedStep> steps_;                  // of versions 0, 1, ...
  std::map<PolicyVersion, SignedWindow> windows_;  // one of a step that is not there yet, at most
  std::uint64_t windowed_ = 0;                     // groups that stand in a window
  bool ordered_ = false;
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
  // What the windows say, where there are any: a step trained on a group that none of them names,
  // or an accepted group that they leave out. Empty: neither.
  std::string left_out;
};

// Takes steps [from, to) of the run again, from the newest checkpoint at or before `from`, and
// compares states. Blame::kOperator: no such steps, no checkpoint.
Result<StepsChecked> CheckSteps(const RunFolder& folder, const StepRange& range, const Ops& ops,
                                ThreadPool& pool,
                                const std::function<void(std::uint64_t version)>& progress);

}  // namespace waggle
