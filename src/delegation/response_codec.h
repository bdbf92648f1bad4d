// Responses as bytes, in files and in frames: for each, count u32, then token i32 and the bits of
// its log-prob u32, little endian. Hostile until read: a count past tokens_max, or none, is
// refused.
#pragma once

#include "base/wire.h"
#include "proofs/dispute/party.h"

namespace waggle {

void AppendResponse(std::span<const TokenRecord> response, Bytes& to);

// Response `first` and as many more as fit, about; empty: there is none.
Bytes PackResponses(const RolloutClaims& responses, std::uint64_t first, std::size_t bytes_max);

// The whole responses at the beginning of some bytes, and how many bytes they are. Blame::kPeer.
struct DecodedResponses {
  RolloutClaims responses;
  std::size_t bytes = 0;
};
Result<DecodedResponses> DecodeResponses(std::span<const std::uint8_t> bytes,
                                         std::uint32_t tokens_max);

}  // namespace waggle
