#include "sim/sim_disk.h"

#include <algorithm>

namespace waggle {
namespace {

constexpr std::size_t kCheckpointsKept = 3;
constexpr std::uint64_t kEvaluationBit = std::uint64_t{1} << 63;
constexpr unsigned kIndexBits = 24;  // of a lease's id, below its wave (roles/orchestrator_core.cc)

std::uint64_t NumberOf(std::uint64_t lease) { return (lease & ~kEvaluationBit) >> kIndexBits; }

}  // namespace

Status SimDisk::Write() {
  if (full) return Fail(Blame::kMachine, "no space left on the disk");
  if (fail_next == 0) return {};
  --fail_next;
  return Fail(Blame::kMachine, "the disk does not answer");
}

Status SimDisk::Save(Checkpoint checkpoint) {
  WG_TRY(Write());
  // A host that fell back to an older checkpoint writes the later ones anew.
  std::erase_if(checkpoints_, [&](const Checkpoint& c) { return c.version >= checkpoint.version; });
  checkpoints_.push_back(std::move(checkpoint));
  if (checkpoints_.size() > kCheckpointsKept) checkpoints_.erase(checkpoints_.begin());
  if (checkpoints_.size() == kCheckpointsKept) ForgetBefore(checkpoints_.front().version.value);
  return {};
}

// The real store keeps everything; here nobody asks for it any more.
void SimDisk::ForgetBefore(std::uint64_t wave) {
  if (!forgets) return;
  const auto old = [&](const auto& entry) { return NumberOf(entry.first) < wave; };
  std::erase_if(groups_, old);
  std::erase_if(newest_, old);
}

std::optional<SimDisk::Checkpoint> SimDisk::Newest(bool read_torn) const {
  for (auto it = checkpoints_.rbegin(); it != checkpoints_.rend(); ++it) {
    if (!it->torn) return *it;
    if (!read_torn) continue;
    // Half of the weights are zeroes; the length is right.
    Checkpoint half = *it;
    auto& table = half.policy.table;
    std::fill(table.begin() + static_cast<std::ptrdiff_t>(table.size() / 2), table.end(), 1u);
    return half;
  }
  return std::nullopt;
}

void SimDisk::TearNewest() {
  // Never the last one that is whole but the newest of several: a disk that loses everything is
  // not what anybody survives.
  if (checkpoints_.size() > 1 && !checkpoints_[checkpoints_.size() - 2].torn)
    checkpoints_.back().torn = true;
}

Status SimDisk::Commit(StoreBatch batch, const std::function<void(const StoreEntry&)>& kept) {
  if (batch.empty()) return {};
  WG_TRY(Write());
  for (StoreEntry& entry : batch) {
    kept(entry);
    if (const auto* holder = std::get_if<LeaseHolder>(&entry)) {
      newest_[holder->lease.id.value] = grants_;
      open_.insert_or_assign({holder->lease.id.value, holder->node}, Grant{grants_++, *holder});
    } else if (auto* record = std::get_if<GroupRecord>(&entry)) {
      const std::uint64_t lease = record->lease.id.value;
      if (!record->lease.evaluation) arrived_.push_back(lease);
      groups_.insert_or_assign(lease, std::move(*record));
    } else if (const auto* outcome = std::get_if<OutcomeRecord>(&entry)) {
      open_.erase({outcome->lease.value, outcome->worker});
    }
  }
  return {};
}

std::vector<GroupRecord> SimDisk::Groups(std::uint64_t first, std::uint64_t end) const {
  std::vector<GroupRecord> records;
  for (const auto& [lease, record] : groups_) {
    if (NumberOf(lease) >= first && NumberOf(lease) < end) records.push_back(record);
  }
  return records;
}

std::vector<GroupRecord> SimDisk::Arrived(std::uint64_t first) const {
  Check(!forgets, "only who forgets nothing knows what arrived in which order");
  std::vector<GroupRecord> records;
  for (std::size_t i = first; i < arrived_.size(); ++i) records.push_back(groups_.at(arrived_[i]));
  return records;
}

std::vector<OpenGrant> SimDisk::OpenGrants() const {
  std::vector<const Grant*> grants;
  for (const auto& [key, grant] : open_) grants.push_back(&grant);
  std::sort(grants.begin(), grants.end(),
            [](const Grant* a, const Grant* b) { return a->number < b->number; });
  std::vector<OpenGrant> open;
  for (const Grant* grant : grants) {
    const std::uint64_t lease = grant->holder.lease.id.value;
    const auto newest = newest_.find(lease);
    const bool superseded = newest == newest_.end() || newest->second != grant->number;
    open.push_back({grant->holder, superseded || groups_.contains(lease)});
  }
  return open;
}

}  // namespace waggle
