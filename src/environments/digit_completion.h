// The published digit-completion benchmark (made for RL from random weights): "8,3:9,4" is answered
// by "7,2,6,1": the step is the difference of the first two numbers, everything is modulo the
// third, the fourth says how many numbers to write.
#pragma once

#include <memory>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

struct DigitCompletionConfig {
  std::uint32_t modulus = 9, first_max = 9, step_max = 9, count_max = 9;
  std::string train_file, test_file;
  bool published_split = false;

  template <class V>
  void Visit(V&& v) {
    v("modulus", modulus, Range<std::uint32_t>{2, 1000}, "M; every answer number is below it.");
    v("first_max", first_max, Range<std::uint32_t>{0, 999},
      "Largest first number of a generated task.");
    v("step_max", step_max, Range<std::uint32_t>{0, 999}, "Largest step of a generated task.");
    v("count_max", count_max, Range<std::uint32_t>{1, 64},
      "Most numbers to write in a generated task.");
    v("train_file", train_file, Any{},
      "JSON Lines of {prompt, answer} instead of generated tasks.");
    v("test_file", test_file, Any{}, "JSON Lines of the held-out tasks; needed with train_file.");
    v("published_split", published_split, Any{},
      "Keep training rows whose prompt is held out too (29 prompts of the published files), for "
      "comparison with published runs.");
  }
};

// Reward component "digits" (weight 1): DigitCompletionReward. Metric "exact".
Result<std::unique_ptr<Environment>> MakeDigitCompletion(const DigitCompletionConfig& config);

// Each leading character that equals the truth's earns 1/(len(truth) + 1); the end token earns as
// much if the response ended on a right character. A full answer thus earns 1, an empty answer to
// an empty truth too.
double DigitCompletionReward(std::string_view response, std::string_view truth);

// The answer to a prompt; fails on any other form of prompt.
Result<std::string> CompleteDigits(std::string_view prompt);

}  // namespace waggle
