#include "telemetry/telemetry.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cstdlib>
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

std::optional<double> Find(const Scalars& scalars, std::string_view name) {
  for (const auto& [key, value] : scalars) {
    if (key == name) return value;
  }
  return std::nullopt;
}

// Long enough for every sparkline; a run of a million steps keeps no more than this in memory.
constexpr std::size_t kHistory = 64;

void Remember(std::vector<double>& history, const Scalars& scalars, std::string_view name) {
  const auto value = Find(scalars, name);
  if (!value) return;
  if (history.size() == kHistory) history.erase(history.begin());
  history.push_back(*value);
}

bool CanRedraw() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) != "dumb" && *term != '\0';
}

bool WantsColor() {
  const char* no_color = std::getenv("NO_COLOR");
  return no_color == nullptr || *no_color == '\0';
}

std::size_t Columns(std::FILE* terminal) {
  struct winsize size {};
  const bool known = ::ioctl(::fileno(terminal), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

std::string AccuracyText(std::uint64_t correct, std::uint64_t tasks) {
  const Interval interval = WilsonInterval(correct, tasks);
  return fmt::format(
      "{:.1f} % [{:.1f}, {:.1f}]",
      tasks == 0 ? 0.0 : 100.0 * static_cast<double>(correct) / static_cast<double>(tasks),
      100.0 * interval.low, 100.0 * interval.high);
}

Telemetry::Telemetry(const TelemetryOptions& options, TensorBoardWriter board, Clock& clock)
    : options_(options),
      board_(std::move(board)),
      clock_(&clock),
      started_ns_(clock.MonotonicNs()) {
  options_.live = options.live && CanRedraw();
}

Result<Telemetry> Telemetry::Create(const TelemetryOptions& options, std::uint64_t step,
                                    std::uint64_t steps_total, Clock& clock) {
  WG_TRY(DropRowsFrom(options.run_directory / "metrics.jsonl", step + 1));
  // The evaluation of a version follows its checkpoint, so a resumed run does it again.
  WG_TRY(DropRowsFrom(options.run_directory / "evaluations.jsonl", step));
  WG_TRY(DropRowsFrom(options.run_directory / "events.jsonl", step + 1));
  WG_ASSIGN(TensorBoardWriter board,
            TensorBoardWriter::Create(options.run_directory, clock.UnixSeconds(), step));
  Telemetry telemetry(options, std::move(board), clock);
  telemetry.view_.steps_total = steps_total;
  telemetry.first_step_ = step;
  return telemetry;
}

Status Telemetry::Step(std::uint64_t step, const Scalars& scalars) {
  nlohmann::ordered_json row = {{"step", step}};
  for (const auto& [name, value] : scalars) row[name] = value;
  WG_TRY(AppendLine(options_.run_directory / "metrics.jsonl", row.dump()));
  WG_TRY(board_.Write(clock_->UnixSeconds(), step, scalars));
  Observe(step, scalars);
  if (!options_.quiet) Draw();
  return {};
}

Status Telemetry::Evaluated(const Evaluation& evaluation) {
  const double accuracy =
      static_cast<double>(evaluation.correct) / static_cast<double>(evaluation.tasks);
  const Interval interval = WilsonInterval(evaluation.correct, evaluation.tasks);
  nlohmann::ordered_json row = {{"step", evaluation.version.value},
                                {"tasks", evaluation.tasks},
                                {"correct", evaluation.correct},
                                {"accuracy", accuracy},
                                {"low", interval.low},
                                {"high", interval.high},
                                {"reward_mean", evaluation.reward_mean},
                                {"length_mean", evaluation.length_mean}};
  for (const std::string& sample : evaluation.samples) {
    row["samples"].push_back(
        nlohmann::ordered_json::parse(sample, nullptr, /*allow_exceptions=*/false));
  }
  WG_TRY(AppendLine(options_.run_directory / "evaluations.jsonl", row.dump()));
  WG_TRY(board_.Write(clock_->UnixSeconds(), evaluation.version.value,
                      {{"eval/accuracy", accuracy}, {"eval/reward", evaluation.reward_mean}}));
  const std::string text = AccuracyText(evaluation.correct, evaluation.tasks);
  view_.held_out = fmt::format("{} at step {}", text, evaluation.version.value);
  Say(fmt::format("step {:>5}  held-out accuracy {}", evaluation.version.value, text));
  return {};
}

Status Telemetry::Event(const std::string& row) {
  return AppendLine(options_.run_directory / "events.jsonl", row);
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

void Telemetry::Observe(std::uint64_t step, const Scalars& scalars) {
  view_.step = step;
  view_.elapsed_seconds = static_cast<double>(clock_->MonotonicNs() - started_ns_) * 1e-9;
  const double done = static_cast<double>(step - first_step_);
  const double left = static_cast<double>(view_.steps_total - std::min(step, view_.steps_total));
  view_.left_seconds = done > 0 ? view_.elapsed_seconds / done * left : 0.0;
  Remember(view_.reward, scalars, "reward/mean");
  Remember(view_.accuracy, scalars, "reward/accuracy");
  Remember(view_.entropy, scalars, "policy/entropy");
  Remember(view_.length, scalars, "rollout/length_mean");
  view_.kl = Find(scalars, "policy/kl").value_or(0.0);
  view_.gradient_norm = Find(scalars, "train/gradient_norm").value_or(0.0);
  view_.tokens_per_second = Find(scalars, "speed/sampled_tokens_per_s").value_or(0.0);
}

void Telemetry::Draw() {
  const bool last = view_.step >= view_.steps_total;
  if (!options_.live) {
    const std::uint64_t every = std::max<std::uint64_t>(1, view_.steps_total / 20);
    if (view_.step % every != 0 && !last) return;
    fmt::print(options_.terminal, "{}\n", PlainLine(view_));
    std::fflush(options_.terminal);
    return;
  }
  const std::int64_t now = clock_->MonotonicNs();
  if (now - drawn_ns_ < kRedrawNs && drawn_lines_ > 0 && !last) return;
  drawn_ns_ = now;
  Erase();
  // One column stays free: a full line would wrap on some terminals, and Erase() counts lines.
  for (const std::string& line : LiveLines(view_, Columns(options_.terminal) - 1, WantsColor())) {
    fmt::print(options_.terminal, "{}\n", line);
    ++drawn_lines_;
  }
  std::fflush(options_.terminal);
}

}  // namespace waggle
