// Any text as a market.
#include <string_view>

#include "base/check.h"
#include "ledger/yuma_scenario.h"

using namespace waggle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8'192) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto report = RunYumaScenario(text, "fuzz");
  Check(report || report.error().blame == Blame::kOperator, "a bad scenario is its writer's");
  return 0;
}
