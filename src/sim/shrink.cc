#include "sim/shrink.h"

#include <algorithm>

namespace waggle {
namespace {

// Leaves out parts of `list` that are not needed, halves at first, single ones at the end.
template <class T>
bool Reduce(Schedule& schedule, std::vector<T> Schedule::*list, std::size_t keep_min,
            const StillFails& still_fails, std::size_t& tries) {
  bool changed = false;
  std::size_t part = std::max<std::size_t>(1, (schedule.*list).size() / 2);
  while (true) {
    bool left_out = false;
    for (std::size_t begin = 0; begin < (schedule.*list).size() && tries > 0;) {
      const std::size_t end = std::min(begin + part, (schedule.*list).size());
      if ((schedule.*list).size() - (end - begin) < keep_min) {
        begin = end;
        continue;
      }
      Schedule smaller = schedule;
      (smaller.*list)
          .erase((smaller.*list).begin() + static_cast<std::ptrdiff_t>(begin),
                 (smaller.*list).begin() + static_cast<std::ptrdiff_t>(end));
      --tries;
      if (still_fails(smaller)) {
        schedule = std::move(smaller);
        changed = left_out = true;
      } else {
        begin = end;
      }
    }
    if (tries == 0 || (part == 1 && !left_out)) return changed;
    if (!left_out) part = std::max<std::size_t>(1, part / 2);
  }
}

}  // namespace

Schedule Shrink(Schedule schedule, const StillFails& still_fails, std::size_t tries_max) {
  std::size_t tries = tries_max;
  bool changed = true;
  while (changed && tries > 0) {
    changed = Reduce(schedule, &Schedule::faults, 0, still_fails, tries);
    changed = Reduce(schedule, &Schedule::workers, 1, still_fails, tries) || changed;
  }
  return schedule;
}

}  // namespace waggle
