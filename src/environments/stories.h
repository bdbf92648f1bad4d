// Free text with checkable properties: cheap verifiable rewards for a real language model.
#pragma once

#include <memory>
#include <string_view>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

struct StoriesConfig {
  std::vector<std::string> properties = {"contains  dog"}, prompts = {"Once upon a time"};
  std::string openings = "listed";
  std::uint32_t characters_max = 4096;

  template <class V>
  void Visit(V&& v) {
    v("properties", properties, Any{},
      "What a story must have, each \"kind argument\": contains TEXT, word TEXT, lacks TEXT, "
      "full_stops N (at least), sentences N "
      "(exactly), ends_with TEXT, starts_with TEXT, words_min N, words_max N, unrepeated N (no run "
      "of N words twice). TEXT is taken "
      "as it is, spaces included; comma, quote and newline may be written as <comma>, <quote>, "
      "<newline>.");
    v("openings", openings, OneOf{"listed", "varied"},
      "listed: one of prompts; varied: openings composed by seed, held-out ones never trained on.");
    v("prompts", prompts, Any{}, "First words of the stories.");
    v("characters_max", characters_max, Range<std::uint32_t>{1, 1u << 20},
      "Longer stories have no property.");
  }
};

// One reward component per property, named after it, of equal weights that add up to 1; correct:
// all hold. Metrics "length" (characters) and "distinct_words" (share). Of several listed prompts
// the last eighth, at least one, is held out; a single one serves both.
Result<std::unique_ptr<Environment>> MakeStories(const StoriesConfig& config);

}  // namespace waggle
