// What travels: one message, who says it, in which run and session, at which place, signed.
//
// Layout (base/wire.h): fields 1 version u16, 2 kind u8, 3 sender 32 bytes, 4 run 32 bytes,
// 5 session 16 bytes, 6 sequence u64, 7 payload, 8 signature 64 bytes. The signature is over all
// bytes before field 8, in the domain WGL-ENVELOPE-1. Field 1 stays where it is in every version,
// so that an older node can name what it does not speak. A worked example is in docs/protocol.md.
//
// An envelope by itself is evidence: anybody can check who said what in which run, without the
// session it was part of.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/wire.h"
#include "crypto/identity.h"
#include "protocol/messages.h"

namespace waggle {

inline constexpr std::string_view kEnvelopeDomain = "WGL-ENVELOPE-1";

struct Envelope {
  std::uint16_t version = 0;
  std::uint8_t kind = 0;  // a MessageKind, if it is known
  NodeId sender;
  Hash256 run{};
  SessionNonce session{};
  std::uint64_t sequence = 0;
  Bytes payload;
  Signature signature{};
  bool operator==(const Envelope&) const = default;
};

// Signs; sets sender and signature. Returns the bytes that travel.
Bytes SealEnvelope(Envelope envelope, const Signer& key);

// Form alone, of any version that shares this layout. Refuses truncated, oversized, malformed.
tl::expected<Envelope, WireError> DecodeEnvelope(std::span<const std::uint8_t> bytes);
Bytes Encode(const Envelope& envelope);

// The version that the bytes claim, wherever the rest may lead; nothing if they stop before it.
std::optional<std::uint16_t> EnvelopeVersion(std::span<const std::uint8_t> bytes);

// Whether `bytes`, from which `envelope` was decoded, are signed by its sender.
bool SignatureHolds(std::span<const std::uint8_t> bytes, const Envelope& envelope);
// As `judge` checks signatures.
bool SignatureHolds(std::span<const std::uint8_t> bytes, const Envelope& envelope,
                    const Signer& judge);

}  // namespace waggle
