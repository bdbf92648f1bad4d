// What both replays share. Private to engine/.
#pragma once

#include <bit>
#include <vector>

#include "engine/engine.h"
#include "engine/sampling.h"

namespace waggle {

inline constexpr std::size_t kLogitBytesMax = std::size_t{32} << 20;
inline constexpr std::size_t kReplayChunkTokens = 512;

inline bool SameBits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

// For every token of the response: the first one of its turn, which is the run of sampled tokens
// that it stands in.
std::vector<std::size_t> TurnStarts(const Rollout& rollout);

// Blame::kPeer: not a rollout, or tokens that are none of the model's.
Status CheckReplayable(const Rollout& rollout);
Status CheckReplayTokens(const Model& model, std::span<const TokenId> tokens);

}  // namespace waggle
