#include "run/influence.h"

#include "crypto/hash.h"

namespace waggle {
namespace {

constexpr std::uint32_t kRowsAtOnce = 1000;

// Which groups of a worker are passed over: nobody chooses, and nobody gains by knowing.
std::uint64_t BeaconOf(const Hash256& run, std::uint64_t batch) {
  constexpr std::string_view kLabel = "WGL-QUOTA-1";
  Bytes bytes(kLabel.begin(), kLabel.end());
  bytes.insert(bytes.end(), run.begin(), run.end());
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::uint8_t>(batch >> (8 * i)));
  const Digest256 digest = Sha256(bytes);
  std::uint64_t beacon = 0;
  for (int i = 0; i < 8; ++i)
    beacon |= std::uint64_t{digest[static_cast<std::size_t>(i)]} << (8 * i);
  return beacon;
}

}  // namespace

QuotaLimits Influence::Limits() const {
  return {.step_rollouts = std::uint64_t{plan_.groups_per_step} * plan_.group_size,
          .worker_parts = plan_.worker_parts};
}

Status Influence::Read(RunStore& store) {
  for (;;) {
    WG_ASSIGN(const auto rows, store.Outcomes(read_, kRowsAtOnce));
    if (rows.empty()) return {};
    read_ = rows.back().number;
    for (const RunStore::Ended& row : rows) {
      if (row.record.outcome == Outcome::kAccepted)
        workers_[row.record.lease.value] = row.record.worker;
    }
  }
}

Result<NodeId> Influence::WorkerOf(LeaseId lease, RunStore& store) {
  auto found = workers_.find(lease.value);
  if (found == workers_.end()) {
    WG_TRY(Read(store));
    found = workers_.find(lease.value);
  }
  if (found == workers_.end()) {  // of a desk, whose numbers may be below the last that we saw
    read_ = 0;
    WG_TRY(Read(store));
    found = workers_.find(lease.value);
  }
  if (found != workers_.end()) return found->second;
  return Fail(Blame::kMachine, "the store does not say who sampled lease {}", LeaseName(lease));
}

Result<std::size_t> Influence::Limit(TrainOn& batch, RunStore& store) {
  if (!on()) return 0;
  std::map<NodeId, std::uint64_t> numbers;
  std::vector<QuotaGroup> groups;
  for (std::size_t i = 0; i < batch.leases.size(); ++i) {
    WG_ASSIGN(const NodeId worker, WorkerOf(batch.leases[i].id, store));
    const std::uint64_t number = numbers.emplace(worker, numbers.size()).first->second;
    groups.push_back(
        {.worker = number,
         .task = batch.leases[i].task_seed,
         .rollouts = static_cast<std::uint32_t>(batch.groups[i].group.rollouts.size())});
  }
  const auto kept = WithinQuota(groups, Limits(), BeaconOf(run_, batch.batch));
  const std::size_t over = groups.size() - kept.size();
  if (over == 0) return 0;
  TrainOn within{.batch = batch.batch};
  for (const std::size_t i : kept) {
    within.groups.push_back(std::move(batch.groups[i]));
    within.leases.push_back(std::move(batch.leases[i]));
  }
  batch = std::move(within);
  return over;
}

Result<std::string> Influence::WhyOver(const std::vector<LeaseId>& leases, RunStore& store) {
  if (!on()) return std::string();
  std::map<NodeId, std::uint64_t> rollouts;
  const QuotaLimits limits = Limits();
  const std::uint64_t most = limits.step_rollouts / limits.worker_parts;
  for (const LeaseId lease : leases) {
    WG_ASSIGN(const NodeId worker, WorkerOf(lease, store));
    if ((rollouts[worker] += plan_.group_size) > most)
      return fmt::format("more than {} rollouts of {} in one step", most, ToText(worker));
  }
  return std::string();
}

}  // namespace waggle
