// A multi-turn environment with one tool: products too long for the head, and a calculator.
// "37*24?" may be answered by
// "<37*24>", which the calculator answers with "[888]", and then by "888".
#pragma once

#include <memory>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

struct ToolDemoConfig {
  std::uint32_t digits = 2, calls_max = 2;
  double call_cost = 0;

  template <class V>
  void Visit(V&& v) {
    v("digits", digits, Range<std::uint32_t>{1, 7}, "Most digits of a factor.");
    v("calls_max", calls_max, Range<std::uint32_t>{1, 16},
      "Calculator calls of an episode; a further call ends it.");
    v("call_cost", call_cost, Range<double>{0, 0.5}, "Reward lost per call after the first.");
  }
};

// Reward components: correct (weight 1), extra_calls (weight -call_cost), calls and tool_errors
// (metrics). Calls in text are an assistant turn "<expression>"; tool_calls named "calculator" with
// {"expression": "..."} work as well.
Result<std::unique_ptr<Environment>> MakeToolDemo(const ToolDemoConfig& config);

}  // namespace waggle
