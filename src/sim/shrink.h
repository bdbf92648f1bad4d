// From a schedule that breaks a promise to a small one that still does, by leaving out faults and
// workers (delta debugging, Zeller and Hildebrandt 2002).
#pragma once

#include <functional>

#include "sim/scenario.h"

namespace waggle {

// Whether this part of the schedule still fails.
using StillFails = std::function<bool(const Schedule&)>;

// 1-minimal where `tries_max` allows: leaving out any single fault more makes it hold. At least one
// worker stays.
Schedule Shrink(Schedule schedule, const StillFails& still_fails, std::size_t tries_max = 400);

}  // namespace waggle
