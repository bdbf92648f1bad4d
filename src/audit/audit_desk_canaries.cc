// What the audit desk does with canaries, and with beacons from outside.
#include <algorithm>

#include "audit/audit_desk.h"
#include "proofs/claims.h"

namespace waggle {

void AuditDesk::On(const AuditTick&) {
  tally_.Epochs(*ledger().FindRun(settings_.run));
  WantRounds();
  Referee();
  if (!canaries_.on()) return;
  if (!sign_until_) SeeForCanary();
  if (auto make = canaries_.Next()) effects_.push_back(*make);
}

void AuditDesk::SeeForCanary() {
  if (!canaries_.on()) return;
  std::vector<LeaseId> leases;
  std::size_t workers = 0;
  for (const auto& [worker, pieces] : open_) {
    ++workers;
    for (const auto& [lease, piece] : pieces) leases.push_back(LeaseId{lease});
  }
  canaries_.See(ledger().FindRun(settings_.run)->epoch, std::move(leases), workers);
}

// Its batch goes to the ledger among those of others. True: there is to be one, and it is not ready
// yet.
bool AuditDesk::CanaryWaits() {
  const std::uint64_t epoch = ledger().FindRun(settings_.run)->epoch;
  if (!canaries_.on() || !canaries_.Planned(epoch) || canaries_.kept().contains(epoch))
    return false;
  const bool ready = canaries_.made() > 0;
  if (!ready) return canaries_.more();
  const bool turn = (now_ >= canary_at_ && now_ != committed_at_) || now_ >= *sign_until_;
  if (!turn) return true;
  auto canary = canaries_.Close(epoch, ledger().id());
  if (!canary) return false;
  effects_.push_back(KeepCanary{*canary});
  if (Ask(CommitBatch{canary->work.claim, canary->work.signature}))
    canaries_.Committed(std::move(*canary));
  return false;
}

// Shown like every other item; it lies nowhere but here.
bool AuditDesk::ShowCanary(const NodeId& node, AuditItem& item) {
  const CanaryBatch* canary = canaries_.Find(item.epoch, item.worker);
  if (canary == nullptr) return false;
  const LedgerBatch* batch = ledger().BatchOf(settings_.run, item.epoch, item.worker);
  if (IsValidator(node) && batch != nullptr && batch->audited &&
      item.index < canary->items.size()) {
    item.batch_signature = canary->work.signature;
    item.siblings = BatchPath(canary->work.groups, item.index).siblings;
    item.lease = canary->items[item.index].lease;
    item.group = canary->items[item.index].group;
  }
  effects_.push_back(Tell{node, std::move(item)});
  return true;
}

// When the last verdict on it can have come, and before anybody is paid.
void AuditDesk::RevealCanaries() {
  if (canaries_.kept().empty()) return;
  for (const std::uint64_t epoch : ledger().SettleableEpochs(settings_.run, wall_ms_)) {
    const auto kept = canaries_.kept().find(epoch);
    if (kept == canaries_.kept().end()) continue;
    const LedgerRunState& run = *ledger().FindRun(settings_.run);
    const LedgerEpoch& state = run.epochs.at(epoch);
    const auto batch = state.batches.find(kept->second.work.claim.worker);
    const bool open = batch != state.batches.end() && !batch->second.canary &&
                      batch->second.state == BatchState::kPending;
    if (!open || state.phase != EpochPhase::kAudited) continue;
    if (const auto reveal = canaries_.Reveal(epoch)) Ask(*reveal);
  }
  std::vector<std::uint64_t> over;
  for (const auto& [epoch, canary] : canaries_.kept()) {
    const LedgerRunState& run = *ledger().FindRun(settings_.run);
    if (epoch < run.epoch && !run.epochs.contains(epoch)) over.push_back(epoch);
  }
  for (const std::uint64_t epoch : over) canaries_.Forget(epoch);
}

// --- Beacons from outside ------------------------------------------------------------------------

void AuditDesk::WantRounds() {
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  if (run.terms.beacon != BeaconKind::kExternal) return;
  for (const auto& [number, epoch] : run.epochs) {
    if (epoch.phase == EpochPhase::kSealed)
      effects_.push_back(WantRound{number, ExternalRoundOf(run.terms, epoch.sealed_ms)});
  }
}

void AuditDesk::On(const RoundFound& event) {
  Ask(BeaconExternal{settings_.run, event.epoch, event.round, event.randomness, event.signature,
                     event.previous});
}

}  // namespace waggle
