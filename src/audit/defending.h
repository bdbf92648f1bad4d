// The computing half of a worker's defence, beside its link: DefenceCore, the worker's own groups
// and the weights that it sampled them with, on disk. Driver; single-threaded.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "audit/defence_core.h"
#include "audit/own_work.h"
#include "audit/public_inputs.h"
#include "audit/receipt_watch.h"
#include "roles/join_core.h"
#include "run/run_site.h"

namespace waggle {

class Defending {
 public:
  struct Places {
    std::filesystem::path own;       // groups and batches
    std::filesystem::path policies;  // where the node's policies are
    std::filesystem::path evidence;  // what is proved is kept here
    std::uint64_t own_bytes_max = std::uint64_t{1} << 28;
  };
  // key, site, ops, pool and clock outlive it.
  static Result<std::unique_ptr<Defending>> Open(const Places& places, const Signer& key,
                                                 const Hash256& run, const RunSite& site,
                                                 const Bytes& description, const Ops& ops,
                                                 ThreadPool& pool, Clock& clock,
                                                 std::function<void(const std::string&)> say);

  OwnWork& own() { return own_; }
  // What is to be said to the host. Blame::kMachine: what this node made does not hold; nothing
  // more of it is to be handed in. Blame::kPeer: the host lied.
  Result<std::vector<NodeMessage>> Step(const DefenceEvent& event);
  Result<std::vector<NodeMessage>> Tick(PolicyVersion newest);  // that the host has published
  Status Keep(const KeepReceipt& receipt);
  // At most one group.
  Result<std::vector<NodeMessage>> Work();
  bool idle() const { return jobs_.empty(); }
  const DefenceCore& core() const { return core_; }
  const ReceiptWatch& receipts() const { return receipts_; }

  // After the host has sent this node away: whether its newest groups hold here. Blame::kMachine:
  // one does not. The text: what was found, for people.
  Result<std::string> CheckOwn();

 private:
  struct Job {
    ExamineOwn ask;
    std::size_t next = 0;
    std::optional<SignedWork> batch = std::nullopt;
  };
  Defending(const Places& places, const Signer& key, const Hash256& run, const RunSite& site,
            const Bytes& description, const Ops& ops, ThreadPool& pool, Clock& clock,
            std::function<void(const std::string&)> say, OwnWork own);
  Status Watch(const ReceiptEvent& event, std::vector<NodeMessage>& out);
  OwnExamined LookAt(Job& job, bool& done);
  Examination Look(const GroupRecord& record);
  Result<const Model*> ModelOf(PolicyVersion version);

  const Hash256 run_;
  const RunSite& site_;
  ThreadPool& pool_;
  Clock& clock_;
  const std::function<void(const std::string&)> say_;
  OwnWork own_;
  FolderInputs inputs_;
  const std::filesystem::path evidence_;
  DefenceCore core_;
  ReceiptWatch receipts_;
  bool receipts_read_ = false;
  std::deque<Job> jobs_;
  std::map<PolicyVersion, std::shared_ptr<const Model>> models_;  // the last few
};

}  // namespace waggle
