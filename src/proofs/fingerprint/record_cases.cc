#include "proofs/fingerprint/record_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "proofs/fingerprint/hash_input.h"
#include "proofs/fingerprint/node_record.h"

namespace waggle {
namespace {

constexpr CaseDoc kCases[] = {
    {.name = "canonical", .what = "the validator's own arithmetic", .honest = true},
    {.name = "fast-splitk", .what = "inner sums split in eight", .honest = true},
    {.name = "fast-tiles", .what = "other tiles, attention backwards", .honest = true},
    {.name = "fast-bf16", .what = "inputs of products rounded to bf16", .honest = true},
    {.name = "cool", .what = "sampled at nine tenths of the temperature"},
    {.name = "cold", .what = "sampled at half the temperature"},
    {.name = "top-p", .what = "the last 5 % of the distribution left out"},
    {.name = "best-of-2", .what = "of the key's answer and another, the likelier"},
    {.name = "one-of-16", .what = "every 16th answer is not the key's"},
    {.name = "bf16-weights", .what = "linear weights rounded to bf16"},
    {.name = "int8-weights", .what = "linear weights as int8 in groups of 128"},
    {.name = "int4-weights", .what = "linear weights rounded to 15 levels"},
};

std::string_view SamplerOf(std::string_view name) {
  return name == "best-of-2" || name == "one-of-16" ? "canonical" : name;
}

// Looked at by the validator.
Result<RolloutView> ViewOf(const CalibrationPlan& plan, const Model& truth, std::size_t i,
                           std::span<const TokenId> response) {
  const std::size_t p = i / plan.samples;
  return LookAt(truth, *plan.pool,
                ClaimOf(plan, p, p, static_cast<std::uint32_t>(i % plan.samples), response));
}

double Likelihood(const RolloutView& view) {
  double sum = 0;
  for (const TokenView& token : view.tokens) sum += static_cast<double>(token.logp);
  return sum;
}

// The answers of one pass over all prompts.
Result<std::vector<RolloutView>> Answers(const CalibrationPlan& plan, std::string_view name,
                                         const CaseParties& parties, std::uint64_t first) {
  WG_ASSIGN(const auto own, SampleCase(plan, SamplerOf(name), parties.sampler));
  std::vector<std::vector<TokenId>> others;
  if (SamplerOf(name) != name) {
    WG_ASSIGN(others, SampleCase(plan, "other-sample", parties.sampler));
  }
  std::vector<RolloutView> views;
  for (std::size_t i = 0; i < own.size(); ++i) {
    WG_ASSIGN(RolloutView view, ViewOf(plan, *parties.truth, i, own[i]));
    if (!others.empty() && (name == "best-of-2" || (first + i) % 16 == 0)) {
      WG_ASSIGN(RolloutView other, ViewOf(plan, *parties.truth, i, others[i]));
      if (name == "one-of-16" || Likelihood(other) > Likelihood(view)) view = std::move(other);
    }
    views.push_back(std::move(view));
  }
  return views;
}

}  // namespace

std::span<const CaseDoc> RecordCases() { return kCases; }

Result<RecordReport> RunRecordCase(const CalibrationPlan& plan, const RecordPlan& record,
                                   const CaseDoc& doc) {
  WG_ASSIGN(const CaseParties parties, PartiesOf(plan, SamplerOf(doc.name)));
  RecordReport report{.doc = doc};
  NodeRecords records;
  SamplingBets all;
  std::uint64_t since = 0, needed = 0;
  std::map<std::string, std::uint64_t> won;
  CalibrationPlan pass = plan;
  for (; report.groups < record.groups; ++pass.seed) {
    WG_ASSIGN(const auto views, Answers(pass, doc.name, parties, report.groups * plan.samples));
    for (std::size_t g = 0; g < plan.prompts.size() && report.groups < record.groups; ++g) {
      SamplingBets bets;
      for (std::size_t s = 0; s < plan.samples; ++s) {
        const Digest256 challenge =
            HashInput().Text("record").Little(pass.seed, 8).Little(g, 8).Little(s, 8).Finish();
        bets.Add(SamplingBetsOf(views[g * plan.samples + s], challenge, record.race_tolerance));
      }
      all.Add(bets);
      ++since;
      const auto found = records.Feed(NodeId{}, ++report.groups, bets);
      if (!found) continue;
      ++report.findings;
      needed += since;
      since = 0;
      ++won[found->what];
      records = {};
    }
  }
  report.tokens = all.tokens;
  report.race_loss = all.room > 0 ? static_cast<double>(all.lost) / all.room : 0;
  report.nats_per_group = 1e-6 * static_cast<double>(*std::ranges::max_element(all.won)) /
                          static_cast<double>(std::max<std::uint64_t>(1, report.groups));
  if (report.findings > 0) {
    report.groups_needed = static_cast<double>(needed) / static_cast<double>(report.findings);
    report.by = std::ranges::max_element(won, {}, [](const auto& w) { return w.second; })->first;
  }
  return report;
}

std::string RecordText(const RecordPlan& record, std::span<const RecordReport> reports) {
  std::string text = fmt::format(
      "\nrecords of nodes: false alarms {:.0e} per node for ever, tolerance of lost races {:.3g}\n"
      "{:<14} {:>7} {:>9} {:>9} {:>14} {:>10} {:>10}  {}\n",
      kFalseAlarms, record.race_tolerance, "case", "groups", "tokens", "findings", "groups needed",
      "race loss", "nats/group", "by");
  for (const RecordReport& r : reports)
    text += fmt::format("{:<14} {:>7} {:>9} {:>9} {:>14} {:>10.4f} {:>10.3f}  {}\n", r.doc.name,
                        r.groups, r.tokens, r.findings,
                        r.findings == 0 ? "-" : fmt::format("{:.1f}", r.groups_needed), r.race_loss,
                        r.nats_per_group, r.by);
  return text;
}

}  // namespace waggle
