// Time comes in through the constructor: cores get Instants with their events, drivers hold a
// Clock.
#pragma once

#include <cstdint>

namespace waggle {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t MonotonicNs() = 0;  // only differences mean anything
  virtual double
  UnixSeconds() = 0;  // for people and for TensorBoard's axis; never part of a result
};

// CPU time of this process, all threads together, in seconds: what work has cost.
double ProcessCpuSeconds();

// The machine's clock. The one place in the project that reads it.
Clock& SystemClock();

}  // namespace waggle
