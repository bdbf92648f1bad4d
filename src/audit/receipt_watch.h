// A worker's receipts, against the windows that its host signs: once an epoch is settled the host
// shows them to whoever worked in it, and what it accepted stands in one of them
// (receipt_check.h). Else it lied, and the file that says so is made here. A state machine without
// I/O: events in, effects out. Single-threaded.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "audit/receipt_check.h"
#include "audit/steps/step_log.h"
#include "audit/validator_core.h"

namespace waggle {

// Events: HostAnswered and HostSaid (validator_core.h), and
struct ReceiptHeard {  // or read from disk; of an accepted group
  LeaseId lease;
  Bytes bytes;  // as it travelled
};
struct WatchTick {
  std::uint64_t now_ms = 0;
  PolicyVersion newest;  // that the host has published
};
using ReceiptEvent = std::variant<HostAnswered, HostSaid, ReceiptHeard, WatchTick>;

// Effects: SayToHost, KeepEvidence and HostLied, and
struct ReceiptDone {  // it was kept: its file may go
  LeaseId lease;
};
using ReceiptEffect = std::variant<SayToHost, KeepEvidence, HostLied, ReceiptDone>;

class ReceiptWatch {
 public:
  // key and recipe outlive it. description: goes into evidence if it is short.
  ReceiptWatch(const Signer& key, const Hash256& run, const Recipe& recipe, Bytes description);

  [[nodiscard]] std::vector<ReceiptEffect> Step(const ReceiptEvent& event);

  // Whether there is anything that this receipt could prove.
  bool Wants(std::span<const std::uint8_t> receipt) const;
  struct Counts {
    std::uint64_t kept = 0, dropped = 0;  // promises
  };
  const Counts& counts() const { return counts_; }
  std::size_t waits() const { return receipts_.size(); }

 private:
  void On(const HostAnswered& event);
  void On(const HostSaid& event);
  void On(const ReceiptHeard& event);
  void On(const WatchTick& event);
  void Heard(const StepSigned& message);
  void Heard(const PolicySigned& message);
  template <class T>
  void Heard(const T&) {}
  void Judge();
  struct Receipt {
    Bytes bytes;
    OutcomeRecord record;
    WindowSpan span;  // that it can stand in
  };
  bool Stands(const Receipt& receipt) const;
  void Accuse(const Receipt& receipt);
  const Signer& key_;
  const Hash256 run_;
  const Recipe& recipe_;
  const Bytes description_;
  std::vector<ReceiptEffect> effects_;  // of the step in progress
  std::optional<NodeId> host_;
  bool linked_ = false;
  std::optional<std::uint64_t> asked_ms_;  // when the windows of the oldest wave were asked for,
  PolicyVersion asked_at_;                 // and the newest version then
  // That wait for their windows, by the last of them.
  std::map<std::pair<PolicyVersion, LeaseId>, Receipt> receipts_;
  std::map<PolicyVersion, SignedWindow> windows_;  // that they may stand in; shown
  std::optional<Signed<PolicyClaim>> policy_;
  Counts counts_;
};

}  // namespace waggle
