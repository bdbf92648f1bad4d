// The run's report: one self-contained HTML file (no scripts from elsewhere, no network) with
// curves and sample transcripts before and after, made from metrics.jsonl, evaluations.jsonl and
// recipe.toml of a run folder.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "training/algorithm.h"

namespace waggle {

struct ReportFacts {
  std::string run_id, weight_hash, summary;  // plain text
};

// Tokens that a run trained on so far, by how many policy versions old they were; from
// metrics.jsonl.
using AgeHistogram = std::array<std::uint64_t, kAges>;
Result<AgeHistogram> AgesOfRun(const std::filesystem::path& run_directory);
// "0: 12.5 %  4: 87.5 %"; empty without tokens.
std::string AgesText(const AgeHistogram& ages);

// Writes run_directory/report.html and returns its path.
Result<std::filesystem::path> WriteReport(const std::filesystem::path& run_directory,
                                          const ReportFacts& facts);

}  // namespace waggle
