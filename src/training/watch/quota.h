// How much of a training step one worker may be: so that nobody's rollouts, however good they look,
// steer the policy alone. Whole groups are taken, never the best of them, and which ones is drawn
// by a beacon, never by score: failures stay at their natural rate.
//
// Source: sheet markets.md 5.3 items 5 and 8.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace waggle {

struct QuotaGroup {
  std::uint64_t worker = 0, task = 0;
  std::uint32_t rollouts = 0;
  bool external = false;                // from outside the run: an imported rollout
  std::uint32_t reputation = 1u << 16;  // of 2^16: scales its worker's quota (laws.h, Reputation)
};

struct QuotaLimits {
  std::uint64_t step_rollouts = 0;    // nominal size of a step
  std::uint32_t worker_parts = 8;     // a worker: at most this part of a step
  std::uint32_t groups_per_task = 2;  // of one worker
  std::uint32_t external_parts = 2;   // all from outside: at most this part of a step
};

// Indices of the groups that may train, ascending. The order in which groups are looked at is
// shuffled by `beacon`; a group that does not fit is passed over whole. Limits are of the nominal
// step, so a worker who is alone makes a small step, not a step of its own.
std::vector<std::size_t> WithinQuota(std::span<const QuotaGroup> groups, const QuotaLimits& limits,
                                     std::uint64_t beacon);

}  // namespace waggle
