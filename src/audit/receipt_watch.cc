#include "audit/receipt_watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "audit/steps/step_desk.h"
#include "run/lease_maker.h"

namespace waggle {
namespace {

// Between two questions about what is not shown yet: at least so long, and another epoch; or this.
constexpr std::uint64_t kAskMsMin = 500, kAskMsMax = 60'000;
constexpr std::size_t kReceiptsMax = std::size_t{1} << 16;  // beyond, the oldest go unwatched

}  // namespace

ReceiptWatch::ReceiptWatch(const Signer& key, const Hash256& run, const Recipe& recipe,
                           Bytes description)
    : key_(key), run_(run), recipe_(recipe), description_(std::move(description)) {}

std::vector<ReceiptEffect> ReceiptWatch::Step(const ReceiptEvent& event) {
  std::visit([&](const auto& e) { On(e); }, event);
  return std::exchange(effects_, {});
}

void ReceiptWatch::On(const HostAnswered& event) {
  host_ = event.host;
  linked_ = true;
}

void ReceiptWatch::On(const HostSaid& event) {
  if (!host_) return;
  std::visit([&](const auto& message) { Heard(message); }, event.message);
}

bool ReceiptWatch::Wants(std::span<const std::uint8_t> receipt) const {
  if (!host_) return false;
  const auto record = OpenReceipt(receipt, run_, *host_);
  return record && (WindowsOf(recipe_, *record) || LacksPlace(recipe_, *record));
}

void ReceiptWatch::On(const ReceiptHeard& event) {
  if (!host_) return;
  auto record = OpenReceipt(event.bytes, run_, *host_);
  if (!record) return;  // of another host's, or damaged: it proves nothing
  if (LacksPlace(recipe_, *record)) {
    effects_.emplace_back(HostLied{
        fmt::format("its receipt for our group of lease {} does not say which place it has, so "
                    "that nothing binds it to a step",
                    LeaseName(event.lease))});
  }
  const auto span = WindowsOf(recipe_, *record);
  if (!span) return;
  receipts_.insert_or_assign({span->last, event.lease},
                             Receipt{event.bytes, std::move(*record), *span});
  if (receipts_.size() > kReceiptsMax) receipts_.erase(receipts_.begin());
}

// The oldest receipt's windows, when its epoch can have been settled; nothing else is asked for.
void ReceiptWatch::On(const WatchTick& event) {
  if (!linked_ || receipts_.empty()) return;
  const WindowSpan span = receipts_.begin()->second.span;
  const std::uint64_t versions = recipe_.trust.epoch_versions;
  if (event.newest.value < (span.last.value / versions + 1) * versions) return;
  const std::uint64_t wait =
      event.newest.value >= asked_at_.value + versions ? kAskMsMin : kAskMsMax;
  if (asked_ms_ && event.now_ms < *asked_ms_ + wait) return;
  asked_ms_ = event.now_ms;
  asked_at_ = event.newest;
  for (std::uint64_t at = span.first.value; at <= span.last.value; ++at) {
    if (!windows_.contains(PolicyVersion{at}))
      effects_.emplace_back(SayToHost{StepAsk{PolicyVersion{at}}});
  }
}

void ReceiptWatch::Heard(const PolicySigned& message) {
  const Signed<PolicyClaim> said{{run_, message.version, message.root, message.description},
                                 message.signature};
  if (message.description == Sha256(description_) && ClaimHolds(said, *host_)) policy_ = said;
  Judge();
}

void ReceiptWatch::Heard(const StepSigned& message) {
  SignedStep step = StepOf(run_, message);
  if (!step.window || !step.window->shown() || !WindowHolds(step, *host_)) return;
  windows_.insert_or_assign(message.version, std::move(*step.window));
  Judge();
}

bool ReceiptWatch::Stands(const Receipt& receipt) const {
  for (std::uint64_t at = receipt.span.first.value; at <= receipt.span.last.value; ++at) {
    const SignedWindow& window = windows_.at(PolicyVersion{at});
    if (Names(window.window.claim, window.groups, receipt.record)) return true;
  }
  return false;
}

void ReceiptWatch::Judge() {
  for (auto at = receipts_.begin(); at != receipts_.end();) {
    const Receipt& receipt = at->second;
    for (std::uint64_t v = receipt.span.first.value; v <= receipt.span.last.value; ++v) {
      if (!windows_.contains(PolicyVersion{v})) return;  // later ones wait too
    }
    const bool stands = Stands(receipt);
    if (!stands && !policy_) return;
    if (!stands) Accuse(receipt);
    ++(stands ? counts_.kept : counts_.dropped);
    effects_.emplace_back(ReceiptDone{receipt.record.lease});
    at = receipts_.erase(at);
    asked_ms_.reset();  // those of the next may be there as well
  }
  // What no later one can stand in.
  const PolicyVersion from = receipts_.empty()
                                 ? windows_.empty() ? PolicyVersion{} : windows_.rbegin()->first
                                 : receipts_.begin()->second.span.first;
  std::erase_if(windows_, [&](const auto& window) { return window.first < from; });
}

void ReceiptWatch::Accuse(const Receipt& receipt) {
  Evidence evidence{.run = run_,
                    .description_hash = Sha256(description_),
                    .orchestrator = *host_,
                    .accused = *host_,
                    .reason = RejectReason::kDroppedGroup};
  if (description_.size() <= kEvidenceDescriptionMax) evidence.description = description_;
  evidence.policies.push_back(*policy_);
  evidence.receipt = ReceiptProof{receipt.bytes, {}};
  const WindowSpan& span = receipt.span;
  for (std::uint64_t at = span.first.value; at <= span.last.value; ++at) {
    const SignedWindow& window = windows_.at(PolicyVersion{at});
    evidence.receipt->windows.push_back({window.window, window.groups});
  }
  if (WhyNotDropped(*evidence.receipt, recipe_, run_, *host_)) return;  // nobody is accused of less
  const std::string text =
      fmt::format("it accepted our group of lease {} and signed windows {} to {} without it",
                  LeaseName(receipt.record.lease), span.first.value, span.last.value);
  evidence.text = text;
  effects_.emplace_back(KeepEvidence{SealEvidence(std::move(evidence), key_), text});
  effects_.emplace_back(HostLied{text});
}

}  // namespace waggle
