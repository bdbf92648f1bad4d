// What a run tells people while it works: metrics.jsonl, TensorBoard files, evaluations.jsonl with
// sample transcripts, events.jsonl of a run that is watched, and a live view that redraws in a
// terminal and prints plain lines into a pipe. Nothing here feeds back into the run.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "roles/orchestrator_core.h"
#include "telemetry/telemetry_view.h"
#include "telemetry/tensorboard.h"
#include "training/trainer.h"

namespace waggle {

// One row of metrics.jsonl. Names come from MetricNames(); docs/metrics.md is generated from it.
using Scalars = std::vector<std::pair<std::string, double>>;
struct MetricDoc {
  const char *name, *help;
};
const std::vector<MetricDoc>& MetricDocs();

// Rates measured by the driver around one step; wall-clock, so in no result.
struct StepTimes {
  double sample_seconds = 0, train_seconds = 0;
  std::uint64_t sampled_tokens = 0;
};
Scalars ScalarsOf(const StepReport& report, const StepTimes& times);

struct TelemetryOptions {
  std::filesystem::path run_directory;
  std::FILE* terminal = stderr;
  bool live = false;  // redraw in place, unless TERM says that this cannot be; else plain lines
  bool quiet = false;
};

class Telemetry {
 public:
  // Drops rows after `step` from earlier files (work that a resumed run does again).
  static Result<Telemetry> Create(const TelemetryOptions& options, std::uint64_t step,
                                  std::uint64_t steps_total, Clock& clock);

  Status Step(std::uint64_t step, const Scalars& scalars);
  Status Evaluated(const Evaluation& evaluation);
  // A line of events.jsonl: what the watch saw and did (docs/reward-hacking.md). `row` is a JSON
  // object with a "step".
  Status Event(const std::string& row);
  void Say(const std::string& line);  // a line that stays on screen

 private:
  Telemetry(const TelemetryOptions& options, TensorBoardWriter board, Clock& clock);
  void Observe(std::uint64_t step, const Scalars& scalars);
  void Draw();
  void Erase();

  TelemetryOptions options_;
  TensorBoardWriter board_;
  Clock* clock_;
  std::uint64_t first_step_ = 0;
  std::int64_t started_ns_ = 0, drawn_ns_ = 0;
  int drawn_lines_ = 0;
  ProgressView view_;
};

// Accuracy with its 95 % interval as "71.3 % [66.0, 76.1]".
std::string AccuracyText(std::uint64_t correct, std::uint64_t tasks);

}  // namespace waggle
