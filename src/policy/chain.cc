#include "policy/chain.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/check.h"

namespace waggle {

std::optional<std::vector<PolicyLink>> ShortestChain(std::vector<PolicyLink> links,
                                                     PolicyVersion target,
                                                     std::optional<PolicyVersion> have) {
  struct Way {
    std::uint64_t bytes = 0, links = 0;
    std::optional<PolicyLink> last;
  };
  std::map<std::uint64_t, Way> ways;
  if (have) ways[have->value] = {};
  // Bases are older than what builds on them: in this order every way to a base is known before.
  std::ranges::sort(links, {}, [](const PolicyLink& link) {
    return std::tuple(link.version.value, link.base.has_value(),
                      link.base.value_or(PolicyVersion{}).value);
  });
  for (const PolicyLink& link : links) {
    Check(!link.base || *link.base < link.version, "a version builds on older ones");
    Way way{link.bytes, 1, link};
    if (link.base) {
      const auto base = ways.find(link.base->value);
      if (base == ways.end()) continue;
      way.bytes += base->second.bytes;
      way.links += base->second.links;
    }
    const auto [at, first] = ways.try_emplace(link.version.value, way);
    if (!first && std::tie(way.bytes, way.links) < std::tie(at->second.bytes, at->second.links))
      at->second = way;
  }
  std::vector<PolicyLink> chain;
  for (std::optional<PolicyVersion> at = target; at;) {
    const auto way = ways.find(at->value);
    if (way == ways.end()) return std::nullopt;
    if (!way->second.last) break;  // what one has
    chain.push_back(*way->second.last);
    at = way->second.last->base;
  }
  std::ranges::reverse(chain);
  return chain;
}

}  // namespace waggle
