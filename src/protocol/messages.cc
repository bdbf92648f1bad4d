#include "protocol/messages.h"

#include <algorithm>
#include <utility>

#include "protocol/limits.h"
#include "rollout/fields.h"

namespace waggle {

bool IsKnown(WorkKind kind) { return kind >= WorkKind::kSample && kind <= WorkKind::kRelay; }
bool IsKnown(ReturnCause cause) {
  return cause == ReturnCause::kDraining || cause == ReturnCause::kFault;
}
bool IsKnown(Outcome outcome) {
  return outcome >= Outcome::kAccepted && outcome <= Outcome::kFault;
}
bool IsKnown(SlowDownCause cause) {
  return cause >= SlowDownCause::kNoWork && cause <= SlowDownCause::kDraining;
}
bool IsKnown(RefusalKind kind) {
  return kind >= RefusalKind::kTruncated && kind <= RefusalKind::kFull;
}
bool IsKnown(StepFinding finding) {
  return finding >= StepFinding::kHolds && finding <= StepFinding::kFault;
}

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Capabilities>
void Fields(T& x, V&& v) {
  v(1, "tokens_per_second", x.tokens_per_second);
  v(2, "memory_bytes", x.memory_bytes);
  v(3, "rollouts_max", x.rollouts_max);
  v.Numbers(4, "kinds", x.kinds, kProtocol.kinds_max);
  v.Texts(5, "environments", x.environments, kProtocol.environments_max, kWire.name_bytes_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Hello>
void Fields(T& x, V&& v) {
  v.Text(1, "software", x.software, kProtocol.software_bytes_max);
  v(2, "capabilities", x.capabilities);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Welcome>
void Fields(T& x, V&& v) {
  v.Text(1, "software", x.software, kProtocol.software_bytes_max);
  v(2, "nonce", x.nonce);
  v(3, "version", x.version);
  v(4, "heartbeat_ms", x.heartbeat_ms);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LeaseRequest>
void Fields(T& x, V&& v) {
  v(1, "rollouts_max", x.rollouts_max);
  v(2, "tokens_per_second", x.tokens_per_second);
  v(3, "version", x.version);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, GrantedLease>
void Fields(T& x, V&& v) {
  v(1, "lease", x.lease);
  v(2, "deadline_ms", x.deadline_ms);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LeaseGrant>
void Fields(T& x, V&& v) { v.Structs(1, "leases", x.leases, kProtocol.leases_max); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, GroupSubmission>
void Fields(T& x, V&& v) {
  v(1, "group", x.group);
  v(2, "rollouts_max", x.rollouts_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LeaseReturn>
void Fields(T& x, V&& v) {
  v.Numbers(1, "leases", x.leases, kProtocol.leases_max);
  v(2, "cause", x.cause);
  v.Text(3, "text", x.text, kProtocol.text_bytes_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, OutcomeRecord>
void Fields(T& x, V&& v) {
  v(1, "lease", x.lease);
  v(2, "worker", x.worker);
  v(3, "outcome", x.outcome);
  v(4, "reason", x.reason);
  v(5, "group", x.group);
  v(6, "tokens", x.tokens);
  v.Text(7, "text", x.text, kProtocol.text_bytes_max);
  v.IfAny(8, "place", x.place);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Heartbeat>
void Fields(T& x, V&& v) {
  v(1, "leases", x.leases);
  v(2, "tokens_per_second", x.tokens_per_second);
  v(3, "version", x.version);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SlowDown>
void Fields(T& x, V&& v) {
  v(1, "retry_after_ms", x.retry_after_ms);
  v(2, "cause", x.cause);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PolicyAnnouncement>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v(2, "manifest", x.manifest);
  v.Texts(3, "sources", x.sources, kProtocol.sources_max, kProtocol.source_bytes_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Drain>
void Fields(T& x, V&& v) {
  v(1, "finish_ms", x.finish_ms);
  v.Text(2, "text", x.text, kProtocol.text_bytes_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Refusal>
void Fields(T& x, V&& v) {
  v(1, "kind", x.kind);
  v(2, "sequence", x.sequence);
  v.Text(3, "text", x.text, kProtocol.text_bytes_max);
}

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, BatchProposal>
void Fields(T& x, V&& v) {
  v(1, "ledger", x.ledger);
  v(2, "claim", x.claim);
  v.Numbers(3, "leases", x.leases, kProtocol.batch_leases_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, BatchSignature>
void Fields(T& x, V&& v) {
  v(1, "epoch", x.epoch);
  v(2, "signature", x.signature);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LedgerAsk>
void Fields(T& x, V&& v) { v(1, "from", x.from); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LedgerEntries>
void Fields(T& x, V&& v) {
  v(1, "genesis", x.genesis);
  v(2, "first", x.first);
  v.Blobs(3, "entries", x.entries, kProtocol.entries_max, kEntryBytesMax);
  v.Numbers(4, "heads", x.heads, kProtocol.entries_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LedgerSubmission>
void Fields(T& x, V&& v) { v.Numbers(1, "request", x.request, kEntryBytesMax); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, LedgerDeclined>
void Fields(T& x, V&& v) {
  v(1, "nonce", x.nonce);
  v.Text(2, "text", x.text, kProtocol.text_bytes_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PolicySigned>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v(2, "root", x.root);
  v(3, "description", x.description);
  v(4, "signature", x.signature);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, AuditAsk>
void Fields(T& x, V&& v) {
  v(1, "epoch", x.epoch);
  v(2, "worker", x.worker);
  v(3, "index", x.index);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, AuditItem>
void Fields(T& x, V&& v) {
  v(1, "epoch", x.epoch);
  v(2, "worker", x.worker);
  v(3, "index", x.index);
  v(4, "batch_signature", x.batch_signature);
  v.Numbers(5, "siblings", x.siblings, kMerkleSiblingsMax);
  v(6, "lease", x.lease);
  v(7, "group", x.group);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, EvidenceSubmission>
void Fields(T& x, V&& v) { v.Numbers(1, "evidence", x.evidence, kProtocol.group_bytes_max); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepSigned>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v(2, "before", x.before);
  v(3, "after", x.after);
  v(4, "batch", x.batch);
  v(5, "previous", x.previous);
  v(6, "signature", x.signature);
  v.Numbers(7, "leases", x.leases, kProtocol.batch_leases_max);
  v(8, "window", x.window);
  v(9, "window_signature", x.window_signature);
  v.Numbers(10, "window_leases", x.window_leases, kProtocol.batch_leases_max);
  v.Numbers(11, "window_groups", x.window_groups, kProtocol.batch_leases_max);
  v.IfAny(12, "window_first", x.window_first);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepAsk>
void Fields(T& x, V&& v) { v(1, "version", x.version); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepShown>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v(2, "begin", x.begin);
  v(3, "state", x.state);
  v.Text(4, "text", x.text, kProtocol.text_bytes_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepFound>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v(2, "finding", x.finding);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PolicyAsk>
void Fields(T& x, V&& v) { v(1, "version", x.version); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PolicyShown>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v.Numbers(2, "manifests", x.manifests, kProtocol.manifests_max);
}

namespace {

using enum MessageKind;

constexpr MessageRule kRules[] = {
    {kHello, "Hello", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kWelcome, "Welcome", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kLeaseRequest, "LeaseRequest", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kLeaseGrant, "LeaseGrant", Sender::kAcceptor, kProtocol.grant_bytes_max},
    {kGroupSubmission, "GroupSubmission", Sender::kInitiator, kProtocol.group_bytes_max},
    {kLeaseReturn, "LeaseReturn", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kOutcomeRecord, "OutcomeRecord", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kHeartbeat, "Heartbeat", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kSlowDown, "SlowDown", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kPolicyAnnouncement, "PolicyAnnouncement", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kDrain, "Drain", Sender::kEither, kProtocol.payload_bytes_max},
    {kRefusal, "Refusal", Sender::kEither, kProtocol.payload_bytes_max},
    {kBatchProposal, "BatchProposal", Sender::kAcceptor, kProtocol.ledger_bytes_max},
    {kBatchSignature, "BatchSignature", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kLedgerAsk, "LedgerAsk", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kLedgerEntries, "LedgerEntries", Sender::kAcceptor, kProtocol.ledger_bytes_max},
    {kLedgerSubmission, "LedgerSubmission", Sender::kInitiator, kProtocol.grant_bytes_max},
    {kLedgerDeclined, "LedgerDeclined", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kPolicySigned, "PolicySigned", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kAuditAsk, "AuditAsk", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kAuditItem, "AuditItem", Sender::kAcceptor, kProtocol.group_bytes_max},
    {kEvidenceSubmission, "EvidenceSubmission", Sender::kInitiator, kProtocol.group_bytes_max},
    {kStepSigned, "StepSigned", Sender::kAcceptor, kProtocol.group_bytes_max},
    {kStepAsk, "StepAsk", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kStepShown, "StepShown", Sender::kAcceptor, kProtocol.payload_bytes_max},
    {kStepFound, "StepFound", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kPolicyAsk, "PolicyAsk", Sender::kInitiator, kProtocol.payload_bytes_max},
    {kPolicyShown, "PolicyShown", Sender::kAcceptor, kProtocol.ledger_bytes_max}};
static_assert(std::size(kRules) == std::variant_size_v<NodeMessage>);
static_assert(std::is_sorted(std::begin(kRules), std::end(kRules),
                             [](const auto& a, const auto& b) { return a.kind < b.kind; }));

bool Printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}
bool Printable(const std::vector<std::string>& texts) {
  return std::all_of(texts.begin(), texts.end(),
                     [](const std::string& text) { return !text.empty() && Printable(text); });
}
bool Lasts(std::uint32_t duration_ms) { return duration_ms <= kProtocol.duration_ms_max; }

constexpr const char* kNotPrintable = "a text is not printable ASCII";
constexpr const char* kTooLong = "a duration is past the limit";

const char* Wrong(const Hello& x) {
  const auto& kinds = x.capabilities.kinds;
  if (!Printable(x.software) || !Printable(x.capabilities.environments)) return kNotPrintable;
  if (std::adjacent_find(kinds.begin(), kinds.end(), std::greater_equal<>()) != kinds.end())
    return "kinds do not ascend";
  return nullptr;
}
const char* Wrong(const Welcome& x) {
  if (!Printable(x.software)) return kNotPrintable;
  return Lasts(x.heartbeat_ms) ? nullptr : kTooLong;
}
const char* Wrong(const LeaseRequest&) { return nullptr; }
const char* Wrong(const LeaseGrant& x) {
  if (x.leases.empty()) return "no lease";
  for (const GrantedLease& granted : x.leases) {
    if (!Printable(granted.lease.environment)) return kNotPrintable;
    if (!Lasts(granted.deadline_ms)) return kTooLong;
  }
  return nullptr;
}
const char* Wrong(const GroupSubmission&) { return nullptr; }
const char* Wrong(const LeaseReturn& x) {
  if (x.leases.empty()) return "no lease";
  return Printable(x.text) ? nullptr : kNotPrintable;
}
const char* Wrong(const OutcomeRecord& x) {
  if (!Printable(x.text)) return kNotPrintable;
  if (x.reason.has_value() != (x.outcome == Outcome::kRejected))
    return "a reason is given exactly when the group was rejected";
  if (x.outcome == Outcome::kAccepted && !x.group) return "accepted, but no group";
  if ((x.outcome == Outcome::kExpired || x.outcome == Outcome::kReturned) && x.group)
    return "a group, but it was never answered";
  if (x.outcome != Outcome::kAccepted && x.tokens != 0) return "tokens of a group not accepted";
  if (x.outcome != Outcome::kAccepted && x.place) return "a place of a group not accepted";
  return nullptr;
}
const char* Wrong(const Heartbeat&) { return nullptr; }
const char* Wrong(const SlowDown& x) { return Lasts(x.retry_after_ms) ? nullptr : kTooLong; }
const char* Wrong(const PolicyAnnouncement& x) {
  return Printable(x.sources) ? nullptr : kNotPrintable;
}
const char* Wrong(const Drain& x) {
  if (!Printable(x.text)) return kNotPrintable;
  return Lasts(x.finish_ms) ? nullptr : kTooLong;
}
const char* Wrong(const Refusal& x) { return Printable(x.text) ? nullptr : kNotPrintable; }
const char* Wrong(const BatchProposal& x) {
  if (x.leases.empty() || x.leases.size() != x.claim.items) return "not one lease for each item";
  const auto& leases = x.leases;
  if (std::adjacent_find(leases.begin(), leases.end(), std::greater_equal<>()) != leases.end())
    return "leases do not ascend";
  return nullptr;
}
const char* Wrong(const BatchSignature&) { return nullptr; }
const char* Wrong(const LedgerAsk&) { return nullptr; }
const char* Wrong(const LedgerEntries& x) {
  if (x.heads.size() != x.entries.size()) return "not one head for each entry";
  return !x.genesis || Printable(x.genesis->name) ? nullptr : kNotPrintable;
}
const char* Wrong(const LedgerSubmission&) { return nullptr; }
const char* Wrong(const LedgerDeclined& x) { return Printable(x.text) ? nullptr : kNotPrintable; }
const char* Wrong(const PolicySigned&) { return nullptr; }
const char* Wrong(const AuditAsk&) { return nullptr; }
const char* Wrong(const AuditItem& x) {
  return x.lease.has_value() == x.group.has_value() ? nullptr : "a lease without its group";
}
const char* Wrong(const EvidenceSubmission&) { return nullptr; }
const char* Wrong(const StepSigned& x) {
  if (!x.window_groups.empty() && x.window_leases.size() != x.window_groups.size())
    return "not one group for each lease";
  if (x.window_first && !x.window_signature) return "a place of a window that nobody signed";
  const bool none = x.window_leases.empty();
  if (none != (x.window == Hash256{})) return "a window without groups has no root";
  return none || x.window_signature ? nullptr : "a window that nobody signed";
}
const char* Wrong(const StepAsk&) { return nullptr; }
const char* Wrong(const StepShown& x) {
  if (x.begin > x.version) return "a state from after the step";
  return Printable(x.text) ? nullptr : kNotPrintable;
}
const char* Wrong(const StepFound&) { return nullptr; }
const char* Wrong(const PolicyAsk&) { return nullptr; }
const char* Wrong(const PolicyShown&) { return nullptr; }

template <std::size_t kIndex = 0>
tl::expected<NodeMessage, WireError> DecodeAs(std::size_t index,
                                              std::span<const std::uint8_t> bytes,
                                              std::size_t bytes_max) {
  if constexpr (kIndex < std::variant_size_v<NodeMessage>) {
    if (index != kIndex) return DecodeAs<kIndex + 1>(index, bytes, bytes_max);
    auto value = WireDecode<std::variant_alternative_t<kIndex, NodeMessage>>(bytes, bytes_max);
    if (!value) return tl::unexpected(std::move(value.error()));
    return NodeMessage(std::in_place_index<kIndex>, std::move(*value));
  } else {
    return tl::unexpected(WireError{WireProblem::kMalformed, "no such kind"});
  }
}

}  // namespace

std::span<const MessageRule> MessageRules() { return kRules; }

const MessageRule* FindRule(std::uint8_t kind) {
  const auto found = std::find_if(std::begin(kRules), std::end(kRules), [&](const auto& rule) {
    return static_cast<std::uint8_t>(rule.kind) == kind;
  });
  return found != std::end(kRules) ? &*found : nullptr;
}

MessageKind KindOf(const NodeMessage& message) { return kRules[message.index()].kind; }

std::string ForWire(std::string_view text) {
  std::string clean(text.substr(0, kProtocol.text_bytes_max));
  for (char& c : clean) c = c >= 0x20 && c <= 0x7e ? c : '?';
  return clean;
}

std::string Problem(const NodeMessage& message) {
  const char* wrong = std::visit([](const auto& x) { return Wrong(x); }, message);
  return wrong == nullptr ? "" : wrong;
}

Bytes Encode(const NodeMessage& message) {
  Check(Problem(message).empty(), "what we send is what we would accept");
  const std::size_t bytes_max = kRules[message.index()].payload_bytes_max;
  Bytes bytes = std::visit([&](const auto& x) { return WireEncode(x, bytes_max); }, message);
  Check(DecodeMessage(KindOf(message), bytes).has_value(), "what we send is within every limit");
  return bytes;
}

tl::expected<NodeMessage, WireError> DecodeMessage(MessageKind kind,
                                                   std::span<const std::uint8_t> payload) {
  const MessageRule* rule = FindRule(static_cast<std::uint8_t>(kind));
  Check(rule != nullptr, "unknown kinds are refused before their payload is read");
  auto message =
      DecodeAs(static_cast<std::size_t>(rule - kRules), payload, rule->payload_bytes_max);
  if (!message) return message;
  if (std::string problem = Problem(*message); !problem.empty())
    return tl::unexpected(WireError{WireProblem::kMalformed, std::move(problem)});
  return message;
}

const char* ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAccepted:
      return "accepted";
    case Outcome::kStale:
      return "stale";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kExpired:
      return "expired";
    case Outcome::kReturned:
      return "returned";
    case Outcome::kFault:
      return "fault";
  }
  return "?";
}

const char* ToString(StepFinding finding) {
  switch (finding) {
    case StepFinding::kHolds:
      return "holds";
    case StepFinding::kWrong:
      return "wrong";
    case StepFinding::kWithheld:
      return "withheld";
    case StepFinding::kFault:
      return "fault";
  }
  return "?";
}

const char* ToString(RefusalKind kind) {
  static constexpr const char* kNames[] = {
      "truncated", "oversized",    "malformed",     "wrong version",  "unknown kind",
      "wrong run", "wrong sender", "wrong session", "bad signature",  "replayed",
      "reordered", "unexpected",   "unknown lease", "not registered", "full"};
  static_assert(std::size(kNames) == kRefusalKinds);
  return IsKnown(kind) ? kNames[static_cast<std::size_t>(kind) - 1] : "?";
}

}  // namespace waggle
