// Algorithmic tasks over characters: sort, copy, reverse.
#pragma once

#include <memory>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

struct SequenceConfig {
  std::string alphabet = "0123456789", form = "{}=", separator;
  std::uint32_t length_min = 3, length_max = 8;
  bool descending = false;
  double prefix_weight = 0;

  template <class V>
  void Visit(V&& v) {
    v("alphabet", alphabet, Any{},
      "Characters that texts are made of (ASCII, no spaces, no repeats).");
    v("length_min", length_min, Range<std::uint32_t>{1, 256}, "Shortest text.");
    v("length_max", length_max, Range<std::uint32_t>{1, 256}, "Longest text.");
    v("separator", separator, Any{}, "Put between characters.");
    v("form", form, Any{}, "Prompt; {} stands for the text.");
    v("descending", descending, Any{}, "sort only: largest character first.");
    v("prefix_weight", prefix_weight, Range<double>{0, 0.5},
      "Part of the reward given for leading right characters of a wrong answer.");
  }
};

// Reward components: correct (weight 1 - prefix_weight), prefix (prefix_weight), length (metric:
// right number of characters).
Result<std::unique_ptr<Environment>> MakeSort(const SequenceConfig& config);
Result<std::unique_ptr<Environment>> MakeCopy(const SequenceConfig& config);
Result<std::unique_ptr<Environment>> MakeReverse(const SequenceConfig& config);

}  // namespace waggle
