// Stake (sheet markets.md 10.3): a slash reaches what is active and what unbonds, ready or not;
// nobody leaves under an open dispute or before its work is final.
#include <algorithm>

#include "ledger/step.h"

namespace waggle {

RunMember* LedgerStep::FindMember(const NodeId& node) {
  const auto member = run_->members.find(node);
  return member == run_->members.end() ? nullptr : &member->second;
}

bool LedgerStep::IsValidator(const NodeId& node) const {
  return run_->validators.contains(node) && run_->members.at(node).jailed_until_ms <= now();
}

LedgerStatus LedgerStep::On(const Stake& body) {
  if (auto can = CanPay(body.amount); !can) return can;
  const RunMember* before = FindMember(author());
  if (before != nullptr && before->expelled)
    return Refuse(LedgerRefusal::kJailed, "who equivocated is out of this run");
  const Credits active = (before == nullptr ? Credits{} : before->active) + body.amount;
  if (active < run_->terms.stake_min)
    return Refuse(LedgerRefusal::kBelowMinimum, "a stake is at least stake_min");
  run_->members[author()].active = active;
  run_->total_stake += body.amount;
  Debit(LedgerEventKind::kStaked, body.amount);
  return {};
}

LedgerStatus LedgerStep::On(const Unbond& body) {
  if (body.amount.value <= 0)
    return Refuse(LedgerRefusal::kBadAmount, "an amount is more than nothing");
  RunMember* member = FindMember(author());
  if (member == nullptr || member->active < body.amount)
    return Refuse(LedgerRefusal::kNotEnough, "the active stake is less");
  const Credits rest = member->active - body.amount;
  const Credits least =
      run_->validators.contains(author()) ? run_->terms.validator_stake_min : run_->terms.stake_min;
  if (!run_->closed && rest.value > 0 && rest < least)
    return Refuse(LedgerRefusal::kBelowMinimum, "what stays is nothing, or the minimum at least");
  if (rest.value == 0 && run_->validators.contains(author()))
    return Refuse(LedgerRefusal::kIsValidator, "leave the validators first");
  if (member->unbonding.size() >= kLedgerLimits.unbondings_max)
    return Refuse(LedgerRefusal::kQueueFull, "16 unbondings at once: take or cancel one");
  const Unbonding one{member->next_unbonding++, body.amount, now() + run_->terms.unbonding_ms};
  member->active = rest;
  member->unbonding.push_back(one);
  Emit(LedgerEventKind::kUnbonding, author(), body.amount, one.id);
  return {};
}

LedgerStatus LedgerStep::On(const CancelUnbond& body) {
  RunMember* member = FindMember(author());
  if (member == nullptr) return Refuse(LedgerRefusal::kUnknownUnbonding, "nothing unbonds");
  const auto one = std::ranges::find(member->unbonding, body.id, &Unbonding::id);
  if (one == member->unbonding.end())
    return Refuse(LedgerRefusal::kUnknownUnbonding, "no unbonding has this number");
  if (member->active + one->amount < run_->terms.stake_min)
    return Refuse(LedgerRefusal::kBelowMinimum, "a stake is at least stake_min");
  const Unbonding gone = *one;
  member->active += gone.amount;
  member->unbonding.erase(one);
  Emit(LedgerEventKind::kUnbondCancelled, author(), gone.amount, gone.id);
  return {};
}

LedgerStatus LedgerStep::On(const TakeStake& body) {
  RunMember* member = FindMember(author());
  if (member == nullptr || body.ids.empty())
    return Refuse(LedgerRefusal::kUnknownUnbonding, "nothing to take");
  if (member->frozen > 0)
    return Refuse(LedgerRefusal::kFrozen, "no exit while a finding or a dispute is open");
  if (member->unsettled > 0)
    return Refuse(LedgerRefusal::kUnsettled, "no exit before all its work is settled");
  std::vector<Unbonding> taken;
  for (const std::uint64_t id : body.ids) {
    const auto one = std::ranges::find(member->unbonding, id, &Unbonding::id);
    const bool twice = !taken.empty() && taken.back().id >= id;
    if (one == member->unbonding.end() || twice)
      return Refuse(LedgerRefusal::kUnknownUnbonding, "numbers of its unbondings, ascending");
    if (one->ready_ms > now())
      return Refuse(LedgerRefusal::kNotReady, "an unbonding is ready after unbonding_ms");
    taken.push_back(*one);
  }
  for (const Unbonding& one : taken) {
    std::erase(member->unbonding, one);
    run_->total_stake -= one.amount;
    Credit(LedgerEventKind::kStakeTaken, author(), one.amount, one.id);
  }
  return {};
}

LedgerStatus LedgerStep::On(const JoinValidators&) {
  const RunMember* member = FindMember(author());
  if ((member == nullptr ? Credits{} : member->active) < run_->terms.validator_stake_min)
    return Refuse(LedgerRefusal::kStakeTooLow, "a validator has validator_stake_min at stake");
  if (member != nullptr && (member->expelled || member->jailed_until_ms > now()))
    return Refuse(LedgerRefusal::kJailed, "not while in jail");
  if (run_->validators.contains(author()))
    return Refuse(LedgerRefusal::kIsValidator, "is one already");
  if (run_->validators.size() >= kLedgerLimits.validators_max)
    return Refuse(LedgerRefusal::kTooMany, "1024 validators in one run");
  run_->members.try_emplace(author());  // where no stake is asked for, it may have nothing here yet
  run_->validators.insert(author());
  Emit(LedgerEventKind::kValidatorJoined, author());
  return {};
}

// What it was drawn for it still owes.
LedgerStatus LedgerStep::On(const LeaveValidators&) {
  if (!run_->validators.contains(author())) return Refuse(LedgerRefusal::kNotValidator, "is none");
  Retire(author());
  return {};
}

void LedgerStep::Retire(const NodeId& validator) {
  if (run_->validators.erase(validator) > 0) Emit(LedgerEventKind::kValidatorLeft, validator);
}

// Pro rata over all parts, floor; what the floors leave comes from the active part, then from the
// oldest unbonding on. Returns what was there to take.
Credits LedgerStep::TakeFromStake(RunMember& member, Credits amount) {
  const Credits whole = member.AtStake();
  amount = std::min(amount, whole);
  if (amount.value == 0) return {};
  Credits left = amount;
  const auto take = [&](Credits& part) {
    const Credits cut{MulDiv(part.value, amount.value, whole.value)};
    part -= cut;
    left -= cut;
  };
  take(member.active);
  for (Unbonding& one : member.unbonding) take(one.amount);
  const auto rest = [&](Credits& part) {
    const Credits cut = std::min(part, left);
    part -= cut;
    left -= cut;
  };
  rest(member.active);
  for (Unbonding& one : member.unbonding) rest(one.amount);
  Check(left.value == 0, "a stake is the sum of its parts");
  run_->total_stake -= amount;
  return amount;
}

}  // namespace waggle
