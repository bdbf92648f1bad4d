// Honest work examined again and again, on every kind of machine that this one can be: how often an
// honest worker is accused. Has to be never.
#pragma once

#include "zoo/zoo_run.h"

namespace waggle {

struct AuditCounts {
  std::uint64_t groups = 0, audits = 0, accusations = 0, faults = 0, tokens = 0;
  std::string first;  // of what went wrong
};

// At least so many audits: groups are sampled five leases at a time, on each instruction set, by
// engines of sixteen batch shapes, with and without prefix cache, and each is examined on every
// instruction set with one, two and three threads. `from`: the first lease.
Result<AuditCounts> HonestAudits(ZooRun& run, std::uint64_t audits, std::uint32_t from = 0);

}  // namespace waggle
