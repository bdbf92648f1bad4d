#include "audit/steps/step_auditor.h"

#include <fmt/format.h>

#include <algorithm>

namespace waggle {
namespace {

constexpr Milliseconds kAnswerMs = 60'000;  // for what was asked, or must have been told by now
constexpr int kTries = 3;
constexpr std::size_t kWindowedMax = std::size_t{1} << 22;  // groups; beyond, windows are not kept
constexpr std::uint64_t kKeptMax = std::uint64_t{1} << 23;  // leases in steps that are kept

std::uint64_t SizeOf(const SignedStep& step) {
  return 8 + step.leases.size() + (step.window ? step.window->leases.size() : 0);
}

// Whether a step says the same, be its window shown or not.
bool SameClaims(const SignedStep& a, const SignedStep& b) {
  if (a.step != b.step || a.leases != b.leases || a.window.has_value() != b.window.has_value())
    return false;
  return !a.window ||
         (a.window->window == b.window->window && a.window->leases == b.window->leases);
}

}  // namespace

StepAuditor::StepAuditor(const StepTerms& terms, std::set<PolicyVersion> taken,
                         const ArrivalTerms& arrival)
    : terms_(terms), order_(arrival, terms.run) {
  for (const PolicyVersion version : taken) taken_.emplace(version, StepFinding::kHolds);
}

std::vector<StepAuditEffect> StepAuditor::Step(Milliseconds now, const StepAuditEvent& event) {
  now_ = now;
  std::visit([&](const auto& e) { On(e); }, event);
  AskNext();
  return std::exchange(effects_, {});
}

bool StepAuditor::Holds(std::uint64_t epoch) const {
  const EpochSteps steps = StepsOfEpoch(terms_, epoch);
  for (std::uint64_t at = steps.first; at < steps.end; ++at) {
    if (!steps_.contains(PolicyVersion{at})) return false;
  }
  return true;
}

// What was asked on the last link is asked anew; what was being computed goes on.
void StepAuditor::On(const StepLinkUp& event) {
  host_ = event.host;
  linked_ = true;
  said_.clear();
  for (auto& [version, duty] : duties_) {
    if (duty.stage == Stage::kAsked) duty.stage = Stage::kWaits;
  }
}

void StepAuditor::On(const StepHeard& event) {
  if (!host_) return;
  std::visit([&](const auto& message) { Heard(message); }, event.message);
}

// --- What was signed -----------------------------------------------------------------------------

bool StepAuditor::Chained(const SignedStep& first, const SignedStep& second) const {
  return second.step.claim.previous == ClaimDigest(first.step.claim) &&
         second.step.claim.before == first.step.claim.after;
}

// Empty: it is signed, and goes with everything that was signed before.
std::string StepAuditor::WhyNot(const SignedStep& step) const {
  const std::uint64_t version = step.step.claim.version.value;
  if (version >= terms_.steps)
    return fmt::format("a step from version {}: the run has none", version);
  if (!ClaimHolds(step.step, *host_) || !WindowHolds(step, *host_))
    return fmt::format("the step from version {} is not signed as it says", version);
  const auto known = steps_.find(PolicyVersion{version});
  if (known != steps_.end() && !SameClaims(known->second, step))
    return fmt::format("two different steps from version {}", version);
  const auto before = version == 0 ? steps_.end() : steps_.find(PolicyVersion{version - 1});
  const auto after = steps_.find(PolicyVersion{version + 1});
  if ((before != steps_.end() && !Chained(before->second, step)) ||
      (after != steps_.end() && !Chained(step, after->second)) ||
      (version == 0 && step.step.claim.previous != Hash256{}))
    return fmt::format("the steps around version {} do not go on from one another", version);
  return {};
}

// Every accepted group stands in one window, and no step trains on what no window has named. Known
// only to whoever has heard all of them.
std::string StepAuditor::NoteWindow(const SignedStep& step) {
  const std::uint64_t version = step.step.claim.version.value;
  if (!windows_ || version < windows_until_) return {};
  if (version != windows_until_ || !step.window ||
      windowed_.size() + step.window->leases.size() > kWindowedMax) {
    ForgetWindows();
    return {};
  }
  ++windows_until_;
  for (const LeaseId lease : step.window->leases) {
    if (!windowed_.emplace(lease, std::nullopt).second)
      return fmt::format("lease {:x} stands in two windows", lease.value);
  }
  for (const LeaseId lease : step.leases) {
    if (!windowed_.contains(lease))
      return fmt::format("step {} trains on lease {:x}, which no window names", version,
                         lease.value);
  }
  return {};
}

void StepAuditor::ForgetWindows() {
  windows_ = false;
  windowed_.clear();
  seen_.clear();
  trained_.clear();
}

// The groups of a window that was heard before.
std::string StepAuditor::NoteShown(const SignedStep& step) {
  const SignedWindow& window = *step.window;
  const std::uint64_t version = step.step.claim.version.value;
  if (!windows_ || version < shown_until_) return {};
  if (version != shown_until_) {
    ForgetWindows();
    return {};
  }
  ++shown_until_;
  for (std::size_t i = 0; i < window.leases.size(); ++i) {
    const LeaseId lease = window.leases[i];
    const auto named = windowed_.find(lease);
    if (named == windowed_.end()) return fmt::format("two different windows of step {}", version);
    named->second = window.groups[i];
    const auto trained = trained_.find(lease);
    if (trained == trained_.end()) continue;
    if (trained->second.group != window.groups[i])
      return fmt::format("step {} trained on another group of lease {:x} than its window names",
                         trained->second.version.value, lease.value);
    trained_.erase(trained);
  }
  return WhyUnnamed();
}

// A group that was paid as work and stands in no window, once all that could name it are shown.
std::string StepAuditor::WhyUnnamed() const {
  for (const Seen& seen : seen_) {
    if (!seen.paid || seen.by >= shown_until_) continue;
    const auto found = windowed_.find(seen.group.lease);
    if (found == windowed_.end() || found->second != seen.group.group)
      return fmt::format(
          "the group of lease {:x}, which it accepted, is in no window up to step {}",
          seen.group.lease.value, shown_until_ - 1);
  }
  return {};
}

void StepAuditor::Heard(const StepSigned& message) {
  SignedStep step = StepOf(terms_.run, message);
  if (std::string why = WhyNot(step); !why.empty()) return Lie(std::move(why));
  if (!steps_.contains(message.version)) {
    kept_ += SizeOf(step);
    if (kept_ > kKeptMax) return Lie("it tells of more unsettled steps than can be kept");
    if (std::string why = NoteWindow(step); !why.empty()) return Lie(std::move(why));
    if (auto lie = order_.Note(step, *host_)) {
      effects_.emplace_back(StepLie{std::move(lie->why), std::move(lie->proof)});
      return;
    }
  }
  std::string why = step.window && step.window->shown() ? NoteShown(step) : "";
  if (!why.empty()) return Lie(std::move(why));
  if (step.window) step.window->groups.clear();  // noted
  steps_.emplace(message.version, std::move(step));
  std::erase_if(seen_, [&](const Seen& seen) { return seen.paid && seen.by < shown_until_; });
}

// It was accepted before it was sealed, so the next window names it at the latest.
void StepAuditor::On(const GroupSeen& event) {
  if (windows_) seen_.push_back({.group = event, .by = windows_until_});
}

void StepAuditor::On(const GroupTrained& event) {
  if (!windows_) return;
  const auto named = windowed_.find(event.lease);
  if (named == windowed_.end() || !named->second) {
    trained_.emplace(event.lease, event);
  } else if (*named->second != event.group) {
    Lie(fmt::format("step {} trained on another group of lease {:x} than its window names",
                    event.version.value, event.lease.value));
  }
}

// What was shown as a canary need not stand in a window, nor what the ledger forgot before anybody
// saw how it ended.
void StepAuditor::SeePaid(const LedgerRunState& run) {
  std::erase_if(seen_, [&](Seen& seen) {
    if (seen.paid) return false;
    const auto epoch = run.epochs.find(seen.group.epoch);
    if (epoch == run.epochs.end()) return true;
    const auto batch = epoch->second.batches.find(seen.group.worker);
    if (batch == epoch->second.batches.end() || batch->second.canary) return true;
    seen.paid = batch->second.state != BatchState::kPending;
    return false;
  });
}

// --- What was drawn ------------------------------------------------------------------------------

void StepAuditor::On(const StepLedger& event) {
  validator_ = event.validator;
  if (event.run == nullptr) return;
  SeePaid(*event.run);
  if (std::string why = WhyUnnamed(); !why.empty()) return Lie(std::move(why));
  owed_.clear();
  for (const auto& [epoch, beacon] : OpenBeacons(*event.run)) {
    if (OwesVerdict(*event.run, epoch, event.self)) owed_.insert(epoch);
  }
  if (validator_) Draw(*event.run);
  if (duties_.empty()) Forget(StepsOfEpoch(terms_, event.run->settled).first);
}

// What is settled is told again if a state before it is what a later step begins from.
void StepAuditor::Forget(std::uint64_t first) {
  while (!steps_.empty() && steps_.begin()->first.value + 1 < first) {
    kept_ -= SizeOf(steps_.begin()->second);
    steps_.erase(steps_.begin());
  }
}

void StepAuditor::Draw(const LedgerRunState& run) {
  for (const auto& [epoch, beacon] : OpenBeacons(run)) {
    const EpochSteps steps = StepsOfEpoch(terms_, epoch);
    if (steps.first == steps.end) continue;
    const auto last = steps_.find(PolicyVersion{steps.end - 1});
    if (last == steps_.end()) {
      if (!withheld_.contains(epoch)) undrawn_.emplace(epoch, now_);
      continue;
    }
    undrawn_.erase(epoch);
    const Digest256 digest = ClaimDigest(last->second.step.claim);
    for (const PolicyVersion version : DrawnSteps(terms_, epoch, beacon, digest)) {
      if (const auto taken = taken_.find(version); taken != taken_.end()) {
        SayFound(version, taken->second);  // to a host that came back, or of before we did
      } else if (duties_.emplace(version, Duty{.epoch = epoch}).second)
        ++counts_.drawn;
    }
  }
}

void StepAuditor::AskNext() {
  if (!linked_ || !validator_ || duties_.empty()) return;
  for (const auto& [version, duty] : duties_) {
    if (duty.stage != Stage::kWaits) return;  // one at a time: each uses the whole machine
  }
  // Verdicts come first: before they are given, the host does not show what it accepted.
  const auto next = std::ranges::find_if(
      duties_, [this](const auto& one) { return !owed_.contains(one.second.epoch); });
  if (next == duties_.end()) return;
  auto& [version, duty] = *next;
  duty.stage = Stage::kAsked;
  duty.since = now_;
  effects_.emplace_back(StepSay{StepAsk{version}});
}

void StepAuditor::Heard(const StepShown& message) {
  const auto found = duties_.find(message.version);
  if (found == duties_.end() || found->second.stage != Stage::kAsked) return;
  if (!message.state) return Finish(message.version, StepFinding::kWithheld, message.text);
  FetchSteps plan{.begin = message.begin, .state = *message.state, .steps = {}};
  for (std::uint64_t at = message.begin.value; at <= message.version.value; ++at) {
    const auto step = steps_.find(PolicyVersion{at});
    if (step == steps_.end())
      return Finish(message.version, StepFinding::kWithheld, "it did not tell the steps before it");
    plan.steps.push_back(step->second);
  }
  found->second.stage = Stage::kFetched;
  effects_.emplace_back(std::move(plan));
}

void StepAuditor::On(const StepFetched& event) {
  const auto found = duties_.find(event.version);
  if (found == duties_.end() || found->second.stage != Stage::kFetched) return;
  if (!event.trouble.empty()) return TryAgain(event.version, event.trouble);
  found->second.stage = Stage::kTaken;
}

void StepAuditor::TryAgain(PolicyVersion version, const std::string& trouble) {
  Duty& duty = duties_.at(version);
  duty.stage = Stage::kWaits;
  if (++duty.tries >= kTries) Finish(version, StepFinding::kWithheld, trouble);
}

void StepAuditor::On(const StepTaken& event) {
  if (duties_.contains(event.version)) Finish(event.version, event.finding, event.text);
}

void StepAuditor::Finish(PolicyVersion version, StepFinding finding, const std::string& text) {
  duties_.erase(version);
  taken_.emplace(version, finding);
  ++(finding == StepFinding::kHolds      ? counts_.hold
     : finding == StepFinding::kWrong    ? counts_.wrong
     : finding == StepFinding::kWithheld ? counts_.withheld
                                         : counts_.faults);
  const std::string more = text.empty() ? "" : ": " + text;
  effects_.emplace_back(StepNotice{
      fmt::format("step from version {}: {}{}", version.value, ToString(finding), more)});
  effects_.emplace_back(StepAudited{version, finding});
  SayFound(version, finding);
}

void StepAuditor::SayFound(PolicyVersion version, StepFinding finding) {
  if (linked_ && said_.insert(version).second)
    effects_.emplace_back(StepSay{StepFound{version, finding}});
}

void StepAuditor::On(const StepTick&) {
  const auto late = std::ranges::find_if(duties_, [&](const auto& one) {
    return one.second.stage == Stage::kAsked && now_ - one.second.since > kAnswerMs;
  });
  if (late != duties_.end()) TryAgain(late->first, "no answer");
  for (auto at = undrawn_.begin(); at != undrawn_.end();) {
    if (now_ < at->second + kAnswerMs || !withheld_.insert(at->first).second) {
      ++at;
      continue;
    }
    ++counts_.withheld;
    effects_.emplace_back(StepNotice{fmt::format(
        "withheld: the host has not told the steps of epoch {}, so nothing of it can be drawn",
        at->first)});
    at = undrawn_.erase(at);
  }
}

}  // namespace waggle
