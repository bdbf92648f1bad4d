// The run's report: one self-contained HTML file (no scripts from elsewhere, no network) with
// curves and sample transcripts before and after, made from metrics.jsonl, evaluations.jsonl and
// recipe.toml of a run folder.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace waggle {

struct ReportFacts {
  std::string run_id, weight_hash, summary;  // plain text
};

// Writes run_directory/report.html and returns its path.
Result<std::filesystem::path> WriteReport(const std::filesystem::path& run_directory,
                                          const ReportFacts& facts);

}  // namespace waggle
