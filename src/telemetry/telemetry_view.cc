#include "telemetry/telemetry_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace waggle {
namespace {

constexpr std::size_t kSparkWidth = 24;
constexpr std::size_t kColumnsMin = 20;

double Latest(const std::vector<double>& values) { return values.empty() ? 0.0 : values.back(); }

std::string Repeated(const char* text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::string Cut(const std::string& utf8, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t at = 0; at < utf8.size(); ++at) {
    if ((static_cast<unsigned char>(utf8[at]) & 0xc0) == 0x80) continue;
    if (seen++ == columns) return utf8.substr(0, at);
  }
  return utf8;
}

std::string BarLine(const ProgressView& view, std::size_t columns, bool color) {
  const double share = view.steps_total == 0
                           ? 1.0
                           : static_cast<double>(view.step) / static_cast<double>(view.steps_total);
  const std::string words =
      fmt::format("  step {}/{}  {:.0f} %  {} elapsed, {} left", view.step, view.steps_total,
                  100 * share, DurationText(view.elapsed_seconds), DurationText(view.left_seconds));
  const std::size_t room = columns > DisplayWidth(words) ? columns - DisplayWidth(words) : 0;
  if (room < 4) return Cut(words.substr(2), columns);
  const std::size_t width = std::min<std::size_t>(room, 36);
  const auto filled =
      static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
  const std::string bar = Repeated("█", filled) + Repeated("░", width - filled);
  return (color ? "\x1b[33m" + bar + "\x1b[0m" : bar) + words;
}

std::string Left(const char* label, const std::vector<double>& values) {
  const std::string spark = Sparkline(values, kSparkWidth);
  const std::size_t pad = kSparkWidth - std::min(kSparkWidth, DisplayWidth(spark));
  const std::string number = values.empty() ? "-" : fmt::format("{:.3f}", values.back());
  return fmt::format("{:<9} {:>8}  {}{}", label, number, spark, std::string(pad, ' '));
}

}  // namespace

std::size_t DisplayWidth(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string DurationText(double seconds) {
  const auto total = static_cast<std::uint64_t>(std::max(0.0, seconds) + 0.5);
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
  if (total >= 60) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}s", total);
}

std::string Sparkline(const std::vector<double>& values, std::size_t width) {
  static constexpr const char* kLevels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t first = values.size() > width ? values.size() - width : 0;
  double low = 0, high = 0;
  for (std::size_t i = first; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  const double span = std::max(1e-9, high - low);
  std::string line;
  for (std::size_t i = first; i < values.size(); ++i) {
    const double height = std::isfinite(values[i]) ? (values[i] - low) / span : 0.0;
    line += kLevels[static_cast<int>(std::clamp(height, 0.0, 1.0) * 7.0 + 0.5)];
  }
  return line;
}

std::vector<std::string> LiveLines(const ProgressView& view, std::size_t columns, bool color) {
  columns = std::max(columns, kColumnsMin);
  const std::string held_out = view.held_out.empty() ? "not yet" : view.held_out;
  const std::string rows[] = {
      Left("reward", view.reward) + "  held-out  " + held_out,
      Left("accuracy", view.accuracy) + fmt::format("  kl        {:.4f}", view.kl),
      Left("entropy", view.entropy) + fmt::format("  gradient  {:.3f}", view.gradient_norm),
      Left("length", view.length) +
          fmt::format("  sampling  {:.0f} tokens/s", view.tokens_per_second)};
  std::vector<std::string> lines = {BarLine(view, columns, color)};
  for (const std::string& row : rows) lines.push_back(Cut(row, columns));
  return lines;
}

std::string PlainLine(const ProgressView& view) {
  const std::string entropy =
      view.entropy.empty() ? "-" : fmt::format("{:.3f}", view.entropy.back());
  return fmt::format(
      "step {:>5}/{}  reward {:.3f}  accuracy {:.3f}  kl {:.4f}  entropy {}  length {:.1f}  {:.0f} "
      "tok/s  "
      "eta {}",
      view.step, view.steps_total, Latest(view.reward), Latest(view.accuracy), view.kl, entropy,
      Latest(view.length), view.tokens_per_second, DurationText(view.left_seconds));
}

}  // namespace waggle
