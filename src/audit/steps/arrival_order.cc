#include "audit/steps/arrival_order.h"

#include <fmt/format.h>

#include <algorithm>

#include "run/lease_maker.h"

namespace waggle {
namespace {

using Kind = OrderShown::Kind;

OrderShown Lie(std::string why) { return {Kind::kLie, std::move(why)}; }
OrderShown Nothing(std::string why) { return {Kind::kNothing, std::move(why)}; }

// Empty: the windows of the span are here, and signed.
std::string WhyNotHere(const OrderProof& proof, const WindowSpan& span, std::uint64_t steps,
                       const Hash256& run, const NodeId& trainer) {
  const StepClaim& step = proof.step.claim;
  if (step.version.value >= steps) return "the run has no such step";
  if (step.run != run || !ClaimHolds(proof.step, trainer)) return "the step is not signed";
  if (step.leases != LeasesHash(proof.leases))
    return "the leases in it are not those that the step was signed with";
  if (proof.windows.size() != span.last.value - span.first.value + 1)
    return fmt::format("windows {} to {} are not all here", span.first.value, span.last.value);
  std::uint64_t next = span.first.value;
  for (const OrderedWindow& one : proof.windows) {
    const WindowClaim& claim = one.window.claim;
    if (claim.run != run || claim.version.value != next++ || !ClaimHolds(one.window, trainer))
      return fmt::format("window {} is not one that was signed for that step", claim.version.value);
    if (!claim.order) return fmt::format("window {} does not say its order", claim.version.value);
    if (claim.items != one.leases.size() || claim.order->leases != LeasesHash(one.leases))
      return fmt::format("window {} is over other leases than these", claim.version.value);
  }
  return {};
}

// Empty: the batch is the groups of its places, or what a filter left of them, in their order.
std::string WhyNotThese(const std::vector<LeaseId>& batch, const std::vector<LeaseId>& due,
                        bool whole) {
  std::size_t at = 0;
  for (const LeaseId lease : due) {
    if (at < batch.size() && batch[at] == lease) {
      ++at;
    } else if (whole) {
      return fmt::format("lease {} is due in its place {} and is not there", LeaseName(lease), at);
    }
  }
  if (at == batch.size()) return {};
  return fmt::format("lease {} is in it and is not due", LeaseName(batch[at]));
}

}  // namespace

WindowSpan ArrivalTerms::SpanOfPlace(std::uint64_t place) const {
  return SpanOfStep(PolicyVersion{place / groups});
}

WindowSpan ArrivalTerms::SpanOfStep(PolicyVersion version) const {
  return {PolicyVersion{version.value - std::min(version.value, ahead)}, version};
}

ArrivalTerms ArrivalTermsOf(const OrchestratorRecipe& plan) {
  if (!plan.by_arrival()) return {};
  return {.groups = plan.groups_per_step,
          .ahead = plan.ahead,
          .steps = plan.steps,
          .whole = plan.worker_parts == 0};
}

OrderShown ShowOrder(const OrderProof& proof, const ArrivalTerms& terms, const Hash256& run,
                     const NodeId& trainer) {
  const PolicyVersion version = proof.step.claim.version;
  const WindowSpan span = terms.SpanOfStep(version);
  if (std::string why = WhyNotHere(proof, span, terms.steps, run, trainer); !why.empty())
    return Nothing(std::move(why));
  const std::uint64_t begin = proof.windows.front().window.claim.order->first;
  std::uint64_t end = begin;
  std::vector<LeaseId> accepted;  // those of places [begin, end)
  for (const OrderedWindow& one : proof.windows) {
    const WindowClaim& claim = one.window.claim;
    if (claim.order->first != end || (claim.version.value == 0 && end != 0))
      return Lie(fmt::format("window {} begins at place {}, and {} groups were accepted before it",
                             claim.version.value, claim.order->first,
                             claim.version.value == 0 ? 0 : end));
    accepted.insert(accepted.end(), one.leases.begin(), one.leases.end());
    end += one.leases.size();
  }
  const std::uint64_t from = version.value * terms.groups, to = from + terms.groups;
  if (begin > from || end < to)
    return Lie(fmt::format("its windows name places {} to {}, and the batch is places {} to {}",
                           begin, end, from, to));
  const auto first = accepted.begin() + static_cast<std::ptrdiff_t>(from - begin);
  const std::vector<LeaseId> due(first, first + static_cast<std::ptrdiff_t>(terms.groups));
  std::string why = WhyNotThese(proof.leases, due, terms.whole);
  return {why.empty() ? Kind::kHolds : Kind::kLie, std::move(why)};
}

std::optional<ArrivalOrder::Lie> ArrivalOrder::Note(const SignedStep& step, const NodeId& trainer) {
  const PolicyVersion version = step.step.claim.version;
  if (!terms_.by_arrival() || version.value < next_) return std::nullopt;
  if (version.value != next_) windows_.clear();  // who comes late knows less
  next_ = version.value + 1;
  if (!step.window || !step.window->window.claim.order)
    return Lie{
        fmt::format("step {} does not say in which order its groups were accepted", version.value),
        std::nullopt};
  windows_.push_back({step.window->window, step.window->leases});
  const WindowSpan span = terms_.SpanOfStep(version);
  while (windows_.front().window.claim.version < span.first) windows_.pop_front();
  if (windows_.front().window.claim.version != span.first) return std::nullopt;
  OrderProof proof{step.step, step.leases, {windows_.begin(), windows_.end()}};
  const OrderShown shown = ShowOrder(proof, terms_, run_, trainer);
  if (shown.kind == Kind::kHolds) return std::nullopt;
  std::string why =
      fmt::format("step {} trains on a batch of its own choice: {}", version.value, shown.why);
  return Lie{std::move(why), std::move(proof)};
}

}  // namespace waggle
