#include "telemetry/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <vector>

#include "base/files.h"
#include "run/recipe.h"
#include "telemetry/report_plot.h"

namespace waggle {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kLogBytesMax = std::size_t{1} << 30;
constexpr std::size_t kTranscriptBytesMax = 6000;

// Colours carry meaning twice: green and red cells also say "right" and "wrong".
constexpr const char* kStyle = R"css(
:root{color-scheme:light dark;--paper:#faf8f4;--card:#fff;--ink:#1c2128;--soft:#5d6672;--edge:#e4dfd5;--grid:#00000014;
--accent:#b45309;--right:#1a7f37;--right-soft:#1a7f3714;--wrong:#b3261e;--wrong-soft:#b3261e12}
@media(prefers-color-scheme:dark){:root{--paper:#0f1318;--card:#171c23;--ink:#e6e9ee;--soft:#98a2b0;--edge:#2a313b;--grid:#ffffff17;
--accent:#f0a742;--right:#4fc06d;--right-soft:#4fc06d1c;--wrong:#ff8078;--wrong-soft:#ff80781c}}
*{box-sizing:border-box}
body{font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main{max-width:1080px;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.25;margin:0}h2{font-size:1.15rem;margin:2.5rem 0 .4rem}
p{margin:.3rem 0 .9rem;max-width:75ch}.soft{color:var(--soft)}
.kicker{color:var(--accent);font-weight:650;letter-spacing:.06em;text-transform:uppercase;font-size:.75rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:.8rem;margin:1.4rem 0}
.card,figure,.task,.panel{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.9rem 1rem}
.card b{display:block;font-size:1.45rem;line-height:1.2;font-weight:650;font-variant-numeric:tabular-nums;margin:.1rem 0}
.card span{color:var(--soft);font-size:.85rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:.8rem}
figure{margin:0}.wide,.narrow{margin-bottom:.8rem}.narrow{display:none}figcaption{font-weight:600;margin-bottom:.3rem}
figcaption span{font-weight:400;color:var(--soft);font-size:.85rem}
svg{display:block;width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--grid)}
.line,.raw{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round}.raw{stroke-width:1;opacity:.35}
.band{fill:var(--accent);opacity:.16}.dot{fill:var(--accent)}.hit{fill:transparent}.hit:hover{fill:var(--accent)}
.task{display:grid;grid-template-columns:1.3fr 1fr 1fr .8fr;gap:.8rem;margin-bottom:.6rem;padding:.7rem}
.task>div{min-width:0;border-radius:6px;padding:.35rem .55rem}
.task h3{font-size:.76rem;font-weight:600;color:var(--soft);margin:0 0 .15rem}
.right{background:var(--right-soft)}.right h3{color:var(--right)}.wrong{background:var(--wrong-soft)}.wrong h3{color:var(--wrong)}
pre,code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-height:18rem;overflow:auto;unicode-bidi:isolate}
.panel pre{max-height:none}code{overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}td,th{padding:.35rem .6rem .35rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--edge)}
th{font-weight:500;color:var(--soft);font-size:.85rem}tr:last-child td{border-bottom:0}td code{color:var(--ink)}
details{margin-top:.8rem}summary{cursor:pointer;color:var(--accent)}details pre{margin-top:.6rem;max-height:none}
@media(max-width:720px){.wide{display:none}.narrow{display:block}.cards{grid-template-columns:1fr 1fr}.card b{font-size:1.2rem}.task{grid-template-columns:1fr}main{padding-top:1.2rem}h1{font-size:1.35rem}
table,tbody,tr,td{display:block}tr.head{display:none}td{border:0;padding:.1rem 0}tr{border-bottom:1px solid var(--edge);padding:.4rem 0}}
@media print{body{background:#fff}pre{max-height:none}}
)css";

Result<std::vector<Json>> ReadRows(const std::filesystem::path& file) {
  std::vector<Json> rows;
  if (!std::filesystem::exists(file)) return rows;
  WG_ASSIGN(const std::string text, ReadFile(file, kLogBytesMax));
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    Json row = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                           text.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                           /*allow_exceptions=*/false);
    if (row.is_object() && row.contains("step") && row["step"].is_number())
      rows.push_back(std::move(row));
    at = end + 1;
  }
  return rows;
}

// What is not a finite number is absent: a diverged run still gets its report.
std::optional<double> Number(const Json& row, const std::string& key) {
  if (!row.contains(key) || !row[key].is_number()) return std::nullopt;
  const double value = row[key].get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

Curve CurveOf(const std::vector<Json>& rows, const std::string& key) {
  Curve curve;
  for (const Json& row : rows) {
    const auto value = Number(row, key);
    if (!value) continue;
    const auto low = Number(row, "low"), high = Number(row, "high");
    const bool band = key == "accuracy" && low && high;
    if (key == "accuracy" && !band) continue;
    curve.x.push_back(row["step"].get<double>());
    curve.y.push_back(*value);
    if (band) {
      curve.low.push_back(*low);
      curve.high.push_back(*high);
    }
  }
  return curve;
}

std::string Figure(const Curve& curve, std::string_view title, std::string_view note,
                   const PlotStyle& style, std::string_view css_class = "plot") {
  if (curve.x.empty()) return "";
  return fmt::format("<figure class='{}'><figcaption>{} <span>{}</span></figcaption>{}</figure>\n",
                     css_class, EscapeHtml(title), EscapeHtml(note), PlotSvg(curve, style));
}

std::string Card(std::string_view label, std::string_view value, std::string_view note) {
  return fmt::format("<div class='card'><span>{}</span><b>{}</b><span>{}</span></div>\n",
                     EscapeHtml(label), EscapeHtml(value), EscapeHtml(note));
}

// Mean of the first or last tenth of a curve: single steps are noise.
double EndMean(const std::vector<double>& values, bool last) {
  const std::size_t n = std::max<std::size_t>(1, values.size() / 10);
  const auto begin = last ? values.end() - static_cast<std::ptrdiff_t>(n) : values.begin();
  double sum = 0;
  for (auto it = begin; it != begin + static_cast<std::ptrdiff_t>(n); ++it) sum += *it;
  return sum / static_cast<double>(n);
}

std::string Headline(const std::vector<Json>& metrics, const std::vector<Json>& evaluations) {
  std::string cards;
  const Curve accuracy = CurveOf(evaluations, "accuracy");
  if (!accuracy.y.empty()) {
    const std::size_t last = accuracy.y.size() - 1;
    cards +=
        Card("held-out accuracy",
             fmt::format("{:.1f} % → {:.1f} %", 100 * accuracy.y.front(), 100 * accuracy.y.back()),
             fmt::format("95 % interval at the end: {:.1f} to {:.1f} %", 100 * accuracy.low[last],
                         100 * accuracy.high[last]));
    cards += Card("gained",
                  fmt::format("{:+.1f} points", 100 * (accuracy.y.back() - accuracy.y.front())),
                  fmt::format("on {} tasks that were never trained on",
                              evaluations.back().value("tasks", std::uint64_t{0})));
  }
  const Curve reward = CurveOf(metrics, "reward/mean");
  if (!reward.y.empty()) {
    cards +=
        Card("training reward",
             ShortNumber(EndMean(reward.y, false)) + " → " + ShortNumber(EndMean(reward.y, true)),
             "mean of the first and of the last tenth of the steps");
    double seconds = 0, responses = 0;
    for (const Json& row : metrics) {
      seconds += Number(row, "speed/sample_seconds").value_or(0) +
                 Number(row, "speed/train_seconds").value_or(0);
      responses += Number(row, "rollout/responses").value_or(0);
    }
    cards += Card("work", fmt::format("{} steps", metrics.size()),
                  fmt::format("{} responses, {} s of sampling and training", ShortNumber(responses),
                              ShortNumber(seconds)));
  }
  return cards.empty() ? "" : "<div class='cards'>\n" + cards + "</div>\n";
}

std::string Curves(const std::vector<Json>& metrics, const std::vector<Json>& evaluations) {
  struct Row {
    const char *key, *title, *note;
    bool percent;
  };
  constexpr Row kRows[] = {
      {"reward/mean", "Training reward", "mean of the batch", false},
      {"reward/accuracy", "Training accuracy", "share of rollouts graded correct", true},
      {"policy/entropy", "Entropy", "nats per token; falls as the policy makes up its mind", false},
      {"policy/kl", "KL", "nats per token, against the starting policy", false},
      {"rollout/length_mean", "Response length", "tokens", false},
      {"reward/uniform_fraction", "Groups without signal", "all rollouts earned the same", true},
      {"train/gradient_norm", "Gradient norm", "before clipping", false},
      {"speed/sampled_tokens_per_s", "Sampling speed", "tokens per second", false},
  };
  // Twice, in two shapes: a phone would shrink the wide one until its numbers cannot be read.
  const Curve accuracy = CurveOf(evaluations, "accuracy");
  const std::string html =
      Figure(accuracy, "Held-out accuracy", "band: 95 % interval; x: training step",
             {.width = 940, .height = 300, .percent = true}, "wide") +
      Figure(accuracy, "Held-out accuracy", "band: 95 % interval", {.percent = true}, "narrow");
  std::string small;
  for (const Row& row : kRows) {
    const Curve curve = CurveOf(metrics, row.key);
    const bool kept = std::any_of(curve.y.begin(), curve.y.end(), [](double y) { return y != 0; });
    if (kept) small += Figure(curve, row.title, row.note, {.percent = row.percent, .smooth = true});
  }
  if (html.empty() && small.empty()) return "";
  return "<h2>Curves</h2>\n" + html + "<div class='plots'>\n" + small +
         "</div>\n<p class='soft'>A curve that is 0 throughout is left out. "
         "Faint: every step; strong: moving average. All values are in "
         "<code>metrics.jsonl</code>.</p>\n";
}

AgeHistogram AgesOf(const std::vector<Json>& metrics) {
  AgeHistogram ages{};
  for (const Json& row : metrics) {
    for (std::size_t age = 0; age < kAges; ++age)
      ages[age] += static_cast<std::uint64_t>(
          std::clamp(Number(row, kAgeMetrics[age]).value_or(0), 0.0, 1e15));
  }
  return ages;
}

std::string AgeName(std::size_t age) {
  return std::to_string(age) + (age + 1 == kAges ? " or more" : "");
}

// Shares as bars, drawn by the table itself.
std::string AgePart(const AgeHistogram& ages) {
  const std::uint64_t total = std::accumulate(ages.begin(), ages.end(), std::uint64_t{0});
  if (total == 0) return "";
  std::string rows;
  for (std::size_t age = 0; age < kAges; ++age) {
    if (ages[age] == 0) continue;
    const double share = 100 * static_cast<double>(ages[age]) / static_cast<double>(total);
    rows += fmt::format(
        "<tr><td>{}</td><td><div style='background:var(--accent);height:.8rem;width:{:.2f}%'>"
        "</div></td><td>{:.2f} %</td><td class='soft'>{}</td></tr>\n",
        AgeName(age), share, share, ages[age]);
  }
  return "<h2>How old the training tokens were</h2>\n<p class='soft'>In policy versions, when they "
         "were trained on.</p>\n<div class='panel'><table><tr class='head'><th>versions</th><th "
         "style='width:60%'></th><th>share</th><th>tokens</th></tr>\n" +
         rows + "</table></div>\n";
}

std::string TextOf(const Json& sample, const char* key) {
  if (!sample.is_object() || !sample.contains(key) || !sample[key].is_string()) return "";
  std::string text = sample[key].get<std::string>();
  if (text.size() <= kTranscriptBytesMax) return text;
  std::size_t cut = kTranscriptBytesMax;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;
  return text.substr(0, cut) + fmt::format(" … ({} bytes in all)", text.size());
}

std::string Answered(std::string_view when, const Json& sample) {
  const bool correct =
      sample.contains("correct") && sample["correct"].is_boolean() && sample["correct"].get<bool>();
  const auto reward = Number(sample, "reward");
  const std::string text = TextOf(sample, "response");
  return fmt::format("<div class='{0}'><h3>{1} {2}: {0}{3}</h3><pre>{4}</pre></div>",
                     correct ? "right" : "wrong", EscapeHtml(when), correct ? "✓" : "✗",
                     reward ? fmt::format(", reward {:.2f}", *reward) : ", no reward",
                     text.empty() ? "<span class='soft'>(nothing)</span>" : EscapeHtml(text));
}

std::string BeforeAndAfter(const std::vector<Json>& evaluations) {
  if (evaluations.size() < 2) return "";
  const Json &before = evaluations.front(), &after = evaluations.back();
  if (!before.contains("samples") || !after.contains("samples")) return "";
  std::string tasks;
  for (const Json& first : before["samples"]) {
    for (const Json& second : after["samples"]) {
      if (TextOf(first, "prompt").empty() || TextOf(first, "prompt") != TextOf(second, "prompt"))
        continue;
      tasks += fmt::format(
          "<div "
          "class='task'><div><h3>prompt</h3><pre>{}</pre></div>{}{}<div><h3>reference</h3><pre>{}</"
          "pre></div></div>\n",
          EscapeHtml(TextOf(first, "prompt")), Answered("before", first), Answered("after", second),
          EscapeHtml(TextOf(first, "answer")));
      break;
    }
  }
  if (tasks.empty()) return "";
  return fmt::format(
             "<h2>The same held-out tasks, before and after</h2>\n<p class='soft'>The first ones, "
             "not chosen ones: step {} against step {}, "
             "one response each as the evaluation took it.</p>\n",
             before["step"].dump(), after["step"].dump()) +
         tasks;
}

std::string ValueText(const SettingValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  std::string joined;
  for (const std::string& item : std::get<std::vector<std::string>>(value))
    joined += (joined.empty() ? "" : "  ") + item;
  return joined;
}

std::string SettingsPart(Recipe recipe) {
  Recipe plain;
  const SettingList ours = SettingsOf(recipe), defaults = SettingsOf(plain);
  std::string rows;
  for (std::size_t i = 0; i < ours.settings.size(); ++i) {
    const Setting& setting = ours.settings[i];
    if (setting.key == "name" || setting.key == "about" ||
        setting.get() == defaults.settings[i].get())
      continue;
    rows += fmt::format(
        "<tr><td><code>{}</code></td><td><code>{}</code></td><td class='soft'>{}</td></tr>\n",
        EscapeHtml(setting.key), EscapeHtml(ValueText(setting.get())), EscapeHtml(setting.help));
  }
  return "<h2>Settings</h2>\n<p class='soft'>Those that differ from their default.</p>\n<div "
         "class='panel'><table><tr class='head'><th>setting</th><th>value</th>"
         "<th>meaning</th></tr>\n" +
         rows + "</table>\n<details><summary>The whole recipe</summary><pre>" +
         EscapeHtml(WriteToml(recipe)) + "</pre></details></div>\n";
}

std::string RepeatPart(const std::string& folder, const ReportFacts& facts) {
  return fmt::format(
      "<h2>Repeat it</h2>\n<p>Every token, log-prob, reward, gradient and weight of this run is a "
      "function of its recipe and its starting weights. "
      "Run it again, with any number of threads on any supported processor, and compare the last "
      "line.</p>\n"
      "<div class='panel'><pre>waggle run {0}/recipe.toml --out {0}-again\nwaggle inspect {0} "
      "--samples\n"
      "waggle generate --model {0}/model --prompt \"...\"</pre></div>\n"
      "<div class='panel' style='margin-top:.8rem'><table><tr><td class='soft'>run "
      "id</td><td><code>{1}</code></td></tr>"
      "<tr><td class='soft'>weight hash</td><td><code>{2}</code></td></tr></table></div>\n",
      EscapeHtml(folder), EscapeHtml(facts.run_id), EscapeHtml(facts.weight_hash));
}

}  // namespace

Result<AgeHistogram> AgesOfRun(const std::filesystem::path& run_directory) {
  WG_ASSIGN(const auto metrics, ReadRows(run_directory / "metrics.jsonl"));
  return AgesOf(metrics);
}

std::string AgesText(const AgeHistogram& ages) {
  const std::uint64_t total = std::accumulate(ages.begin(), ages.end(), std::uint64_t{0});
  std::string text;
  for (std::size_t age = 0; age < kAges; ++age) {
    if (ages[age] == 0) continue;
    text += fmt::format("{}{}: {:.1f} %", text.empty() ? "" : "  ", AgeName(age),
                        100 * static_cast<double>(ages[age]) / static_cast<double>(total));
  }
  return text;
}

Result<std::filesystem::path> WriteReport(const std::filesystem::path& run_directory,
                                          const ReportFacts& facts) {
  WG_ASSIGN(const auto metrics, ReadRows(run_directory / "metrics.jsonl"));
  WG_ASSIGN(const auto evaluations, ReadRows(run_directory / "evaluations.jsonl"));
  WG_ASSIGN(const Recipe recipe, LoadRecipe(run_directory / "recipe.toml", {}));

  // The policy forbids scripts and every request, should an escape ever be missing.
  std::string html = fmt::format(
      "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
      "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">"
      "<meta name='viewport' content='width=device-width,initial-scale=1'><title>{0}: Waggle "
      "run</title><style>{1}</style></head>\n"
      "<body><main><div class='kicker'>Waggle run · {2}</div><h1>{0}</h1>{3}\n",
      EscapeHtml(recipe.name), kStyle, EscapeHtml(recipe.environment.name),
      facts.summary == recipe.name ? "" : "<p class='soft'>" + EscapeHtml(facts.summary) + "</p>");
  html += Headline(metrics, evaluations);
  html += Curves(metrics, evaluations);
  html += AgePart(AgesOf(metrics));
  html += BeforeAndAfter(evaluations);
  html += SettingsPart(recipe);
  html += RepeatPart(run_directory.lexically_normal().string(), facts);
  html += "</main></body></html>\n";
  const auto path = run_directory / "report.html";
  WG_TRY(WriteFileAtomic(path, html));
  return path;
}

}  // namespace waggle
