// The audit desk's papers on disk, in the run's folder: ledger.db, audits/ with the batches that
// were signed, the evidence that was proved and who was sent away (out/, one file each: why). And
// the computing that the desk asks for: whether a group holds, whether evidence proves.
#pragma once

#include <memory>

#include "audit/audit_desk.h"
#include "audit/examine.h"
#include "audit/public_inputs.h"
#include "audit/trust_terms.h"
#include "base/thread_pool.h"
#include "host/run_parts.h"
#include "store/ledger_store.h"
#include "store/run_store.h"

namespace waggle {

class AuditBooks {
 public:
  // `run` outlives the books. What a process before this one left is read.
  static Result<std::unique_ptr<AuditBooks>> Open(RunParts& run, const NodeId& host,
                                                  const Bytes& description);

  // The desk as it was left. Once.
  AuditDesk MakeDesk(const Signer& key);  // REQUIRES trust.audits

  Status Keep(std::span<const LogRecord> records);
  Status Keep(const SignedWork& work);
  // Decides it; what is proved is kept, and its path said.
  EvidenceDecided Judge(const NodeId& from, const Bytes& evidence);

  // The weights of a version that was published: told when it is, and read when it is needed.
  void Published(PolicyVersion version, const Hash256& root) { roots_[version] = root; }
  const std::map<PolicyVersion, Hash256>& roots() const { return roots_; }
  Verdict ExamineGroup(const Lease& lease, const Group& group) {
    return ExamineWith(lease, group, nullptr).verdict;
  }
  Result<VerdictChecked> Check(const CheckVerdict& check, RunStore& store);
  Result<ItemJudged> Judge(const JudgeItem& judge, RunStore& store);
  // Of a canary; one examination, or two.
  Result<CanaryItemMade> Make(const MakeCanaryItem& make, RunStore& store);
  Status Keep(const CanaryBatch& canary);
  Status Keep(const Banish& banish);

  const AuditSettings& settings() const { return settings_; }

  bool false_canaries = false;  // HostOptions::false_canaries

 private:
  AuditBooks(RunParts& run, AuditSettings settings, std::unique_ptr<RunSite> site);
  Status ReadWork();
  Status ReadCanaries();
  Status ReadBanished();
  std::filesystem::path CanaryFile(const CanaryBatch& canary) const;
  Examination ExamineWith(const Lease& lease, const Group& group, const GroupProbe* probe);
  Result<const Model*> ModelOf(PolicyVersion version);

  RunParts& run_;
  const AuditSettings settings_;
  const NodeId host_;
  std::unique_ptr<RunSite> site_;
  ThreadPool pool_;  // our own: the run's belongs to the trainer's thread while a step is under way
  FolderInputs inputs_;
  std::map<PolicyVersion, Hash256> roots_;
  std::map<PolicyVersion, std::shared_ptr<const Model>> models_;  // the newest few
  std::unique_ptr<LedgerStore> store_;
  std::optional<LedgerReplay> ledger_;  // as it was read
  std::vector<LogRecord> records_;      // the same
  std::vector<SignedWork> work_;
  std::vector<CanaryBatch> canaries_;
  std::map<NodeId, std::string> banished_;
};

}  // namespace waggle
