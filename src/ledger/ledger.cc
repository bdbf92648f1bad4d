#include "ledger/ledger.h"

#include <algorithm>

#include "ledger/step.h"

namespace waggle {
namespace {

constexpr Bps kPriceStep{500};
constexpr std::uint64_t kLedgerEndMs = 253'402'300'799'999;  // the year 9999: sums of times fit

// The run that a request is about, if it names one.
template <class T>
const LedgerRun* RunOf(const T& body) {
  if constexpr (std::is_same_v<T, CommitBatch>)
    return &body.claim.run;
  else if constexpr (std::is_same_v<T, Equivocation>)
    return &body.first.run;
  else if constexpr (requires { body.run; })
    return &body.run;
  else
    return nullptr;
}

template <class T>
std::uint64_t EpochOf(const T& body) {
  if constexpr (std::is_same_v<T, CommitBatch>)
    return body.claim.epoch;
  else if constexpr (requires { body.epoch; })
    return body.epoch;
  else
    return 0;
}

// A run that is over still gives back what is its members' own.
template <class T>
constexpr bool kOutlivesRun = std::is_same_v<T, Unbond> || std::is_same_v<T, TakeStake> ||
                              std::is_same_v<T, ClaimVested> || std::is_same_v<T, LeaveValidators>;

}  // namespace

bool TrustSignatures(const NodeId&, std::string_view, std::span<const std::uint8_t>,
                     const Signature&) {
  return true;
}

LedgerStatus LedgerStep::EnterRun(const LedgerRun& id, bool may_be_closed) {
  const auto run = state_.runs.find(id);
  if (run == state_.runs.end()) return Refuse(LedgerRefusal::kUnknownRun, "no such run");
  if (run->second.closed && !may_be_closed)
    return Refuse(LedgerRefusal::kRunClosed, "this run is closed");
  run_id_ = id;
  run_ = &run->second;
  return {};
}

LedgerStatus LedgerStep::Apply() {
  const LedgerRequest& request = entry_.request;
  if (entry_.sequence != state_.sequence + 1)
    return Refuse(LedgerRefusal::kBadSequence,
                  fmt::format("entry {} after {}", entry_.sequence, state_.sequence));
  if (entry_.at_ms < state_.at_ms || entry_.at_ms > kLedgerEndMs)
    return Refuse(LedgerRefusal::kBadTime, "before the entry before it, or past the year 9999");
  if (request.author == NodeId{}) return Refuse(LedgerRefusal::kBadAccount, "nobody asks");
  const auto account = state_.accounts.find(request.author);
  const std::uint64_t nonce = account == state_.accounts.end() ? 0 : account->second.nonce;
  if (request.nonce != nonce)
    return Refuse(LedgerRefusal::kBadNonce,
                  fmt::format("nonce {}, the author's next is {}", request.nonce, nonce));
  if (!check_(request.author, kRequestDomain, RequestMessage(id_, request), request.signature))
    return Refuse(LedgerRefusal::kBadSignature, "not signed by its author, for this ledger");
  const LedgerStatus done = std::visit(
      [&]<class T>(const T& body) -> LedgerStatus {
        epoch_ = EpochOf(body);
        if constexpr (!std::is_same_v<T, OpenRun>) {
          if (const LedgerRun* run = RunOf(body)) {
            if (auto entered = EnterRun(*run, kOutlivesRun<T>); !entered) return entered;
          }
        }
        return On(body);
      },
      request.body);
  if (!done) return done;
  ++state_.sequence;
  state_.at_ms = entry_.at_ms;
  ++state_.accounts[request.author].nonce;
  return {};
}

LedgerEvent& LedgerStep::Emit(LedgerEventKind kind, const NodeId& who, Credits amount,
                              std::uint64_t number) {
  return events_.emplace_back(LedgerEvent{kind, run_id_, epoch_, who, {}, amount, number});
}

void LedgerStep::Credit(LedgerEventKind kind, const NodeId& who, Credits amount,
                        std::uint64_t number) {
  if (amount.value > 0) state_.accounts[who].balance += amount;
  Emit(kind, who, amount, number);
}

void LedgerStep::Earn(LedgerEventKind kind, const NodeId& who, Credits amount,
                      std::uint64_t number) {
  if (amount.value > 0) state_.accounts[who].earned += amount;
  Credit(kind, who, amount, number);
}

void LedgerStep::Debit(LedgerEventKind kind, Credits amount, std::uint64_t number) {
  state_.accounts[author()].balance -= amount;
  Emit(kind, author(), amount, number);
}

Ledger::Ledger(LedgerGenesis genesis, SignatureCheck check)
    : Ledger(std::move(genesis), LedgerState{}, std::move(check)) {}

Ledger::Ledger(LedgerGenesis genesis, LedgerState state, SignatureCheck check)
    : genesis_(std::move(genesis)),
      id_(IdOf(genesis_)),
      state_(std::move(state)),
      check_(std::move(check)) {}

LedgerOutcome Ledger::Apply(const LedgerEntry& entry) {
  LedgerStep step(state_, genesis_, id_, check_, entry);
  LedgerStatus done = step.Apply();
  if (!done) return tl::unexpected(std::move(done.error()));
  return step.TakeEvents();
}

LedgerEntry Ledger::Next(std::uint64_t now_ms, LedgerRequest request) const {
  return {state_.sequence + 1, std::max(now_ms, state_.at_ms), std::move(request)};
}

const LedgerAccount* Ledger::AccountOf(const NodeId& node) const {
  const auto account = state_.accounts.find(node);
  return account == state_.accounts.end() ? nullptr : &account->second;
}
std::uint64_t Ledger::NonceOf(const NodeId& node) const {
  const LedgerAccount* account = AccountOf(node);
  return account == nullptr ? 0 : account->nonce;
}
Credits Ledger::BalanceOf(const NodeId& node) const {
  const LedgerAccount* account = AccountOf(node);
  return account == nullptr ? Credits{} : account->balance;
}

const LedgerRunState* Ledger::FindRun(const LedgerRun& run) const {
  const auto found = state_.runs.find(run);
  return found == state_.runs.end() ? nullptr : &found->second;
}

const RunMember* Ledger::MemberOf(const LedgerRun& run, const NodeId& node) const {
  const LedgerRunState* state = FindRun(run);
  if (state == nullptr) return nullptr;
  const auto member = state->members.find(node);
  return member == state->members.end() ? nullptr : &member->second;
}

const LedgerBatch* Ledger::BatchOf(const LedgerRun& run, std::uint64_t epoch,
                                   const NodeId& worker) const {
  const LedgerRunState* state = FindRun(run);
  if (state == nullptr || !state->epochs.contains(epoch)) return nullptr;
  const auto& batches = state->epochs.at(epoch).batches;
  const auto batch = batches.find(worker);
  return batch == batches.end() ? nullptr : &batch->second;
}

std::vector<AuditDuty> Ledger::DutiesOf(const LedgerRun& run, const NodeId& validator) const {
  std::vector<AuditDuty> duties;
  const LedgerRunState* state = FindRun(run);
  if (state == nullptr) return duties;
  for (const auto& [number, epoch] : state->epochs) {
    for (const auto& [worker, batch] : epoch.batches) {
      const auto seat = std::ranges::find(batch.auditors, validator, &AuditorSeat::validator);
      if (seat == batch.auditors.end() || seat->finding || batch.state != BatchState::kPending)
        continue;
      duties.push_back({number, batch.claim, batch.audited_whole, batch.items});
    }
  }
  return duties;
}

std::vector<std::uint64_t> Ledger::SettleableEpochs(const LedgerRun& run,
                                                    std::uint64_t now_ms) const {
  std::vector<std::uint64_t> numbers;
  const LedgerRunState* state = FindRun(run);
  if (state == nullptr || state->closed) return numbers;
  for (const auto& [number, epoch] : state->epochs) {
    const bool over = state->epoch > number + state->terms.dispute_epochs &&
                      now_ms >= epoch.beacon_ms + state->terms.dispute_ms;
    if (epoch.phase < EpochPhase::kAudited || (!over && !epoch.batches.empty())) continue;
    const bool due = std::ranges::any_of(epoch.batches, [&](const auto& row) {
      const LedgerBatch& batch = row.second;
      if (batch.state != BatchState::kPending || !batch.disputes.empty()) return false;
      const bool open = (batch.Rejected() || batch.canary) && !batch.contested;
      return !open || now_ms >= batch.contest_until_ms;
    });
    if (due || epoch.phase == EpochPhase::kAudited) numbers.push_back(number);
  }
  return numbers;
}

Credits Ledger::WithheldOf(const LedgerRun& run, const NodeId& node) const {
  Credits sum;
  if (const RunMember* member = MemberOf(run, node)) sum = member->vesting - member->vested;
  const LedgerRunState* state = FindRun(run);
  if (state == nullptr) return sum;
  for (const auto& [number, epoch] : state->epochs) {
    const auto batch = epoch.batches.find(node);
    if (batch != epoch.batches.end() && batch->second.state == BatchState::kPending)
      sum += batch->second.pay;
  }
  return sum;
}

Bps SlashDue(const RunTerms& terms, const RunMember& member, std::uint64_t now_ms) {
  const auto recent = std::ranges::count_if(
      member.offences_ms, [&](std::uint64_t at) { return at + kRepeatMs > now_ms; });
  return recent == 0 ? terms.slash_first : recent == 1 ? terms.slash_second : terms.slash_third;
}

Credits StakeAtRisk(const RunTerms& terms, const RunMember& member, std::uint64_t now_ms) {
  const Credits slash = Share(member.AtStake(), SlashDue(terms, member, now_ms));
  return slash - Share(slash, terms.whistle);
}

Bps CorrelatedSlash(Credits slashed, Credits total) {
  if (slashed.value <= 0 || total.value <= 0) return Bps{0};
  const std::int64_t most = kWhole.value;
  if (slashed >= total) return kWhole;
  const std::int64_t share = MulDiv(slashed.value, kCorrelationFactor * most, total.value);
  return Bps{static_cast<std::uint32_t>(std::min(share, most))};
}

Credits VestedOf(const LedgerRunState& run, const RunMember& member) {
  if (run.closed) return member.vesting;
  if (!member.first_epoch) return {};
  const std::uint64_t begin = *member.first_epoch + run.terms.vesting_epochs;
  if (run.epoch <= begin) return {};
  const std::uint64_t over = std::max<std::uint64_t>(run.terms.vesting_over, 1);
  const std::uint64_t elapsed = std::min(run.epoch - begin, over);
  return Credits{MulDiv(member.vesting.value, static_cast<std::int64_t>(elapsed),
                        static_cast<std::int64_t>(over))};
}

Credits NextPrice(const RunTerms& terms, Credits price, Credits demand, Credits pool) {
  const std::int64_t whole = kWhole.value;
  if (demand == pool) return price;
  if (demand < pool)
    return std::min(terms.price_ktoken_max,
                    Credits{MulDivUp(price.value, whole + kPriceStep.value, whole)});
  return std::max(terms.price_ktoken_min,
                  Credits{MulDiv(price.value, whole - kPriceStep.value, whole)});
}

}  // namespace waggle
