// Any text as a response to a numeric question.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "environments/graders.h"

using namespace waggle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  AnswerRule rule;
  rule.markers = {"####", "Answer:", "answer is", "A:"};
  rule.units = {"dollars", "kg"};
  rule.last_number = true;
  if (const auto boxed = LastBoxed(text))
    Check(boxed->size() <= text.size(), "a box lies in the text");
  (void)LastTag(text, "answer");
  (void)TagFormat(text, {"think", "answer"});
  if (const auto number = ReadNumber(text)) {
    Check(SameNumber(*number, *number), "a number equals itself");
    Check(number->denominator != "0", "denominators are not zero");
  }
  const auto answer = ExtractAnswer(text, rule);
  if (!answer) return 0;
  const AnswerStatus status = CompareNumbers(*answer, "18", rule);
  Check(status != AnswerStatus::kBadGold, "the gold answer is a number");
  // An answer that states a number is right about itself.
  if (StatedNumber(*answer, rule))
    Check(CompareNumbers(*answer, *answer, rule) == AnswerStatus::kOk, "an answer equals itself");
  return 0;
}
