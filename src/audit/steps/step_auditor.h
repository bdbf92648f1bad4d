// A validator's half of step audits: checks what the host says it signed, draws what is to be taken
// again, asks for what that takes, and says what came of it. A state machine without I/O: events
// with the time in, effects out. The driver fetches and computes (step_auditing.h).
// Single-threaded.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "audit/steps/arrival_order.h"
#include "audit/steps/step_desk.h"
#include "ledger/state.h"
#include "protocol/messages.h"
#include "run/lease_book.h"

namespace waggle {

// Events. HostSaid{StepSigned, StepShown} and HostAnswered are the validator's (validator_core.h).
struct StepLinkUp {
  NodeId host;
};
struct StepHeard {
  NodeMessage message;
};
struct StepLedger {  // as it stands; a validator of the run, or not
  const LedgerRunState* run = nullptr;
  bool validator = false;
  NodeId self = {};
};
struct StepFetched {  // in answer to FetchSteps
  PolicyVersion version;
  std::string trouble;  // empty: all of it is here
};
struct StepTaken {  // after StepFetched without trouble
  PolicyVersion version;
  StepFinding finding = StepFinding::kFault;
  std::string text;
};
struct GroupSeen {  // in a batch that its worker signed: it was accepted, or is a canary's
  LeaseId lease;
  Hash256 group{};
  std::uint64_t epoch = 0;
  NodeId worker = {};
};
struct GroupTrained {  // in a batch of a step that was taken again
  PolicyVersion version;
  LeaseId lease;
  Hash256 group{};
};
struct StepTick {};
using StepAuditEvent = std::variant<StepLinkUp, StepHeard, StepLedger, StepFetched, StepTaken,
                                    GroupSeen, GroupTrained, StepTick>;

// Effects, to be performed in order
struct StepSay {
  NodeMessage message;
};
// The driver fetches it, says StepFetched, takes the steps, and says StepTaken.
struct FetchSteps {
  PolicyVersion begin;            // of the state
  Hash256 state{};                // its listing
  std::vector<SignedStep> steps;  // from `begin` to the drawn one, which is the last
};
struct StepAudited {  // to be remembered: it is not taken again
  PolicyVersion version;
  StepFinding finding = StepFinding::kFault;
};
struct StepNotice {  // a line for people
  std::string text;
};
struct StepLie {  // what the host says cannot be
  std::string why;
  std::optional<OrderProof> proof;  // that anybody decides, if there is one
};
using StepAuditEffect = std::variant<StepSay, FetchSteps, StepAudited, StepNotice, StepLie>;

class StepAuditor {
 public:
  // taken: by earlier processes of this node, and held.
  StepAuditor(const StepTerms& terms, std::set<PolicyVersion> taken,
              const ArrivalTerms& arrival = {});

  // `now` never goes back.
  [[nodiscard]] std::vector<StepAuditEffect> Step(Milliseconds now, const StepAuditEvent& event);

  // Whether all steps of an epoch are signed, as far as this node has heard. Before that it keeps
  // its secret to itself: the host must not know the draw while it can still choose what to sign.
  bool Holds(std::uint64_t epoch) const;

  struct Counts {
    std::uint64_t drawn = 0, hold = 0, wrong = 0, withheld = 0, faults = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  enum class Stage : std::uint8_t { kWaits, kAsked, kFetched, kTaken };
  struct Duty {
    std::uint64_t epoch = 0;
    Stage stage = Stage::kWaits;
    int tries = 0;
    Milliseconds since = 0;
  };

  struct Seen {
    GroupSeen group;
    std::uint64_t by = 0;  // the window of this version names it, or an earlier one
    bool paid = false;     // as work: it is no canary's
  };

  void On(const StepLinkUp& event);
  void On(const StepHeard& event);
  void On(const StepLedger& event);
  void On(const StepFetched& event);
  void On(const StepTaken& event);
  void On(const GroupSeen& event);
  void On(const GroupTrained& event);
  void On(const StepTick&);
  void Heard(const StepSigned& message);
  void Heard(const StepShown& message);
  template <class T>
  void Heard(const T&) {}

  std::string WhyNot(const SignedStep& step) const;
  std::string NoteWindow(const SignedStep& step);
  std::string NoteShown(const SignedStep& step);
  std::string WhyUnnamed() const;
  void ForgetWindows();
  void SeePaid(const LedgerRunState& run);
  bool Chained(const SignedStep& first, const SignedStep& second) const;
  void Draw(const LedgerRunState& run);
  void Forget(std::uint64_t first);
  void AskNext();
  void TryAgain(PolicyVersion version, const std::string& trouble);
  void Finish(PolicyVersion version, StepFinding finding, const std::string& text);
  void SayFound(PolicyVersion version, StepFinding finding);
  void Lie(std::string why) { effects_.emplace_back(StepLie{std::move(why), std::nullopt}); }

  const StepTerms terms_;
  std::optional<NodeId> host_;
  Milliseconds now_ = 0;
  std::vector<StepAuditEffect> effects_;  // of the step in progress
  bool linked_ = false, validator_ = false;
  std::map<PolicyVersion, SignedStep> steps_;  // heard, and checked against one another
  std::uint64_t kept_ = 0;                     // their size
  std::map<PolicyVersion, StepFinding> taken_;
  std::set<PolicyVersion> said_;                   // on this link, of those
  std::map<PolicyVersion, Duty> duties_;           // drawn and not done
  std::map<std::uint64_t, Milliseconds> undrawn_;  // epochs whose steps were not told
  std::set<std::uint64_t> withheld_;               // the same, for too long
  std::set<std::uint64_t> owed_;                   // epochs in which it has verdicts to give
  // While windows_ is true: all of them, from version 0, were heard.
  bool windows_ = true;
  std::map<LeaseId, std::optional<Hash256>> windowed_;  // the group: once it was shown
  std::uint64_t windows_until_ = 0, shown_until_ = 0;   // version of the next window; shown
  ArrivalOrder order_;
  std::vector<Seen> seen_;                   // to be found in a window
  std::map<LeaseId, GroupTrained> trained_;  // the same
  Counts counts_;
};

}  // namespace waggle
