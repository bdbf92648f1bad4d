// From scores to limits: for every fingerprint the honest and the null distribution of each
// statistic, the limit that its rule gives, and the error rates of published and calibrated limits
// on rollouts that the calibration did not see. A tolerance is worth something only if both
// distributions stand beside it, so they always do.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "proofs/fingerprint/cases.h"

namespace waggle {

struct Spread {                                    // of one statistic over units
  double low = 0, median = 0, high = 0, most = 0;  // quantiles 0.001, 0.5, 0.999, and the maximum
};

struct CaseReport {
  CaseDoc doc;
  std::size_t rollouts = 0, refused = 0, units = 0;
  std::vector<Spread> spreads;      // per statistic
  double units_pass_published = 0;  // share of units within all published limits
  double accepted_published = 0, accepted_calibrated = 0;  // shares of rollouts, held out
  std::vector<std::size_t> histogram;  // units by largest value / limit, kHistogramEdges
  bool blind = false;                  // by design: this fingerprint cannot see this cheat
};

struct SchemeReport {
  FingerprintInfo info;
  std::vector<double> published, calibrated;  // limits, per statistic
  std::vector<CaseReport> cases;
  double false_rejects_published = 0, false_rejects_calibrated = 0;  // over honest cases, held out
  double bytes_posted = 0, bytes_opened = 0;                         // per token
  std::vector<std::string> warnings;
};

struct NodeReport {  // all tokens of a case as one node's
  CaseDoc doc;
  std::size_t tokens = 0;
  double kolmogorov = 0, surprise = 0;
};

struct CalibrationReport {
  std::vector<SchemeReport> schemes;
  std::vector<NodeReport> nodes;
  std::size_t honest_rollouts = 0;  // other engines' only
};

// Upper edges of the histogram: units whose largest value over its limit (published, or calibrated
// where none is) is at most this; one more bin for the rest.
inline constexpr double kHistogramEdges[] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};

// Limits come from rollouts with even numbers, error rates from odd ones. The canonical case is the
// control: it enters neither. REQUIRES cases of RunCase with these fingerprints.
CalibrationReport Calibrate(std::span<const std::unique_ptr<Fingerprint>> fingerprints,
                            std::span<const CaseScores> cases);

// Tables and histograms for people.
std::string ReportText(const CalibrationReport& report);

// What a null unit may pass of published limits before the report warns.
inline constexpr double kNullShareMax = 0.001;
inline constexpr std::size_t kHonestRolloutsMin = 200;

}  // namespace waggle
