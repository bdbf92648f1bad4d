#include "audit/audit_tally.h"

#include <algorithm>

namespace waggle {
namespace {

constexpr std::size_t kSecondsMax = 4096;

}  // namespace

void AuditTally::See(std::span<const LedgerEvent> events, std::uint64_t now_ms) {
  using Kind = LedgerEventKind;
  for (const LedgerEvent& event : events) {
    if (event.kind == Kind::kBatchCommitted) ++counts_.batches;
    if (event.kind == Kind::kAuditDrawn) ++counts_.drawn;
    if (event.kind == Kind::kCanaryShown) ++counts_.canaries;
    if (event.kind == Kind::kCanaryFound) ++counts_.canaries_found;
    if (event.kind == Kind::kCanaryMissed) ++counts_.canaries_missed;
    if (event.kind == Kind::kPaid || event.kind == Kind::kPayVesting) counts_.paid += event.amount;
    if (event.kind == Kind::kPayForfeited) counts_.forfeited += event.amount;
    if (event.kind == Kind::kEpochSealed) sealed_ms_[event.epoch] = now_ms;
    if (event.kind == Kind::kEpochSettled) sealed_ms_.erase(event.epoch);
    if (event.kind != Kind::kVerdict) continue;
    ++counts_.verdicts.at(std::min<std::uint64_t>(event.number, counts_.verdicts.size() - 1));
    const auto sealed = sealed_ms_.find(event.epoch);
    if (sealed == sealed_ms_.end()) continue;
    ++counts_.timed;
    if (seconds_.size() == kSecondsMax) seconds_.pop_front();
    seconds_.push_back(static_cast<double>(now_ms - std::min(now_ms, sealed->second)) * 1e-3);
  }
}

void AuditTally::Epochs(const LedgerRunState& run) { counts_.epochs_open = run.epochs.size(); }

}  // namespace waggle
