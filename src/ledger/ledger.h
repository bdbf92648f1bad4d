// The ledger: accounts, runs, stakes, epochs, audits, disputes and pay as one pure state machine
// (sheet markets.md 4 and 10; docs/ledger.md tells the story). Entries go in, events come out; the
// same entries give the same state, root and events on every machine. No I/O, no clock, no floats.
//
//   Ledger ledger(genesis);
//   auto ask = [&](const Signer& who, LedgerBody body) {      // what a host does all day
//     return ledger.Apply(ledger.Next(now_ms, SignRequest(who, ledger.id(),
//     ledger.NonceOf(who.id()), body)));
//   };
//   ask(bridge, Deposit{sponsor.id(), amount});
//   ask(sponsor, OpenRun{run, terms});
//   ask(sponsor, LockBudget{run, amount});
//   ask(validator, Stake{run, stake}), ask(validator, JoinValidators{run});
//   ...each epoch e:
//   ask(validator, BeaconCommit{run, e, BeaconHash(run, e, validator.id(), secret)});
//   ask(orchestrator, CommitBatch{claim, SignBatch(worker, ledger.id(), claim)});
//   ask(orchestrator, SealEpoch{run, e});
//   ask(validator, BeaconReveal{run, e, secret}), ask(validator, BeaconClose{run, e});
//   for (const AuditDuty& duty : ledger.DutiesOf(run, validator.id())) ...replay duty.items...
//   ask(validator, GiveVerdict{run, e, worker, Finding::kAccepted, 0, evidence, activation});
//   ...and when the dispute window of e is over (SettleableEpochs):
//   ask(anybody, SettleEpoch{run, e});
//
// Work is paid as a receivable: V is fixed at the seal, withheld until the window is over, and lost
// whole on one proven bad item. An epoch without batches needs no beacon.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "ledger/events.h"
#include "ledger/refusal.h"
#include "ledger/state.h"

namespace waggle {

using LedgerEvents = std::vector<LedgerEvent>;
using LedgerOutcome = tl::expected<LedgerEvents, LedgerRefused>;

// Whether a signature is its signer's: Verify() but in simulations, and where a log's signatures
// were checked before.
using SignatureCheck = std::function<bool(const NodeId&, std::string_view,
                                          std::span<const std::uint8_t>, const Signature&)>;
bool TrustSignatures(const NodeId&, std::string_view, std::span<const std::uint8_t>,
                     const Signature&);

struct LedgerLimits {
  std::size_t unbondings_max = 16, batches_max = 4'096, canaries_max = 256, validators_max = 1'024,
              disputes_max = 8,  // open, of one batch
      epochs_max = 2'048;        // of one run, begun and not settled
};
inline constexpr LedgerLimits kLedgerLimits;
inline constexpr std::uint64_t kRepeatMs = 30ull * 86'400'000;      // second and third offences
inline constexpr std::uint64_t kCorrelationMs = 7ull * 86'400'000;  // slashes that count together
inline constexpr std::uint32_t kCorrelationFactor = 3;

// What a validator was drawn to do and has not done.
struct AuditDuty {
  std::uint64_t epoch = 0;
  BatchClaim claim;
  bool whole = false;                // every item
  std::vector<std::uint32_t> items;  // else these
};

// Not thread-safe; copyable, to branch.
class Ledger {
 public:
  explicit Ledger(LedgerGenesis genesis, SignatureCheck check = Verify);
  // From a snapshot. REQUIRES state of this genesis.
  Ledger(LedgerGenesis genesis, LedgerState state, SignatureCheck check = Verify);

  // All of it or, with a refusal, nothing.
  [[nodiscard]] LedgerOutcome Apply(const LedgerEntry& entry);

  // A request as the next entry: time is moved up to that of the last one.
  LedgerEntry Next(std::uint64_t now_ms, LedgerRequest request) const;

  const LedgerGenesis& genesis() const { return genesis_; }
  const LedgerId& id() const { return id_; }
  const LedgerState& state() const { return state_; }
  Digest256 Root() const { return RootOf(state_); }  // walks all of it

  std::uint64_t NonceOf(const NodeId& node) const;
  Credits BalanceOf(const NodeId& node) const;
  const LedgerAccount* AccountOf(const NodeId& node) const;   // null: never seen
  const LedgerRunState* FindRun(const LedgerRun& run) const;  // null: never opened
  const RunMember* MemberOf(const LedgerRun& run, const NodeId& node) const;
  const LedgerBatch* BatchOf(const LedgerRun& run, std::uint64_t epoch, const NodeId& worker) const;
  std::vector<AuditDuty> DutiesOf(const LedgerRun& run, const NodeId& validator) const;
  // Whose dispute window is over and which hold something to settle.
  std::vector<std::uint64_t> SettleableEpochs(const LedgerRun& run, std::uint64_t now_ms) const;
  // What this node has in this run that is neither balance nor stake: withheld until audits clear,
  // and vesting.
  Credits WithheldOf(const LedgerRun& run, const NodeId& node) const;

 private:
  LedgerGenesis genesis_;
  LedgerId id_;
  LedgerState state_;
  SignatureCheck check_;
};

// What a proof of a wrong item would really take of this stake: the slash that is due next, less
// what the worker could give itself as whistle-blower. The S of 4.3.
Credits StakeAtRisk(const RunTerms& terms, const RunMember& member, std::uint64_t now_ms);
// Basis points due for one more proven wrong output at this time, before correlation (4.4).
Bps SlashDue(const RunTerms& terms, const RunMember& member, std::uint64_t now_ms);
// min(1, 3 x share of the stake slashed in the same seven days), share = slashed / total.
Bps CorrelatedSlash(Credits slashed, Credits total);
// What of a member's vesting pay has unlocked so far, claimed or not: linear after the first
// vesting_epochs, floor; all of it when the run is closed.
Credits VestedOf(const LedgerRunState& run, const RunMember& member);
// The one drand round that an epoch sealed then takes its beacon from: round_at(seal) + margin.
std::uint64_t ExternalRoundOf(const RunTerms& terms, std::uint64_t sealed_ms);
// The price after an epoch: 5 % up (rounded up) if less was asked for than there was, 5 % down
// (rounded down) if more.
Credits NextPrice(const RunTerms& terms, Credits price, Credits demand, Credits pool);

}  // namespace waggle
