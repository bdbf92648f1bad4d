// Sums of events by account, for people: what `waggle run` prints at its end, statements, epochs.
#pragma once

#include <map>
#include <span>

#include "ledger/events.h"

namespace waggle {

struct Payout {
  Credits paid;     // for work, free to use
  Credits vesting;  // for work, held back; what was claimed of it is in `vested`
  Credits vested;
  Credits roles;      // as trainer, data owner or validator
  Credits bounties;   // for proofs and canaries
  Credits forfeited;  // pay lost to a proof
  Credits unpaid;     // pay that was not earned: unavailable, invalid, unproven
  Credits slashed;    // of stake and unvested pay; beacon forfeits too
  std::uint64_t batches = 0, audited = 0;
  bool operator==(const Payout&) const = default;
};

// By run, epoch and account.
class PayoutBook {
 public:
  void See(std::span<const LedgerEvent> events);
  // Of one epoch of one run, by account; null if nothing happened in it.
  const std::map<NodeId, Payout>* Epoch(const LedgerRun& run, std::uint64_t epoch) const;
  // Of a run, all epochs together.
  std::map<NodeId, Payout> Run(const LedgerRun& run) const;
  const std::map<std::pair<LedgerRun, std::uint64_t>, std::map<NodeId, Payout>>& epochs() const {
    return epochs_;
  }

 private:
  std::map<std::pair<LedgerRun, std::uint64_t>, std::map<NodeId, Payout>> epochs_;
};

}  // namespace waggle
