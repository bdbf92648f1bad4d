// Any text as an answer to a Countdown task and as a calculator call.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "environments/countdown.h"

using namespace waggle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<std::int64_t> numbers = {3, 3, 8, 8};
  const CountdownVerdict verdict = VerifyCountdown(text, numbers, 24);
  Check(!verdict.correct || (verdict.well_formed && verdict.value == Rational{24, 1}),
        "a correct answer is well formed");
  const ExpressionLimits limits{.characters_max = 4096, .depth_max = 64, .unary_minus = true};
  const auto value = EvaluateExpression(text, limits);
  if (!value) return 0;
  Check(value->value.denominator > 0, "denominators are positive");
  // What we print reads back as the same value.
  const auto again = EvaluateExpression(value->value.Text(), limits);
  Check(!again || again->value == value->value, "a value reads back");
  return 0;
}
