// What a simulation came to, for people, and the command that does it again.
#pragma once

#include <string>

#include "sim/world.h"

namespace waggle {

// A table; real_seconds: what it took.
std::string ReportOf(const Scenario& scenario, const SimResult& result, double real_seconds);

// One line for a shell. Indices of kept faults and workers only where something was left out.
struct Reproduction {
  std::string file;
  std::uint64_t seed = 0;
  std::vector<std::string> overrides;
  Plant plant = Plant::kNone;
};
std::string CommandFor(const Reproduction& what, const Schedule& whole, const Schedule& part);

// "0,3-7" and back. Refuses what is no list of indices below `end`.
std::string IndexText(const std::vector<std::uint32_t>& indices);
Result<std::vector<std::uint32_t>> ParseIndices(std::string_view text, std::size_t end);

// The schedule with these faults and workers only.
Schedule PartOf(const Schedule& whole, const std::vector<std::uint32_t>& faults,
                const std::vector<std::uint32_t>& workers);

}  // namespace waggle
