// Curves as inline SVG for the report: no script, readable in light and dark, a tooltip on every
// point.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace waggle {

struct Curve {
  std::vector<double> x, y;
  std::vector<double> low, high;  // a band, as long as x; or both empty
};

// Text that a model or a recipe wrote, safe inside HTML text and quoted attributes. Control
// characters become visible, invalid UTF-8 becomes U+FFFD.
std::string EscapeHtml(std::string_view text);

// At most `points` points: neighbours are averaged, a band keeps its outermost values.
Curve Thinned(const Curve& curve, std::size_t points);

// Centred moving average over `window` points (odd), shorter at the ends.
std::vector<double> Smoothed(const std::vector<double>& values, std::size_t window);

// "0.125", "1.2e-05", "12.4k": three significant digits for people.
std::string ShortNumber(double value);

struct PlotStyle {
  double width = 460, height = 230;
  bool percent = false;  // y is a share: the axis runs from 0 to 100 %
  bool smooth = false;   // many noisy points: a faint raw line under its moving average
};

// An <svg> element; empty for a curve without points. All values must be finite.
std::string PlotSvg(const Curve& curve, const PlotStyle& style);

}  // namespace waggle
