// Rule E6 of canonical arithmetic: every thread computes with round-to-nearest and gradual
// underflow.
#pragma once

namespace waggle {

// True when the calling thread rounds to nearest even and flushes no subnormal (no FTZ, no DAZ).
bool FloatEnvironmentIsCanonical();

// Stops the process if not: some foreign library changed the mode behind our back.
void CheckFloatEnvironment();

}  // namespace waggle
