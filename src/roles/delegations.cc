#include "roles/delegations.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {

std::vector<Delegations::Held> Delegations::See(const std::vector<DeskSeen>& open) {
  for (auto& [id, desk] : desks_) desk.seen.reset();
  for (const DeskSeen& seen : open) desks_[seen.desk].seen = seen;
  std::vector<Held> lost;
  for (auto at = desks_.begin(); at != desks_.end();) {
    const auto& [id, desk] = *at;
    if (!desk.seen) {
      for (const auto& [lease, rollouts] : desk.leases) lost.push_back({id, LeaseId{lease}});
    }
    at = !desk.seen && desk.leases.empty() ? desks_.erase(at) : std::next(at);
  }
  return lost;
}

std::optional<DeskId> Delegations::Next() {
  const auto wants = [](const auto& entry) { return entry.second.wants(); };
  const auto after = desks_.upper_bound(last_);
  auto next = std::find_if(after, desks_.end(), wants);
  if (next == desks_.end()) {
    next = std::find_if(desks_.begin(), after, wants);
    if (next == after) return std::nullopt;
  }
  last_ = next->first;
  return last_;
}

void Delegations::Give(DeskId id, const Lease& lease) {
  Desk& desk = desks_[id];
  Check(desk.leases.emplace(lease.id.value, lease.group_size).second,
        "a lease is delegated to a desk once at a time");
  desk.rollouts += lease.group_size;
}

bool Delegations::Take(DeskId id, LeaseId lease) {
  const auto desk = desks_.find(id);
  if (desk == desks_.end()) return false;
  const auto found = desk->second.leases.find(lease.value);
  if (found == desk->second.leases.end()) return false;
  desk->second.rollouts -= found->second;
  desk->second.leases.erase(found);
  return true;
}

void Delegations::Count(DeskId id, std::uint64_t tokens) {
  const auto desk = desks_.find(id);
  if (desk == desks_.end()) return;
  ++desk->second.accepted;
  desk->second.tokens += tokens;
}

std::vector<LeasesWantedBack> Delegations::AskBack(bool host_is_idle) {
  const auto idle = std::count_if(desks_.begin(), desks_.end(),
                                  [](const auto& entry) { return entry.second.wants(); });
  std::vector<LeasesWantedBack> changed;
  for (auto& [id, desk] : desks_) {
    if (!desk.seen) continue;
    const bool wanted = host_is_idle || idle > (desk.wants() ? 1 : 0);
    if (std::exchange(desk.asked_back, wanted) != wanted) changed.push_back({id, wanted});
  }
  return changed;
}

std::size_t Delegations::held() const {
  std::size_t held = 0;
  for (const auto& [id, desk] : desks_) held += desk.leases.size();
  return held;
}

std::vector<Delegations::View> Delegations::views() const {
  std::vector<View> views;
  for (const auto& [id, desk] : desks_) {
    if (!desk.seen) continue;
    views.push_back({.seen = *desk.seen,
                     .leases = desk.leases.size(),
                     .rollouts = desk.rollouts,
                     .accepted = desk.accepted,
                     .tokens = desk.tokens});
  }
  return views;
}

}  // namespace waggle
