// The rules of test_model.h.
#pragma once

#include "ledger/test_model.h"

namespace waggle {

inline bool LedgerModel::MoneyOp(const ModelOp& op) {
  Person& me = people[op.author];
  if (op.kind == kKindOf<CloseRun>) return Close(op.author);
  if (op.amount <= 0) return false;
  if (op.kind == kKindOf<Deposit>) {
    if (op.author != bridge) return false;
    people[op.other].balance += op.amount;
    supply += op.amount;
    return true;
  }
  if (me.balance < op.amount) return false;
  me.balance -= op.amount;
  if (op.kind == kKindOf<Withdraw>) supply -= op.amount;
  if (op.kind == kKindOf<Transfer>) people[op.other].balance += op.amount;
  if (op.kind == kKindOf<LockBudget>) budget += op.amount;
  return true;
}

inline bool LedgerModel::StakeOp(const ModelOp& op) {
  Person& me = people[op.author];
  const auto part = std::ranges::find(me.parts, op.number, &Part::id);
  if (op.kind == kKindOf<Stake>) {
    if (op.amount <= 0 || me.balance < op.amount || me.expelled ||
        me.active + op.amount < t.stake_min.value)
      return false;
    me.balance -= op.amount;
    me.active += op.amount;
    me.member = true;
  } else if (op.kind == kKindOf<Unbond>) {
    const Money rest = me.active - op.amount;
    const Money least = me.validator ? t.validator_stake_min.value : t.stake_min.value;
    if (op.amount <= 0 || rest < 0 || (!closed && rest > 0 && rest < least) ||
        (rest == 0 && me.validator) || me.parts.size() >= 16)
      return false;
    me.active = rest;
    me.parts.push_back({me.next_part++, op.amount, now + t.unbonding_ms});
  } else if (op.kind == kKindOf<CancelUnbond>) {
    if (part == me.parts.end() || me.active + part->amount < t.stake_min.value) return false;
    me.active += part->amount;
    me.parts.erase(part);
  } else if (op.kind == kKindOf<TakeStake>) {
    if (part == me.parts.end() || part->ready > now || FrozenOf(op.author) > 0 ||
        UnsettledOf(op.author) > 0)
      return false;
    me.balance += part->amount;
    me.parts.erase(part);
  } else if (op.kind == kKindOf<JoinValidators>) {
    if (me.active < t.validator_stake_min.value || !me.member || me.expelled || me.jailed > now ||
        me.validator)
      return false;
    me.validator = true;
  } else if (op.kind == kKindOf<LeaveValidators>) {
    if (!me.validator) return false;
    me.validator = false;
  } else {  // ClaimVested
    if (!me.first) return false;
    const std::uint64_t begin = *me.first + t.vesting_epochs;
    Money open = 0;
    if (closed)
      open = me.vest;
    else if (epoch > begin)
      open = static_cast<Money>(
          static_cast<__int128_t>(me.vest) *
          static_cast<Money>(std::min<std::uint64_t>(epoch - begin, std::max(t.vesting_over, 1u))) /
          static_cast<Money>(std::max(t.vesting_over, 1u)));
    if (open <= me.claimed) return false;
    Gain(op.author, open - me.claimed);
    me.claimed = open;
  }
  return true;
}

inline void LedgerModel::Fix(std::uint64_t e) {
  Epoch& one = epochs[e];
  const Money allot = std::min(budget, t.epoch_budget.value + carry);
  const Money pool = Part10k(allot, t.workers.value);
  __int128_t demand = 0;
  for (Work& work : works) {
    if (work.epoch != e || work.done) continue;
    // All of it fresh: items rollouts, 100 tokens each.
    const auto items = static_cast<Money>(work.items);
    work.pay = (t.price_rollout.value * items * 1000 + price * items * 100) / 1000;
    demand += work.pay;
  }
  Money spent = 0;
  for (Work& work : works) {
    if (work.epoch != e || work.done) continue;
    if (demand > pool)
      work.pay = static_cast<Money>(static_cast<__int128_t>(work.pay) * pool / demand);
    spent += work.pay;
  }
  const auto share = [&](Bps bps) {
    return static_cast<Money>(static_cast<__int128_t>(spent) * bps.value / t.workers.value);
  };
  one.trainer = share(t.trainers), one.data = share(t.data), one.validators = share(t.validators);
  const Money all = spent + one.trainer + one.data + one.validators;
  budget -= all;
  carry = allot - all;
  if (demand < pool) price = std::min(t.price_ktoken_max.value, (price * 105 + 99) / 100);
  if (demand > pool) price = std::max(t.price_ktoken_min.value, price * 95 / 100);
  one.phase = 2;
  one.sealed = now;
}

inline Money LedgerModel::Take(int who, Money amount) {
  Person& p = people[who];
  const Money whole = p.AtStake();
  amount = std::min(amount, whole);
  if (amount == 0) return 0;
  std::vector<Money*> all = {&p.active};
  for (Part& part : p.parts) all.push_back(&part.amount);
  Money left = amount;
  for (Money* part : all) {
    const auto cut = static_cast<Money>(static_cast<__int128_t>(*part) * amount / whole);
    *part -= cut;
    left -= cut;
  }
  for (Money* part : all) {
    for (; left > 0 && *part > 0; --left) --*part;
  }
  return amount;
}

inline void LedgerModel::Slash(int who, std::uint32_t bps, int finder) {
  Person& p = people[who];
  const Money stake = Take(who, Part10k(p.AtStake(), bps));
  const Money vest = Part10k(p.vest - p.claimed, bps);
  p.vest -= vest;
  losses.push_back({now, who, stake});
  const Money whole = stake + vest;
  const Money bounty = finder < 0 ? 0 : Part10k(whole, t.whistle.value);
  const Money fire = Part10k(whole - bounty, t.burn.value);
  if (finder >= 0) Gain(finder, bounty);
  burned += fire;
  insurance += whole - bounty - fire;
  if (p.active < t.validator_stake_min.value) p.validator = false;
}

inline void LedgerModel::End(Work& work) {
  for (const std::uint64_t id : QuarrelsOf(work)) {
    people[quarrels.at(id).by].balance += quarrels.at(id).bond;
    quarrels.erase(id);
  }
  work.done = true;
}

inline void LedgerModel::Convict(Work& work, int finder) {
  Person& p = people[work.worker];
  insurance += work.pay;
  int lately = 0;
  for (const std::uint64_t at : p.offences) lately += at + 30ull * 86'400'000 > now ? 1 : 0;
  std::uint32_t bps = lately == 0   ? t.slash_first.value
                      : lately == 1 ? t.slash_second.value
                                    : t.slash_third.value;
  Money others = 0, all = 0;
  for (const Loss& loss : losses) {
    if (loss.at + 7ull * 86'400'000 <= now) continue;
    all += loss.amount;
    if (loss.who != work.worker) others += loss.amount;
  }
  for (const Person& one : people) all += one.AtStake();
  if (others > 0)
    bps = std::max(bps, static_cast<std::uint32_t>(std::min<__int128_t>(
                            10'000, static_cast<__int128_t>(others) * 30'000 / all)));
  p.offences.push_back(now);
  End(work);
  Slash(work.worker, bps, finder);
}

inline void LedgerModel::Miss(int who) {
  Person& p = people[who];
  if (++p.missed < t.jail_after) return;
  p.missed = 0;
  p.jailed = now + t.jail_ms;
}

inline bool LedgerModel::Settleable(const Work& work) const {
  return QuarrelsOf(work).empty() &&
         ((!Rejected(work) && !work.canary) || work.contested || now >= work.until);
}

inline void LedgerModel::Settle(Work& work) {
  Person& p = people[work.worker];
  for (const Seat& seat : work.seats) {
    if (seat.finding == 0) Miss(seat.validator);
  }
  const int worst = WorstOf(work);
  if (work.canary) Watchers(work);
  if (work.canary || (worst >= 1 && worst <= 3)) budget += work.pay;
  if (work.canary) return End(work);
  if (worst == 1) p.suspect = std::max(p.suspect, epoch + t.suspect_epochs);
  if (worst == 2) Miss(work.worker);
  if (worst == 4) {
    for (const Seat& seat : work.seats) {
      if (seat.finding == static_cast<int>(Finding::kWrong)) return Convict(work, seat.validator);
    }
  }
  if (worst == 0) {
    p.missed = 0;
    if (!p.first || *p.first > work.epoch) p.first = work.epoch;
    if (work.epoch < *p.first + t.vesting_epochs)
      p.vest += work.pay;
    else
      Gain(work.worker, work.pay);
  }
  End(work);
}

inline void LedgerModel::Roles(std::uint64_t e) {
  Epoch& one = epochs.at(e);
  Gain(trainer, one.trainer);
  budget += one.data;  // nobody owns the data
  std::map<int, Money> looks;
  std::map<int, bool> blind;
  Money all = 0;
  for (const Work& work : works) {
    if (work.epoch != e) continue;
    for (const Seat& seat : work.seats) {
      if (seat.finding == 0 || seat.finding == static_cast<int>(Finding::kFault)) continue;
      looks[seat.validator] += static_cast<Money>(work.looked_at);
      all += static_cast<Money>(work.looked_at);
      const bool bad = seat.finding == static_cast<int>(Finding::kWrong) ||
                       seat.finding == static_cast<int>(Finding::kInvalid);
      const bool good = seat.finding == static_cast<int>(Finding::kAccepted);
      if (work.canary && (work.egg_bad ? good : bad)) blind[seat.validator] = true;
    }
  }
  Money left = one.validators;
  for (const auto& [who, mine] : looks) {
    const auto part = static_cast<Money>(static_cast<__int128_t>(one.validators) * mine / all);
    if (blind.contains(who)) continue;
    Gain(who, part);
    left -= part;
  }
  budget += left;
  one.trainer = one.data = one.validators = 0;
}

inline void LedgerModel::Clean(std::uint64_t e) {
  if (!epochs.contains(e) || epochs.at(e).phase != 4) return;
  for (const Work& work : works) {
    if (work.epoch == e && !work.done) return;
  }
  epochs.erase(e);
  std::erase_if(works, [&](const Work& work) { return work.epoch == e; });
}

inline bool LedgerModel::Close(int who) {
  const bool stalled = now >= active_ms + t.stall_ms;
  if (who != sponsor && !stalled) return false;
  for (const Work& work : works) {
    if (!work.done && (!stalled || !Settleable(work))) return false;
  }
  std::ranges::sort(works, {}, &Work::worker);
  if (epochs.contains(epoch)) Fix(epoch);
  for (auto& [e, one] : epochs) {
    for (Work& work : works) {
      if (work.epoch == e && !work.done) Settle(work);
    }
    if (one.phase != 4) Roles(e);
  }
  epochs.clear();
  works.clear();
  settled = ++epoch;
  closed = true;
  treasury += insurance;
  people[sponsor].balance += budget;
  insurance = budget = 0;
  return true;
}

inline bool LedgerModel::EpochOp(const ModelOp& op) {
  Person& other = people[op.other];
  if (op.kind == kKindOf<CommitBatch>) {
    if (op.author != orchestrator || op.epoch != epoch || op.number == 0 || other.expelled ||
        other.jailed > now || other.active < t.stake_min.value || !op.flag)
      return false;
    for (const Work& work : works) {
      if (work.epoch == op.epoch && work.worker == op.other) return false;
    }
    works.push_back({op.other, op.epoch, op.number});
    epochs[op.epoch];
    other.member = true;
    return true;
  }
  if (op.kind == kKindOf<BeaconCommit>) {
    if (op.epoch != epoch || !Office(op.author)) return false;
    return epochs[op.epoch].secrets.try_emplace(op.author, false).second;
  }
  if (op.kind == kKindOf<SealEpoch>) {
    if (op.author != orchestrator || op.epoch != epoch) return false;
    const bool empty = std::ranges::none_of(
        works, [&](const Work& work) { return work.epoch == epoch && !work.done; });
    if (!empty && (!epochs.contains(epoch) || epochs.at(epoch).secrets.empty())) return false;
    Fix(epoch);
    if (empty) epochs[epoch].phase = 3, epochs[epoch].beacon = now;
    ++epoch;
    active_ms = now;
    return true;
  }
  return epochs.contains(op.epoch) && SealedOp(op, epochs.at(op.epoch));
}

inline bool LedgerModel::SealedOp(const ModelOp& op, Epoch& one) {
  if (op.kind == kKindOf<BeaconReveal>) {
    const auto seat = one.secrets.find(op.author);
    if (one.phase != 2 || seat == one.secrets.end() || seat->second || !op.flag ||
        now >= one.sealed + t.reveal_ms)
      return false;
    return seat->second = true;
  }
  if (op.kind == kKindOf<BeaconClose>) {
    if (one.phase != 2) return false;
    Money most = t.beacon_forfeit.value;
    int shown = 0;
    for (const Work& work : works) most = std::max(most, work.epoch == op.epoch ? work.pay : 0);
    for (const auto& [who, did] : one.secrets) {
      if (!did && now < one.sealed + t.reveal_ms) return false;
      shown += did ? 1 : 0;
    }
    for (const auto& [who, did] : one.secrets) {
      if (did) continue;
      insurance += Take(who, most);
      if (people[who].active < t.validator_stake_min.value) people[who].validator = false;
    }
    one.phase = 3;
    one.beacon = now;
    drawn = op.epoch;
    return true;
  }
  if (op.kind != kKindOf<SettleEpoch> || !Over(op.epoch)) return false;
  const bool first = one.phase == 3;
  if (first && op.epoch != settled) return false;
  std::vector<Work*> due;
  for (Work& work : works) {
    if (work.epoch == op.epoch && !work.done && Settleable(work)) due.push_back(&work);
  }
  if (!first && due.empty()) return false;
  std::ranges::sort(due, {}, [](const Work* work) { return work->worker; });
  if (first) Roles(op.epoch), one.phase = 4, ++settled;
  for (Work* work : due) Settle(*work);
  Clean(op.epoch);
  return true;
}

inline bool LedgerModel::AuditOp(const ModelOp& op) {
  if (op.kind == kKindOf<CanaryCommit>) {
    if (op.author != orchestrator || op.epoch != epoch) return false;
    return epochs[op.epoch].eggs.insert({op.other, op.flag}).second;
  }
  Work* work = Find(op.epoch, op.other);
  if (op.kind == kKindOf<Equivocation>) {
    Person& p = people[op.other];
    if (!p.member || p.expelled || !op.flag) return false;
    p.expelled = true;
    if (work != nullptr) insurance += work->pay, End(*work);
    Slash(op.other, 10'000, op.author);
    p.validator = false;
    Clean(op.epoch);
    return true;
  }
  if (work == nullptr) return false;
  Epoch& one = epochs.at(op.epoch);
  if (op.kind == kKindOf<GiveVerdict>) {
    const auto seat = std::ranges::find(work->seats, op.author, &Seat::validator);
    if (one.phase < 3 || seat == work->seats.end() || Over(op.epoch) ||
        (seat->finding != 0 && seat->finding != static_cast<int>(Finding::kStatistical)))
      return false;
    seat->finding = static_cast<int>(op.finding);
    if (op.finding != Finding::kAccepted && op.finding != Finding::kFault)
      work->until = now + t.contest_ms;
    return true;
  }
  // CanaryReveal
  std::uint64_t batches = 0;
  for (const Work& each : works) batches += each.epoch == op.epoch ? 1 : 0;
  if (op.author != orchestrator || one.phase != 3 || !Over(op.epoch) ||
      !one.eggs.contains({op.other, op.flag}) ||
      (one.shown_canaries > 0 && (one.shown_canaries + 1) * 10'000 > batches * t.canary_rate.value))
    return false;
  one.eggs.erase({op.other, op.flag});
  ++one.shown_canaries;
  work->canary = true;
  work->egg_bad = op.flag;
  work->contested = false;
  work->until = std::max(work->until, now + t.contest_ms);
  return true;
}

inline void LedgerModel::Watchers(const Work& work) {
  for (const Seat& seat : work.seats) {
    const bool bad = seat.finding == static_cast<int>(Finding::kWrong) ||
                     seat.finding == static_cast<int>(Finding::kInvalid);
    if (!bad && seat.finding != static_cast<int>(Finding::kAccepted)) continue;
    if (bad == work.egg_bad) {
      const Money bonus = std::min<Money>(t.canary_bonus.value, insurance + budget);
      Gain(seat.validator, bonus);
      const Money first = std::min(bonus, insurance);
      insurance -= first;
      budget -= bonus - first;
    } else {
      Slash(seat.validator, t.canary_penalty.value, -1);
      people[seat.validator].validator = false;
    }
  }
}

inline void LedgerModel::Lose(const Quarrel& quarrel, int winner) {
  burned += quarrel.bond / 10;
  people[winner].balance += quarrel.bond - quarrel.bond / 10;
}

inline void LedgerModel::Drop(Work& work) {
  for (Seat& seat : work.seats) {
    if (seat.finding > 1) seat.finding = static_cast<int>(Finding::kFault);
  }
  work.contested = false;
}

inline void LedgerModel::Decide(std::uint64_t id, bool guilty) {
  const Quarrel quarrel = quarrels.at(id);
  Work& work = *Find(quarrel.epoch, quarrel.worker);
  quarrels.erase(id);
  if (quarrel.about == 3) {
    if (guilty) {
      insurance += quarrel.bond;
    } else {
      people[quarrel.by].balance += quarrel.bond;
      work.canary = work.contested = false;
    }
    return;
  }
  if (quarrel.about == 2) {
    if (guilty) {
      constexpr int kWeight[] = {0, 0, 2, 3, 1, 4, 0};
      for (const Seat& seat : work.seats) {
        if (kWeight[seat.finding] == WorstOf(work)) return Lose(quarrel, seat.validator);
      }
    }
    people[quarrel.by].balance += quarrel.bond;
    for (const Seat& seat : std::vector<Seat>(work.seats)) {
      if (seat.finding != static_cast<int>(Finding::kWrong) &&
          seat.finding != static_cast<int>(Finding::kInvalid))
        continue;
      Slash(seat.validator, 10'000, quarrel.worker);
      people[seat.validator].validator = false;
    }
    return Drop(work);
  }
  if (guilty) {
    people[quarrel.by].balance += quarrel.bond;
    Convict(work, quarrel.by);
    return Clean(quarrel.epoch);
  }
  Lose(quarrel, quarrel.worker);
  if (people[quarrel.by].validator) {
    Slash(quarrel.by, 10'000, quarrel.worker);
    people[quarrel.by].validator = false;
  }
}

inline bool LedgerModel::DisputeOp(const ModelOp& op) {
  Person& me = people[op.author];
  const Money bond = t.accuse_bond.value;
  const int about = op.kind == kKindOf<Accuse>          ? 1
                    : op.kind == kKindOf<Contest>       ? 2
                    : op.kind == kKindOf<ContestCanary> ? 3
                                                        : 0;
  if (about > 0) {
    Work* work = Find(op.epoch, about == 2 ? op.author : op.other);
    if (work == nullptr || me.balance < bond) return false;
    const auto ids = QuarrelsOf(*work);
    if (about == 1) {
      if (epochs.at(op.epoch).phase < 2 || Over(op.epoch) || !op.flag || ids.size() >= 8)
        return false;
      for (const std::uint64_t id : ids) {
        if (quarrels.at(id).by == op.author) return false;
      }
    } else {
      bool mine = op.author == work->worker;
      for (const Seat& seat : work->seats) mine = mine || seat.validator == op.author;
      if (work->canary != (about == 3) || !mine || (about == 2 && WorstOf(*work) < 2) ||
          work->contested || now >= work->until)
        return false;
      work->contested = true;
    }
    me.balance -= bond;
    quarrels[next_quarrel++] = {op.epoch, now, work->worker, op.author, about, bond, {}};
    return true;
  }
  const auto found = quarrels.find(op.number);
  if (found == quarrels.end()) return false;
  Quarrel& quarrel = found->second;
  if (op.kind == kKindOf<LapseDispute>) {
    if (now < quarrel.opened + t.referee_ms) return false;
    people[quarrel.by].balance += quarrel.bond;
    Work& work = *Find(quarrel.epoch, quarrel.worker);
    const int was = quarrel.about;
    quarrels.erase(found);
    if (was == 2) Drop(work);
    if (was == 3) work.canary = work.contested = false;
    return true;
  }
  if (std::ranges::find(referees, op.author) == referees.end() ||
      !quarrel.votes.try_emplace(op.author, op.flag).second)
    return false;
  std::uint32_t same = 0;
  for (const auto& [who, said] : quarrel.votes) same += said == op.flag ? 1 : 0;
  if (same >= t.quorum) Decide(op.number, op.flag);
  return true;
}

}  // namespace waggle
