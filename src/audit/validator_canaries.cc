// What a validator does when a batch is shown as a canary and is not what it found: looks again,
// and if it looked the first time, contests and keeps the proof.
#include <fmt/format.h>

#include <algorithm>

#include "audit/trust_terms.h"
#include "audit/validator_core.h"

namespace waggle {
namespace {

bool SaysBad(Finding finding) { return finding == Finding::kWrong || finding == Finding::kInvalid; }

// The verdict of ours that the host contradicts.
bool Contradicts(const LedgerBatch& batch, const NodeId& self) {
  const auto seat = std::ranges::find(batch.auditors, self, &AuditorSeat::validator);
  if (seat == batch.auditors.end() || !seat->finding) return false;
  if (*seat->finding == Finding::kAccepted) return batch.canary_bad;
  return SaysBad(*seat->finding) && !batch.canary_bad;
}

}  // namespace

void ValidatorCore::NoteReveal(const LedgerEntry& entry, std::span<const LedgerEvent> events) {
  if (const auto* reveal = std::get_if<CanaryReveal>(&entry.request.body);
      reveal != nullptr && reveal->run == Run())
    reveals_[{reveal->epoch, reveal->worker}] = Encode(entry.request);
  for (const LedgerEvent& event : events) {
    const auto ours = again_.find({event.epoch, event.who});
    if (event.run != Run() || ours == again_.end() || !ours->second) continue;
    if (event.kind == LedgerEventKind::kFoundInnocent) {
      effects_.push_back(Noticed{fmt::format(
          "the referee agrees: the canary of epoch {} was not what it was called", event.epoch)});
    } else if (event.kind == LedgerEventKind::kFoundGuilty) {
      Lie(
          fmt::format("it insists that the canary of epoch {} is what it called it, and it is not; "
                      "the evidence "
                      "is kept",
                      event.epoch));
    }
  }
}

void ValidatorCore::WatchCanaries(const LedgerRunState& run) {
  std::uint64_t oldest = run.settled;
  for (const auto& [number, epoch] : run.epochs) {
    for (const auto& [worker, batch] : epoch.batches) {
      if (batch.state != BatchState::kPending) continue;
      oldest = std::min(oldest, number);
      const Place place{number, worker};
      if (!batch.canary || batch.contested || again_.contains(place) ||
          !Contradicts(batch, key_.id()))
        continue;
      again_[place] = false;
      effects_.push_back(Noticed{fmt::format(
          "the batch of {} in epoch {} is said to be a {} canary, and we found that it {}: "
          "examining it again",
          ToText(worker), number, batch.canary_bad ? "bad" : "good",
          batch.canary_bad ? "holds" : "does not hold")});
      effects_.push_back(LookAgain{number, worker, batch.canary_bad});
    }
  }
  std::erase_if(reveals_, [&](const auto& reveal) { return reveal.first.epoch < oldest; });
  if (oldest <= dropped_before_) return;
  dropped_before_ = oldest;
  effects_.push_back(DropItems{oldest});
}

void ValidatorCore::On(const LookedAgain& event) {
  const auto found = again_.find({event.epoch, event.worker});
  if (found == again_.end() || found->second || ledger() == nullptr) return;
  switch (event.kind) {
    case LookedAgain::Kind::kHostErrs:
      return ContestIt(event);
    case LookedAgain::Kind::kWeErr:
      return effects_.push_back(MachineFault{
          fmt::format("what we found of a batch of epoch {} is not so when it is examined again: "
                      "{}. This machine (its memory, its disk, or this build) cannot be relied on",
                      event.epoch, event.text)});
    case LookedAgain::Kind::kUnknown:
      return effects_.push_back(
          Noticed{fmt::format("whether it is a canary of that kind cannot be told here: {}; it is "
                              "not contested",
                              event.text)});
  }
}

void ValidatorCore::ContestIt(const LookedAgain& looked) {
  const LedgerBatch* batch = ledger()->BatchOf(Run(), looked.epoch, looked.worker);
  const auto reveal = reveals_.find({looked.epoch, looked.worker});
  if (batch == nullptr || reveal == reveals_.end()) return;  // settled meanwhile
  again_.at({looked.epoch, looked.worker}) = true;
  Evidence evidence = EvidenceOn(*looked.item, batch->claim);
  evidence.accused = *host_;
  evidence.reason = RejectReason::kFalseCanary;
  evidence.rollout = looked.examination.rollout;
  evidence.token = looked.examination.token;
  evidence.text = looked.text;
  evidence.canary = CanaryProof{reveal->second};
  Bytes file = SealEvidence(std::move(evidence), key_);
  const Digest256 hash = EvidenceHash(file);
  effects_.push_back(KeepEvidence{
      std::move(file), fmt::format("the host, whose canary of epoch {} is not what it says: {}",
                                   looked.epoch, looked.text)});
  const Credits bond = ledger()->FindRun(Run())->terms.accuse_bond;
  const Credits balance = ledger()->BalanceOf(key_.id());
  if (balance < bond) {
    effects_.push_back(Noticed{
        fmt::format("to contest the canary of epoch {} takes a bond of {}, and we have {}: it is "
                    "not contested; the evidence is kept",
                    looked.epoch, CreditsText(bond), CreditsText(balance))});
    return;
  }
  ++counts_.contested;
  wanted_.push_front(ContestCanary{Run(), looked.epoch, looked.worker, hash});
}

}  // namespace waggle
