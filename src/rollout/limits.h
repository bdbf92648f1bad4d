// Limits on everything that a peer may send, and how they relate.
#pragma once

#include <cstddef>
#include <cstdint>

namespace waggle {

struct WireLimits {
  std::size_t prompt_tokens_max = std::size_t{1} << 20;    // the longest context of a recipe
  std::size_t response_tokens_max = std::size_t{1} << 15;  // sampling.tokens_max of a recipe
  std::size_t group_size_max = 1024;                       // orchestrator.group_size of a recipe
  std::size_t spans_max = 4096;                            // weight swaps within one response
  std::size_t name_bytes_max = 64;                         // an environment's name
  std::size_t message_bytes_max = std::size_t{512} << 20;  // one group, or one file of groups
};
inline constexpr WireLimits kWire{};

// The fingerprint of a rollout of so many sampled tokens, of whichever tier: the largest is 16
// bytes a token.
constexpr std::size_t FingerprintBytesMax(std::size_t tokens) { return 512 + 17 * tokens; }

// A full group fits one message: id, log-prob and mask are 9 bytes a token.
static_assert(kWire.group_size_max * kWire.response_tokens_max * 9 <
              kWire.message_bytes_max - kWire.prompt_tokens_max * 4);
static_assert(kWire.spans_max <= kWire.response_tokens_max);

}  // namespace waggle
