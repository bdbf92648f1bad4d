// Countdown: reach a target with + - * / and parentheses, using every given number exactly once.
#pragma once

#include <memory>
#include <span>

#include "base/config.h"
#include "environments/environment.h"
#include "environments/expression.h"

namespace waggle {

struct CountdownConfig {
  std::string style = "compact", operations = "+-*/", form, train_file, test_file;
  std::uint32_t numbers_min = 3, numbers_max = 4;
  std::int64_t number_low = 1, number_high = 99, target_low = 10, target_high = 100;
  double format_weight = 0.1;

  template <class V>
  void Visit(V&& v) {
    v("style", style, OneOf{"compact", "tags"},
      "compact: \"44 19 35=98:\" answered by an expression; tags: English instructions, the "
      "expression in <answer> tags.");
    v("form", form, Any{},
      "Prompt instead of the style's own; {numbers} and {target} are filled in.");
    v("operations", operations, Any{},
      "Characters of + - * / that generated solutions use; answers may use all four.");
    v("numbers_min", numbers_min, Range<std::uint32_t>{2, 6},
      "Fewest numbers of a generated task.");
    v("numbers_max", numbers_max, Range<std::uint32_t>{2, 6}, "Most numbers of a generated task.");
    v("number_low", number_low, Range<std::int64_t>{1, 1000}, "Smallest given number.");
    v("number_high", number_high, Range<std::int64_t>{1, 1000}, "Largest given number.");
    v("target_low", target_low, Range<std::int64_t>{0, 1000000}, "Smallest target.");
    v("target_high", target_high, Range<std::int64_t>{0, 1000000}, "Largest target.");
    v("train_file", train_file, Any{},
      "JSON Lines of {nums, target, solution} instead of generated tasks.");
    v("test_file", test_file, Any{}, "JSON Lines of the held-out tasks; needed with train_file.");
    v("format_weight", format_weight, Range<double>{0, 0.5},
      "Part of the reward given for a well-formed expression over the right numbers.");
  }
};

// Reward components: correct (1 - format_weight), format (format_weight: parses, each number
// exactly once), distance (metric: 1/(1 + |value - target|), unset where there is no value).
Result<std::unique_ptr<Environment>> MakeCountdown(const CountdownConfig& config);

struct CountdownVerdict {
  bool well_formed = false;  // parses and uses each number exactly once
  bool correct = false;
  std::optional<Rational> value;
  std::string reason;  // why not correct
};
// Pure, total, exact. Linear in the expression.
CountdownVerdict VerifyCountdown(std::string_view expression, std::span<const std::int64_t> numbers,
                                 std::int64_t target);

// An expression without spaces and without needless parentheses, or nullopt if there is none. At
// most 6 numbers.
std::optional<std::string> SolveCountdown(std::span<const std::int64_t> numbers,
                                          std::int64_t target);

}  // namespace waggle
