#include "proofs/fingerprint/fingerprint.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {

Result<Bytes> Fingerprint::Open(const FingerprintScope&, const RolloutView&,
                                const Digest256&) const {
  return Bytes{};
}

std::vector<double> PublishedLimits(const FingerprintInfo& info) {
  std::vector<double> limits;
  for (const Statistic& s : info.statistics) limits.push_back(s.published);
  return limits;
}

FingerprintResult Judge(const FingerprintInfo& info, std::span<const double> limits,
                        std::span<const UnitScores> units) {
  Check(limits.size() == info.statistics.size(), "a limit per statistic");
  FingerprintResult result{.units = units.size(), .worst = UnitScores(limits.size(), 0.0)};
  for (const UnitScores& unit : units) {
    Check(unit.size() == limits.size(), "a value per statistic");
    bool within = true;
    for (std::size_t i = 0; i < limits.size(); ++i) {
      within = within && unit[i] <= limits[i];  // what is no number is not
      result.worst[i] = unit[i] <= result.worst[i] ? result.worst[i] : unit[i];
    }
    result.within += within ? 1 : 0;
  }
  const double needed = info.quorum * static_cast<double>(units.size());
  if (units.empty() || static_cast<double>(result.within) < needed - 1e-9)
    result.likeness = Likeness::kUnlikely;
  return result;
}

std::vector<std::unique_ptr<Fingerprint>> AllFingerprints() {
  auto all = StateFingerprints();
  auto tokens = TokenFingerprints();
  for (auto& token : tokens) all.push_back(std::move(token));
  return all;
}

std::unique_ptr<Fingerprint> FindFingerprint(std::string_view name) {
  auto all = AllFingerprints();
  for (auto& fingerprint : all) {
    if (fingerprint->info().name == name) return std::move(fingerprint);
  }
  return nullptr;
}

}  // namespace waggle
