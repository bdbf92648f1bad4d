// One entry being applied. This folder's own; ledger.h is for everybody else.
//
// Each On() asks all its questions first and moves money afterwards, so that a refusal has changed
// nothing. Money moves only through Credit, Debit and the fields of one run, each with its event.
#pragma once

#include "ledger/ledger.h"

namespace waggle {

class LedgerStep {
 public:
  LedgerStep(LedgerState& state, const LedgerGenesis& genesis, const LedgerId& id,
             const SignatureCheck& check, const LedgerEntry& entry)
      : state_(state), genesis_(genesis), id_(id), check_(check), entry_(entry) {}

  LedgerStatus Apply();
  LedgerEvents TakeEvents() { return std::move(events_); }

 private:
  // step_money.cc
  LedgerStatus On(const Deposit& body);
  LedgerStatus On(const Withdraw& body);
  LedgerStatus On(const Transfer& body);
  LedgerStatus On(const OpenRun& body);
  LedgerStatus On(const LockBudget& body);
  LedgerStatus On(const CloseRun& body);
  // step_stake.cc
  LedgerStatus On(const Stake& body);
  LedgerStatus On(const Unbond& body);
  LedgerStatus On(const CancelUnbond& body);
  LedgerStatus On(const TakeStake& body);
  LedgerStatus On(const JoinValidators& body);
  LedgerStatus On(const LeaveValidators& body);
  // step_epoch.cc
  LedgerStatus On(const CommitBatch& body);
  LedgerStatus On(const SealEpoch& body);
  LedgerStatus On(const BeaconCommit& body);
  LedgerStatus On(const BeaconReveal& body);
  LedgerStatus On(const BeaconClose& body);
  LedgerStatus On(const BeaconExternal& body);
  // step_audit.cc
  LedgerStatus On(const Equivocation& body);
  LedgerStatus On(const GiveVerdict& body);
  LedgerStatus On(const CanaryCommit& body);
  LedgerStatus On(const CanaryReveal& body);
  LedgerStatus On(const Accuse& body);
  LedgerStatus On(const Contest& body);
  LedgerStatus On(const ContestCanary& body);
  LedgerStatus On(const Resolve& body);
  LedgerStatus On(const LapseDispute& body);
  // step_settle.cc
  LedgerStatus On(const SettleEpoch& body);
  LedgerStatus On(const ClaimVested& body);

  const NodeId& author() const { return entry_.request.author; }
  std::uint64_t now() const { return entry_.at_ms; }

  LedgerStatus EnterRun(const LedgerRun& id, bool may_be_closed);
  LedgerEpoch* FindEpoch(std::uint64_t number);  // null: not begun, or settled and gone
  RunMember* FindMember(const NodeId& node);
  bool IsValidator(const NodeId& node) const;  // in office: joined, not jailed
  LedgerBatch* FindPending(LedgerEpoch* epoch, const NodeId& worker);
  bool WindowIsOver(std::uint64_t number, const LedgerEpoch& epoch) const;

  LedgerEvent& Emit(LedgerEventKind kind, const NodeId& who, Credits amount = {},
                    std::uint64_t number = 0);
  void Credit(LedgerEventKind kind, const NodeId& who, Credits amount, std::uint64_t number = 0);
  void Earn(LedgerEventKind kind, const NodeId& who, Credits amount, std::uint64_t number = 0);
  void Debit(LedgerEventKind kind, Credits amount, std::uint64_t number = 0);  // the author
  LedgerStatus CanPay(Credits amount);  // the author, a positive amount

  // Epochs (step_epoch.cc).
  void FixPay(LedgerEpoch& epoch);
  void DrawAudits(LedgerEpoch& epoch);
  void DrawAudit(LedgerEpoch& epoch, LedgerBatch& batch);
  void ReleaseSeats(LedgerEpoch& epoch);
  Credits LargestPay(const LedgerEpoch& epoch) const;

  // Disputes (step_audit.cc).
  void OpenDispute(LedgerBatch& batch, DisputeAbout about, const Digest256& evidence);
  void CloseDispute(std::uint64_t id, LedgerBatch& batch);
  void LoseBond(const LedgerDispute& dispute, const NodeId& winner);
  void Decide(std::uint64_t id, bool guilty);
  void DropFindings(LedgerBatch& batch);
  void SlashFalseAccusers(const LedgerBatch& batch);
  Bps CorrelatedDue(const NodeId& who) const;

  // Settlement and punishment (step_settle.cc).
  bool CanSettle(const LedgerBatch& batch) const;
  void SettleBatch(LedgerBatch& batch);
  void JudgeWatchers(const LedgerBatch& batch);  // of a canary
  void Pay(LedgerBatch& batch);
  void PayRoles(LedgerEpoch& epoch);
  void PayValidators(LedgerEpoch& epoch);
  void Finish(LedgerBatch& batch);  // out of the books: done, exit is free again
  void DropIfDone(std::uint64_t number);
  void Convict(LedgerBatch& batch, const NodeId& finder);  // of a wrong output
  void Slash(const NodeId& who, Bps share, const NodeId* finder);
  Credits TakeFromStake(RunMember& member, Credits amount);
  void MissedDuty(const NodeId& who);  // unavailable once more
  void Retire(const NodeId& validator);
  void ReturnSpare(Credits& reserve);  // to the budget

  LedgerState& state_;
  const LedgerGenesis& genesis_;
  const LedgerId& id_;
  const SignatureCheck& check_;
  const LedgerEntry& entry_;
  LedgerEvents events_;
  // The run and the epoch that the entry is about.
  LedgerRun run_id_;
  LedgerRunState* run_ = nullptr;
  std::uint64_t epoch_ = 0;
  Credits paid_;  // to workers, by this entry
};

}  // namespace waggle
