// The ledger once more, as naively as possible: people are small numbers, everything is a list that
// is walked, what the ledger counts along the way is counted anew each time. Shares no code with it
// but the draw of audits, which is taken from the ledger as nature's move. One run. For tests.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "ledger/entries.h"

namespace waggle {

using Money = std::int64_t;

struct ModelOp {
  std::size_t kind = 0;  // index into LedgerBody
  int author = 0, other = 0;
  std::uint64_t epoch = 0, number = 0;  // number: items, an id, a dispute
  Money amount = 0;
  Finding finding = Finding::kAccepted;
  bool flag = false;  // guilty, bad; for a reveal or a claim: the right secret, signature
};

class LedgerModel {
 public:
  explicit LedgerModel(const RunTerms& terms) : t(terms) {}

  struct Part {
    std::uint64_t id;
    Money amount;
    std::uint64_t ready;
  };
  struct Person {
    Money balance = 0, earned = 0, active = 0, vest = 0, claimed = 0;
    std::vector<Part> parts;
    std::uint64_t next_part = 1, jailed = 0, suspect = 0;
    std::uint32_t missed = 0;
    std::optional<std::uint64_t> first;
    std::vector<std::uint64_t> offences;
    bool member = false, expelled = false, validator = false;
    Money AtStake() const {
      Money sum = active;
      for (const Part& part : parts) sum += part.amount;
      return sum;
    }
  };
  struct Seat {
    int validator;
    int finding;  // 0: none yet
  };
  struct Work {
    int worker;
    std::uint64_t epoch, items, until = 0;
    Money pay = 0;
    bool done = false, contested = false, canary = false, egg_bad = false, audited = false,
         whole = false;
    std::uint64_t looked_at = 0;
    std::vector<Seat> seats;
  };
  struct Epoch {
    int phase = 1;
    std::uint64_t sealed = 0, beacon = 0, shown_canaries = 0;
    std::map<int, bool> secrets;          // validator: shown
    std::set<std::pair<int, bool>> eggs;  // canaries: worker, bad
    Money trainer = 0, data = 0, validators = 0;
  };
  struct Quarrel {
    std::uint64_t epoch, opened;
    int worker, by;
    int about;  // 1 accusation, 2 finding, 3 canary
    Money bond;
    std::map<int, bool> votes;
  };
  struct Loss {
    std::uint64_t at;
    int who;
    Money amount;
  };

  RunTerms t;
  std::vector<Person> people;
  // People are numbered in the order of their keys: what happens at once happens in that order.
  int bridge = 0, orchestrator = 0, sponsor = 0, trainer = 0;
  std::vector<int> referees;
  Money supply = 0, budget = 0, insurance = 0, carry = 0, price = 0, burned = 0, treasury = 0;
  std::uint64_t now = 0, epoch = 0, settled = 0, active_ms = 0, next_quarrel = 1;
  bool closed = false;
  std::map<std::uint64_t, Epoch> epochs;
  std::vector<Work> works;
  std::map<std::uint64_t, Quarrel> quarrels;
  std::vector<Loss> losses;
  std::uint64_t drawn = ~std::uint64_t{0};  // the epoch whose audits nature has to draw

  bool Do(const ModelOp& op);

  int FrozenOf(int who) const;
  int UnsettledOf(int who) const;
  Money WithheldOf(int who) const;
  Money Sum() const;

 private:
  static Money Part10k(Money amount, std::uint32_t bps) {
    return static_cast<Money>(static_cast<__int128_t>(amount) * bps / 10'000);
  }
  Work* Find(std::uint64_t e, int worker);
  int WorstOf(const Work& work) const;
  bool Rejected(const Work& work) const { return WorstOf(work) != 0; }
  bool Over(std::uint64_t e) const;
  std::vector<std::uint64_t> QuarrelsOf(const Work& work) const;
  bool Office(int who) const { return people[who].validator && people[who].jailed <= now; }
  void Gain(int who, Money amount) { people[who].balance += amount, people[who].earned += amount; }
  void Fix(std::uint64_t e);
  Money Take(int who, Money amount);
  void Slash(int who, std::uint32_t bps, int finder);
  void Convict(Work& work, int finder);
  void End(Work& work);
  void Miss(int who);
  void Settle(Work& work);
  void Watchers(const Work& work);
  void Roles(std::uint64_t e);
  void Clean(std::uint64_t e);
  void Lose(const Quarrel& quarrel, int winner);
  void Drop(Work& work);
  void Decide(std::uint64_t id, bool guilty);
  bool Settleable(const Work& work) const;
  bool MoneyOp(const ModelOp& op);
  bool StakeOp(const ModelOp& op);
  bool EpochOp(const ModelOp& op);
  bool SealedOp(const ModelOp& op, Epoch& one);
  bool AuditOp(const ModelOp& op);
  bool DisputeOp(const ModelOp& op);
  bool Close(int who);
};

// ------------------------------------------------------------------------------------------------

template <class T>
inline constexpr std::size_t kKindOf = [] {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    std::size_t at = 0;
    ((std::is_same_v<T, std::variant_alternative_t<I, LedgerBody>> ? at = I : at), ...);
    return at;
  }
  (std::make_index_sequence<std::variant_size_v<LedgerBody>>{});
}();

inline LedgerModel::Work* LedgerModel::Find(std::uint64_t e, int worker) {
  for (Work& work : works) {
    if (work.epoch == e && work.worker == worker && !work.done) return &work;
  }
  return nullptr;
}

// 0 fine, then statistical, unavailable, invalid, wrong.
inline int LedgerModel::WorstOf(const Work& work) const {
  constexpr int kWeight[] = {0, 0, 2, 3, 1, 4, 0};
  int worst = 0;
  for (const Seat& seat : work.seats) worst = std::max(worst, kWeight[seat.finding]);
  return worst;
}

inline bool LedgerModel::Over(std::uint64_t e) const {
  const Epoch& one = epochs.at(e);
  if (one.phase < 3) return false;
  const bool empty = std::ranges::none_of(works, [&](const Work& work) { return work.epoch == e; });
  return empty || (epoch > e + t.dispute_epochs && now >= one.beacon + t.dispute_ms);
}

inline std::vector<std::uint64_t> LedgerModel::QuarrelsOf(const Work& work) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, quarrel] : quarrels) {
    if (quarrel.epoch == work.epoch && quarrel.worker == work.worker) ids.push_back(id);
  }
  return ids;
}

inline int LedgerModel::FrozenOf(int who) const {
  int count = 0;
  for (const auto& [id, quarrel] : quarrels) count += quarrel.worker == who ? 1 : 0;
  for (const Work& work : works)
    count += !work.done && work.worker == who && Rejected(work) ? 1 : 0;
  return count;
}

inline int LedgerModel::UnsettledOf(int who) const {
  int count = 0;
  for (const Work& work : works) {
    if (work.done) continue;
    count += work.worker == who ? 1 : 0;
    for (const Seat& seat : work.seats) count += seat.validator == who ? 1 : 0;
  }
  for (const auto& [e, one] : epochs) count += one.phase < 3 && one.secrets.contains(who) ? 1 : 0;
  return count;
}

inline Money LedgerModel::WithheldOf(int who) const {
  Money sum = people[who].vest - people[who].claimed;
  for (const Work& work : works) sum += !work.done && work.worker == who ? work.pay : 0;
  return sum;
}

inline Money LedgerModel::Sum() const {
  Money sum = budget + insurance + burned + treasury;
  for (std::size_t who = 0; who < people.size(); ++who)
    sum += people[who].balance + people[who].AtStake() + WithheldOf(static_cast<int>(who));
  for (const auto& [e, one] : epochs) sum += one.trainer + one.data + one.validators;
  for (const auto& [id, quarrel] : quarrels) sum += quarrel.bond;
  return sum;
}

inline bool LedgerModel::Do(const ModelOp& op) {
  if (op.kind == kKindOf<OpenRun>) return false;  // it is open
  const bool to_run = op.kind > kKindOf<Transfer>;
  const bool outlives = op.kind == kKindOf<Unbond> || op.kind == kKindOf<TakeStake> ||
                        op.kind == kKindOf<LeaveValidators> || op.kind == kKindOf<ClaimVested>;
  if (to_run && closed && !outlives) return false;
  if (op.kind <= kKindOf<CloseRun>) return MoneyOp(op);
  if (op.kind <= kKindOf<LeaveValidators> || op.kind == kKindOf<ClaimVested>) return StakeOp(op);
  if (op.kind == kKindOf<GiveVerdict> || op.kind == kKindOf<CanaryCommit> ||
      op.kind == kKindOf<CanaryReveal> || op.kind == kKindOf<Equivocation>)
    return AuditOp(op);
  if ((op.kind >= kKindOf<Accuse> && op.kind <= kKindOf<LapseDispute>) ||
      op.kind == kKindOf<ContestCanary>)
    return DisputeOp(op);
  return EpochOp(op);
}

}  // namespace waggle
