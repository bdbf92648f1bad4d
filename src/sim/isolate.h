// A simulation in a process of its own: a broken Check() in a core ends that process, and is a
// finding like any other.
#pragma once

#include "sim/world.h"

namespace waggle {

// As Simulate(). A child that died gives a result whose `broken` says how, with its last words.
SimResult SimulateApart(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule,
                        Plant plant);

// `broken` alone; what the seeds of one scenario came to. Up to `jobs` at once; the order in which
// `done` is called is that of the seeds.
struct Verdicts {
  std::uint64_t seed = 0;
  std::string broken;
  std::uint64_t digest = 0;
};
void SimulateSeeds(const Scenario& scenario, std::uint64_t first, std::uint64_t count, Plant plant,
                   unsigned jobs, const std::function<bool(const Verdicts&)>& done);

}  // namespace waggle
