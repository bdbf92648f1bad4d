#include "delegation/dispute_wire.h"

namespace waggle {
namespace {

constexpr std::size_t kBodyBytesMax = 1 << 17;  // of what is no reply

template <class T>
Result<T> DecodeBody(std::span<const std::uint8_t> bytes, const char* what,
                     std::size_t bytes_max = kBodyBytesMax) {
  auto value = WireDecode<T>(bytes, bytes_max);
  if (!value) return Fail(Blame::kPeer, "{}: {}", what, value.error().what);
  return std::move(*value);
}

Bytes Signed(DisputeFrameKind kind, const Bytes& body) {
  Bytes bytes;
  bytes.reserve(body.size() + 1);
  bytes.push_back(static_cast<std::uint8_t>(kind));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

}  // namespace

const char* ToString(DisputeRefusalCause cause) {
  switch (cause) {
    case DisputeRefusalCause::kMalformed:
      return "malformed";
    case DisputeRefusalCause::kBadSignature:
      return "bad signature";
    case DisputeRefusalCause::kStranger:
      return "it does not answer this referee";
    case DisputeRefusalCause::kOtherProgram:
      return "another program ran there";
    case DisputeRefusalCause::kNotMine:
      return "the terms do not name it";
    case DisputeRefusalCause::kRules:
      return "terms past the limits";
    case DisputeRefusalCause::kUnknownDispute:
      return "unknown dispute";
    case DisputeRefusalCause::kBusy:
      return "too many questions at once";
  }
  return "?";
}

Bytes EncodeBody(const Commitment& commitment) { return WireEncode(commitment, kBodyBytesMax); }
Bytes EncodeBody(const DisputeTerms& terms) { return WireEncode(terms, kBodyBytesMax); }
Bytes EncodeBody(const DisputeRefusal& refusal) { return WireEncode(refusal, kBodyBytesMax); }
Bytes EncodeBody(const ResponsesAsked& asked) { return WireEncode(asked, kBodyBytesMax); }
Bytes EncodeBody(const ResponsesSaid& said) {
  return WireEncode(said, kDisputeLimits.reply_bytes_max);
}
Result<Commitment> DecodeCommitment(std::span<const std::uint8_t> bytes) {
  return DecodeBody<Commitment>(bytes, "commitment");
}
Result<DisputeTerms> DecodeTerms(std::span<const std::uint8_t> bytes) {
  return DecodeBody<DisputeTerms>(bytes, "terms");
}
Result<DisputeRefusal> DecodeRefusal(std::span<const std::uint8_t> bytes) {
  return DecodeBody<DisputeRefusal>(bytes, "refusal");
}
Result<ResponsesAsked> DecodeResponsesAsked(std::span<const std::uint8_t> bytes) {
  return DecodeBody<ResponsesAsked>(bytes, "question for responses");
}
Result<ResponsesSaid> DecodeResponsesSaid(std::span<const std::uint8_t> bytes) {
  return DecodeBody<ResponsesSaid>(bytes, "responses", kDisputeLimits.reply_bytes_max);
}

Bytes SealFrame(DisputeFrameKind kind, Bytes body, const Signer& signer) {
  DisputeFrame frame{kind, signer.id(), std::move(body), {}};
  frame.signature = kind == DisputeFrameKind::kAnswered
                        ? signer.Sign(kDisputeDomain, frame.body)
                        : signer.Sign(kDisputeWireDomain, Signed(kind, frame.body));
  return WireEncode(frame, kDisputeFrameBytesMax);
}

Bytes FrameOf(const SignedReply& reply, const NodeId& sender) {
  return WireEncode(DisputeFrame{DisputeFrameKind::kAnswered, sender, reply.body, reply.signature},
                    kDisputeFrameBytesMax);
}

Result<DisputeFrame> OpenFrame(std::span<const std::uint8_t> bytes, const Signer& judge) {
  auto frame = WireDecode<DisputeFrame>(bytes, kDisputeFrameBytesMax);
  if (!frame) return Fail(Blame::kPeer, "frame: {}", frame.error().what);
  const bool reply = frame->kind == DisputeFrameKind::kAnswered;
  if (!judge.Holds(frame->sender, reply ? kDisputeDomain : kDisputeWireDomain,
                   reply ? frame->body : Signed(frame->kind, frame->body), frame->signature))
    return Fail(Blame::kPeer, "frame: not signed by the one that it names");
  return std::move(*frame);
}

}  // namespace waggle
