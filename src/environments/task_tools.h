// What the built-in environments share: drawing instances on the right side of the held-out split, prompt templates,
// and the last words of a transcript.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "environments/environment.h"

namespace waggle {

// Whether the instance with this content is held out. The split looks at what a task *is*, not at the seed it came from, so
// a held-out task can never be drawn for training, by any seed. `percent` of all contents are held out.
bool IsHeldOutContent(std::string_view key, std::uint32_t percent);

inline constexpr std::uint32_t kHeldOutPercent = 12;
inline constexpr std::uint32_t kDrawsMax = 20000;  // beyond: the task space is too small to hold anything out

// Draws instances with draw(rng) until one lies on the side that `seed` asks for. Attempt n uses stream n of the seed, so
// the result is a pure function of (seed, draw). draw may return nullopt to reject an attempt. The instance has a member
// key() whose text decides the side; equal tasks must have equal keys. nullopt: nothing found in kDrawsMax attempts.
template <class Draw>
auto DrawOnSide(std::uint64_t seed, const Draw& draw, std::uint32_t percent = kHeldOutPercent)
    -> decltype(draw(std::declval<Rng&>())) {
  const bool held_out = (seed & kHeldOutBit) != 0;
  for (std::uint32_t attempt = 0; attempt < kDrawsMax; ++attempt) {
    Rng rng(seed & ~kHeldOutBit, attempt);
    auto instance = draw(rng);
    if (instance && IsHeldOutContent(instance->key(), percent) == held_out) return instance;
  }
  return std::nullopt;
}

// Index into a list of `size` >= 1 rows: consecutive seeds walk through all rows.
inline std::size_t RowOf(std::uint64_t seed, std::size_t size) {
  return static_cast<std::size_t>((seed & ~kHeldOutBit) % size);
}

// Refuses a configuration in which either side of the split has no task: what Make functions call before they hand an
// environment out, so that MakeTask never fails afterwards.
Status CheckBothSides(const Environment& environment);

// Replaces the first "{}" of a template; templates without it get the text appended.
std::string FillTemplate(std::string_view form, std::string_view text);

std::string_view Trim(std::string_view text);
// Content of the last assistant message; empty if there is none.
std::string_view FinalText(const std::vector<Message>& transcript);
Task UserTask(std::string_view environment, std::uint64_t seed, std::string prompt, std::string answer);
// Leading characters that agree, as a share of the longer of the two: 1 only for equal texts.
double PrefixShare(std::string_view text, std::string_view answer);

}  // namespace waggle
