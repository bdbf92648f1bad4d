#include "audit/steps/step_desk.h"

#include <algorithm>

namespace waggle {

StepTerms StepTermsOf(const Recipe& recipe, const Hash256& run) {
  return {.run = run,
          .epoch_versions = recipe.trust.epoch_versions,
          .steps = recipe.orchestrator.steps,
          .step_audits = recipe.trust.step_audits,
          // What was not signed for in time stands in the batch after.
          .lag = recipe.orchestrator.lag_versions_max + recipe.trust.epoch_versions};
}

StepSigned MessageOf(const SignedStep& step, bool shown) {
  const StepClaim& claim = step.step.claim;
  StepSigned message{.version = claim.version,
                     .before = claim.before,
                     .after = claim.after,
                     .batch = claim.batch,
                     .previous = claim.previous,
                     .signature = step.step.signature,
                     .leases = step.leases};
  if (step.window) {
    message.window = step.window->window.claim.root;
    message.window_signature = step.window->window.signature;
    message.window_leases = step.window->leases;
    if (shown) message.window_groups = step.window->groups;
    if (const auto& order = step.window->window.claim.order) message.window_first = order->first;
  }
  return message;
}

SignedStep StepOf(const Hash256& run, const StepSigned& message) {
  SignedStep step{.step = {{.run = run,
                            .version = message.version,
                            .before = message.before,
                            .after = message.after,
                            .batch = message.batch,
                            .previous = message.previous},
                           message.signature},
                  .leases = message.leases,
                  .window = std::nullopt};
  if (!message.window_signature) return step;
  std::optional<WindowOrder> order;
  if (message.window_first) {
    step.step.claim.leases = LeasesHash(message.leases);
    order = WindowOrder{*message.window_first, LeasesHash(message.window_leases)};
  }
  step.window = SignedWindow{{{.run = run,
                               .version = message.version,
                               .root = message.window,
                               .items = static_cast<std::uint32_t>(message.window_leases.size()),
                               .order = order},
                              *message.window_signature},
                             message.window_leases,
                             message.window_groups};
  return step;
}

bool OwesVerdict(const LedgerRunState& run, std::uint64_t epoch, const NodeId& validator) {
  const auto found = run.epochs.find(epoch);
  if (found == run.epochs.end()) return false;
  return std::ranges::any_of(found->second.batches, [&](const auto& one) {
    const LedgerBatch& batch = one.second;
    return batch.audited && batch.state == BatchState::kPending &&
           std::ranges::any_of(batch.auditors, [&](const AuditorSeat& seat) {
             return seat.validator == validator && !seat.finding;
           });
  });
}

std::map<std::uint64_t, Digest256> OpenBeacons(const LedgerRunState& run) {
  std::map<std::uint64_t, Digest256> beacons;
  for (const auto& [number, epoch] : run.epochs) {
    if (number >= run.settled && epoch.phase == EpochPhase::kAudited)
      beacons.emplace(number, epoch.beacon);
  }
  return beacons;
}

std::optional<NodeMessage> StepDesk::Made(const SignedStep& step) {
  const std::uint64_t version = step.step.claim.version.value;
  if (steps_.empty()) first_ = version;
  if (version != first_ + steps_.size()) return std::nullopt;
  steps_.push_back(step);
  return MessageOf(step, false);
}

std::vector<NodeMessage> StepDesk::Told(const LedgerRunState& run) const {
  std::vector<NodeMessage> told;
  const std::uint64_t settled = StepsOfEpoch(terms_, run.settled).first;
  const std::uint64_t before = settled - std::min(settled, terms_.epoch_versions);
  const std::uint64_t from = std::max(std::min(NeededFrom(run), before), first_);
  for (std::uint64_t at = from; at < first_ + steps_.size(); ++at)
    told.emplace_back(MessageOf(steps_[at - first_], at < settled));
  return told;
}

std::vector<NodeMessage> StepDesk::Shown(const LedgerRunState& run) {
  const std::uint64_t end =
      std::min(StepsOfEpoch(terms_, run.settled).first, first_ + steps_.size());
  std::vector<NodeMessage> shown;
  for (shown_ = std::max(shown_, first_); shown_ < end; ++shown_)
    shown.emplace_back(MessageOf(steps_[shown_ - first_], true));
  return shown;
}

std::optional<NodeMessage> StepDesk::ShownStep(const LedgerRunState& run,
                                               PolicyVersion version) const {
  const std::uint64_t at = version.value;
  if (at >= StepsOfEpoch(terms_, run.settled).first || at < first_ || at >= first_ + steps_.size())
    return std::nullopt;
  return MessageOf(steps_[at - first_], true);
}

bool StepDesk::IsEarly(const LedgerRunState& run, PolicyVersion version,
                       const NodeId& validator) const {
  return std::ranges::any_of(drawn_, [&](const auto& one) {
    return std::ranges::find(one.second, version) != one.second.end() &&
           OwesVerdict(run, one.first, validator);
  });
}

void StepDesk::Look(const LedgerRunState& run, const std::set<NodeId>& here) {
  for (const auto& [epoch, beacon] : OpenBeacons(run)) {
    const EpochSteps steps = StepsOfEpoch(terms_, epoch);
    const bool known = steps.first >= first_ && steps.end <= first_ + steps_.size();
    if (steps.first == steps.end || !known) continue;
    const auto [drawn, fresh] = drawn_.try_emplace(epoch);
    if (fresh) {
      const Digest256 last = ClaimDigest(steps_[steps.end - 1 - first_].step.claim);
      drawn->second = DrawnSteps(terms_, epoch, beacon, last);
    }
    for (const PolicyVersion version : drawn->second) {
      std::set<NodeId>& awaited = awaited_[version];
      for (const NodeId& validator : run.validators) {
        if (here.contains(validator) && !found_[version].contains(validator))
          awaited.insert(validator);
      }
    }
  }
}

void StepDesk::Found(const NodeId& validator, const StepFound& found) {
  const auto drawn = awaited_.find(found.version);
  if (drawn == awaited_.end()) return;
  drawn->second.erase(validator);
  found_[found.version].insert(validator);
}

void StepDesk::Gone(const NodeId& validator) {
  for (auto& [version, awaited] : awaited_) awaited.erase(validator);
}

bool StepDesk::Awaits() const {
  return std::ranges::any_of(awaited_, [](const auto& drawn) { return !drawn.second.empty(); });
}

std::uint64_t StepDesk::NeededFrom(const LedgerRunState& run) const {
  std::uint64_t from = StepsOfEpoch(terms_, run.settled).first;
  for (const auto& [version, awaited] : awaited_) {
    if (!awaited.empty()) from = std::min(from, version.value);
  }
  return from;
}

std::uint64_t StepDesk::PoliciesFrom(const LedgerRunState& run) const {
  const std::uint64_t from = NeededFrom(run);
  return from - std::min(from, terms_.lag);
}

}  // namespace waggle
