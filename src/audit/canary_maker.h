// The groups of canaries: accepted ones, as they are or with a lie that a replay finds. And a
// canary's file.
#pragma once

#include <functional>
#include <optional>

#include "audit/canary_desk.h"
#include "rollout/verdict.h"

namespace waggle {

inline constexpr std::size_t kCanaryBytesMax = std::size_t{1} << 30;

// `record` with this lie in it, or as it is (kNone); `draw` says where. `examine` replays a group.
// What comes out was replayed, and is what a canary promises: no item of a bad one holds, every
// item of a good one does. Nothing: it is not, or the replay could not tell. One replay; two where
// a lie happened to be the truth, and another one took its place.
std::optional<GroupRecord> MakeCanary(const GroupRecord& record, CanaryLie lie, std::uint64_t draw,
                                      const std::function<Verdict(const GroupRecord&)>& examine);

Bytes Encode(const CanaryBatch& canary);
Result<CanaryBatch> DecodeCanary(std::span<const std::uint8_t> bytes);  // Blame::kPeer

}  // namespace waggle
