// Grade-school word problems from JSON Lines files of {question, answer}, the gold answer after
// "#### ".
#pragma once

#include <memory>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

struct Gsm8kConfig {
  std::string train_file, test_file;
  std::string form = "{}\nThink step by step, then end with \"#### \" and the number.\n";
  std::string extract = "flexible";
  std::vector<std::string> markers = {"####", "Answer:", "answer is", "A:"}, units;
  bool thinking = false, annotations = false;
  double format_weight = 0;

  template <class V>
  void Visit(V&& v) {
    v("train_file", train_file, Any{}, "JSON Lines of {question, answer} to train on.");
    v("test_file", test_file, Any{}, "JSON Lines of the held-out questions.");
    v("form", form, Any{}, "Prompt; {} stands for the question.");
    v("extract", extract, OneOf{"strict", "flexible"},
      "strict: the number in \\boxed{} or after a marker; flexible: without either, the last "
      "number of the response.");
    v("markers", markers, Any{}, "Texts after which the answer stands; the last one counts.");
    v("units", units, Any{}, "Words that may stand behind the number, each with its own spelling.");
    v("thinking", thinking, Any{}, "The answer counts only after </think>.");
    v("annotations", annotations, Any{},
      "Keep the <<48/2=24>> notes of the file in demonstrations.");
    v("format_weight", format_weight, Range<double>{0, 0.5},
      "Part of the reward given for an answer in the asked form.");
  }
};

// Reward components: correct (weight 1 - format_weight; exact comparison of numbers), format
// (format_weight), length (metric, characters). `correct` stays unset where the gold answer is no
// number.
Result<std::unique_ptr<Environment>> MakeGsm8k(const Gsm8kConfig& config);

}  // namespace waggle
