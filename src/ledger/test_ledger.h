// A ledger with people: names make keys, and asking is one line. For tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "crypto/keccak.h"
#include "ledger/ledger.h"
#include "ledger/scenario.h"

namespace waggle {

inline Digest256 DigestOf(std::string_view text) {
  return Keccak256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}
inline Credits Units(std::int64_t units) { return Credits{units * kCreditsPerUnit}; }

class TestLedger {
 public:
  // Real signatures where a test is about them.
  explicit TestLedger(bool signatures = false)
      : signatures_(signatures),
        ledger({"test", IdOfName("sequencer"), IdOfName("bridge")},
               signatures ? SignatureCheck(Verify) : SignatureCheck(TrustSignatures)) {}

  const NodeId& Id(const std::string& name) {
    const auto known = ids_.find(name);
    return known != ids_.end() ? known->second : ids_.emplace(name, IdOfName(name)).first->second;
  }
  Signature Sign(const std::string& worker, const BatchClaim& claim) {
    return signatures_ ? SignBatch(ScenarioKey(worker), ledger.id(), claim) : Signature{};
  }

  LedgerOutcome Ask(const std::string& who, LedgerBody body) {
    LedgerRequest request{Id(who), ledger.NonceOf(Id(who)), body, {}};
    if (signatures_)
      request = SignRequest(ScenarioKey(who), ledger.id(), request.nonce, std::move(body));
    LedgerOutcome outcome = ledger.Apply(ledger.Next(now_ms, std::move(request)));
    if (outcome) events.insert(events.end(), outcome->begin(), outcome->end());
    return outcome;
  }
  void Must(const std::string& who, LedgerBody body) {
    const std::string name(NameOf(body));
    const LedgerOutcome outcome = Ask(who, std::move(body));
    ASSERT_TRUE(outcome) << who << " " << name << ": " << ToString(outcome.error().why) << ", "
                         << outcome.error().what;
    ASSERT_EQ(TotalOf(ledger.state()), ledger.state().supply) << name;
  }
  void Refused(const std::string& who, LedgerBody body, LedgerRefusal why) {
    const Digest256 before = ledger.Root();
    const LedgerOutcome outcome = Ask(who, std::move(body));
    ASSERT_FALSE(outcome) << "wanted " << ToString(why);
    EXPECT_EQ(outcome.error().why, why) << ToString(outcome.error().why) << ", wanted "
                                        << ToString(why) << ": " << outcome.error().what;
    EXPECT_EQ(ledger.Root(), before) << "a refusal changes nothing";
  }
  void Give(const std::string& who, Credits amount) {
    Must("bridge", Deposit{Id(who), amount, {}});
  }

  // Terms with which a test is short: a window of one epoch, no vesting.
  RunTerms Terms() {
    RunTerms terms;
    terms.orchestrator = Id("orchestrator");
    terms.trainer = Id("trainer");
    terms.dispute_epochs = 1;
    terms.dispute_ms = 0;
    terms.vesting_epochs = 0;
    terms.price_rollout = Units(1);
    terms.price_ktoken = terms.price_ktoken_min = terms.price_ktoken_max = Credits{0};
    terms.referees = {Id("referee")};
    terms.quorum = 1;
    return terms;
  }
  // A run with a budget and one validator.
  void Open(const RunTerms& terms) {
    Give("sponsor", Units(100'000));
    Give("validator", Units(1'000));
    Must("sponsor", OpenRun{run, terms});
    Must("sponsor", LockBudget{run, Units(50'000)});
    Must("validator", Stake{run, Units(500)});
    Must("validator", JoinValidators{run});
  }
  BatchClaim Claim(const std::string& worker, std::uint64_t epoch, std::uint32_t items = 64,
                   std::string_view root = "root") {
    BatchClaim claim{run, epoch, Id(worker), DigestOf(root), items, {}};
    claim.work = {items, std::uint64_t{items} * kWhole.value, 0};
    return claim;
  }
  void Commit(const std::string& worker, std::uint64_t epoch, std::uint32_t items = 64) {
    const BatchClaim claim = Claim(worker, epoch, items, worker + "'s root");
    Must("orchestrator", CommitBatch{claim, Sign(worker, claim)});
  }
  // The open epoch is sealed and its beacon set. Returns its number.
  std::uint64_t Seal(const std::string& secret = "secret") {
    const std::uint64_t epoch = ledger.FindRun(run)->epoch;
    const Digest256 hidden = DigestOf(secret + std::to_string(epoch));
    Must("validator", BeaconCommit{run, epoch, BeaconHash(run, epoch, Id("validator"), hidden)});
    Must("orchestrator", SealEpoch{run, epoch});
    if (ledger.FindRun(run)->epochs.at(epoch).phase == EpochPhase::kSealed) {
      Must("validator", BeaconReveal{run, epoch, hidden});
      Must("anybody", BeaconClose{run, epoch});
    }
    return epoch;
  }
  GiveVerdict Says(std::uint64_t epoch, const std::string& worker, Finding finding) {
    return {run, epoch, Id(worker), finding, 0, DigestOf("evidence"), DigestOf("activation")};
  }
  Credits Sum(LedgerEventKind kind, const std::string& who) {
    Credits sum;
    for (const LedgerEvent& event : events) {
      if (event.kind == kind && event.who == Id(who)) sum += event.amount;
    }
    return sum;
  }
  std::size_t Count(LedgerEventKind kind) const {
    std::size_t count = 0;
    for (const LedgerEvent& event : events) count += event.kind == kind ? 1 : 0;
    return count;
  }

 private:
  static NodeId IdOfName(const std::string& name) { return ScenarioKey(name).id(); }
  const bool signatures_;
  std::map<std::string, NodeId> ids_;

 public:
  Ledger ledger;
  LedgerRun run{DigestOf("run")};
  std::uint64_t now_ms = 1'000'000;
  LedgerEvents events;
};

}  // namespace waggle
