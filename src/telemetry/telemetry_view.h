// The words and blocks of the live view and of the plain lines: pure text, so that tests can read
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace waggle {

struct ProgressView {
  std::uint64_t step = 0, steps_total = 0;
  double elapsed_seconds = 0, left_seconds = 0;
  std::vector<double> reward, accuracy, entropy, length;  // one value a step, oldest first
  double kl = 0, tokens_per_second = 0, gradient_norm = 0;
  std::string held_out;  // "80.0 % [75.1, 84.1] at step 75"; empty: none yet
};

// The lines to redraw in place, none wider than `columns` characters. `color`: ANSI colours around
// the bar.
std::vector<std::string> LiveLines(const ProgressView& view, std::size_t columns, bool color);
// The same news as one line of a log.
std::string PlainLine(const ProgressView& view);

// The last `width` values as blocks of eight heights, between the smallest (or 0) and the largest
// of them.
std::string Sparkline(const std::vector<double>& values, std::size_t width);
// Characters on screen; every code point of ours is one wide.
std::size_t DisplayWidth(std::string_view utf8);

std::string DurationText(double seconds);

}  // namespace waggle
