// The host as the referee of its own run's disputes: what is contested is examined again, by what
// it has kept itself, and decided; nobody needs to look. One item with each tick.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "audit/audit_desk.h"

namespace waggle {
namespace {

constexpr Milliseconds kFileMs = 10'000;  // an accuser has this long to show its evidence

bool SaysBad(const AuditorSeat& seat) {
  return seat.finding == Finding::kWrong || seat.finding == Finding::kInvalid;
}

}  // namespace

// Whoever is found against, or accused, need not follow the ledger: it is told that it should.
void AuditDesk::TellAbout(const NodeId& worker) {
  if (!followers_.contains(worker))
    effects_.push_back(Tell{worker, LedgerPortion(records_, records_.size())});
}

void AuditDesk::On(const NodeCame& event) {
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  const bool concerned = std::ranges::any_of(run.epochs, [&](const auto& row) {
    const auto batch = row.second.batches.find(event.node);
    return batch != row.second.batches.end() && batch->second.state == BatchState::kPending &&
           (batch->second.Rejected() || !batch->second.disputes.empty());
  });
  if (concerned) TellAbout(event.node);
}

// Decides one dispute, or asks for one item; whatever is open is found in the ledger, after a
// restart too.
void AuditDesk::Referee() {
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  const auto& open = ledger().state().disputes;
  std::erase_if(trials_, [&](const auto& trial) { return !open.contains(trial.first); });
  for (const auto& [id, dispute] : open) {
    if (dispute.run != settings_.run) continue;
    if (wall_ms_ >= dispute.opened_ms + run.terms.referee_ms) {
      Ask(LapseDispute{id});
      return;
    }
    if (dispute.votes.contains(key_.id()) ||
        !std::ranges::binary_search(run.terms.referees, key_.id()))
      continue;
    const auto [trial, fresh] = trials_.try_emplace(id);
    if (fresh) trial->second = TrialOf(dispute);
    if (trial->second.asked || trial->second.stuck) continue;
    const auto guilty = KnownOf(dispute);
    // To find a canary guilty is to end it, and nobody would be judged for having missed it.
    if (guilty == true && canaries_.Is(dispute.worker)) continue;
    if (guilty) return Decide(id, *guilty, "by the evidence shown");
    if (dispute.about == DisputeAbout::kAccusation && !decided_.contains(dispute.evidence)) {
      if (wall_ms_ < dispute.opened_ms + kFileMs) continue;
      return Decide(id, false, "no evidence was shown");
    }
    return TryNext(id, trial->second);
  }
}

AuditDesk::Trial AuditDesk::TrialOf(const LedgerDispute& dispute) const {
  Trial trial;
  if (const CanaryBatch* canary = canaries_.Find(dispute.epoch, dispute.worker)) {
    trial.leases = canary->work.leases;
  } else if (const auto work = work_.find(std::pair(dispute.epoch, dispute.worker));
             work != work_.end()) {
    trial.leases = work->second.leases;
  }
  const LedgerBatch& batch = *ledger().BatchOf(dispute.run, dispute.epoch, dispute.worker);
  const bool whole = batch.audited_whole || dispute.about == DisputeAbout::kAccusation;
  trial.items = batch.items;
  if (whole) {
    trial.items.resize(batch.claim.items);
    std::iota(trial.items.begin(), trial.items.end(), 0u);
  }
  trial.stuck = trial.leases.size() != batch.claim.items;
  return trial;
}

// What the evidence of an accusation was found to be. Of a finding that was proved there is no
// dispute: its worker was sent away.
std::optional<bool> AuditDesk::KnownOf(const LedgerDispute& dispute) const {
  if (dispute.about != DisputeAbout::kAccusation) return std::nullopt;
  const auto found = decided_.find(dispute.evidence);
  if (found == decided_.end()) return std::nullopt;
  const LedgerBatch& batch = *ledger().BatchOf(dispute.run, dispute.epoch, dispute.worker);
  if (found->second.batch != batch.claim.root) return false;  // whatever it is about
  if (found->second.fault) return std::nullopt;
  return found->second.proved && found->second.accused == dispute.worker;
}

// A batch is bad by one item that fails; a canary is what it was called by all of them.
void AuditDesk::TryNext(std::uint64_t id, Trial& trial) {
  const LedgerDispute& dispute = ledger().state().disputes.at(id);
  const bool canary = dispute.about == DisputeAbout::kCanary;
  const bool done = trial.next == trial.items.size() || (!canary && trial.fail > 0);
  if (!done) {
    const std::uint32_t item = trial.items[trial.next];
    JudgeItem judge{.dispute = id, .lease = trial.leases[item], .record = std::nullopt};
    if (const CanaryBatch* batch = canaries_.Find(dispute.epoch, dispute.worker))
      judge.record = batch->items[item];
    trial.asked = true;
    effects_.push_back(std::move(judge));
    return;
  }
  const LedgerBatch& batch = *ledger().BatchOf(dispute.run, dispute.epoch, dispute.worker);
  const bool guilty =
      canary ? (batch.canary_bad ? trial.hold == 0 : trial.fail == 0) : trial.fail > 0;
  const std::string why = trial.why;
  Decide(id, guilty, why.empty() ? fmt::format("{} items hold", trial.hold) : why);
}

void AuditDesk::On(const ItemJudged& event) {
  const auto found = trials_.find(event.dispute);
  if (found == trials_.end() || !found->second.asked) return;
  Trial& trial = found->second;
  trial.asked = false;
  ++trial.next;
  if (std::holds_alternative<Accepted>(event.verdict)) {
    ++trial.hold;
  } else if (const auto* reject = std::get_if<Reject>(&event.verdict);
             reject != nullptr && reject->reason != RejectReason::kFingerprint) {
    ++trial.fail;
    trial.why = fmt::format("lease {}: {}", LeaseName(event.lease), reject->detail);
  } else {  // cannot be told, or only with a tolerance: nobody is punished, and it lapses
    trial.stuck = true;
    effects_.push_back(Refereed{fmt::format(
        "dispute {} cannot be decided here: lease {}: {}", event.dispute, LeaseName(event.lease),
        reject != nullptr ? reject->detail : std::get<Fault>(event.verdict).what)});
  }
}

void AuditDesk::Decide(std::uint64_t id, bool guilty, const std::string& why) {
  const LedgerDispute dispute = ledger().state().disputes.at(id);
  const LedgerBatch batch = *ledger().BatchOf(dispute.run, dispute.epoch, dispute.worker);
  trials_.at(id).stuck = true;  // once
  if (!Ask(Resolve{id, guilty, dispute.evidence})) return;
  const bool canary = dispute.about == DisputeAbout::kCanary;
  const std::string name = ToText(dispute.worker);
  effects_.push_back(Refereed{
      fmt::format("dispute {} about the {} of {} in epoch {}: {} ({})", id,
                  canary ? "canary" : "batch", name, dispute.epoch,
                  canary   ? guilty ? "it is what it was called" : "it is not what it was called"
                  : guilty ? "it does not hold"
                           : "it holds",
                  why)});
  if (canary) return;  // who missed it is known when it is settled
  if (guilty)
    return SendOut(dispute.worker, fmt::format("{}: work that does not hold: {}", name, why));
  const std::string accused = fmt::format("accused {} of work that holds", name);
  if (dispute.about == DisputeAbout::kAccusation)
    return SendOut(dispute.by, ToText(dispute.by) + " " + accused);
  for (const AuditorSeat& seat : batch.auditors) {
    if (SaysBad(seat)) SendOut(seat.validator, ToText(seat.validator) + " " + accused);
  }
}

}  // namespace waggle
