#include "protocol/envelope.h"

#include "protocol/limits.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Envelope>
void Fields(T& x, V&& v) {
  v(1, "version", x.version);
  v(2, "kind", x.kind);
  v(3, "sender", x.sender);
  v(4, "run", x.run);
  v(5, "session", x.session);
  v(6, "sequence", x.sequence);
  v.Numbers(7, "payload", x.payload, kProtocol.envelope_bytes_max);
  v(8, "signature", x.signature);
}

namespace {

constexpr std::size_t kHeadBytes = 5;  // number and length of a field
constexpr std::size_t kSignatureField = kHeadBytes + std::tuple_size_v<Signature>;

std::span<const std::uint8_t> Signed(std::span<const std::uint8_t> bytes) {
  return bytes.first(bytes.size() - kSignatureField);
}

}  // namespace

Bytes Encode(const Envelope& envelope) {
  return WireEncode(envelope, kProtocol.envelope_bytes_max);
}

Bytes SealEnvelope(Envelope envelope, const Signer& key) {
  envelope.sender = key.id();
  envelope.signature = {};
  Bytes bytes = Encode(envelope);
  Check(bytes.size() <= kProtocol.envelope_bytes_max, "an envelope is within its limit");
  const Signature signature = key.Sign(kEnvelopeDomain, Signed(bytes));
  std::copy(signature.begin(), signature.end(),
            bytes.end() - static_cast<std::ptrdiff_t>(signature.size()));
  return bytes;
}

tl::expected<Envelope, WireError> DecodeEnvelope(std::span<const std::uint8_t> bytes) {
  return WireDecode<Envelope>(bytes, kProtocol.envelope_bytes_max);
}

std::optional<std::uint16_t> EnvelopeVersion(std::span<const std::uint8_t> bytes) {
  constexpr std::uint8_t kHead[] = {1, 2, 0, 0, 0};
  if (bytes.size() < kHeadBytes + 2 ||
      !std::equal(std::begin(kHead), std::end(kHead), bytes.begin()))
    return std::nullopt;
  return static_cast<std::uint16_t>(bytes[5] | bytes[6] << 8);
}

bool SignatureHolds(std::span<const std::uint8_t> bytes, const Envelope& envelope) {
  Check(bytes.size() >= kSignatureField, "the bytes are those of an envelope");
  return Verify(envelope.sender, kEnvelopeDomain, Signed(bytes), envelope.signature);
}

bool SignatureHolds(std::span<const std::uint8_t> bytes, const Envelope& envelope,
                    const Signer& judge) {
  Check(bytes.size() >= kSignatureField, "the bytes are those of an envelope");
  return judge.Holds(envelope.sender, kEnvelopeDomain, Signed(bytes), envelope.signature);
}

}  // namespace waggle
