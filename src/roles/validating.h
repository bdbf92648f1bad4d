// The computing half of a validator's node, beside its link: ValidatorCore, the weights of past
// versions from the node's own store of policies, evidence on disk.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "roles/public_inputs.h"
#include "roles/run_site.h"
#include "roles/validator_core.h"

namespace waggle {

struct ValidateOptions {
  Credits stake;                             // put at stake, from what the ledger says is ours
  std::filesystem::path evidence_directory;  // what is proved is kept here
  // Instead of looking, for tests and demonstrations: as JoinSettings::tamper.
  std::function<Examination(const ExamineGroup&)> pretend = nullptr;
};

class Validating {
 public:
  // key, site, ops and pool outlive it. policies: where the node's policies are.
  Validating(const ValidateOptions& options, const Signer& key, const Hash256& run,
             const RunSite& site, Bytes description, std::filesystem::path policies, const Ops& ops,
             ThreadPool& pool, std::function<void(const std::string&)> say);

  // What is to be said to the host. A host whose ledger is none is Blame::kPeer.
  Result<std::vector<NodeMessage>> Step(const ValidatorEvent& event);
  // The group that waits to be examined; one call examines one. Nothing: none waits.
  Result<std::vector<NodeMessage>> Work();
  bool idle() const { return waiting_.empty(); }
  const ValidatorCore& core() const { return core_; }

 private:
  Status Perform(ValidatorEffect effect, std::vector<NodeMessage>& out);
  Result<const Model*> ModelOf(PolicyVersion version, const Hash256& root);

  const ValidateOptions options_;
  const Hash256 run_;
  const RunSite& site_;
  ThreadPool& pool_;
  std::function<void(const std::string&)> say_;
  FolderInputs inputs_;
  ValidatorCore core_;
  std::deque<ExamineGroup> waiting_;
  std::map<Hash256, std::shared_ptr<const Model>> models_;  // by root, the last few
  std::deque<Hash256> used_;                                // oldest first
};

}  // namespace waggle
