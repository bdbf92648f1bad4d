// An epoch: batches, the seal, the beacon, and what it draws.
#include <algorithm>

#include "crypto/keccak.h"
#include "ledger/step.h"

namespace waggle {
namespace {

const char* WhyBadBatch(const BatchClaim& claim, const RunTerms& terms) {
  if (claim.worker == NodeId{}) return "a batch of nobody";
  if (claim.items == 0 || claim.items > kTermsLimits.items_max) return "items: 1 to 2^20";
  const BatchWork& work = claim.work;
  if (work.rollouts == 0 || work.rollouts > kTermsLimits.rollouts_max) return "rollouts: 1 to 2^20";
  if (work.rollout_weight > std::uint64_t{work.rollouts} * kWhole.value)
    return "rollout_weight: no rollout weighs more than 10,000";
  if (work.token_weight > work.rollout_weight * terms.token_cap)
    return "token_weight: no rollout has more tokens than the cap";
  return nullptr;
}

}  // namespace

std::uint64_t ExternalRoundOf(const RunTerms& terms, std::uint64_t sealed_ms) {
  const std::uint64_t since =
      sealed_ms > terms.drand_genesis_ms ? sealed_ms - terms.drand_genesis_ms : 0;
  return since / terms.drand_period_ms + 1 + terms.drand_margin;
}

LedgerEpoch* LedgerStep::FindEpoch(std::uint64_t number) {
  const auto epoch = run_->epochs.find(number);
  return epoch == run_->epochs.end() ? nullptr : &epoch->second;
}

LedgerBatch* LedgerStep::FindPending(LedgerEpoch* epoch, const NodeId& worker) {
  if (epoch == nullptr) return nullptr;
  const auto batch = epoch->batches.find(worker);
  if (batch == epoch->batches.end() || batch->second.state != BatchState::kPending) return nullptr;
  return &batch->second;
}

LedgerStatus LedgerStep::On(const CommitBatch& body) {
  const BatchClaim& claim = body.claim;
  if (author() != run_->terms.orchestrator)
    return Refuse(LedgerRefusal::kNotAllowed, "the orchestrator commits batches");
  if (claim.epoch != run_->epoch)
    return Refuse(LedgerRefusal::kWrongEpoch, "another epoch is open");
  if (const char* why = WhyBadBatch(claim, run_->terms))
    return Refuse(LedgerRefusal::kBadBatch, why);
  const RunMember* member = FindMember(claim.worker);
  if (member != nullptr && (member->expelled || member->jailed_until_ms > now()))
    return Refuse(LedgerRefusal::kJailed, "this worker is out for now");
  if ((member == nullptr ? Credits{} : member->active) < run_->terms.stake_min)
    return Refuse(LedgerRefusal::kStakeTooLow, "this worker has less than stake_min at stake");
  if (const LedgerEpoch* open = FindEpoch(claim.epoch)) {
    if (open->batches.contains(claim.worker))
      return Refuse(LedgerRefusal::kSlotTaken, "one batch of one worker in one epoch");
    if (open->batches.size() >= kLedgerLimits.batches_max)
      return Refuse(LedgerRefusal::kTooMany, "4096 batches in one epoch");
  }
  if (!check_(claim.worker, kBatchDomain, BatchMessage(id_, claim), body.worker_signature))
    return Refuse(LedgerRefusal::kBadWorkerSignature, "the worker did not sign this batch");
  LedgerBatch& batch = run_->epochs[claim.epoch].batches[claim.worker];
  batch.claim = claim;
  ++run_->members[claim.worker].unsettled;
  Emit(LedgerEventKind::kBatchCommitted, claim.worker, {}, claim.items);
  return {};
}

LedgerStatus LedgerStep::On(const BeaconCommit& body) {
  if (run_->terms.beacon != BeaconKind::kValidators)
    return Refuse(LedgerRefusal::kWrongBeacon, "this run's beacon comes from outside");
  if (body.epoch != run_->epoch)
    return Refuse(LedgerRefusal::kWrongEpoch, "beacons are committed to before the seal");
  if (!IsValidator(author()))
    return Refuse(LedgerRefusal::kNotValidator, "validators make the beacon");
  LedgerEpoch& epoch = run_->epochs[body.epoch];
  if (!epoch.seats.try_emplace(author(), BeaconSeat{body.hash, std::nullopt}).second)
    return Refuse(LedgerRefusal::kAlreadyDone, "committed before");
  ++FindMember(author())->unsettled;
  return {};
}

// Pay and price (4.6). The price moves with what was asked for; the pay of this epoch is fixed.
void LedgerStep::FixPay(LedgerEpoch& epoch) {
  const RunTerms& terms = run_->terms;
  const Credits allotted = std::min(run_->budget, terms.epoch_budget + run_->carry);
  const Credits pool = Share(allotted, terms.workers);
  Wide demand = 0;
  std::uint64_t batches = 0;
  for (auto& [worker, batch] : epoch.batches) {
    if (batch.state != BatchState::kPending) continue;
    batch.pay = PriceOf(batch.claim.work, terms.price_rollout, run_->price);
    demand += static_cast<Wide>(batch.pay.value);
    ++batches;
  }
  const bool scarce = demand > static_cast<Wide>(pool.value);
  Credits spent;
  for (auto& [worker, batch] : epoch.batches) {
    if (batch.state != BatchState::kPending) continue;
    if (scarce) {
      const Wide part = static_cast<Wide>(batch.pay.value) * static_cast<Wide>(pool.value) / demand;
      batch.pay.value = static_cast<std::int64_t>(part);
    }
    spent += batch.pay;
    Emit(LedgerEventKind::kPayFixed, worker, batch.pay);
  }
  const auto part = [&](Bps share) {
    return Credits{MulDiv(spent.value, share.value, terms.workers.value)};
  };
  epoch.trainer = part(terms.trainers);
  epoch.data = part(terms.data);
  epoch.validators = part(terms.validators);
  const Credits reserved = spent + epoch.trainer + epoch.data + epoch.validators;
  Check(reserved <= allotted, "an epoch spends what it was allotted");
  run_->budget -= reserved;
  run_->carry = allotted - reserved;
  epoch.sealed_ms = now();
  epoch.phase = EpochPhase::kSealed;
  Emit(LedgerEventKind::kEpochSealed, author(), reserved, batches);
  const Credits asked{
      static_cast<std::int64_t>(std::min(demand, static_cast<Wide>(kSupplyMax.value)))};
  const Credits price = NextPrice(terms, run_->price, asked, pool);
  if (price == run_->price) return;
  run_->price = price;
  Emit(LedgerEventKind::kPriceMoved, author(), price);
}

LedgerStatus LedgerStep::On(const SealEpoch& body) {
  if (author() != run_->terms.orchestrator)
    return Refuse(LedgerRefusal::kNotAllowed, "the orchestrator seals epochs");
  if (body.epoch != run_->epoch) return Refuse(LedgerRefusal::kWrongEpoch, "another is open");
  if (run_->epochs.size() > kLedgerLimits.epochs_max)
    return Refuse(LedgerRefusal::kTooMany, "too many epochs wait to be settled");
  const LedgerEpoch* open = FindEpoch(body.epoch);
  const bool empty = open == nullptr || std::ranges::none_of(open->batches, [](const auto& batch) {
                       return batch.second.state == BatchState::kPending;
                     });
  if (!empty && run_->terms.beacon == BeaconKind::kValidators && open->seats.empty())
    return Refuse(LedgerRefusal::kNoBeacon, "no validator has committed to this epoch's beacon");
  LedgerEpoch& epoch = run_->epochs[body.epoch];
  FixPay(epoch);
  ++run_->epoch;
  run_->active_ms = now();
  if (!empty) return {};
  ReleaseSeats(epoch);  // nothing to draw: no beacon is needed
  epoch.phase = EpochPhase::kAudited;
  epoch.beacon_ms = now();
  return {};
}

void LedgerStep::ReleaseSeats(LedgerEpoch& epoch) {
  for (const auto& [validator, seat] : epoch.seats) --FindMember(validator)->unsettled;
  epoch.seats.clear();
}

LedgerStatus LedgerStep::On(const BeaconReveal& body) {
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  if (epoch == nullptr) return Refuse(LedgerRefusal::kUnknownEpoch, "no such epoch");
  if (epoch->phase == EpochPhase::kOpen)
    return Refuse(LedgerRefusal::kTooEarly, "secrets are shown when no batch can follow");
  const auto seat = epoch->seats.find(author());
  if (seat == epoch->seats.end())
    return Refuse(LedgerRefusal::kNotValidator, "committed to nothing");
  if (epoch->phase != EpochPhase::kSealed || now() >= epoch->sealed_ms + run_->terms.reveal_ms)
    return Refuse(LedgerRefusal::kTooLate, "secrets are shown within reveal_ms of the seal");
  if (seat->second.secret) return Refuse(LedgerRefusal::kAlreadyDone, "shown before");
  if (BeaconHash(body.run, body.epoch, author(), body.secret) != seat->second.hash)
    return Refuse(LedgerRefusal::kBadReveal, "not the secret that was committed to");
  seat->second.secret = body.secret;
  return {};
}

Credits LedgerStep::LargestPay(const LedgerEpoch& epoch) const {
  Credits most;
  for (const auto& [worker, batch] : epoch.batches) most = std::max(most, batch.pay);
  return most;
}

// One bit of bias for each secret withheld: it must cost more than it can be worth (4.6), one
// epoch's pay of the largest worker.
LedgerStatus LedgerStep::On(const BeaconClose& body) {
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  if (epoch == nullptr) return Refuse(LedgerRefusal::kUnknownEpoch, "no such epoch");
  if (run_->terms.beacon != BeaconKind::kValidators)
    return Refuse(LedgerRefusal::kWrongBeacon, "this run's beacon comes from outside");
  if (epoch->phase == EpochPhase::kOpen) return Refuse(LedgerRefusal::kTooEarly, "not sealed");
  if (epoch->phase != EpochPhase::kSealed)
    return Refuse(LedgerRefusal::kAlreadyDone, "this beacon is set");
  const bool all = std::ranges::all_of(
      epoch->seats, [](const auto& seat) { return seat.second.secret.has_value(); });
  if (!all && now() < epoch->sealed_ms + run_->terms.reveal_ms)
    return Refuse(LedgerRefusal::kTooEarly, "secrets may still be shown");
  const Credits forfeit = std::max(run_->terms.beacon_forfeit, LargestPay(*epoch));
  constexpr std::string_view kLabel = "waggle-beacon-value-1";
  Bytes bytes(kLabel.begin(), kLabel.end());
  bytes.insert(bytes.end(), body.run.value.begin(), body.run.value.end());
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::uint8_t>(body.epoch >> (8 * i)));
  std::size_t shown = 0;
  for (const auto& [validator, seat] : epoch->seats) {
    if (seat.secret) {
      bytes.insert(bytes.end(), seat.secret->begin(), seat.secret->end());
      ++shown;
      continue;
    }
    const Credits taken = TakeFromStake(*FindMember(validator), forfeit);
    run_->insurance += taken;
    Emit(LedgerEventKind::kBeaconForfeited, validator, taken);
    if (FindMember(validator)->active < run_->terms.validator_stake_min) Retire(validator);
  }
  ReleaseSeats(*epoch);
  epoch->beacon = Keccak256(bytes);
  // Nothing unpredictable came: then nothing is left to chance.
  for (auto& [worker, batch] : epoch->batches) batch.audited_whole = shown == 0;
  DrawAudits(*epoch);
  return {};
}

LedgerStatus LedgerStep::On(const BeaconExternal& body) {
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  if (epoch == nullptr) return Refuse(LedgerRefusal::kUnknownEpoch, "no such epoch");
  if (run_->terms.beacon != BeaconKind::kExternal)
    return Refuse(LedgerRefusal::kWrongBeacon, "this run's validators make its beacon");
  if (author() != run_->terms.orchestrator)
    return Refuse(LedgerRefusal::kNotAllowed, "the orchestrator brings the beacon");
  if (epoch->phase == EpochPhase::kOpen) return Refuse(LedgerRefusal::kTooEarly, "not sealed");
  if (epoch->phase != EpochPhase::kSealed)
    return Refuse(LedgerRefusal::kAlreadyDone, "this beacon is set");
  // One round is right, so there is none to choose.
  const std::uint64_t round = ExternalRoundOf(run_->terms, epoch->sealed_ms);
  if (body.round != round)
    return Refuse(LedgerRefusal::kWrongBeacon,
                  fmt::format("sealed when it was, this epoch has round {}", round));
  epoch->beacon = body.value;
  DrawAudits(*epoch);
  return {};
}

void LedgerStep::DrawAudits(LedgerEpoch& epoch) {
  epoch.phase = EpochPhase::kAudited;
  epoch.beacon_ms = now();
  Emit(LedgerEventKind::kBeaconSet, author());
  for (auto& [worker, batch] : epoch.batches) {
    if (batch.state == BatchState::kPending) DrawAudit(epoch, batch);
  }
}

void LedgerStep::DrawAudit(LedgerEpoch& epoch, LedgerBatch& batch) {
  const RunTerms& terms = run_->terms;
  const BatchClaim& claim = batch.claim;
  const RunMember& member = *FindMember(claim.worker);
  const bool suspect = member.suspect_until_epoch > claim.epoch;
  batch.chance = suspect || batch.audited_whole ? kCertain
                                                : AuditChance(terms, claim.items, batch.pay,
                                                              StakeAtRisk(terms, member, now()));
  batch.audited = IsAudited(epoch.beacon, claim.root, batch.chance);
  if (!batch.audited) return;
  if (!batch.audited_whole)
    batch.items = AuditedItems(epoch.beacon, claim.root, claim.items, terms.audit_items);
  Emit(LedgerEventKind::kAuditDrawn, claim.worker, batch.pay, batch.chance.value);
  std::vector<NodeId> candidates;
  for (const NodeId& validator : run_->validators) {
    if (validator != claim.worker && IsValidator(validator)) candidates.push_back(validator);
  }
  for (const std::uint32_t index :
       Auditors(epoch.beacon, claim.root, static_cast<std::uint32_t>(candidates.size()),
                terms.auditors)) {
    batch.auditors.push_back({candidates[index], std::nullopt, 0, {}, {}});
    ++FindMember(candidates[index])->unsettled;
    Emit(LedgerEventKind::kAuditorDrawn, candidates[index]).other = claim.worker;
  }
}

}  // namespace waggle
