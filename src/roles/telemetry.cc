#include "roles/telemetry.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "training/eval.h"

namespace waggle {
namespace {

constexpr std::size_t kLogBytesMax = std::size_t{1} << 30;
constexpr std::int64_t kRedrawNs = 100'000'000;

Status AppendLine(const std::filesystem::path& file, const std::string& line) {
  std::ofstream out(file, std::ios::app);
  out << line << '\n';
  out.flush();
  if (!out) return Fail(Blame::kMachine, "cannot append to {}", file.string());
  return {};
}

// Keeps the rows of a JSON-lines file whose "step" is below `step`; a torn last line goes too.
Status DropRowsFrom(const std::filesystem::path& file, std::uint64_t step) {
  if (!std::filesystem::exists(file)) return {};
  WG_ASSIGN(const std::string text, ReadFile(file, kLogBytesMax));
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    const std::string line = text.substr(at, end - at);
    const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (row.is_object() && row.contains("step") && row["step"].is_number_unsigned() &&
        row["step"].get<std::uint64_t>() < step) {
      kept += line + '\n';
    }
    at = end + 1;
  }
  return WriteFileAtomic(file, kept);
}

double Find(const Scalars& scalars, std::string_view name) {
  for (const auto& [key, value] : scalars) {
    if (key == name) return value;
  }
  return 0.0;
}

std::string Bar(double fraction, int width) {
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * width);
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < filled ? "█" : "░";
  return bar;
}

// The last `width` values as a line of eight-level blocks between 0 and the largest of them.
std::string Sparkline(const std::vector<double>& values, std::size_t width) {
  static constexpr const char* kLevels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty()) return "";
  const std::size_t first = values.size() > width ? values.size() - width : 0;
  const double top = std::max(1e-9, *std::max_element(values.begin() + first, values.end()));
  std::string line;
  for (std::size_t i = first; i < values.size(); ++i) {
    line += kLevels[static_cast<int>(std::clamp(values[i] / top, 0.0, 1.0) * 7.0 + 0.5)];
  }
  return line;
}

}  // namespace

std::string DurationText(double seconds) {
  const auto total = static_cast<std::uint64_t>(std::max(0.0, seconds) + 0.5);
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
  if (total >= 60) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}s", total);
}

std::string AccuracyText(std::uint64_t correct, std::uint64_t tasks) {
  const Interval interval = WilsonInterval(correct, tasks);
  return fmt::format("{:.1f} % [{:.1f}, {:.1f}]", tasks == 0 ? 0.0 : 100.0 * static_cast<double>(correct) / static_cast<double>(tasks),
                     100.0 * interval.low, 100.0 * interval.high);
}

Telemetry::Telemetry(const TelemetryOptions& options, TensorBoardWriter board, Clock& clock)
    : options_(options), board_(std::move(board)), clock_(&clock), started_ns_(clock.MonotonicNs()) {}

Result<Telemetry> Telemetry::Create(const TelemetryOptions& options, std::uint64_t step, std::uint64_t steps_total,
                                    Clock& clock) {
  WG_TRY(DropRowsFrom(options.run_directory / "metrics.jsonl", step + 1));
  // The evaluation of a version follows its checkpoint, so a resumed run does it again.
  WG_TRY(DropRowsFrom(options.run_directory / "evaluations.jsonl", step));
  WG_ASSIGN(TensorBoardWriter board,
            TensorBoardWriter::Create(options.run_directory, clock.UnixSeconds(), step));
  Telemetry telemetry(options, std::move(board), clock);
  telemetry.steps_total_ = steps_total;
  telemetry.first_step_ = step;
  return telemetry;
}

Status Telemetry::Step(std::uint64_t step, const Scalars& scalars) {
  nlohmann::ordered_json row = {{"step", step}};
  for (const auto& [name, value] : scalars) row[name] = value;
  WG_TRY(AppendLine(options_.run_directory / "metrics.jsonl", row.dump()));
  WG_TRY(board_.Write(clock_->UnixSeconds(), step, scalars));
  reward_curve_.push_back(Find(scalars, "reward/mean"));
  if (!options_.quiet) Draw(step, scalars);
  return {};
}

Status Telemetry::Evaluated(const Evaluation& evaluation) {
  const double accuracy = static_cast<double>(evaluation.correct) / static_cast<double>(evaluation.tasks);
  const Interval interval = WilsonInterval(evaluation.correct, evaluation.tasks);
  nlohmann::ordered_json row = {{"step", evaluation.version.value}, {"tasks", evaluation.tasks},
                                {"correct", evaluation.correct},    {"accuracy", accuracy},
                                {"low", interval.low},              {"high", interval.high},
                                {"reward_mean", evaluation.reward_mean}, {"length_mean", evaluation.length_mean}};
  for (const std::string& sample : evaluation.samples) {
    row["samples"].push_back(nlohmann::ordered_json::parse(sample, nullptr, /*allow_exceptions=*/false));
  }
  WG_TRY(AppendLine(options_.run_directory / "evaluations.jsonl", row.dump()));
  WG_TRY(board_.Write(clock_->UnixSeconds(), evaluation.version.value,
                      {{"eval/accuracy", accuracy}, {"eval/reward", evaluation.reward_mean}}));
  accuracy_ = accuracy;
  Say(fmt::format("step {:>5}  held-out accuracy {}", evaluation.version.value,
                  AccuracyText(evaluation.correct, evaluation.tasks)));
  return {};
}

void Telemetry::Say(const std::string& line) {
  if (options_.quiet) return;
  Erase();
  fmt::print(options_.terminal, "{}\n", line);
  std::fflush(options_.terminal);
}

void Telemetry::Erase() {
  if (drawn_lines_ > 0) fmt::print(options_.terminal, "\x1b[{}F\x1b[J", drawn_lines_);
  drawn_lines_ = 0;
}

void Telemetry::Draw(std::uint64_t step, const Scalars& scalars) {
  const std::int64_t now = clock_->MonotonicNs();
  const double elapsed = static_cast<double>(now - started_ns_) * 1e-9;
  const double done = static_cast<double>(step - first_step_);
  const double eta = done > 0 ? elapsed / done * static_cast<double>(steps_total_ - step) : 0.0;
  if (!options_.live) {
    const std::uint64_t every = std::max<std::uint64_t>(1, steps_total_ / 20);
    if (step % every != 0 && step != steps_total_) return;
    fmt::print(options_.terminal,
               "step {:>5}/{}  reward {:.3f}  accuracy {:.3f}  kl {:.4f}  entropy {:.3f}  length {:.1f}  {:.0f} tok/s  eta {}\n", step,
               steps_total_, Find(scalars, "reward/mean"), Find(scalars, "reward/accuracy"), Find(scalars, "policy/kl"),
               Find(scalars, "policy/entropy"), Find(scalars, "rollout/length_mean"), Find(scalars, "speed/sampled_tokens_per_s"),
               DurationText(eta));
    std::fflush(options_.terminal);
    return;
  }
  if (now - drawn_ns_ < kRedrawNs && step != steps_total_) return;
  drawn_ns_ = now;
  Erase();
  fmt::print(options_.terminal, "{} {}/{}  {} elapsed, {} left\n",
             Bar(static_cast<double>(step) / static_cast<double>(std::max<std::uint64_t>(1, steps_total_)), 40), step, steps_total_,
             DurationText(elapsed), DurationText(eta));
  fmt::print(options_.terminal, "reward {:.3f}  accuracy {:.3f}  held-out {}  kl {:.4f}  entropy {:.3f}\n",
             Find(scalars, "reward/mean"), Find(scalars, "reward/accuracy"),
             accuracy_ ? fmt::format("{:.3f}", *accuracy_) : "-", Find(scalars, "policy/kl"), Find(scalars, "policy/entropy"));
  fmt::print(options_.terminal, "length {:.1f}  {:.0f} sampled tok/s  grad norm {:.3f}\n", Find(scalars, "rollout/length_mean"),
             Find(scalars, "speed/sampled_tokens_per_s"), Find(scalars, "train/gradient_norm"));
  fmt::print(options_.terminal, "reward {}\n", Sparkline(reward_curve_, 60));
  std::fflush(options_.terminal);
  drawn_lines_ = 4;
}

}  // namespace waggle
