#include "roles/step_auditor.h"

#include <fmt/format.h>

#include <algorithm>

namespace waggle {
namespace {

constexpr Milliseconds kAnswerMs = 60'000;  // for what was asked, or must have been told by now
constexpr int kTries = 3;
constexpr std::size_t kWindowedMax = std::size_t{1} << 22;  // groups; beyond, windows are not kept
constexpr std::uint64_t kKeptMax = std::uint64_t{1} << 23;  // leases in steps that are kept

std::uint64_t SizeOf(const SignedStep& step) {
  return 8 + step.leases.size() + (step.window ? 4 * step.window->groups.size() : 0);
}

}  // namespace

StepAuditor::StepAuditor(const StepTerms& terms, std::set<PolicyVersion> taken) : terms_(terms) {
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
  if (known != steps_.end() && known->second != step)
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
  windows_ = version == windows_until_ && step.window &&
             windowed_.size() + step.window->groups.size() <= kWindowedMax;
  if (!windows_) {
    windowed_.clear();
    seen_.clear();
    return {};
  }
  ++windows_until_;
  for (std::size_t i = 0; i < step.window->leases.size(); ++i) {
    if (!windowed_.emplace(step.window->leases[i], step.window->groups[i]).second)
      return fmt::format("lease {} stands in two windows", step.window->leases[i].value);
  }
  for (const LeaseId lease : step.leases) {
    if (!windowed_.contains(lease))
      return fmt::format("step {} trains on lease {:x}, which no window names", version,
                         lease.value);
  }
  for (const GroupSeen& seen : std::exchange(seen_, {})) {
    const auto found = windowed_.find(seen.lease);
    if (found == windowed_.end() || found->second != seen.group)
      return fmt::format(
          "the group of lease {:x}, which it accepted, is in no window up to step {}",
          seen.lease.value, version);
  }
  return {};
}

void StepAuditor::Heard(const StepSigned& message) {
  SignedStep step = StepOf(terms_.run, message);
  if (std::string why = WhyNot(step); !why.empty()) return Lie(std::move(why));
  if (steps_.contains(message.version)) return;
  kept_ += SizeOf(step);
  if (kept_ > kKeptMax) return Lie("it tells of more unsettled steps than can be kept");
  if (std::string why = NoteWindow(step); !why.empty()) return Lie(std::move(why));
  steps_.emplace(message.version, std::move(step));
}

void StepAuditor::On(const GroupSeen& event) {
  if (windows_) seen_.push_back(event);
}

// --- What was drawn ------------------------------------------------------------------------------

void StepAuditor::On(const StepLedger& event) {
  validator_ = event.validator;
  if (event.run == nullptr) return;
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
      } else if (duties_.emplace(version, Duty{}).second)
        ++counts_.drawn;
    }
  }
}

void StepAuditor::AskNext() {
  if (!linked_ || !validator_ || duties_.empty()) return;
  for (const auto& [version, duty] : duties_) {
    if (duty.stage != Stage::kWaits) return;  // one at a time: each uses the whole machine
  }
  auto& [version, duty] = *duties_.begin();
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
