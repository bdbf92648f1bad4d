// A host's training steps on paper: signs each, keeps what those need who take one again, and shows
// it to validators as blobs, by their hashes, beside the policies of the shelf. Driver; all but
// Open(hash) is for the host's thread.
#pragma once

#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "audit/audit_desk.h"
#include "audit/steps/state_listing.h"
#include "audit/steps/step_log.h"
#include "base/files.h"
#include "host/host_core.h"
#include "host/run_parts.h"
#include "net/server.h"
#include "run/policy_shelf.h"

namespace waggle {

class StepKeeper final : public BlobSource {
 public:
  // All of them outlive it.
  static Result<std::unique_ptr<StepKeeper>> Open(RunParts& run, RunStore& store,
                                                  PolicyShelf& shelf, const Signer& key,
                                                  std::function<bool(LeaseId)> censors = nullptr);
  ~StepKeeper() override;

  // The step that has just been taken on the groups of these leases.
  Result<StepMade> Sign(const Hash256& before, const Hash256& after,
                        const std::vector<LeaseId>& batch);
  // What a censoring host trains on.
  void Censor(TrainOn& batch) const;
  const std::vector<SignedStep>& steps() const { return log_->steps(); }
  void Published(PolicyVersion version, const std::optional<Digest256>& update,
                 const std::optional<Digest256>& snapshot);
  // What unsettled epochs may need stays: states and batches of steps, policies.
  void Need(std::uint64_t steps_from, std::uint64_t policies_from);

  void Ask(ShowForAudit ask);
  // Does a bit of what was asked for; what is ready to be told. Trouble is told as "not to be had".
  std::vector<AuditShown> Work();

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override;

 private:
  struct Piece {
    std::shared_ptr<const void> owner;
    std::span<const std::uint8_t> bytes;
  };
  class PieceBlob;
  // One state, listed on a thread of its own; kept for as long as it is in the folder.
  struct State {
    std::future<Result<StateListing>> under_way;
    std::optional<Digest256> listing;
  };
  using Pieces = std::map<Digest256, Piece>;

  StepKeeper(RunParts& run, RunStore& store, PolicyShelf& shelf, const Signer& key,
             std::function<bool(LeaseId)> censors)
      : run_(run), store_(store), shelf_(shelf), key_(key), censors_(std::move(censors)) {}
  Result<std::vector<GroupRecord>> Accepted(std::uint64_t first);
  Result<std::optional<AuditShown>> Show(const ShowForAudit& ask);
  Result<std::optional<AuditShown>> ShowStep(const NodeId& node, PolicyVersion version);
  AuditShown ShowPolicy(const NodeId& node, PolicyVersion version) const;
  Result<bool> StateReady(std::uint64_t version);
  Status OfferState(std::uint64_t version, const StateListing& listing);
  Status OfferBatch(const SignedStep& step);
  void Forget(std::uint64_t steps_from);
  std::filesystem::path BatchFile(std::uint64_t version) const;

  RunParts& run_;
  RunStore& store_;
  PolicyShelf& shelf_;
  const Signer& key_;
  const std::function<bool(LeaseId)> censors_;  // HostOptions::censors
  std::unique_ptr<StepLog> log_;
  std::deque<ShowForAudit> asked_;
  std::map<std::uint64_t, State> states_;  // by version of the checkpoint
  std::vector<StateFile> teacher_files_;   // of the run's teacher, once they were listed
  std::map<PolicyVersion, std::pair<std::optional<Digest256>, std::optional<Digest256>>>
      policies_;      // update and snapshot
  std::mutex mutex_;  // of what follows: what is offered, by version of checkpoint and of step
  std::map<std::uint64_t, Pieces> state_pieces_, batch_pieces_;
};

}  // namespace waggle
