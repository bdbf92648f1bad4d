// What a worker has handed in and signed, on disk, for as long as somebody may say that it does not
// hold: groups with their leases, and which of them stand in the batch of an epoch. Bounded: the
// oldest batches go first. One process.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "rollout/encoding.h"
#include "run/signed_work.h"

namespace waggle {

class OwnWork {
 public:
  // Opens or creates. Blame::kMachine.
  static Result<OwnWork> Open(std::filesystem::path folder, std::uint64_t bytes_max);

  Status Keep(const GroupRecord& record);  // before it is handed in
  Status Keep(const SignedWork& batch);    // before it is signed; its signature need not be there
  Status KeepReceipt(LeaseId lease, const Bytes& receipt);
  void DropReceipt(LeaseId lease);
  // Those that are here, by lease; damaged ones are passed over.
  std::map<LeaseId, Bytes> Receipts() const;
  // It will not stand in a batch.
  void Drop(LeaseId lease);

  // Errors: not here any more, damaged.
  Result<SignedWork> BatchOf(std::uint64_t epoch) const;
  Result<GroupRecord> GroupOf(LeaseId lease) const;
  // Newest first.
  std::vector<LeaseId> Newest(std::size_t most) const;

 private:
  explicit OwnWork(std::filesystem::path folder, std::uint64_t bytes_max)
      : folder_(std::move(folder)), bytes_max_(bytes_max) {}
  std::filesystem::path FileOf(LeaseId lease) const;
  std::filesystem::path FileOf(std::uint64_t epoch) const;
  void Note(LeaseId lease, std::uint64_t bytes);
  void MakeRoom();

  std::filesystem::path folder_;
  std::uint64_t bytes_max_ = 0, bytes_ = 0;       // of groups
  std::deque<LeaseId> order_;                     // as they were kept, oldest first
  std::map<std::uint64_t, std::uint64_t> sizes_;  // by lease
  std::set<std::uint64_t> batches_;               // epochs
};

}  // namespace waggle
