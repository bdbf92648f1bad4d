#include "proofs/fingerprint/calibrate.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "proofs/fingerprint/grail_window.h"

namespace waggle {
namespace {

bool IsControl(const CaseDoc& doc) { return doc.name == "canonical"; }

// Values of one statistic over the rollouts whose number has this parity (2: all).
std::vector<double> Values(const SchemeScores& scores, std::size_t statistic, std::size_t parity) {
  std::vector<double> values;
  for (std::size_t i = 0; i < scores.rollouts.size(); ++i) {
    if (parity != 2 && scores.numbers[i] % 2 != parity) continue;
    for (const UnitScores& unit : scores.rollouts[i]) values.push_back(unit[statistic]);
  }
  return values;
}

double LimitOf(const Statistic& statistic, const std::vector<double>& honest) {
  if (honest.empty() || statistic.rule.fixed) return statistic.published;
  const LimitRule& rule = statistic.rule;
  const double limit = rule.factor * Quantile(honest, rule.quantile) + rule.plus;
  return rule.never_looser ? std::min(limit, statistic.published) : limit;
}

// The largest value of a unit in terms of its limits.
double Excess(const UnitScores& unit, std::span<const double> limits) {
  double most = 0;
  for (std::size_t i = 0; i < unit.size(); ++i) {
    const double ratio = unit[i] <= 0 ? 0.0 : unit[i] / std::max(limits[i], 1e-300);
    most = ratio <= most ? most : ratio;
  }
  return most;
}

double Share(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Share of rollouts with odd numbers that are likely under the limits; refused ones are not.
double Accepted(const FingerprintInfo& info, const SchemeScores& scores,
                std::span<const double> limits) {
  std::size_t likely = 0, seen = scores.refused_odd;
  for (std::size_t i = 0; i < scores.rollouts.size(); ++i) {
    if (scores.numbers[i] % 2 == 0) continue;
    ++seen;
    likely += Judge(info, limits, scores.rollouts[i]).likeness == Likeness::kLikely ? 1 : 0;
  }
  return Share(likely, seen);
}

CaseReport ReportOf(const SchemeReport& scheme, const CaseScores& scores, std::size_t f) {
  const SchemeScores& s = scores.schemes[f];
  CaseReport report{.doc = scores.doc, .rollouts = scores.rollouts, .refused = s.refused};
  report.blind = (scores.doc.honest_in & Bit(scheme.info.sees)) != 0;
  for (std::size_t k = 0; k < scheme.info.statistics.size(); ++k) {
    const std::vector<double> values = Values(s, k, 2);
    report.units = values.size();
    if (values.empty()) {
      report.spreads.emplace_back();
      continue;
    }
    report.spreads.push_back({Quantile(values, 0.001), Quantile(values, 0.5),
                              Quantile(values, 0.999), Quantile(values, 1)});
  }
  report.histogram.assign(std::size(kHistogramEdges) + 1, 0);
  std::size_t pass = 0;
  for (const auto& rollout : s.rollouts) {
    for (const UnitScores& unit : rollout) {
      const double excess = Excess(unit, scheme.published);
      pass += excess <= 1 ? 1 : 0;
      const auto edge =
          std::lower_bound(std::begin(kHistogramEdges), std::end(kHistogramEdges), excess);
      ++report.histogram[static_cast<std::size_t>(edge - std::begin(kHistogramEdges))];
    }
  }
  report.units_pass_published = Share(pass, report.units);
  report.accepted_published = Accepted(scheme.info, s, scheme.published);
  report.accepted_calibrated = Accepted(scheme.info, s, scheme.calibrated);
  return report;
}

void Warn(SchemeReport& scheme) {
  std::string passing;
  for (const CaseReport& c : scheme.cases) {
    if (c.doc.honest || c.blind || c.units == 0 || c.units_pass_published <= kNullShareMax)
      continue;
    passing += fmt::format("{}{} {:.0f} % ({:.0f} %)", passing.empty() ? "" : ", ", c.doc.name,
                           100 * c.units_pass_published, 100 * c.accepted_published);
  }
  if (!passing.empty())
    scheme.warnings.push_back(fmt::format(
        "{}: the published limits are above the 0.1 % quantile of the null; of {}s (and "
        "rollouts) pass: {}",
        scheme.info.name, scheme.info.unit, passing));
  if (scheme.false_rejects_published > 0.01)
    scheme.warnings.push_back(
        fmt::format("{}: the published limits refuse {:.1f} % of honest "
                    "rollouts",
                    scheme.info.name, 100 * scheme.false_rejects_published));
}

SchemeReport ReportOf(const Fingerprint& fingerprint, std::span<const CaseScores> cases,
                      std::size_t f) {
  SchemeReport scheme{.info = fingerprint.info(), .published = PublishedLimits(fingerprint.info())};
  for (std::size_t k = 0; k < scheme.info.statistics.size(); ++k) {
    std::vector<double> honest;
    for (const CaseScores& c : cases) {
      if (!c.doc.honest || IsControl(c.doc)) continue;
      const auto values = Values(c.schemes[f], k, 0);
      honest.insert(honest.end(), values.begin(), values.end());
    }
    scheme.calibrated.push_back(LimitOf(scheme.info.statistics[k], honest));
  }
  std::size_t honest_cases = 0, tokens = 0;
  for (const CaseScores& c : cases) {
    scheme.cases.push_back(ReportOf(scheme, c, f));
    if (!c.doc.honest) continue;
    tokens += c.tokens;
    scheme.bytes_posted += static_cast<double>(c.schemes[f].bytes_posted);
    scheme.bytes_opened += static_cast<double>(c.schemes[f].bytes_opened);
    if (IsControl(c.doc)) continue;
    ++honest_cases;
    scheme.false_rejects_published += 1 - scheme.cases.back().accepted_published;
    scheme.false_rejects_calibrated += 1 - scheme.cases.back().accepted_calibrated;
  }
  const auto per = [](double& value, std::size_t n) {
    value = n == 0 ? 0.0 : value / static_cast<double>(n);
  };
  per(scheme.false_rejects_published, honest_cases);
  per(scheme.false_rejects_calibrated, honest_cases);
  per(scheme.bytes_posted, tokens);
  per(scheme.bytes_opened, tokens);
  Warn(scheme);
  return scheme;
}

std::string Number(double x) {
  if (!std::isfinite(x)) return "-";
  const double a = std::fabs(x);
  if (a >= 1e6) return fmt::format("{:.1e}", x);
  if (a >= 1 || a == 0) return fmt::format("{:.4g}", x);
  return a < 1e-4 ? fmt::format("{:.1e}", x) : fmt::format("{:.3g}", x);
}

// One character per bin: nothing, traces, and then tenths.
std::string Strip(const CaseReport& c) {
  std::string strip;
  for (std::size_t b = 0; b < c.histogram.size(); ++b) {
    const double share = Share(c.histogram[b], c.units);
    strip += c.histogram[b] == 0 ? ' '
             : share < 0.05      ? '.'
                            : static_cast<char>('0' + std::min(9, static_cast<int>(share * 10)));
    if (b + 1 < c.histogram.size() && kHistogramEdges[b] == 1) strip += '|';
  }
  return strip;
}

void AppendScheme(std::string& text, const SchemeReport& s) {
  text += fmt::format("\n{}: {}, per {}", s.info.name, s.info.looks_at, s.info.unit);
  if (s.info.quorum < 1) text += fmt::format(", {:.3g} of them have to agree", s.info.quorum);
  text += fmt::format("; {:.1f} bytes posted and {:.1f} opened per token\n", s.bytes_posted,
                      s.bytes_opened);
  for (std::size_t k = 0; k < s.info.statistics.size(); ++k)
    text += fmt::format("  {:<22} published {:>8}, calibrated {:>8}\n", s.info.statistics[k].name,
                        Number(s.published[k]), Number(s.calibrated[k]));
  text += fmt::format(
      "  honest rollouts refused: {:.2f} % by published, {:.2f} % by calibrated "
      "limits (held out)\n",
      100 * s.false_rejects_published, 100 * s.false_rejects_calibrated);
  text += fmt::format("  {:<14} {:>7} {:>22} {:>22}  {:<13}  {:>9} {:>9}\n", "case", "units",
                      "first: .1% med 99.9%", "second: .1% med 99.9%", "0.001x ..1x|..",
                      "published", "calibr.");
  for (const CaseReport& c : s.cases) {
    const auto spread = [&](std::size_t k) {
      if (k >= c.spreads.size() || c.units == 0) return std::string();
      return fmt::format("{} {} {}", Number(c.spreads[k].low), Number(c.spreads[k].median),
                         Number(c.spreads[k].high));
    };
    std::string remark = c.blind ? "  (blind by design)" : "";
    if (c.refused > 0) remark += fmt::format("  {} refused by form", c.refused);
    text += fmt::format("  {:<14} {:>7} {:>22} {:>22} [{:<13}] {:>7.1f} % {:>7.1f} %{}\n",
                        c.doc.name, c.units, spread(0), spread(1), Strip(c),
                        100 * c.accepted_published, 100 * c.accepted_calibrated, remark);
  }
}

}  // namespace

CalibrationReport Calibrate(std::span<const std::unique_ptr<Fingerprint>> fingerprints,
                            std::span<const CaseScores> cases) {
  CalibrationReport report;
  for (const CaseScores& c : cases) {
    Check(c.schemes.size() == fingerprints.size(), "scores of these fingerprints");
    if (c.doc.honest && !IsControl(c.doc)) report.honest_rollouts += c.rollouts;
    report.nodes.push_back(
        {c.doc, static_cast<std::size_t>(c.node.tokens()), c.node.kolmogorov(), c.node.surprise()});
  }
  for (std::size_t f = 0; f < fingerprints.size(); ++f)
    report.schemes.push_back(ReportOf(*fingerprints[f], cases, f));
  return report;
}

std::string ReportText(const CalibrationReport& report) {
  std::string text;
  for (const SchemeReport& s : report.schemes) AppendScheme(text, s);
  text += "\nall tokens of a case as one node's (suspicious: D sqrt(n) > 2, z < -4)\n";
  for (const NodeReport& n : report.nodes)
    text += fmt::format("  {:<14} {:>7} tokens  D sqrt(n) {:>7.2f}  z {:>8.2f}\n", n.doc.name,
                        n.tokens, n.kolmogorov, n.surprise);
  text += "\n";
  for (const SchemeReport& s : report.schemes) {
    for (const std::string& warning : s.warnings) text += "warning: " + warning + "\n";
  }
  if (report.honest_rollouts < kHonestRolloutsMin)
    text += fmt::format("warning: {} honest rollouts on other engines, calibration wants {}\n",
                        report.honest_rollouts, kHonestRolloutsMin);
  return text;
}

}  // namespace waggle
