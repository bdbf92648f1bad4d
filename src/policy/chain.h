// Ways from what one has to a policy version: snapshots and patches as the edges of a graph.
#pragma once

#include <optional>
#include <vector>

#include "base/strong.h"
#include "crypto/hash.h"

namespace waggle {

struct PolicyLink {
  std::optional<PolicyVersion> base;  // absent: a snapshot
  PolicyVersion version;
  std::uint64_t bytes = 0;
  bool operator==(const PolicyLink&) const = default;
};

// The links to `target` of fewest bytes in all, then of fewest links, in the order in which they
// apply; from `have` if given and cheaper than a snapshot. Empty when `have` is the target, nothing
// when no way leads there. REQUIRES base < version in every link.
std::optional<std::vector<PolicyLink>> ShortestChain(std::vector<PolicyLink> links,
                                                     PolicyVersion target,
                                                     std::optional<PolicyVersion> have);

}  // namespace waggle
