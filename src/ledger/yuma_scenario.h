// Markets of weights as text: who stakes what, who says what of whom, and what an epoch of Yuma
// consensus makes of it (docs/yuma.md specifies every line).
//
//   settings version=2 commit_reveal=no
//   validator ann stake=30
//   miner mia
//   at 350
//   weights ann mia=1
//   epoch
//   expect incentive mia 1
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ledger/yuma.h"

namespace waggle {

inline constexpr std::size_t kYumaScenarioBytesMax = 1u << 20;
// Neurons of one scenario; and neurons squared, summed over its epochs.
inline constexpr std::size_t kYumaScenarioNeuronsMax = 512;
inline constexpr std::uint64_t kYumaScenarioWorkMax = std::uint64_t{1} << 24;

struct YumaScenarioEpoch {
  std::uint64_t height = 0;
  std::vector<std::string> names;  // by uid
  std::vector<YumaRow> weights;    // as they stood
  YumaOutcome outcome;
  YumaEmission emission;
};
struct YumaScenarioReport {
  YumaSettings settings;
  std::size_t requests = 0, expectations = 0;
  std::vector<YumaScenarioEpoch> epochs;
};

// Deterministic, in integers. Blame::kOperator, with "NAME:LINE: " before it: a line that is none,
// a request that was refused and not expected to be, an expectation that does not hold, more work
// than the limit.
Result<YumaScenarioReport> RunYumaScenario(std::string_view text, const std::string& name);

}  // namespace waggle
