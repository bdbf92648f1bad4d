// The host's side of step audits, beside AuditDesk: who is told of which signed step, what was
// drawn, who may ask for what, and what has to be kept until it is settled. No I/O;
// single-threaded.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "audit/steps/step_draw.h"
#include "audit/steps/step_log.h"
#include "ledger/ledger.h"
#include "protocol/messages.h"
#include "run/recipe.h"

namespace waggle {

StepTerms StepTermsOf(const Recipe& recipe, const Hash256& run);

// shown: with the groups of its window.
StepSigned MessageOf(const SignedStep& step, bool shown);
// What the host says it signed; nothing of it is checked yet.
SignedStep StepOf(const Hash256& run, const StepSigned& message);

// Whether this validator has still to say what it found in a batch of the epoch. Before it has, it
// is not shown what was accepted: whoever has that tells a canary without looking.
bool OwesVerdict(const LedgerRunState& run, std::uint64_t epoch, const NodeId& validator);

// Epochs whose beacon is known and whose audits are not over, by number.
std::map<std::uint64_t, Digest256> OpenBeacons(const LedgerRunState& run);

class StepDesk {
 public:
  explicit StepDesk(const StepTerms& terms) : terms_(terms) {}

  // Steps come in order; one that is known changes nothing. What followers are to be told.
  std::optional<NodeMessage> Made(const SignedStep& step);
  // For a new follower: from the oldest step of an unsettled epoch on, and of the epoch before it.
  std::vector<NodeMessage> Told(const LedgerRunState& run) const;
  // What followers are to be told again, with its window shown, since epochs were settled.
  std::vector<NodeMessage> Shown(const LedgerRunState& run);

  // Once the ledger has moved, or somebody came: what is drawn of open epochs is awaited of the
  // validators that are here.
  void Look(const LedgerRunState& run, const std::set<NodeId>& here);
  // A signed step with the groups of its window, once its epoch is settled.
  std::optional<NodeMessage> ShownStep(const LedgerRunState& run, PolicyVersion version) const;
  // Whether this step was drawn: validators may ask for what it takes.
  bool IsDrawn(PolicyVersion version) const { return awaited_.contains(version); }
  // REQUIRES IsDrawn. But not yet.
  bool IsEarly(const LedgerRunState& run, PolicyVersion version, const NodeId& validator) const;
  void Found(const NodeId& validator, const StepFound& found);
  void Gone(const NodeId& validator);
  // Whether one of them has not said yet what it found.
  bool Awaits() const;

  // The oldest step that somebody may still ask for.
  std::uint64_t NeededFrom(const LedgerRunState& run) const;
  // And the oldest policy that work of an unsettled epoch may name.
  std::uint64_t PoliciesFrom(const LedgerRunState& run) const;

 private:
  const StepTerms terms_;
  std::uint64_t first_ = 0;                                    // version of steps_.front()
  std::vector<SignedStep> steps_;                              // without a gap
  std::uint64_t shown_ = 0;                                    // version of the next to be shown
  std::map<std::uint64_t, std::vector<PolicyVersion>> drawn_;  // by epoch
  std::map<PolicyVersion, std::set<NodeId>> awaited_, found_;  // of every step that was drawn
};

}  // namespace waggle
