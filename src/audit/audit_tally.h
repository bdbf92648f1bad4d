// Counts of what audits did, from the ledger's events: for people and their graphs
// (host_metrics.h). Since this process began; canaries are counted when they are shown, for a page
// of metrics may be anybody's to read.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <span>

#include "ledger/events.h"
#include "ledger/state.h"

namespace waggle {

class AuditTally {
 public:
  void See(std::span<const LedgerEvent> events, std::uint64_t now_ms);
  void Epochs(const LedgerRunState& run);

  struct Counts {
    std::uint64_t batches = 0, drawn = 0;     // committed, drawn to be audited
    std::array<std::uint64_t, 7> verdicts{};  // by Finding
    std::uint64_t canaries = 0, canaries_found = 0, canaries_missed = 0;  // shown; verdicts on them
    Credits paid, forfeited;        // of workers: what they have, vesting included; what was taken
    std::uint64_t epochs_open = 0;  // begun and not settled
    std::uint64_t timed = 0;        // verdicts whose time since the seal is known
  };
  const Counts& counts() const { return counts_; }
  // Of the newest verdicts, in their order: from the seal of the epoch. The last of them is number
  // counts().timed.
  const std::deque<double>& seconds() const { return seconds_; }

 private:
  Counts counts_;
  std::map<std::uint64_t, std::uint64_t> sealed_ms_;  // by epoch
  std::deque<double> seconds_;
};

}  // namespace waggle
