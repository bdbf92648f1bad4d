#include "audit/steps/step_draw.h"

#include <algorithm>
#include <string_view>

#include "crypto/keccak.h"

namespace waggle {

EpochSteps StepsOfEpoch(const StepTerms& terms, std::uint64_t epoch) {
  if (epoch > terms.steps / terms.epoch_versions) return {terms.steps, terms.steps};
  const std::uint64_t first = epoch * terms.epoch_versions;
  return {first, first + std::min(terms.epoch_versions, terms.steps - first)};
}

std::vector<PolicyVersion> DrawnSteps(const StepTerms& terms, std::uint64_t epoch,
                                      const Digest256& beacon, const Digest256& last) {
  const EpochSteps steps = StepsOfEpoch(terms, epoch);
  const auto n = static_cast<std::uint32_t>(steps.end - steps.first);
  if (n == 0 || terms.step_audits == 0) return {};
  constexpr std::string_view kLabel = "steps||";
  Bytes seed(kLabel.begin(), kLabel.end());
  seed.insert(seed.end(), beacon.begin(), beacon.end());
  seed.insert(seed.end(), last.begin(), last.end());
  const std::uint32_t count = beacon == Digest256{} ? n : terms.step_audits;
  std::vector<PolicyVersion> drawn;
  for (const std::uint32_t at : ShakeStream(seed).Distinct(n, count))
    drawn.push_back(PolicyVersion{steps.first + at});
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

}  // namespace waggle
