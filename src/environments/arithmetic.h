// Integer arithmetic with exact answers: "12+7=" is answered by "19".
#pragma once

#include <memory>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

struct ArithmeticConfig {
  std::string operations = "+", form = "{}=", answer = "whole";
  std::uint32_t operands_min = 2, operands_max = 2, digits_min = 1, digits_max = 2;
  bool pad = false, reversed = false, negative = false;
  double prefix_weight = 0;

  template <class V>
  void Visit(V&& v) {
    v("operations", operations, Any{},
      "Characters of + - *; each operator of a task is drawn from them.");
    v("operands_min", operands_min, Range<std::uint32_t>{2, 8}, "Fewest operands.");
    v("operands_max", operands_max, Range<std::uint32_t>{2, 8}, "Most operands.");
    v("digits_min", digits_min, Range<std::uint32_t>{1, 16}, "Fewest digits of an operand.");
    v("digits_max", digits_max, Range<std::uint32_t>{1, 16}, "Most digits of an operand.");
    v("pad", pad, Any{}, "Write operands with leading zeros, digits_max wide.");
    v("negative", negative, Any{}, "Whether results below zero may be asked for.");
    v("reversed", reversed, Any{},
      "The answer is asked with its last digit first, which small models learn faster.");
    v("form", form, Any{}, "Prompt; {} stands for the expression.");
    v("answer", answer, OneOf{"whole", "number"},
      "The answer is the whole response, or the last number in it.");
    v("prefix_weight", prefix_weight, Range<double>{0, 0.5},
      "Part of the reward given for leading right digits of a wrong answer.");
  }
};

// Reward components: correct (weight 1 - prefix_weight), prefix (prefix_weight), format (metric).
// The split treats a+b and b+a as one task.
Result<std::unique_ptr<Environment>> MakeArithmetic(const ArithmeticConfig& config);

}  // namespace waggle
