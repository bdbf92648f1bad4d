// The computing half of step audits at a validator: fetches what StepAuditor wants into the node's
// mirror of the run, takes steps again from there, one a call, and makes evidence of what does not
// hold. Driver; single-threaded, but for the fetch.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "audit/steps/audit_fetch.h"
#include "audit/steps/step_auditor.h"
#include "audit/steps/step_taking.h"
#include "proofs/evidence.h"

namespace waggle {

class StepAuditing {
 public:
  struct Places {
    std::filesystem::path mirror, evidence;
    std::vector<std::string> mirrors;  // URLs of policies
    std::uint64_t seed = 0;
  };
  using PolicyOf = std::function<const Signed<PolicyClaim>*(PolicyVersion)>;
  // All of them outlive it. policies: as the host signed them, null: not told.
  StepAuditing(Places places, const Signer& key, const Hash256& run, const RunSite& site,
               Bytes description, PolicyOf policies, const Ops& ops, ThreadPool& pool, Clock& clock,
               std::function<void(const std::string&)> say);

  // What is to be said to the host. Blame::kPeer: the host lied; the text names the evidence.
  Result<std::vector<NodeMessage>> Step(const StepAuditEvent& event);
  // A bit of what is to be done: at most one step. client: the link to the host, or null.
  Result<std::vector<NodeMessage>> Work(NodeClient* client);
  bool idle() const { return !taking_; }
  // Before the client goes: what is being fetched through it comes to its end.
  void Release();

  // A version that is not among the node's policies: asked for, fetched into the mirror, and wanted
  // no more; nor if it is not to be had.
  void WantPolicy(PolicyVersion version);
  bool Wants(PolicyVersion version) const { return wanted_.contains(version); }

  bool Holds(std::uint64_t epoch) const { return core_.Holds(epoch); }
  const StepAuditor& core() const { return core_; }
  const std::filesystem::path& mirror() const { return places_.mirror; }
  std::uint64_t tokens() const { return tokens_; }  // of batches that were trained on again

 private:
  struct Taking {
    FetchSteps plan;
    std::size_t next = 0;
    std::unique_ptr<StepTaking> steps;
  };
  struct WantedPolicy {
    bool asked = false;
    int tries = 0;
    Milliseconds asked_ms = 0;
  };

  Status Perform(StepAuditEffect effect);
  Status Handle(const StepAuditEvent& event);
  Status Heard(const PolicyShown& shown);
  Status FetchNext(NodeClient* client);
  Status Fetched(const Status& fetched);
  void AskPolicies();
  Status TakeOne();
  Result<std::unique_ptr<StepTaking>> Begin(const FetchSteps& plan);
  Result<std::vector<GroupRecord>> RecordsOf(const SignedStep& step) const;
  Status Judge(const SignedStep& step, StepRetaken taken);
  Evidence WrongStep(const std::string& why) const;
  Result<std::filesystem::path> KeepEvidence(Evidence evidence) const;
  Status Lied(StepLie lie);
  Status Wrong(const SignedStep& step, Bytes records, const Signed<PolicyClaim>* policy,
               const std::string& why);
  Status KeepStateBefore(const SignedStep& step);
  Status Finish(StepFinding finding, const std::string& text);
  Milliseconds Now() const { return static_cast<Milliseconds>(clock_.MonotonicNs() / 1'000'000); }

  const Places places_;
  const Signer& key_;
  const Hash256 run_;
  const RunSite& site_;
  const Bytes description_;
  const PolicyOf policies_;
  const Ops& ops_;
  ThreadPool& pool_;
  Clock& clock_;
  const std::function<void(const std::string&)> say_;
  std::optional<NodeId> host_;
  StepAuditor core_;
  AuditFetch fetch_;
  std::vector<NodeMessage> out_;        // to be said
  std::optional<FetchSteps> to_fetch_;  // waits, or is being fetched
  std::optional<PolicyVersion> fetching_policy_;
  bool fetching_steps_ = false;
  PolicyVersion last_begin_;  // of the state that was fetched last: the next step may begin there
  std::map<PolicyVersion, WantedPolicy> wanted_;
  std::deque<PolicyShown> shown_;  // policies to be fetched
  std::optional<Taking> taking_;
  std::uint64_t tokens_ = 0;
};

}  // namespace waggle
