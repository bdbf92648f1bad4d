// The computing half of a validator's node, beside its link: ValidatorCore, the weights of past
// versions from the node's own store of policies, evidence on disk.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "audit/public_inputs.h"
#include "audit/seal_clock.h"
#include "audit/second_look.h"
#include "audit/steps/step_auditing.h"
#include "audit/validator_core.h"
#include "run/run_site.h"

namespace waggle {

struct ValidateOptions {
  Credits stake;                             // put at stake, from what the ledger says is ours
  std::filesystem::path evidence_directory;  // what is proved is kept here
  // Instead of looking, for tests and demonstrations: as JoinSettings::tamper.
  std::function<Examination(const ExamineGroup&)> pretend = nullptr;
  // The same: accuses, and shows nobody why.
  bool hides_evidence = false;
  double price_cpu_hour = 0;  // units that an hour of this machine's CPU costs it
  std::string metrics;        // "address:port" of its own metrics; empty: nowhere
};

class Validating {
 public:
  struct Places {
    std::filesystem::path policies;    // where the node's policies are
    std::filesystem::path mirror;      // of what it fetches for audits, and its records of nodes
    std::vector<std::string> mirrors;  // URLs that have the run's policies
    std::uint64_t seed = 0;            // of the draw among them
  };
  // key, site, ops, pool and clock outlive it.
  Validating(const ValidateOptions& options, const Signer& key, const Hash256& run,
             const RunSite& site, Bytes description, const Places& places, const Ops& ops,
             ThreadPool& pool, Clock& clock, std::function<void(const std::string&)> say);

  // What is to be said to the host. A host whose ledger is none is Blame::kPeer.
  Result<std::vector<NodeMessage>> Step(const ValidatorEvent& event);
  // The group that waits to be examined, or the step to be taken: one of them a call. client: the
  // link to the host while it is open, else null.
  Result<std::vector<NodeMessage>> Work(NodeClient* client);
  bool idle() const { return (waiting_.empty() || blocked_) && again_.idle() && steps_.idle(); }
  // Before the client goes.
  void Release() { steps_.Release(); }
  const ValidatorCore& core() const { return core_; }
  const StepAuditor& steps() const { return steps_.core(); }

  // What checking has cost.
  struct Costs {
    std::uint64_t group_tokens = 0, step_tokens = 0;  // verified
    double seconds = 0, cpu_seconds = 0;              // computing; CPU: of all threads
    std::uint64_t tokens() const { return group_tokens + step_tokens; }
  };
  Costs costs() const;

 private:
  Status Perform(ValidatorEffect effect, std::vector<NodeMessage>& out);
  Status TellSteps(const StepAuditEvent& event, std::vector<NodeMessage>& out);
  bool PoliciesHere(const ExamineGroup& job);
  Result<std::vector<NodeMessage>> ExamineOne();
  Examination ExamineWith(const ExamineGroup& job, const GroupProbe* probe);
  Examination ExamineAgain(const AuditItem& item);
  Result<const Model*> ModelOf(PolicyVersion version, const Hash256& root);

  const ValidateOptions options_;
  const NodeId id_;
  const Hash256 run_;
  const RunSite& site_;
  ThreadPool& pool_;
  std::function<void(const std::string&)> say_;
  Clock& clock_;
  const std::filesystem::path records_;
  FolderInputs inputs_;
  StepAuditing steps_;
  ValidatorCore core_;
  SealClock seals_;
  SecondLook again_;                   // at what was shown as a canary
  bool blocked_ = false;               // what waits first, waits for a policy
  std::set<PolicyVersion> asked_for_;  // policies that the host was asked for
  double seconds_ = 0, cpu_seconds_ = 0;
  std::deque<ExamineGroup> waiting_;
  std::map<Hash256, std::shared_ptr<const Model>> models_;  // by root, the last few
  std::deque<Hash256> used_;                                // oldest first
};

}  // namespace waggle
