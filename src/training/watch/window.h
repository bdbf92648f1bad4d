// One window's signals from its rollouts and from what earlier ones left. For reward_watch.cc.
#pragma once

#include <span>
#include <vector>

#include "training/watch/reward_watch.h"

namespace waggle {

// What a window leaves for later ones.
struct WindowTrace {
  std::optional<float> proxy, held_out, gap;
  float tokens = 0, distinct = 0, unscorable = 0;
  std::optional<float> entropy;
  std::vector<std::uint64_t> canary_tasks, canary_workers;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, WindowTrace>
void Fields(T& x, V&& v) {
  v(1, "proxy", x.proxy);
  v(2, "held_out", x.held_out);
  v(3, "gap", x.gap);
  v(4, "tokens", x.tokens);
  v(5, "distinct", x.distinct);
  v(6, "unscorable", x.unscorable);
  v(7, "entropy", x.entropy);
  v.Numbers(8, "canary_tasks", x.canary_tasks, kWatchWindow);
  v.Numbers(9, "canary_workers", x.canary_workers, kWatchWindow);
}

WindowTrace TraceOf(std::span<const Observation> window);

// `base`: the first windows of the run, at most kBaseWindows. `recent`: the newest last, this one
// included.
std::array<Reading, kSignals> ReadSignals(std::span<const Observation> window,
                                          std::span<const WindowTrace> base,
                                          std::span<const WindowTrace> recent);

}  // namespace waggle
