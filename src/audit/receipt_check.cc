#include "audit/receipt_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocol/envelope.h"
#include "protocol/limits.h"
#include "run/lease_maker.h"

namespace waggle {

std::optional<WindowSpan> WindowsOf(const Recipe& recipe, const OutcomeRecord& receipt) {
  if (IsEvaluation(receipt.lease)) return std::nullopt;
  const ArrivalTerms arrival = ArrivalTermsOf(recipe.orchestrator);
  if (arrival.by_arrival() != receipt.place.has_value()) return std::nullopt;
  const WindowSpan span =
      receipt.place ? arrival.SpanOfPlace(*receipt.place)
                    : ArrivalTerms{.groups = 1, .ahead = recipe.orchestrator.ahead}.SpanOfStep(
                          PolicyVersion{WaveOf(receipt.lease)});
  if (span.last.value >= recipe.orchestrator.steps) return std::nullopt;
  return span;
}

bool LacksPlace(const Recipe& recipe, const OutcomeRecord& receipt) {
  return recipe.orchestrator.by_arrival() && !IsEvaluation(receipt.lease) && !receipt.place;
}

bool Names(const WindowClaim& window, std::span<const Hash256> groups,
           const OutcomeRecord& receipt) {
  if (!receipt.place) return std::ranges::find(groups, *receipt.group) != groups.end();
  if (!window.order || *receipt.place < window.order->first) return false;
  const std::uint64_t at = *receipt.place - window.order->first;
  return at < groups.size() && groups[at] == *receipt.group;
}

Result<OutcomeRecord> OpenReceipt(std::span<const std::uint8_t> bytes, const Hash256& run,
                                  const NodeId& host) {
  const auto envelope = DecodeEnvelope(bytes);
  if (!envelope) return Fail(Blame::kPeer, "a receipt: {}", envelope.error().what);
  if (envelope->run != run || envelope->sender != host || !SignatureHolds(bytes, *envelope))
    return Fail(Blame::kPeer, "the receipt is not one that this host signed in this run");
  if (envelope->version != kProtocolVersion ||
      envelope->kind != static_cast<std::uint8_t>(MessageKind::kOutcomeRecord))
    return Fail(Blame::kPeer, "the message in it is no receipt");
  auto message = DecodeMessage(MessageKind::kOutcomeRecord, envelope->payload);
  if (!message) return Fail(Blame::kPeer, "a receipt: {}", message.error().what);
  auto& record = std::get<OutcomeRecord>(*message);
  if (record.outcome != Outcome::kAccepted || !record.group)
    return Fail(Blame::kPeer, "the receipt says that the group was not accepted");
  return std::move(record);
}

std::optional<std::string> WhyNotDropped(const ReceiptProof& proof, const Recipe& recipe,
                                         const Hash256& run, const NodeId& host) {
  const auto receipt = OpenReceipt(proof.receipt, run, host);
  if (!receipt) return receipt.error().what;
  const auto span = WindowsOf(recipe, *receipt);
  if (!span)
    return "no window needs to name this group: it is an evaluation's, of no step of the run, or "
           "its receipt does not say its place";
  std::uint64_t next = span->first.value;
  if (proof.windows.size() != span->last.value - next + 1)
    return fmt::format("the group can stand in windows {} to {}: they are not all here", next,
                       span->last.value);
  for (const ShownWindow& shown : proof.windows) {
    const WindowClaim& claim = shown.window.claim;
    if (claim.run != run || claim.version.value != next++ || !ClaimHolds(shown.window, host))
      return fmt::format("window {} is not one that the host signed for that step",
                         claim.version.value);
    const Hash256 root = shown.groups.empty() ? Hash256{} : BatchRoot(shown.groups);
    if (claim.items != shown.groups.size() || claim.root != root)
      return fmt::format("window {} is over other groups than these", claim.version.value);
    if (Names(claim, shown.groups, *receipt))
      return fmt::format("the group stands in window {}", claim.version.value);
  }
  return std::nullopt;
}

}  // namespace waggle
