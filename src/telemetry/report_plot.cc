#include "telemetry/report_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace waggle {
namespace {

constexpr double kLeft = 54, kRight = 10, kTop = 10, kBottom = 28;
constexpr std::size_t kPointsMax = 240;
constexpr std::size_t kDotsMax = 48;

// Length of the valid UTF-8 sequence at `at`, 0 if there is none.
std::size_t Utf8Length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(at);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                             : (lead & 0xf0) == 0xe0        ? 3
                             : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                            : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const std::uint8_t second = byte(at + 1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f))
    return 0;  // overlong, surrogate
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
    return 0;  // overlong, above U+10FFFF
  return length;
}

// Ticks at 1, 2 or 5 times a power of ten, about `count` of them.
std::vector<double> Ticks(double low, double high, int count) {
  const double span = std::max(high - low, 1e-12);
  double step = 1e-12;
  for (int i = 0; span / step > count + 1e-6; ++i) step *= (i % 3 == 1) ? 2.5 : 2.0;
  std::vector<double> ticks;
  for (double t = std::ceil(low / step) * step; t <= high + step * 1e-9; t += step) {
    ticks.push_back(std::abs(t) < step * 1e-9 ? 0.0 : t);
  }
  return ticks;
}

class Plot {
 public:
  Plot(const Curve& curve, const PlotStyle& style) : curve_(curve), style_(style) {
    x_low_ = curve.x.front();
    x_high_ = std::max(x_low_ + 1, curve.x.back());
    y_low_ = *std::min_element(curve.y.begin(), curve.y.end());
    y_high_ = *std::max_element(curve.y.begin(), curve.y.end());
    if (!curve.low.empty()) {
      y_low_ = std::min(y_low_, *std::min_element(curve.low.begin(), curve.low.end()));
      y_high_ = std::max(y_high_, *std::max_element(curve.high.begin(), curve.high.end()));
    }
    if (style.percent) {
      y_low_ = 0;
      y_high_ = 1;
    }
    if (y_low_ > 0 && y_low_ < 0.5 * y_high_) y_low_ = 0;
    if (!(y_high_ - y_low_ > 1e-9)) y_high_ = y_low_ + 1;
  }

  std::string Svg() const {
    std::string svg =
        fmt::format("<svg viewBox='0 0 {:.0f} {:.0f}' role='img'>", style_.width, style_.height) +
        Axes();
    if (!curve_.low.empty()) svg += Band();
    const bool smooth = style_.smooth && curve_.y.size() > 12;
    if (smooth) svg += Line("raw", curve_.y);
    svg += Line("line", smooth ? Smoothed(curve_.y, curve_.y.size() / 12 * 2 + 1) : curve_.y);
    const bool dots = curve_.x.size() <= kDotsMax;
    for (std::size_t i = 0; i < curve_.x.size(); ++i) {
      svg += fmt::format(
          "<circle class='{}' cx='{:.1f}' cy='{:.1f}' r='{}'><title>step {:.0f}: "
          "{}</title></circle>",
          dots && !smooth ? "dot" : "hit", X(curve_.x[i]), Y(curve_.y[i]), dots && !smooth ? 3 : 6,
          curve_.x[i], Label(i));
    }
    return svg + "</svg>";
  }

 private:
  double X(double x) const {
    return kLeft + (x - x_low_) / (x_high_ - x_low_) * (style_.width - kLeft - kRight);
  }
  double Y(double y) const {
    return style_.height - kBottom -
           (y - y_low_) / (y_high_ - y_low_) * (style_.height - kTop - kBottom);
  }
  std::string Value(double y) const {
    return style_.percent ? fmt::format("{:.1f} %", 100 * y) : ShortNumber(y);
  }
  std::string Label(std::size_t i) const {
    if (curve_.low.empty()) return Value(curve_.y[i]);
    return fmt::format("{} [{}, {}]", Value(curve_.y[i]), Value(curve_.low[i]),
                       Value(curve_.high[i]));
  }

  std::string Axes() const {
    std::string svg;
    for (const double t : Ticks(y_low_, y_high_, 5)) {
      svg += fmt::format(
          "<line class='grid' x1='{0:.1f}' x2='{1:.1f}' y1='{2:.1f}' y2='{2:.1f}'/>"
          "<text x='{3:.1f}' y='{4:.1f}' text-anchor='end'>{5}</text>",
          kLeft, style_.width - kRight, Y(t), kLeft - 7, Y(t) + 4,
          style_.percent ? fmt::format("{:.0f} %", 100 * t) : ShortNumber(t));
    }
    for (const double t : Ticks(x_low_, x_high_, 6)) {
      if (std::abs(t - std::round(t)) > 1e-6) continue;  // steps are whole
      svg += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{:.0f}</text>", X(t),
                         style_.height - 8, t);
    }
    return svg;
  }

  std::string Line(const char* style, const std::vector<double>& y) const {
    std::string points;
    for (std::size_t i = 0; i < y.size(); ++i)
      points += fmt::format("{:.1f},{:.1f} ", X(curve_.x[i]), Y(y[i]));
    return fmt::format("<polyline class='{}' points='{}'/>", style, points);
  }

  std::string Band() const {
    std::string points;
    for (std::size_t i = 0; i < curve_.x.size(); ++i)
      points += fmt::format("{:.1f},{:.1f} ", X(curve_.x[i]), Y(curve_.high[i]));
    for (std::size_t i = curve_.x.size(); i-- > 0;)
      points += fmt::format("{:.1f},{:.1f} ", X(curve_.x[i]), Y(curve_.low[i]));
    return "<polygon class='band' points='" + points + "'/>";
  }

  const Curve& curve_;
  PlotStyle style_;
  double x_low_ = 0, x_high_ = 1, y_low_ = 0, y_high_ = 1;
};

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = Utf8Length(text, at);
    const char c = text[at];
    const auto byte = static_cast<std::uint8_t>(c);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (length > 1) {
      out += text.substr(at, length);
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += "\xE2\x90";  // U+2400 and on: pictures of control characters
      out += static_cast<char>(byte == 0x7f ? 0xa1 : 0x80 + byte);
    } else {
      out += c;
    }
    at += std::max<std::size_t>(1, length);
  }
  return out;
}

Curve Thinned(const Curve& curve, std::size_t points) {
  const std::size_t n = curve.x.size();
  if (n <= points) return curve;
  Curve thin;
  for (std::size_t bucket = 0; bucket < points; ++bucket) {
    const std::size_t begin = bucket * n / points, end = (bucket + 1) * n / points;
    double x = 0, y = 0;
    for (std::size_t i = begin; i < end; ++i) {
      x += curve.x[i];
      y += curve.y[i];
    }
    const auto count = static_cast<double>(end - begin);
    thin.x.push_back(x / count);
    thin.y.push_back(y / count);
    if (curve.low.empty()) continue;
    thin.low.push_back(*std::min_element(curve.low.begin() + static_cast<std::ptrdiff_t>(begin),
                                         curve.low.begin() + static_cast<std::ptrdiff_t>(end)));
    thin.high.push_back(*std::max_element(curve.high.begin() + static_cast<std::ptrdiff_t>(begin),
                                          curve.high.begin() + static_cast<std::ptrdiff_t>(end)));
  }
  return thin;
}

std::vector<double> Smoothed(const std::vector<double>& values, std::size_t window) {
  const std::size_t reach = window / 2;
  std::vector<double> smooth(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t begin = i > reach ? i - reach : 0,
                      end = std::min(values.size(), i + reach + 1);
    double sum = 0;
    for (std::size_t j = begin; j < end; ++j) sum += values[j];
    smooth[i] = sum / static_cast<double>(end - begin);
  }
  return smooth;
}

std::string ShortNumber(double value) {
  const double size = std::abs(value);
  if (size >= 1e6) return fmt::format("{:.3g}M", value * 1e-6);
  if (size >= 1e4) return fmt::format("{:.3g}k", value * 1e-3);
  if (size >= 100) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", value);
}

std::string PlotSvg(const Curve& curve, const PlotStyle& style) {
  if (curve.x.empty()) return "";
  return Plot(Thinned(curve, kPointsMax), style).Svg();
}

}  // namespace waggle
