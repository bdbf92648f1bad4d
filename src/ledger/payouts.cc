#include "ledger/payouts.h"

namespace waggle {
namespace {

// The sum that an event of this kind belongs to, for `who`; null for most.
Credits Payout::*SumOf(LedgerEventKind kind) {
  switch (kind) {
    case LedgerEventKind::kPaid:
      return &Payout::paid;
    case LedgerEventKind::kPayVesting:
      return &Payout::vesting;
    case LedgerEventKind::kVested:
      return &Payout::vested;
    case LedgerEventKind::kRolePaid:
      return &Payout::roles;
    case LedgerEventKind::kBounty:
    case LedgerEventKind::kCanaryFound:
      return &Payout::bounties;
    case LedgerEventKind::kPayForfeited:
      return &Payout::forfeited;
    case LedgerEventKind::kPayUnspent:
      return &Payout::unpaid;
    case LedgerEventKind::kSlashed:
    case LedgerEventKind::kBeaconForfeited:
      return &Payout::slashed;
    default:  // moves no pay
      return nullptr;
  }
}

constexpr Credits Payout::*kSums[] = {&Payout::paid,   &Payout::vesting,  &Payout::vested,
                                      &Payout::roles,  &Payout::bounties, &Payout::forfeited,
                                      &Payout::unpaid, &Payout::slashed};

}  // namespace

void PayoutBook::See(std::span<const LedgerEvent> events) {
  for (const LedgerEvent& event : events) {
    const auto sum = SumOf(event.kind);
    const bool batch = event.kind == LedgerEventKind::kBatchCommitted;
    const bool audit = event.kind == LedgerEventKind::kAuditDrawn;
    if (sum == nullptr && !batch && !audit) continue;
    Payout& payout = epochs_[{event.run, event.epoch}][event.who];
    if (sum != nullptr) payout.*sum += event.amount;
    payout.batches += batch ? 1 : 0;
    payout.audited += audit ? 1 : 0;
  }
}

const std::map<NodeId, Payout>* PayoutBook::Epoch(const LedgerRun& run, std::uint64_t epoch) const {
  const auto found = epochs_.find({run, epoch});
  return found == epochs_.end() ? nullptr : &found->second;
}

std::map<NodeId, Payout> PayoutBook::Run(const LedgerRun& run) const {
  std::map<NodeId, Payout> all;
  for (const auto& [key, payouts] : epochs_) {
    if (key.first != run) continue;
    for (const auto& [node, payout] : payouts) {
      Payout& sum = all[node];
      for (const auto part : kSums) sum.*part += payout.*part;
      sum.batches += payout.batches;
      sum.audited += payout.audited;
    }
  }
  return all;
}

}  // namespace waggle
