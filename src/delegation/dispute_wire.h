// What a referee and those who answer say to one another over a line (docs/disputes.md, "On the
// wire"): frames of a transport (net/), one message each, signed by their sender. The requests and
// replies inside are those of proofs/dispute/protocol.h. All of it is hostile until checked: one
// encoding (base/wire.h), limits, refusal with Blame::kPeer.
//
// Numbers of kinds and fields are for ever. Kinds 44 to 51 are no kinds of protocol/messages.h.
#pragma once

#include <optional>
#include <string>

#include "proofs/dispute/protocol.h"

namespace waggle {

inline constexpr std::string_view kDisputeWireDomain = "WGL-DISPUTE-WIRE-1";

enum class DisputeFrameKind : std::uint8_t {
  kCommitmentAsked = 44,  // referee: a nonce, 32 bytes
  kCommitment = 45,       // Commitment
  kOpened = 46,           // referee: DisputeTerms
  kAsked = 47,            // referee: DisputeRequest, of terms that were opened on this line
  kAnswered = 48,         // DisputeReply; signed in kDisputeDomain, because it is evidence
  kRefused = 49,          // DisputeRefusal
  kResponsesAsked = 50,   // client: ResponsesAsked, of a program of rollouts
  kResponses = 51,        // ResponsesSaid
};
inline bool IsKnown(DisputeFrameKind kind) {
  return kind >= DisputeFrameKind::kCommitmentAsked && kind <= DisputeFrameKind::kResponses;
}

struct DisputeFrame {
  DisputeFrameKind kind = DisputeFrameKind::kRefused;
  NodeId sender;
  Bytes body;
  Signature signature{};  // over kind and body; kAnswered: over the body
  bool operator==(const DisputeFrame&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeFrame>
void Fields(T& x, V&& v) {
  v(1, "kind", x.kind);
  v(2, "sender", x.sender);
  v.Numbers(3, "body", x.body, kDisputeLimits.reply_bytes_max);
  v(4, "signature", x.signature);
}
inline constexpr std::size_t kDisputeFrameBytesMax = kDisputeLimits.reply_bytes_max + 1024;

// What somebody's run of a program came to, said to whoever asks with this nonce.
struct Commitment {
  Digest256 nonce{};
  Digest256 program{};  // ProgramHash
  Digest256 units{};    // root over its steps
  bool operator==(const Commitment&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Commitment>
void Fields(T& x, V&& v) {
  v(1, "nonce", x.nonce);
  v(2, "program", x.program);
  v(3, "units", x.units);
}

enum class DisputeRefusalCause : std::uint8_t {
  kMalformed = 1,
  kBadSignature = 2,
  kStranger = 3,        // a referee that this node does not answer
  kOtherProgram = 4,    // terms about another program than the one that ran here
  kNotMine = 5,         // terms that do not name this node, or name it twice
  kRules = 6,           // terms past the limits
  kUnknownDispute = 7,  // a request before its terms: open it (again)
  kBusy = 8,            // too many questions at once
};
inline bool IsKnown(DisputeRefusalCause cause) {
  return cause >= DisputeRefusalCause::kMalformed && cause <= DisputeRefusalCause::kBusy;
}
const char* ToString(DisputeRefusalCause cause);

struct DisputeRefusal {
  Digest256 dispute{};  // zeros: none
  DisputeRefusalCause cause = DisputeRefusalCause::kMalformed;
  bool operator==(const DisputeRefusal&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeRefusal>
void Fields(T& x, V&& v) {
  v(1, "dispute", x.dispute);
  v(2, "cause", x.cause);
}

// What was accepted is fetched with these, and checked against what was committed to.
struct ResponsesAsked {
  Digest256 program{};
  std::uint64_t first = 0;  // of the program's sequences
  bool operator==(const ResponsesAsked&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, ResponsesAsked>
void Fields(T& x, V&& v) {
  v(1, "program", x.program);
  v(2, "first", x.first);
}
struct ResponsesSaid {
  std::uint64_t first = 0;
  Bytes content;  // that response and as many more as there is room for: response_codec.h
  bool operator==(const ResponsesSaid&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, ResponsesSaid>
void Fields(T& x, V&& v) {
  v(1, "first", x.first);
  v.Numbers(2, "content", x.content, kDisputeLimits.reply_bytes_max - 64);
}

Bytes EncodeBody(const Commitment& commitment);
Bytes EncodeBody(const DisputeTerms& terms);
Bytes EncodeBody(const DisputeRefusal& refusal);
Bytes EncodeBody(const ResponsesAsked& asked);
Bytes EncodeBody(const ResponsesSaid& said);
Result<Commitment> DecodeCommitment(std::span<const std::uint8_t> bytes);
Result<DisputeTerms> DecodeTerms(std::span<const std::uint8_t> bytes);
Result<DisputeRefusal> DecodeRefusal(std::span<const std::uint8_t> bytes);
Result<ResponsesAsked> DecodeResponsesAsked(std::span<const std::uint8_t> bytes);
Result<ResponsesSaid> DecodeResponsesSaid(std::span<const std::uint8_t> bytes);

// The bytes that travel. kAnswered: the body is an encoded DisputeReply.
Bytes SealFrame(DisputeFrameKind kind, Bytes body, const Signer& signer);
// A reply that is signed already.
Bytes FrameOf(const SignedReply& reply, const NodeId& sender);
// Form, and the sender's signature as `judge` checks it.
Result<DisputeFrame> OpenFrame(std::span<const std::uint8_t> bytes, const Signer& judge);

// A dispute's evidence as a file: "WGLDISP1" and the encoding of DisputeEvidence.
inline constexpr std::string_view kDisputeFileMagic = "WGLDISP1";

}  // namespace waggle
