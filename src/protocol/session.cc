#include "protocol/session.h"

#include <algorithm>

#include "crypto/hash.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr std::string_view kSessionDomain = "WGL-SESSION-1";
constexpr std::uint64_t kSeenBits = 64;

tl::unexpected<Refused> Refuse(RefusalKind kind, std::string_view text, std::uint64_t sequence = 0,
                               bool attributable = false) {
  return tl::unexpected(Refused{{kind, sequence, ForWire(text)}, attributable});
}

RefusalKind KindOfProblem(WireProblem problem) {
  switch (problem) {
    case WireProblem::kTruncated:
      return RefusalKind::kTruncated;
    case WireProblem::kOversized:
      return RefusalKind::kOversized;
    case WireProblem::kMalformed:
    case WireProblem::kNone:
      return RefusalKind::kMalformed;
  }
  return RefusalKind::kMalformed;
}

}  // namespace

Session Session::Initiator(const Signer& key, const Hash256& run, const SessionNonce& nonce,
                           std::optional<NodeId> peer) {
  return Session(/*initiator=*/true, key, run, nonce, std::move(peer));
}
Session Session::Acceptor(const Signer& key, const Hash256& run, const SessionNonce& nonce) {
  return Session(/*initiator=*/false, key, run, nonce, std::nullopt);
}
Session::Session(bool initiator, const Signer& key, const Hash256& run, const SessionNonce& nonce,
                 std::optional<NodeId> peer)
    : initiator_(initiator), key_(key), run_(run), nonce_(nonce), peer_(std::move(peer)) {
  if (initiator_) session_ = nonce_;
}

bool Session::may_send(MessageKind kind) const {
  const Sender sender = FindRule(static_cast<std::uint8_t>(kind))->sender;
  if (sender != Sender::kEither && (sender == Sender::kInitiator) != initiator_) return false;
  if (kind == MessageKind::kHello) return state_ == State::kStart;
  if (kind == MessageKind::kWelcome) return state_ == State::kHello;
  // Before a session there is only one thing to say: that there will be none.
  return state_ == State::kOpen || (kind == MessageKind::kRefusal && !initiator_);
}

Bytes Session::Seal(NodeMessage message) {
  const MessageKind kind = KindOf(message);
  Check(may_send(kind), "a node says only what is its turn to say");
  if (auto* welcome = std::get_if<Welcome>(&message)) welcome->nonce = nonce_;
  Bytes bytes = SealEnvelope({.version = kProtocolVersion,
                              .kind = static_cast<std::uint8_t>(kind),
                              .run = run_,
                              .session = session_,
                              .sequence = next_++,
                              .payload = Encode(message)},
                             key_);
  if (kind == MessageKind::kHello) state_ = State::kHello;
  if (kind == MessageKind::kWelcome) Establish(session_, nonce_);
  return bytes;
}

void Session::Establish(const SessionNonce& initiator, const SessionNonce& acceptor) {
  const NodeId& first = initiator_ ? key_.id() : *peer_;
  const NodeId& second = initiator_ ? *peer_ : key_.id();
  const Digest256 digest = Sha256Hasher()
                               .Update(std::as_bytes(std::span(kSessionDomain)))
                               .Update(initiator)
                               .Update(acceptor)
                               .Update(first.value)
                               .Update(second.value)
                               .Finish();
  std::copy_n(digest.begin(), session_.size(), session_.begin());
  state_ = State::kOpen;
}

// What needs no cryptography, so that it costs a stranger more to send than us to refuse.
std::optional<Refusal> Session::CheckPlace(const Envelope& envelope) const {
  const auto refuse = [&](RefusalKind kind, std::string text) {
    return Refusal{kind, envelope.sequence, ForWire(text)};
  };
  const MessageRule* rule = FindRule(envelope.kind);
  if (rule == nullptr)
    return refuse(RefusalKind::kUnknownKind, fmt::format("kind {}", envelope.kind));
  if (envelope.payload.size() > rule->payload_bytes_max) {
    return refuse(RefusalKind::kOversized,
                  fmt::format("{} of {} bytes, limit {}", rule->name, envelope.payload.size(),
                              rule->payload_bytes_max));
  }
  if (envelope.run != run_) return refuse(RefusalKind::kWrongRun, "another run is served here");
  if (envelope.sender == key_.id() || (peer_ && envelope.sender != *peer_))
    return refuse(RefusalKind::kWrongSender, "this session is with somebody else");
  // An acceptor that could not read our Hello refuses it without knowing our nonce.
  const bool early_refusal = initiator_ && state_ == State::kHello &&
                             rule->kind == MessageKind::kRefusal &&
                             envelope.session == SessionNonce{};
  const bool first = !initiator_ && state_ == State::kStart;  // brings the session's nonce
  if (!first && !early_refusal && envelope.session != session_)
    return refuse(RefusalKind::kWrongSession, "not of this session");
  return std::nullopt;
}

std::optional<RefusalKind> Session::CheckSequence(std::uint64_t sequence) const {
  if (!last_ || sequence > *last_) return std::nullopt;
  const std::uint64_t age = *last_ - sequence;
  const bool seen = age >= kSeenBits || (seen_ >> age & 1) != 0;
  return seen ? RefusalKind::kReplayed : RefusalKind::kReordered;
}

bool Session::Expected(MessageKind kind) const {
  const Sender sender = FindRule(static_cast<std::uint8_t>(kind))->sender;
  if (sender != Sender::kEither && (sender == Sender::kInitiator) == initiator_) return false;
  switch (state_) {
    case State::kStart:
      return !initiator_ && kind == MessageKind::kHello;
    case State::kHello:
      return initiator_ && (kind == MessageKind::kWelcome || kind == MessageKind::kRefusal);
    case State::kOpen:
      return kind != MessageKind::kHello && kind != MessageKind::kWelcome;
  }
  return false;
}

void Session::Note(const Envelope& envelope, const NodeMessage& message) {
  const std::uint64_t step = last_ ? envelope.sequence - *last_ : kSeenBits;
  seen_ = (step >= kSeenBits ? 0 : seen_ << step) | 1;
  last_ = envelope.sequence;
  if (state_ == State::kOpen) proven_ = true;
  if (std::holds_alternative<Hello>(message)) {
    peer_ = envelope.sender;
    session_ = envelope.session;
    state_ = State::kHello;
  } else if (const auto* welcome = std::get_if<Welcome>(&message)) {
    peer_ = envelope.sender;
    Establish(nonce_, welcome->nonce);
    proven_ = true;  // it answered our nonce
  }
}

tl::expected<NodeMessage, Refused> Session::Open(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > kProtocol.envelope_bytes_max) {
    return Refuse(RefusalKind::kOversized,
                  fmt::format("{} bytes, limit {}", bytes.size(), kProtocol.envelope_bytes_max));
  }
  if (const auto version = EnvelopeVersion(bytes); version && *version != kProtocolVersion) {
    return Refuse(RefusalKind::kWrongVersion,
                  fmt::format("protocol version {}, this node speaks {}: update the older one",
                              *version, kProtocolVersion));
  }
  const auto envelope = DecodeEnvelope(bytes);
  if (!envelope) return Refuse(KindOfProblem(envelope.error().problem), envelope.error().what);
  if (auto refusal = CheckPlace(*envelope)) return tl::unexpected(Refused{std::move(*refusal)});
  const std::uint64_t sequence = envelope->sequence;
  if (!SignatureHolds(bytes, *envelope, key_))
    return Refuse(RefusalKind::kBadSignature, "the signature is not the sender's", sequence);
  if (const auto kind = CheckSequence(sequence)) {
    return Refuse(*kind, fmt::format("sequence {} after {}", sequence, *last_), sequence,
                  /*attributable=*/true);
  }
  const auto kind = static_cast<MessageKind>(envelope->kind);
  if (!Expected(kind)) {
    return Refuse(RefusalKind::kUnexpected,
                  fmt::format("{} now, from this side", FindRule(envelope->kind)->name), sequence,
                  /*attributable=*/true);
  }
  auto message = DecodeMessage(kind, envelope->payload);
  if (!message) {
    // The envelope was whole and signed: its payload was made this way.
    const RefusalKind problem = message.error().problem == WireProblem::kOversized
                                    ? RefusalKind::kOversized
                                    : RefusalKind::kMalformed;
    return Refuse(problem, message.error().what, sequence, /*attributable=*/true);
  }
  Note(*envelope, *message);
  return std::move(*message);
}

}  // namespace waggle
