// What the built-in environments share: drawing instances on the right side of the held-out split,
// prompt templates, and the last words of a transcript.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "environments/environment.h"

namespace waggle {

// Whether the instance with this content is held out. The split looks at what a task *is*, not at
// the seed it came from, so a held-out task can never be drawn for training, by any seed. `percent`
// of all contents are held out.
bool IsHeldOutContent(std::string_view key, std::uint32_t percent);

inline constexpr std::uint32_t kHeldOutPercent = 12;
// An environment proves itself with kDrawsTrial attempts per task and then works with kDrawsMax:
// where 32 tasks were found within the former, a task that is not found within the latter does not
// occur (its probability is below e^-100).
inline constexpr std::uint32_t kDrawsTrial = 5000, kDrawsMax = 1000000;

struct DrawRules {
  std::uint32_t attempts_max = kDrawsTrial;
  std::uint32_t held_out_percent = kHeldOutPercent;
};

// Draws instances with draw(rng) until one lies on the side that `seed` asks for and
// accept(instance), an expensive test that may also complete it, agrees. Attempt n uses stream n of
// the seed, so the result is a pure function of the seed. draw may return nullopt to reject an
// attempt. The instance has a member key() whose text decides the side; equal tasks must have equal
// keys. nullopt: nothing found.
template <class Draw, class Accept>
auto DrawOnSide(std::uint64_t seed, const DrawRules& rules, const Draw& draw, const Accept& accept)
    -> decltype(draw(std::declval<Rng&>())) {
  const bool held_out = (seed & kHeldOutBit) != 0;
  for (std::uint32_t attempt = 0; attempt < rules.attempts_max; ++attempt) {
    Rng rng(seed & ~kHeldOutBit, attempt);
    auto instance = draw(rng);
    if (!instance || IsHeldOutContent(instance->key(), rules.held_out_percent) != held_out)
      continue;
    if (accept(*instance)) return instance;
  }
  return std::nullopt;
}
template <class Draw>
auto DrawOnSide(std::uint64_t seed, const DrawRules& rules, const Draw& draw) {
  return DrawOnSide(seed, rules, draw, [](auto&) { return true; });
}

// Index into a list of `size` >= 1 rows: consecutive seeds walk through all rows.
inline std::size_t RowOf(std::uint64_t seed, std::size_t size) {
  return static_cast<std::size_t>((seed & ~kHeldOutBit) % size);
}

// Refuses a configuration in which either side of the split has too few tasks to find one: what
// Make functions call before they hand an environment out, so that MakeTask never fails afterwards.
Status CheckBothSides(const Environment& environment);

// Replaces the first "{}" of a template; templates without it get the text appended.
std::string FillTemplate(std::string_view form, std::string_view text);

std::string_view Trim(std::string_view text);
// Content of the last assistant message; empty if there is none.
std::string_view FinalText(const std::vector<Message>& transcript);
Task UserTask(std::string_view environment, std::uint64_t seed, std::string prompt,
              std::string answer);
// Leading characters that agree, as a share of the longer of the two: 1 only for equal texts.
double PrefixShare(std::string_view text, std::string_view answer);

}  // namespace waggle
