#include "training/watch/quota.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/philox.h"

namespace waggle {

std::vector<std::size_t> WithinQuota(std::span<const QuotaGroup> groups, const QuotaLimits& limits,
                                     std::uint64_t beacon) {
  Check(limits.worker_parts > 0 && limits.external_parts > 0, "a quota is a part");
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), 0);
  Rng rng(beacon);
  for (std::size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[rng.Below(static_cast<std::uint32_t>(i + 1))]);

  std::map<std::uint64_t, std::uint64_t> of_worker;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> of_task;
  std::uint64_t external = 0;
  std::vector<std::size_t> kept;
  for (const std::size_t i : order) {
    const QuotaGroup& group = groups[i];
    Check(group.reputation <= 1u << 16, "a reputation is at most one");
    const std::uint64_t cap = limits.step_rollouts / limits.worker_parts * group.reputation >> 16;
    std::uint64_t& used = of_worker[group.worker];
    std::uint32_t& of_this = of_task[{group.worker, group.task}];
    if (used + group.rollouts > cap || of_this >= limits.groups_per_task) continue;
    if (group.external && external + group.rollouts > limits.step_rollouts / limits.external_parts)
      continue;
    used += group.rollouts;
    ++of_this;
    external += group.external ? group.rollouts : 0;
    kept.push_back(i);
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

}  // namespace waggle
