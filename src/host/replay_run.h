// The whole of a hosted run again, on one machine, without sampling: the groups that were accepted
// are read from the run's store, the trainer does the rest. Every checkpoint that is still there,
// and the result, must come out bit for bit.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "host/run_parts.h"

namespace waggle {

struct ReplayOptions {
  std::filesystem::path original;  // folder of the run
  RunOptions run;                  // run_directory: a new folder, for the repeated run
  std::uint64_t to = 0;            // stop at this policy version; 0: as far as the groups go
};

struct ReplaySummary {
  std::uint64_t steps = 0, groups = 0;
  std::uint64_t compared = 0;  // versions whose weights were compared with the original's
  Hash256 weight_hash{};
  double seconds = 0;
};

// Blame::kPeer, naming the version: the original's weights are not what its own groups give.
Result<ReplaySummary> ReplayRun(const ReplayOptions& options, Clock& clock);

}  // namespace waggle
