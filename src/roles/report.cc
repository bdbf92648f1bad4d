#include "roles/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/files.h"

namespace waggle {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kLogBytesMax = std::size_t{1} << 30;

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

Result<std::vector<Json>> ReadRows(const std::filesystem::path& file) {
  std::vector<Json> rows;
  if (!std::filesystem::exists(file)) return rows;
  WG_ASSIGN(const std::string text, ReadFile(file, kLogBytesMax));
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    Json row = Json::parse(text.substr(at, end - at), nullptr, /*allow_exceptions=*/false);
    if (row.is_object() && row.contains("step")) rows.push_back(std::move(row));
    at = end + 1;
  }
  return rows;
}

struct Curve {
  std::vector<double> x, y, low, high;  // low/high: a band, or empty
};

Curve CurveOf(const std::vector<Json>& rows, const std::string& key) {
  Curve curve;
  for (const Json& row : rows) {
    if (!row.contains(key) || !row[key].is_number()) continue;
    curve.x.push_back(row["step"].get<double>());
    curve.y.push_back(row[key].get<double>());
    if (key == "accuracy" && row.contains("low") && row.contains("high")) {
      curve.low.push_back(row["low"].get<double>());
      curve.high.push_back(row["high"].get<double>());
    }
  }
  return curve;
}

// Axis ticks at 1, 2 or 5 times a power of ten, about `count` of them.
std::vector<double> Ticks(double low, double high, int count) {
  const double span = std::max(high - low, 1e-12);
  double step = 1e-12;
  for (int i = 0; span / step > count; ++i) step *= (i % 3 == 1) ? 2.5 : 2.0;
  std::vector<double> ticks;
  for (double t = std::ceil(low / step) * step; t <= high + step * 1e-9; t += step) {
    ticks.push_back(std::abs(t) < step * 1e-9 ? 0.0 : t);
  }
  return ticks;
}

class Plot {
 public:
  Plot(const Curve& curve) : curve_(curve) {
    x_low_ = *std::min_element(curve.x.begin(), curve.x.end());
    x_high_ = std::max(x_low_ + 1, *std::max_element(curve.x.begin(), curve.x.end()));
    y_low_ = *std::min_element(curve.y.begin(), curve.y.end());
    y_high_ = *std::max_element(curve.y.begin(), curve.y.end());
    if (!curve.low.empty()) {
      y_low_ = std::min(y_low_, *std::min_element(curve.low.begin(), curve.low.end()));
      y_high_ = std::max(y_high_, *std::max_element(curve.high.begin(), curve.high.end()));
    }
    if (y_low_ > 0 && y_low_ < 0.5 * y_high_) y_low_ = 0;
    if (y_high_ - y_low_ < 1e-9) y_high_ = y_low_ + 1;
  }

  std::string Svg() const {
    std::string svg = "<svg viewBox='0 0 460 230' role='img'>";
    for (const double t : Ticks(y_low_, y_high_, 5)) {
      svg += fmt::format("<line class='grid' x1='52' x2='450' y1='{0:.1f}' y2='{0:.1f}'/><text x='46' y='{1:.1f}' "
                         "text-anchor='end'>{2:.4g}</text>", Y(t), Y(t) + 4, t);
    }
    for (const double t : Ticks(x_low_, x_high_, 6)) {
      svg += fmt::format("<text x='{:.1f}' y='222' text-anchor='middle'>{:.6g}</text>", X(t), t);
    }
    if (!curve_.low.empty()) svg += Band();
    svg += "<polyline class='line' points='";
    for (std::size_t i = 0; i < curve_.x.size(); ++i) svg += fmt::format("{:.1f},{:.1f} ", X(curve_.x[i]), Y(curve_.y[i]));
    svg += "'/>";
    if (curve_.x.size() <= 60) {
      for (std::size_t i = 0; i < curve_.x.size(); ++i) {
        svg += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='2.5'><title>step {:.0f}: {:.6g}</title></circle>",
                           X(curve_.x[i]), Y(curve_.y[i]), curve_.x[i], curve_.y[i]);
      }
    }
    return svg + "</svg>";
  }

 private:
  double X(double x) const { return 52 + (x - x_low_) / (x_high_ - x_low_) * 398; }
  double Y(double y) const { return 202 - (y - y_low_) / (y_high_ - y_low_) * 190; }
  std::string Band() const {
    std::string points;
    for (std::size_t i = 0; i < curve_.x.size(); ++i) points += fmt::format("{:.1f},{:.1f} ", X(curve_.x[i]), Y(curve_.high[i]));
    for (std::size_t i = curve_.x.size(); i-- > 0;) points += fmt::format("{:.1f},{:.1f} ", X(curve_.x[i]), Y(curve_.low[i]));
    return "<polygon class='band' points='" + points + "'/>";
  }

  const Curve& curve_;
  double x_low_ = 0, x_high_ = 1, y_low_ = 0, y_high_ = 1;
};

std::string Figure(const std::vector<Json>& rows, const std::string& key, const std::string& title) {
  const Curve curve = CurveOf(rows, key);
  if (curve.x.empty()) return "";
  return fmt::format("<figure><figcaption>{}</figcaption>{}</figure>\n", Escape(title), Plot(curve).Svg());
}

std::string TextOf(const Json& sample, const char* key) {
  return sample.contains(key) && sample[key].is_string() ? sample[key].get<std::string>() : "";
}

std::string SampleRows(const Json& before, const Json& after) {
  std::string rows;
  const std::size_t n = std::min(before.size(), after.size());
  for (std::size_t i = 0; i < n; ++i) {
    const auto cell = [](const Json& sample) {
      const bool correct = sample.value("correct", false);
      return fmt::format("<td class='{}'><pre>{}</pre></td>", correct ? "right" : "wrong", Escape(TextOf(sample, "response")));
    };
    rows += fmt::format("<tr><td><pre>{}</pre></td>{}{}<td><pre>{}</pre></td></tr>\n", Escape(TextOf(before[i], "prompt")),
                        cell(before[i]), cell(after[i]), Escape(TextOf(before[i], "answer")));
  }
  return rows;
}

constexpr const char* kStyle =
    ":root{color-scheme:light dark;--ink:#1d2530;--paper:#fff;--soft:#667;--line:#b45309;--grid:#0001;--right:#1a7f3720;--wrong:#cf222e18}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--paper:#12161c;--soft:#9aa4b2;--line:#f0a742;--grid:#fff2}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1020px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:1rem}"
    "figure{margin:0}figcaption{font-weight:600}svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--grid)}"
    ".line{fill:none;stroke:var(--line);stroke-width:1.8}.band{fill:var(--line);opacity:.18}circle{fill:var(--line)}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid var(--grid);padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "pre{margin:0;white-space:pre-wrap;word-break:break-word;font-size:13px}.right{background:var(--right)}.wrong{background:var(--wrong)}code{word-break:break-all}";

}  // namespace

Result<std::filesystem::path> WriteReport(const std::filesystem::path& run_directory, const ReportFacts& facts) {
  WG_ASSIGN(const auto metrics, ReadRows(run_directory / "metrics.jsonl"));
  WG_ASSIGN(const auto evaluations, ReadRows(run_directory / "evaluations.jsonl"));
  WG_ASSIGN(const std::string recipe, ReadFile(run_directory / "recipe.toml", 1 << 20));

  const std::string name = run_directory.filename().string();
  std::string html = fmt::format("<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
                                 "<title>{0}: Waggle run</title><style>{1}</style><h1>Waggle run: {0}</h1><p>{2}</p>",
                                 Escape(name), kStyle, Escape(facts.summary));
  html += fmt::format("<table><tr><th>run id</th><td><code>{}</code></td></tr><tr><th>weight hash</th><td><code>{}</code></td></tr></table>",
                      Escape(facts.run_id), Escape(facts.weight_hash));
  html += "<h2>Curves</h2><div class='plots'>\n";
  html += Figure(evaluations, "accuracy", "Held-out accuracy (band: 95 % interval)");
  html += Figure(metrics, "reward/mean", "Mean training reward");
  html += Figure(metrics, "policy/entropy", "Entropy (nats per token)");
  html += Figure(metrics, "policy/kl", "KL (nats per token)");
  html += Figure(metrics, "rollout/length_mean", "Response length (tokens)");
  html += Figure(metrics, "train/gradient_norm", "Gradient norm");
  html += Figure(metrics, "speed/sampled_tokens_per_s", "Sampled tokens per second");
  html += "</div>\n";
  if (evaluations.size() >= 2 && evaluations.front().contains("samples") && evaluations.back().contains("samples")) {
    html += "<h2>The same held-out tasks, before and after</h2><table><tr><th>prompt</th><th>before</th><th>after</th><th>answer</th></tr>\n";
    html += SampleRows(evaluations.front()["samples"], evaluations.back()["samples"]);
    html += "</table>\n";
  }
  html += "<h2>Recipe</h2><pre>" + Escape(recipe) + "</pre></html>\n";
  const auto path = run_directory / "report.html";
  WG_TRY(WriteFileAtomic(path, html));
  return path;
}

}  // namespace waggle
