// Pay and punishment (sheet markets.md 4.4, 4.6).
#include <algorithm>
#include <set>

#include "ledger/step.h"

namespace waggle {
namespace {

bool SaysBad(const AuditorSeat& seat) {
  return seat.finding == Finding::kWrong || seat.finding == Finding::kInvalid;
}
// Of the batch: that it is good, or that it is bad.
bool SaysSomething(const AuditorSeat& seat) {
  return SaysBad(seat) || seat.finding == Finding::kAccepted;
}
bool MissedCanary(const LedgerBatch& batch, const AuditorSeat& seat) {
  return batch.canary && SaysSomething(seat) && SaysBad(seat) != batch.canary_bad;
}

}  // namespace

bool LedgerStep::CanSettle(const LedgerBatch& batch) const {
  if (!batch.disputes.empty()) return false;
  const bool unanswered = (batch.Rejected() || batch.canary) && !batch.contested;
  return !unanswered || now() >= batch.contest_until_ms;
}

LedgerStatus LedgerStep::On(const SettleEpoch& body) {
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  if (epoch == nullptr) return Refuse(LedgerRefusal::kUnknownEpoch, "no such epoch is unsettled");
  if (!WindowIsOver(body.epoch, *epoch))
    return Refuse(LedgerRefusal::kTooEarly, "its dispute window is not over");
  const bool first = epoch->phase == EpochPhase::kAudited;
  if (first && body.epoch != run_->settled)
    return Refuse(LedgerRefusal::kWrongEpoch, "epochs are settled in their order");
  std::vector<LedgerBatch*> due;
  for (auto& [worker, batch] : epoch->batches) {
    if (batch.state == BatchState::kPending && CanSettle(batch)) due.push_back(&batch);
  }
  if (!first && due.empty())
    return Refuse(LedgerRefusal::kNothingToDo, "what is left of it is in dispute");
  // The roles first: a validator is paid for what it said, before anybody is slashed for it.
  if (first) PayRoles(*epoch);
  for (LedgerBatch* batch : due) SettleBatch(*batch);
  const auto left = std::ranges::count_if(
      epoch->batches, [](const auto& batch) { return batch.second.state == BatchState::kPending; });
  Emit(LedgerEventKind::kEpochSettled, author(), paid_, static_cast<std::uint64_t>(left));
  if (first) {
    epoch->phase = EpochPhase::kSettled;
    ++run_->settled;
  }
  DropIfDone(body.epoch);
  return {};
}

void LedgerStep::DropIfDone(std::uint64_t number) {
  const LedgerEpoch* epoch = FindEpoch(number);
  if (epoch == nullptr || epoch->phase != EpochPhase::kSettled) return;
  const bool done = std::ranges::all_of(
      epoch->batches, [](const auto& batch) { return batch.second.state == BatchState::kDone; });
  if (done) run_->epochs.erase(number);
}

void LedgerStep::SettleBatch(LedgerBatch& batch) {
  const NodeId worker = batch.claim.worker;
  const Finding worst = batch.Worst();
  const auto number = static_cast<std::uint64_t>(worst);
  const auto unspent = [&] {
    run_->budget += batch.pay;
    Emit(LedgerEventKind::kPayUnspent, worker, batch.pay, number);
  };
  for (const AuditorSeat& seat : batch.auditors) {
    if (!seat.finding) MissedDuty(seat.validator);
  }
  if (batch.canary) {
    JudgeWatchers(batch);
    unspent();
    return Finish(batch);
  }
  switch (worst) {
    case Finding::kAccepted:
    case Finding::kFault:
      Pay(batch);
      break;
    case Finding::kUnavailable:
      unspent();
      MissedDuty(worker);
      break;
    case Finding::kInvalid:
      unspent();
      break;
    case Finding::kStatistical: {
      unspent();
      std::uint64_t& until = FindMember(worker)->suspect_until_epoch;
      until = std::max(until, run_->epoch + run_->terms.suspect_epochs);
      Emit(LedgerEventKind::kSuspected, worker, {}, until);
      break;
    }
    case Finding::kWrong: {
      const auto finder =
          std::ranges::find(batch.auditors, std::optional(worst), &AuditorSeat::finding);
      return Convict(batch, finder->validator);
    }
  }
  Finish(batch);
}

// Who said "ok" to a bad canary, or rejected a good one, looked at neither: it loses its seat, and
// what it has at stake.
void LedgerStep::JudgeWatchers(const LedgerBatch& batch) {
  for (const AuditorSeat& seat : batch.auditors) {
    if (!SaysSomething(seat)) continue;
    if (MissedCanary(batch, seat)) {
      Emit(LedgerEventKind::kCanaryMissed, seat.validator);
      Slash(seat.validator, run_->terms.canary_penalty, nullptr);
      Retire(seat.validator);
      continue;
    }
    const Credits bonus = std::min(run_->terms.canary_bonus, run_->insurance + run_->budget);
    const Credits insured = std::min(bonus, run_->insurance);
    run_->insurance -= insured;
    run_->budget -= bonus - insured;
    Earn(LedgerEventKind::kCanaryFound, seat.validator, bonus);
  }
}

void LedgerStep::Pay(LedgerBatch& batch) {
  RunMember& member = *FindMember(batch.claim.worker);
  const std::uint64_t epoch = batch.claim.epoch;
  member.unavailable = 0;
  paid_ += batch.pay;
  // An earlier epoch may be paid later, after a dispute.
  member.first_epoch = std::min(member.first_epoch.value_or(epoch), epoch);
  if (epoch >= *member.first_epoch + run_->terms.vesting_epochs)
    return Earn(LedgerEventKind::kPaid, batch.claim.worker, batch.pay);
  member.vesting += batch.pay;
  Emit(LedgerEventKind::kPayVesting, batch.claim.worker, batch.pay);
}

void LedgerStep::ReturnSpare(Credits& reserve) {
  if (reserve.value > 0) Emit(LedgerEventKind::kUnspent, run_->sponsor, reserve);
  run_->budget += reserve;
  reserve = {};
}

void LedgerStep::PayRoles(LedgerEpoch& epoch) {
  const RunTerms& terms = run_->terms;
  const auto pay = [&](const NodeId& who, Credits& reserve, PaidRole role) {
    if (reserve.value == 0) return;
    if (who == NodeId{}) return ReturnSpare(reserve);
    Earn(LedgerEventKind::kRolePaid, who, reserve, static_cast<std::uint64_t>(role));
    reserve = {};
  };
  pay(terms.trainer, epoch.trainer, PaidRole::kTrainer);
  pay(terms.data_owner, epoch.data, PaidRole::kDataOwner);
  PayValidators(epoch);
}

// By the items that each one replayed; floor, the rest goes back to the budget, and so does the
// part of whoever missed a canary.
void LedgerStep::PayValidators(LedgerEpoch& epoch) {
  std::map<NodeId, std::int64_t> replayed;
  std::set<NodeId> blind;  // missed a canary that was shown: what else did it not look at?
  std::int64_t all = 0;
  for (const auto& [worker, batch] : epoch.batches) {
    const auto items =
        static_cast<std::int64_t>(batch.audited_whole ? batch.claim.items : batch.items.size());
    for (const AuditorSeat& seat : batch.auditors) {
      if (!seat.finding || *seat.finding == Finding::kFault) continue;
      replayed[seat.validator] += items;
      all += items;
      if (MissedCanary(batch, seat)) blind.insert(seat.validator);
    }
  }
  Credits left = epoch.validators;
  for (const auto& [validator, items] : replayed) {
    if (blind.contains(validator)) continue;
    const Credits part{MulDiv(epoch.validators.value, items, all)};
    left -= part;
    Earn(LedgerEventKind::kRolePaid, validator, part,
         static_cast<std::uint64_t>(PaidRole::kValidator));
  }
  epoch.validators = {};
  ReturnSpare(left);
}

// Its disputes end undecided: nobody loses a bond over a batch that fell for another reason.
void LedgerStep::Finish(LedgerBatch& batch) {
  while (!batch.disputes.empty()) {
    const std::uint64_t id = batch.disputes.front();
    const LedgerDispute& dispute = state_.disputes.at(id);
    Credit(LedgerEventKind::kBondReturned, dispute.by, dispute.bond, id);
    CloseDispute(id, batch);
  }
  RunMember& member = *FindMember(batch.claim.worker);
  if (batch.Rejected()) --member.frozen;
  --member.unsettled;
  for (const AuditorSeat& seat : batch.auditors) --FindMember(seat.validator)->unsettled;
  batch.state = BatchState::kDone;
}

void LedgerStep::Convict(LedgerBatch& batch, const NodeId& finder) {
  const NodeId worker = batch.claim.worker;
  RunMember& member = *FindMember(worker);
  run_->insurance += batch.pay;
  Emit(LedgerEventKind::kPayForfeited, worker, batch.pay,
       static_cast<std::uint64_t>(Finding::kWrong));
  const Bps due = std::max(SlashDue(run_->terms, member, now()), CorrelatedDue(worker));
  if (member.offences_ms.size() == 3) member.offences_ms.erase(member.offences_ms.begin());
  member.offences_ms.push_back(now());
  Finish(batch);
  Slash(worker, due, &finder);
}

// Slashes of others: its own past offences count by themselves.
Bps LedgerStep::CorrelatedDue(const NodeId& who) const {
  Credits others, all;
  for (const PastSlash& slash : run_->slashes) {
    if (slash.at_ms + kCorrelationMs <= now()) continue;
    all += slash.amount;
    if (slash.who != who) others += slash.amount;
  }
  return CorrelatedSlash(others, run_->total_stake + all);
}

// Of all that is at stake and all that has not vested. A share of it goes to whoever proved it,
// the rest is burned or insures the run: nothing goes to those who run it.
void LedgerStep::Slash(const NodeId& who, Bps share, const NodeId* finder) {
  RunMember& member = *FindMember(who);
  const Credits stake = TakeFromStake(member, Share(member.AtStake(), share));
  const Credits unvested = Share(member.vesting - member.vested, share);
  member.vesting -= unvested;
  const Credits whole = stake + unvested;
  Emit(LedgerEventKind::kSlashed, who, whole, share.value);
  std::erase_if(run_->slashes,
                [&](const PastSlash& past) { return past.at_ms + kCorrelationMs <= now(); });
  if (stake.value > 0) run_->slashes.push_back({now(), who, stake});
  const Credits bounty = finder == nullptr ? Credits{} : Share(whole, run_->terms.whistle);
  const Credits burned = Share(whole - bounty, run_->terms.burn);
  const Credits insured = whole - bounty - burned;
  if (bounty.value > 0) Earn(LedgerEventKind::kBounty, *finder, bounty);
  state_.burned += burned;
  if (burned.value > 0) Emit(LedgerEventKind::kBurned, who, burned);
  run_->insurance += insured;
  if (insured.value > 0) Emit(LedgerEventKind::kInsured, who, insured);
  if (member.active < run_->terms.validator_stake_min) Retire(who);
}

void LedgerStep::MissedDuty(const NodeId& who) {
  RunMember& member = *FindMember(who);
  ++member.unavailable;
  Emit(LedgerEventKind::kUnavailable, who, {}, member.unavailable);
  if (member.unavailable < run_->terms.jail_after) return;
  member.unavailable = 0;
  member.jailed_until_ms = now() + run_->terms.jail_ms;
  Emit(LedgerEventKind::kJailed, who, {}, member.jailed_until_ms);
}

LedgerStatus LedgerStep::On(const ClaimVested&) {
  RunMember* member = FindMember(author());
  if (member == nullptr || !member->first_epoch)
    return Refuse(LedgerRefusal::kNothingToDo, "nothing was earned in this run");
  const Credits due = VestedOf(*run_, *member) - member->vested;
  if (due.value <= 0) return Refuse(LedgerRefusal::kNothingToDo, "nothing more has vested yet");
  member->vested += due;
  Earn(LedgerEventKind::kVested, author(), due);
  return {};
}

}  // namespace waggle
