// A ledger and its model, side by side under random requests. For tests.
#pragma once

#include <gtest/gtest.h>

#include "ledger/ledger.h"
#include "ledger/scenario.h"
#include "ledger/test_model_rules.h"

namespace waggle {

// splitmix64: the same everywhere, unlike what std has.
class TestRandom {
 public:
  explicit TestRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::uint64_t Below(std::uint64_t n) { return Next() % n; }
  bool Chance(unsigned percent) { return Below(100) < percent; }
  template <class T>
  const T& Of(const std::vector<T>& list) {
    return list[Below(list.size())];
  }

 private:
  std::uint64_t state_;
};

class ModelPair {
 public:
  static constexpr int kPeople = 14;

  explicit ModelPair(std::uint64_t seed)
      : random_(seed),
        ids_(MakeIds()),
        ledger_({"model", ids_[0], ids_[1]}, Signed),
        model_(RandomTerms()) {
    model_.people.resize(kPeople);
    model_.bridge = 1, model_.sponsor = 2, model_.orchestrator = 3, model_.trainer = 4;
    model_.referees = {5, 6, 7};
    model_.price = model_.t.price_ktoken.value;
    const LedgerEntry open = ledger_.Next(0, {ids_[2], 0, OpenRun{run_, model_.t}, Mark(true)});
    const LedgerOutcome opened = ledger_.Apply(open);
    EXPECT_TRUE(opened) << opened.error().what;
    for (int who = 0; who < kPeople; ++who) Both(DepositFor(who, 2'000'000'000));
    Both({kKindOf<LockBudget>, model_.sponsor, 0, 0, 0, 1'500'000'000});
    for (int who = 8; who < 11; ++who) {
      Both({kKindOf<Stake>, who, 0, 0, 0, 500'000'000});
      Both({kKindOf<JoinValidators>, who});
    }
  }

  // One random request to both. False when they disagree (a test failure is recorded).
  bool Step() {
    if (random_.Chance(15)) {
      constexpr std::uint64_t kSteps[] = {1,         1'000,      60'000,     600'000,
                                          3'600'000, 21'600'000, 86'400'000, 691'200'000};
      model_.now += kSteps[std::min({random_.Below(8), random_.Below(9), random_.Below(9)})] *
                    (1 + random_.Below(2));
    }
    return Both(RandomOp());
  }

  // The run stalls, somebody ends it, and everybody gets what is theirs.
  bool WindDown() {
    bool same = true;
    model_.now += model_.t.stall_ms;
    while (same && !model_.quarrels.empty()) {
      ModelOp op{kKindOf<LapseDispute>, 8, 8};
      op.number = model_.quarrels.begin()->first;
      same = Both(op);
    }
    same = same && Both({kKindOf<CloseRun>, 9, 8});
    for (int who = 0; same && who < kPeople; ++who) {
      same = Both({kKindOf<ClaimVested>, who, 8}) && Both({kKindOf<LeaveValidators>, who, 8}) &&
             Both({kKindOf<Unbond>, who, 8, 0, 0, model_.people[who].active});
    }
    model_.now += model_.t.unbonding_ms;
    for (int who = 0; same && who < kPeople; ++who) {
      while (same && !model_.people[who].parts.empty())
        same = Both({kKindOf<TakeStake>, who, 8, 0, model_.people[who].parts[0].id});
    }
    // Nothing is left anywhere but in people's hands, burned, or in the treasury.
    Money free = 0;
    for (const LedgerModel::Person& p : model_.people) free += p.balance;
    EXPECT_EQ(free + model_.burned + model_.treasury, model_.supply);
    return same && model_.closed;
  }

  std::size_t taken() const { return taken_; }
  const std::vector<std::size_t>& taken_by_kind() const { return by_kind_; }
  const Ledger& ledger() const { return ledger_; }
  const std::vector<LedgerEntry>& entries() const { return entries_; }
  const LedgerEvents& events() const { return events_; }
  const LedgerGenesis& genesis() const { return ledger_.genesis(); }

  // "Signatures" that cost nothing: the first byte says.
  static bool Signed(const NodeId&, std::string_view, std::span<const std::uint8_t>,
                     const Signature& signature) {
    return signature[0] == 1;
  }

 private:
  static Signature Mark(bool good) {
    Signature signature{};
    signature[0] = good ? 1 : 0;
    return signature;
  }
  static std::vector<NodeId> MakeIds() {
    std::vector<NodeId> ids;
    for (int n = 0; n < kPeople; ++n) {
      NodeId id;
      id.value.fill(static_cast<std::uint8_t>(n + 1));  // in order
      ids.push_back(id);
    }
    return ids;
  }
  static Digest256 Secret(int who, std::uint64_t epoch, bool right = true) {
    Digest256 digest{};
    digest[0] = static_cast<std::uint8_t>(who + 1);
    digest[1] = static_cast<std::uint8_t>(epoch);
    digest[2] = right ? 1 : 0;
    return digest;
  }

  RunTerms RandomTerms() {
    RunTerms t;
    t.orchestrator = ids_[3], t.trainer = ids_[4];
    t.referees = {ids_[5], ids_[6], ids_[7]};
    t.quorum = 2;
    t.epoch_budget = Credits{static_cast<std::int64_t>(50'000'000 + random_.Below(200'000'000))};
    t.price_rollout = Credits{static_cast<std::int64_t>(random_.Below(1'000'000))};
    t.price_ktoken = Credits{1'000'000};
    t.price_ktoken_min = Credits{100'000}, t.price_ktoken_max = Credits{2'000'000};
    t.audit_items = 1 + static_cast<std::uint32_t>(random_.Below(3));
    t.batch_min = static_cast<std::uint32_t>(random_.Below(32));
    t.auditors = 1 + static_cast<std::uint32_t>(random_.Below(2));
    t.dispute_epochs = static_cast<std::uint32_t>(random_.Below(3));
    t.dispute_ms = random_.Chance(50) ? 600'000 : 0;
    if (t.dispute_epochs == 0) t.dispute_ms = 3'600'000;
    t.contest_ms = 600'000;
    t.referee_ms = 7'200'000;
    t.unbonding_ms = 7'200'000;
    t.stall_ms = 2'000'000'000;
    t.vesting_epochs = static_cast<std::uint32_t>(random_.Below(4));
    t.vesting_over = 1 + static_cast<std::uint32_t>(random_.Below(5));
    t.suspect_epochs = 3;
    t.stake_min = Credits{random_.Chance(30) ? 1'000'000 : 0};
    t.validator_stake_min = Credits{100'000'003};
    t.beacon_forfeit = Credits{7'000'001};
    t.canary_rate = Bps{5'000};
    t.canary_penalty = Bps{random_.Chance(50) ? 10'000u : 3'333u};
    t.canary_bonus = Credits{1'234'567};
    t.accuse_bond = Credits{random_.Chance(80) ? 10'000'001 : 0};
    t.jail_after = 2;
    return t;
  }

  ModelOp DepositFor(int who, Money amount) {
    ModelOp op;
    op.kind = kKindOf<Deposit>, op.author = model_.bridge, op.other = who, op.amount = amount;
    return op;
  }

  // An epoch that something can be done to, mostly.
  std::uint64_t SomeEpoch() {
    if (model_.epochs.empty() || random_.Chance(10)) return model_.epoch;
    auto at = model_.epochs.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_.Below(model_.epochs.size())));
    return at->first;
  }

  ModelOp RandomOp() {
    constexpr std::size_t kKinds[] = {
        kKindOf<Deposit>,       kKindOf<Withdraw>,        kKindOf<Transfer>,
        kKindOf<LockBudget>,    kKindOf<Stake>,           kKindOf<Unbond>,
        kKindOf<CancelUnbond>,  kKindOf<TakeStake>,       kKindOf<JoinValidators>,
        kKindOf<CommitBatch>,   kKindOf<CommitBatch>,     kKindOf<CommitBatch>,
        kKindOf<BeaconCommit>,  kKindOf<BeaconCommit>,    kKindOf<SealEpoch>,
        kKindOf<BeaconReveal>,  kKindOf<BeaconReveal>,    kKindOf<BeaconReveal>,
        kKindOf<BeaconClose>,   kKindOf<BeaconClose>,     kKindOf<GiveVerdict>,
        kKindOf<GiveVerdict>,   kKindOf<GiveVerdict>,     kKindOf<GiveVerdict>,
        kKindOf<SettleEpoch>,   kKindOf<SettleEpoch>,     kKindOf<Accuse>,
        kKindOf<Contest>,       kKindOf<Contest>,         kKindOf<Resolve>,
        kKindOf<Resolve>,       kKindOf<LapseDispute>,    kKindOf<ClaimVested>,
        kKindOf<CanaryCommit>,  kKindOf<CanaryReveal>,    kKindOf<JoinValidators>,
        kKindOf<Equivocation>,  kKindOf<LeaveValidators>, kKindOf<CanaryReveal>,
        kKindOf<ContestCanary>, kKindOf<ContestCanary>};
    ModelOp op;
    op.kind = kKinds[random_.Below(std::size(kKinds))];
    if ((op.kind == kKindOf<Equivocation> ||
         op.kind == kKindOf<LeaveValidators>)&&random_.Chance(80))
      op.kind = kKindOf<GiveVerdict>;
    if (random_.Chance(1)) op.kind = random_.Below(std::variant_size_v<LedgerBody>);
    if (op.kind == kKindOf<CloseRun> && random_.Chance(90)) op.kind = kKindOf<Transfer>;
    if (op.kind == kKindOf<OpenRun> || op.kind == kKindOf<BeaconExternal>)
      op.kind = kKindOf<SealEpoch>;
    op.author = static_cast<int>(random_.Below(kPeople));
    op.other = static_cast<int>(8 + random_.Below(kPeople - 8));
    op.epoch = SomeEpoch();
    op.number = 1 + random_.Below(20);
    constexpr Money kSizes[] = {1, 999, 1'000'000, 50'000'001, 400'000'000};
    op.amount = kSizes[random_.Below(5)] * static_cast<Money>(random_.Below(3)) +
                static_cast<Money>(random_.Below(7)) - 1;
    constexpr Finding kFindings[] = {
        Finding::kAccepted, Finding::kAccepted,    Finding::kWrong, Finding::kUnavailable,
        Finding::kInvalid,  Finding::kStatistical, Finding::kFault};
    op.finding = kFindings[random_.Below(7)];
    op.flag = random_.Chance(50);
    if (random_.Chance(85)) Aim(op);
    return op;
  }

  // Makes a request likely to be taken.
  void Aim(ModelOp& op) {
    if (op.kind == kKindOf<Deposit>) op.author = model_.bridge;
    if (op.kind == kKindOf<CommitBatch> || op.kind == kKindOf<SealEpoch> ||
        op.kind == kKindOf<CanaryCommit>)
      op.author = model_.orchestrator, op.epoch = model_.epoch;
    if (op.kind == kKindOf<CommitBatch> || op.kind == kKindOf<BeaconReveal> ||
        op.kind == kKindOf<Accuse> || op.kind == kKindOf<Equivocation>)
      op.flag = true;
    if (op.kind == kKindOf<CommitBatch>) op.number = 1 + random_.Below(64);
    if (op.kind == kKindOf<BeaconCommit>) op.epoch = model_.epoch;
    if (op.kind == kKindOf<BeaconCommit> || op.kind == kKindOf<BeaconReveal> ||
        op.kind == kKindOf<GiveVerdict> || op.kind == kKindOf<JoinValidators>)
      op.author = static_cast<int>(8 + random_.Below(4));
    AimAtEpoch(op);
    if (!model_.works.empty()) AimAtWork(op, random_.Of(model_.works));
    if (op.kind == kKindOf<Resolve> || op.kind == kKindOf<LapseDispute>) {
      op.author = static_cast<int>(5 + random_.Below(3));
      if (!model_.quarrels.empty()) op.number = model_.quarrels.begin()->first;
    }
    if (op.kind == kKindOf<CanaryReveal>) op.author = model_.orchestrator;
    if (op.kind == kKindOf<SettleEpoch> && random_.Chance(60)) op.epoch = model_.settled;
    const auto& parts = model_.people[op.author].parts;
    if ((op.kind == kKindOf<TakeStake> || op.kind == kKindOf<CancelUnbond>)&&!parts.empty())
      op.number = parts[random_.Below(parts.size())].id;
  }

  void AimAtEpoch(ModelOp& op) {
    for (const auto& [e, one] : model_.epochs) {
      if (op.kind == kKindOf<BeaconReveal> && one.phase == 2) {
        for (const auto& [who, shown] : one.secrets) {
          if (!shown) op.author = who, op.epoch = e;
        }
      }
      if (op.kind == kKindOf<CanaryReveal> && one.phase == 3 && !one.eggs.empty())
        op.epoch = e, op.other = one.eggs.begin()->first, op.flag = one.eggs.begin()->second;
    }
  }

  void AimAtWork(ModelOp& op, const LedgerModel::Work& work) {
    if (op.kind == kKindOf<GiveVerdict> || op.kind == kKindOf<Accuse>) {
      op.epoch = work.epoch, op.other = work.worker;
      if (op.kind == kKindOf<GiveVerdict> && !work.seats.empty())
        op.author = random_.Of(work.seats).validator;
    }
    for (const LedgerModel::Work& each : model_.works) {
      if (op.kind == kKindOf<ContestCanary> && each.canary && !each.seats.empty())
        op.epoch = each.epoch, op.other = each.worker, op.author = each.seats[0].validator;
    }
    if (op.kind != kKindOf<Contest>) return;
    for (const LedgerModel::Work& each : model_.works) {
      if (!each.seats.empty() && each.seats[0].finding > 1 && !each.done)
        op.epoch = each.epoch, op.author = each.worker;
    }
  }

  BatchClaim ClaimOf(const ModelOp& op, std::uint8_t variant) const {
    BatchClaim claim{run_, op.epoch, ids_[op.other], {}, static_cast<std::uint32_t>(op.number), {}};
    claim.root[0] = static_cast<std::uint8_t>(op.other);
    claim.root[1] = static_cast<std::uint8_t>(op.epoch);
    claim.root[2] = variant;
    claim.work = {claim.items, op.number * 10'000, op.number * 100 * 10'000};
    return claim;
  }

  LedgerBody BodyOf(const ModelOp& op) const {
    const Credits amount{op.amount};
    const NodeId& other = ids_[op.other];
    const Digest256 none{};
    switch (op.kind + 1) {
      case 1:
        return Deposit{other, amount, none};
      case 2:
        return Withdraw{amount, EvmAddress{1}};
      case 3:
        return Transfer{other, amount};
      case 5:
        return LockBudget{run_, amount};
      case 6:
        return CloseRun{run_};
      case 7:
        return Stake{run_, amount};
      case 8:
        return Unbond{run_, amount};
      case 9:
        return CancelUnbond{run_, op.number};
      case 10:
        return TakeStake{run_, {op.number}};
      case 11:
        return JoinValidators{run_};
      case 12:
        return LeaveValidators{run_};
      case 13:
        return CommitBatch{ClaimOf(op, 0), Mark(op.flag)};
      case 14:
        return Equivocation{ClaimOf(op, 0), Mark(true), ClaimOf(op, 1), Mark(op.flag)};
      case 15:
        return SealEpoch{run_, op.epoch};
      case 16:
        return BeaconCommit{
            run_, op.epoch,
            BeaconHash(run_, op.epoch, ids_[op.author], Secret(op.author, op.epoch))};
      case 17:
        return BeaconReveal{run_, op.epoch, Secret(op.author, op.epoch, op.flag)};
      case 18:
        return BeaconClose{run_, op.epoch};
      case 20:
        return GiveVerdict{run_, op.epoch, other, op.finding, 0, none, none};
      case 21:
        return CanaryCommit{run_, op.epoch, CanaryHash(run_, op.epoch, other, none, op.flag)};
      case 22:
        return CanaryReveal{run_, op.epoch, other, none, op.flag};
      case 23: {
        Digest256 root = ClaimOf(op, op.flag ? 0 : 9).root;
        return Accuse{run_, op.epoch, other, root, none};
      }
      case 24:
        return Contest{run_, op.epoch, none};
      case 25:
        return Resolve{op.number, op.flag, none};
      case 26:
        return LapseDispute{op.number};
      case 27:
        return SettleEpoch{run_, op.epoch};
      case 29:
        return ContestCanary{run_, op.epoch, other, none};
      default:
        return ClaimVested{run_};
    }
  }

  bool Both(const ModelOp& op) {
    const NodeId& author = ids_[op.author];
    const LedgerEntry entry =
        ledger_.Next(model_.now, {author, ledger_.NonceOf(author), BodyOf(op), Mark(true)});
    const std::string name(NameOf(entry.request.body));
    const LedgerOutcome outcome = ledger_.Apply(entry);
    const bool expected = model_.Do(op);
    if (outcome.has_value() != expected) {
      ADD_FAILURE() << name << " of " << op.author << " about " << op.other << ", epoch "
                    << op.epoch << ", number " << op.number << ": the ledger says "
                    << (outcome ? "yes" : std::string(ToString(outcome.error().why)))
                    << ", the model " << expected;
      return false;
    }
    by_kind_.resize(std::variant_size_v<LedgerBody>);
    if (outcome) {
      ++taken_, ++by_kind_[op.kind];
      entries_.push_back(entry);
      events_.insert(events_.end(), outcome->begin(), outcome->end());
    }
    if (outcome && op.kind == kKindOf<BeaconClose>) TakeDraw();
    const std::string difference = Difference();
    if (difference.empty()) return true;
    ADD_FAILURE() << "after " << name << " (entry " << entry.sequence << "): " << difference;
    return false;
  }

  // Nature's move, looked at for what it may be.
  void TakeDraw() {
    const std::uint64_t e = std::exchange(model_.drawn, ~std::uint64_t{0});
    for (LedgerModel::Work& work : model_.works) {
      if (work.epoch != e || work.done) continue;
      const LedgerBatch& batch = *ledger_.BatchOf(run_, e, ids_[work.worker]);
      if (model_.people[work.worker].suspect > e || work.items < model_.t.batch_min) {
        EXPECT_TRUE(batch.audited);
      }
      work.audited = batch.audited, work.whole = batch.audited_whole;
      work.looked_at = work.whole ? work.items : batch.items.size();
      if (work.audited && !work.whole) {
        EXPECT_EQ(work.looked_at, std::min<std::uint64_t>(work.items, model_.t.audit_items));
      }
      int candidates = 0;
      for (int who = 0; who < kPeople; ++who) {
        const auto& p = model_.people[who];
        candidates += p.validator && p.jailed <= model_.now && who != work.worker ? 1 : 0;
      }
      if (work.audited) {
        EXPECT_EQ(batch.auditors.size(),
                  std::min<std::size_t>(model_.t.auditors, static_cast<std::size_t>(candidates)));
      }
      for (const AuditorSeat& seat : batch.auditors) {
        const int who = seat.validator.value[0] - 1;
        EXPECT_TRUE(model_.people[who].validator && who != work.worker);
        work.seats.push_back({who, 0});
      }
    }
  }

  std::string Difference() const {
    const LedgerState& state = ledger_.state();
    const LedgerRunState& run = *ledger_.FindRun(run_);
    std::string out;
    const auto same = [&](const char* what, long long ledger, long long model) {
      if (ledger != model) out += fmt::format("{} is {}, model {}; ", what, ledger, model);
    };
    same("supply", state.supply.value, model_.supply);
    same("total", TotalOf(state).value, model_.Sum());
    same("conserved", TotalOf(state).value, model_.supply);
    same("burned", state.burned.value, model_.burned);
    same("treasury", state.treasury.value, model_.treasury);
    same("budget", run.budget.value, model_.budget);
    same("insurance", run.insurance.value, model_.insurance);
    same("price", run.price.value, model_.price);
    same("epoch", static_cast<long long>(run.epoch), static_cast<long long>(model_.epoch));
    same("settled", static_cast<long long>(run.settled), static_cast<long long>(model_.settled));
    same("epochs", static_cast<long long>(run.epochs.size()),
         static_cast<long long>(model_.epochs.size()));
    same("disputes", static_cast<long long>(state.disputes.size()),
         static_cast<long long>(model_.quarrels.size()));
    Money stakes = 0;
    for (int who = 0; who < kPeople; ++who) {
      const LedgerModel::Person& p = model_.people[who];
      const LedgerAccount* account = ledger_.AccountOf(ids_[who]);
      const LedgerAccount mine = account == nullptr ? LedgerAccount{} : *account;
      const RunMember* found = ledger_.MemberOf(run_, ids_[who]);
      const RunMember member = found == nullptr ? RunMember{} : *found;
      const std::string name = fmt::format("person {}: ", who);
      const std::size_t before = out.size();
      same("balance", mine.balance.value, p.balance);
      same("earned", mine.earned.value, p.earned);
      same("active", member.active.value, p.active);
      same("stake", member.AtStake().value, p.AtStake());
      same("unbondings", static_cast<long long>(member.unbonding.size()),
           static_cast<long long>(p.parts.size()));
      same("withheld", ledger_.WithheldOf(run_, ids_[who]).value, model_.WithheldOf(who));
      same("vested", member.vested.value, p.claimed);
      same("frozen", member.frozen, model_.FrozenOf(who));
      same("unsettled", member.unsettled, model_.UnsettledOf(who));
      same("jailed", static_cast<long long>(member.jailed_until_ms),
           static_cast<long long>(p.jailed));
      same("validator", run.validators.contains(ids_[who]) ? 1 : 0, p.validator ? 1 : 0);
      if (mine.balance.value < 0 || member.active.value < 0 || member.vesting < member.vested)
        out += "negative; ";
      if (out.size() > before) out.insert(before, name);
      stakes += p.AtStake();
    }
    same("total stake", run.total_stake.value, stakes);
    return out;
  }

  TestRandom random_;
  const std::vector<NodeId> ids_;
  const LedgerRun run_{Digest256{1}};
  Ledger ledger_;
  LedgerModel model_;
  std::size_t taken_ = 0;
  std::vector<std::size_t> by_kind_;
  std::vector<LedgerEntry> entries_;
  LedgerEvents events_;
};

}  // namespace waggle
