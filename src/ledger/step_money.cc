// Money, and runs as such.
#include "ledger/step.h"

namespace waggle {
namespace {

bool IsNobody(const NodeId& node) { return node == NodeId{}; }

}  // namespace

LedgerStatus LedgerStep::CanPay(Credits amount) {
  if (amount.value <= 0 || amount > kSupplyMax)
    return Refuse(LedgerRefusal::kBadAmount, "an amount is more than nothing");
  const auto account = state_.accounts.find(author());
  const Credits balance = account == state_.accounts.end() ? Credits{} : account->second.balance;
  if (balance < amount)
    return Refuse(LedgerRefusal::kNotEnough,
                  fmt::format("a balance of {} is less than {}", ToText(balance), ToText(amount)));
  return {};
}

LedgerStatus LedgerStep::On(const Deposit& body) {
  if (author() != genesis_.bridge)
    return Refuse(LedgerRefusal::kNotAllowed, "only the bridge brings money in");
  if (IsNobody(body.to)) return Refuse(LedgerRefusal::kBadAccount, "a deposit for nobody");
  if (body.amount.value <= 0 || body.amount > kSupplyMax ||
      body.amount + state_.supply > kSupplyMax)
    return Refuse(LedgerRefusal::kBadAmount, "more than nothing, and no more than may exist");
  state_.supply += body.amount;
  Credit(LedgerEventKind::kDeposited, body.to, body.amount);
  return {};
}

LedgerStatus LedgerStep::On(const Withdraw& body) {
  if (auto can = CanPay(body.amount); !can) return can;
  if (body.to == EvmAddress{})
    return Refuse(LedgerRefusal::kBadAccount, "the zero address outside keeps what it gets");
  state_.supply -= body.amount;
  Debit(LedgerEventKind::kWithdrawn, body.amount);
  return {};
}

LedgerStatus LedgerStep::On(const Transfer& body) {
  if (auto can = CanPay(body.amount); !can) return can;
  if (IsNobody(body.to)) return Refuse(LedgerRefusal::kBadAccount, "a transfer to nobody");
  state_.accounts[author()].balance -= body.amount;
  state_.accounts[body.to].balance += body.amount;
  Emit(LedgerEventKind::kTransferred, author(), body.amount).other = body.to;
  return {};
}

LedgerStatus LedgerStep::On(const OpenRun& body) {
  if (state_.runs.contains(body.run))
    return Refuse(LedgerRefusal::kRunExists, "this run was opened before");
  if (const char* why = WhyBadTerms(body.terms)) return Refuse(LedgerRefusal::kBadTerms, why);
  run_id_ = body.run;
  LedgerRunState& run = state_.runs[body.run];
  run.sponsor = author();
  run.terms = body.terms;
  run.price = body.terms.price_ktoken;
  run.active_ms = now();
  Emit(LedgerEventKind::kRunOpened, author());
  return {};
}

LedgerStatus LedgerStep::On(const LockBudget& body) {
  if (auto can = CanPay(body.amount); !can) return can;
  run_->budget += body.amount;
  Debit(LedgerEventKind::kBudgetLocked, body.amount);
  return {};
}

LedgerStatus LedgerStep::On(const CloseRun&) {
  const bool stalled = now() >= run_->active_ms + run_->terms.stall_ms;
  if (author() != run_->sponsor && !stalled)
    return Refuse(LedgerRefusal::kNotAllowed,
                  "the sponsor ends a run; others when it has stalled for stall_ms");
  for (const auto& [number, epoch] : run_->epochs) {
    for (const auto& [worker, batch] : epoch.batches) {
      if (batch.state != BatchState::kPending) continue;
      if (!stalled) return Refuse(LedgerRefusal::kUnsettled, "there is work that is not settled");
      if (!batch.disputes.empty())
        return Refuse(LedgerRefusal::kDisputeOpen, "there are open disputes: referees, or a lapse");
      if (!CanSettle(batch))
        return Refuse(LedgerRefusal::kTooEarly, "a rejected worker may still contest");
    }
  }
  // What stalled is over now. The open epoch is sealed; nothing else is audited.
  if (LedgerEpoch* open = FindEpoch(run_->epoch)) {
    epoch_ = run_->epoch;
    FixPay(*open);
  }
  for (auto& [number, epoch] : run_->epochs) {
    epoch_ = number;
    if (epoch.phase < EpochPhase::kAudited) ReleaseSeats(epoch);
    for (auto& [worker, batch] : epoch.batches) {
      if (batch.state == BatchState::kPending) SettleBatch(batch);
    }
    if (epoch.phase != EpochPhase::kSettled) PayRoles(epoch);
  }
  run_->epochs.clear();
  run_->settled = ++run_->epoch;
  epoch_ = 0;
  run_->closed = true;
  state_.treasury += run_->insurance;
  run_->insurance = {};
  Credit(LedgerEventKind::kBudgetReturned, run_->sponsor, run_->budget);
  run_->budget = {};
  Emit(LedgerEventKind::kRunClosed, run_->sponsor);
  return {};
}

}  // namespace waggle
