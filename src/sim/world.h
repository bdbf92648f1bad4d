// A whole simulated network: the host, its volunteers, strangers, lines, clocks, a disk, and the
// faults of a schedule. A function of (scenario, seed, schedule, plant) and of nothing else.
#pragma once

#include <functional>
#include <memory>

#include "sim/sim_host.h"
#include "sim/sim_rogue.h"
#include "sim/sim_worker.h"

namespace waggle {

struct SimOptions {
  Plant plant = Plant::kNone;
  // Called now and then with how far virtual time came.
  std::function<void(Micros now, PolicyVersion version)> progress;
};

struct SimResult {
  std::string broken;  // the promise that did not hold; empty: all did
  Micros broken_at = 0;
  std::uint64_t digest = 0;  // of all events, in order
  Micros finished = 0, ended = 0;
  std::uint64_t events = 0;
  Promises::Stats ledger;
  SimNetwork::Stats network;
  SimHost::Stats host;
  double worker_idle = 0, trainer_idle = 0;       // shares of the time until the run was over
  std::vector<std::uint64_t> accepted_by_worker;  // groups, by index
};

SimResult Simulate(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule,
                   const SimOptions& options = {});

}  // namespace waggle
