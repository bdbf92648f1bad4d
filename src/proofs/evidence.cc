#include "proofs/evidence.h"

#include <cstring>

#include "proofs/claim_fields.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SignedBatch>
void Fields(T& x, V&& v) {
  v(1, "ledger", x.ledger);
  v(2, "claim", x.claim);
  v(3, "signature", x.signature);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, GroupProof>
void Fields(T& x, V&& v) {
  v(1, "batch", x.batch);
  v(2, "path", x.path);
  v(3, "lease", x.lease);
  v(4, "group", x.group);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, TwiceProof>
void Fields(T& x, V&& v) {
  v(1, "first", x.first);
  v(2, "second", x.second);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepProof>
void Fields(T& x, V&& v) {
  v(1, "step", x.step);
  v.Numbers(2, "records", x.records, kEvidenceBytesMax);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, CanaryProof>
void Fields(T& x, V&& v) { v.Numbers(1, "reveal", x.reveal, kEntryBytesMax); }
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, ShownWindow>
void Fields(T& x, V&& v) {
  v(1, "window", x.window);
  v.Numbers(2, "groups", x.groups, std::size_t{1} << 20);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, ReceiptProof>
void Fields(T& x, V&& v) {
  v.Numbers(1, "receipt", x.receipt, kReceiptBytesMax);
  v.Structs(2, "windows", x.windows, kEvidenceWindowsMax);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, OrderedWindow>
void Fields(T& x, V&& v) {
  v(1, "window", x.window);
  v.Numbers(2, "leases", x.leases, std::size_t{1} << 20);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, OrderProof>
void Fields(T& x, V&& v) {
  v(1, "step", x.step);
  v.Numbers(2, "leases", x.leases, std::size_t{1} << 20);
  v.Structs(3, "windows", x.windows, kEvidenceWindowsMax);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Evidence>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "description_hash", x.description_hash);
  v.Numbers(3, "description", x.description, kEvidenceDescriptionMax);
  v(4, "orchestrator", x.orchestrator);
  v(5, "accused", x.accused);
  v(6, "reason", x.reason);
  v(7, "rollout", x.rollout);
  v(8, "token", x.token);
  v.Text(9, "text", x.text, 1000);
  v(10, "group", x.group);
  v(11, "twice", x.twice);
  v(12, "step", x.step);
  v(13, "verdict", x.verdict);
  v.Structs(14, "policies", x.policies, kEvidencePoliciesMax);
  v(15, "accuser", x.accuser);
  v(16, "signature", x.signature);
  v.IfAny(17, "canary", x.canary);
  v.IfAny(18, "receipt", x.receipt);
  v.IfAny(19, "order", x.order);
}

namespace {

// What stands after the signature, in files that are about an orchestrator.
struct Tail {
  const Evidence& evidence;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Tail>
void Fields(T& x, V&& v) {
  v.IfAny(17, "canary", x.evidence.canary);
  v.IfAny(18, "receipt", x.evidence.receipt);
  v.IfAny(19, "order", x.evidence.order);
}

constexpr std::string_view kDomain = "WGL-EVIDENCE-1";
constexpr std::size_t kSignatureField = 5 + std::tuple_size_v<Signature>;

std::size_t TailBytes(const Evidence& evidence) {
  return WireEncode(Tail{evidence}, kEvidenceBytesMax).size();
}

// What the accuser signs: all bytes but those of the field with its signature.
Bytes WithoutSignature(std::span<const std::uint8_t> bytes, std::size_t tail) {
  const std::size_t head = bytes.size() - tail - kSignatureField;
  Bytes message(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(head));
  message.insert(message.end(), bytes.end() - static_cast<std::ptrdiff_t>(tail), bytes.end());
  return message;
}

}  // namespace

bool SignedBatch::Holds() const {
  return Verify(claim.worker, kBatchDomain, BatchMessage(ledger, claim), signature);
}

Bytes SealEvidence(Evidence evidence, const Signer& accuser) {
  evidence.accuser = accuser.id();
  evidence.signature = {};
  Bytes bytes(kEvidenceMagic.begin(), kEvidenceMagic.end());
  const Bytes body = WireEncode(evidence, kEvidenceBytesMax);
  bytes.insert(bytes.end(), body.begin(), body.end());
  const std::size_t tail = TailBytes(evidence);
  const Signature signature = accuser.Sign(kDomain, WithoutSignature(bytes, tail));
  std::memcpy(bytes.data() + bytes.size() - tail - signature.size(), signature.data(),
              signature.size());
  return bytes;
}

Result<Evidence> OpenEvidence(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > kEvidenceBytesMax)
    return Fail(Blame::kPeer, "{} bytes of evidence, the limit is {}", bytes.size(),
                kEvidenceBytesMax);
  if (bytes.size() < kEvidenceMagic.size() + kSignatureField ||
      std::memcmp(bytes.data(), kEvidenceMagic.data(), kEvidenceMagic.size()) != 0)
    return Fail(Blame::kPeer, "not an evidence file: it does not begin with {}", kEvidenceMagic);
  auto evidence = WireDecode<Evidence>(bytes.subspan(kEvidenceMagic.size()), kEvidenceBytesMax,
                                       kEvidenceMagic.size());
  if (!evidence) return Fail(Blame::kPeer, "evidence: {}", evidence.error().what);
  if (!Verify(evidence->accuser, kDomain, WithoutSignature(bytes, TailBytes(*evidence)),
              evidence->signature))
    return Fail(Blame::kPeer, "evidence: the accuser's signature does not hold");
  return std::move(*evidence);
}

Digest256 EvidenceHash(std::span<const std::uint8_t> bytes) { return Sha256(bytes); }

}  // namespace waggle
