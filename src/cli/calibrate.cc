// waggle calibrate: how far honest engines are apart on this model's own rollouts, how near cheats
// come, and what thresholds follow. Both distributions or none.
#include "proofs/fingerprint/calibrate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/files.h"
#include "cli/command.h"
#include "cli/common.h"
#include "kernels/fast/fast.h"
#include "proofs/fingerprint/record_cases.h"
#include "run/base_model.h"
#include "run/task_codec.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

struct CalibrateArguments {
  std::string source = "recipes/demo", other, environment, out, weights = "f32", kv = "f32";
  std::vector<std::string> settings, prompts, pairs, cases, schemes;
  std::uint64_t tasks = 24, seed = 1;
  std::uint32_t samples = 4, tokens_max = 0, records = 0;
  double race_tolerance = kRaceToleranceDefault;
  float temperature = 1.0f;
  bool brief = false;
  MachineOptions machine;
};

// What is calibrated: weights, where prompts come from, how the run samples.
struct Subject {
  BaseModel base;
  NumericsConfig numerics;
  SamplingConfig sampling;
  std::vector<std::vector<TokenId>> prompts;
};

Result<std::vector<std::vector<TokenId>>> TaskPrompts(const EnvironmentRecipe& recipe,
                                                      const std::vector<std::string>& extra,
                                                      const BaseModel& base,
                                                      std::vector<TokenId> suffix,
                                                      std::uint64_t count) {
  WG_ASSIGN(const auto environment, MakeEnvironment(recipe, extra));
  const TaskCodec codec(*environment, base.tokenizer, base.model.config.eos, std::move(suffix));
  std::vector<std::vector<TokenId>> prompts;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    WG_ASSIGN(const Task task, environment->MakeTask(kHeldOutBit | seed));
    prompts.push_back(codec.PromptTokens(task));
  }
  return prompts;
}

Result<Subject> FromRecipe(const CalibrateArguments& arguments, const fs::path& path,
                           const Ops& ops, ThreadPool& pool) {
  WG_ASSIGN(const Recipe recipe, LoadRecipe(path, {}));
  const BaseModelContext context{
      .ops = &ops,
      .pool = &pool,
      .cache_directory = CacheDirectory(),
      .say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); }};
  WG_ASSIGN(BaseModel base, PrepareBaseModel(recipe, context));
  WG_ASSIGN(auto suffix, PromptSuffix(recipe, base.tokenizer));
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(recipe.model));
  Subject subject{std::move(base), numerics, {}, {}};
  subject.sampling.tokens_max = static_cast<std::uint32_t>(recipe.sampling.tokens_max);
  WG_ASSIGN(subject.prompts, TaskPrompts(recipe.environment, arguments.settings, subject.base,
                                         std::move(suffix), arguments.tasks));
  return subject;
}

Result<Subject> FromModel(const CalibrateArguments& arguments) {
  ModelRecipe model;
  model.weights = arguments.weights, model.kv = arguments.kv;
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(model));
  WG_ASSIGN(BaseModel base, LoadBaseModel(arguments.source));
  Subject subject{std::move(base), numerics, {}, {}};
  subject.sampling.tokens_max = 64;
  for (const std::string& text : arguments.prompts)
    subject.prompts.push_back(subject.base.tokenizer.Encode(text, {.add_special_tokens = true}));
  if (!arguments.environment.empty()) {
    WG_ASSIGN(subject.prompts, TaskPrompts({arguments.environment, arguments.settings}, {},
                                           subject.base, {}, arguments.tasks));
  }
  if (subject.prompts.size() < 2)
    return Fail(Blame::kOperator,
                "a model alone has no tasks: name an environment with --env, or give two texts and "
                "more with --prompt");
  return subject;
}

Result<Subject> SubjectOf(const CalibrateArguments& arguments, const Ops& ops, ThreadPool& pool) {
  const fs::path path = arguments.source;
  const fs::path recipe = fs::is_directory(path) ? path / "recipe.toml" : path;
  const bool is_recipe = recipe.extension() == ".toml" && fs::exists(recipe);
  WG_ASSIGN(Subject subject,
            is_recipe ? FromRecipe(arguments, recipe, ops, pool) : FromModel(arguments));
  subject.sampling.temperature = arguments.temperature;
  if (arguments.tokens_max > 0) {
    subject.sampling.tokens_max = arguments.tokens_max;
    return subject;
  }
  // What was not asked for by name gives way to the context.
  std::size_t longest = 0;
  for (const auto& prompt : subject.prompts) longest = std::max(longest, prompt.size());
  const std::size_t context = subject.base.model.config.max_positions;
  const auto room = static_cast<std::uint32_t>(context > longest ? context - longest : 1);
  subject.sampling.tokens_max = std::min(subject.sampling.tokens_max, room);
  return subject;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text.append(text.empty() ? "" : ", ").append(word);
  return text;
}

bool Wanted(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

// Honest pairs by --pairs (the control always), null cases by --cases.
Result<std::vector<CaseDoc>> CasesOf(const CalibrateArguments& arguments) {
  std::vector<CaseDoc> docs;
  std::vector<std::string> known;
  for (const CaseDoc& doc : CalibrationCases()) {
    known.emplace_back(doc.name);
    const bool wanted =
        doc.name == "canonical" || Wanted(doc.honest ? arguments.pairs : arguments.cases, doc.name);
    if (wanted) docs.push_back(doc);
  }
  for (const auto* names : {&arguments.pairs, &arguments.cases}) {
    for (const std::string& name : *names) {
      const bool found = std::any_of(docs.begin(), docs.end(),
                                     [&](const CaseDoc& doc) { return doc.name == name; });
      if (!found) return Fail(Blame::kOperator, "no case '{}': there are {}", name, Joined(known));
    }
  }
  return docs;
}

Result<std::vector<std::unique_ptr<Fingerprint>>> SchemesOf(const CalibrateArguments& arguments) {
  std::vector<std::unique_ptr<Fingerprint>> chosen;
  std::vector<std::string> known;
  auto all = AllFingerprints();
  for (auto& fingerprint : all) {
    known.emplace_back(fingerprint->info().name);
    if (Wanted(arguments.schemes, known.back())) chosen.push_back(std::move(fingerprint));
  }
  if (chosen.size() < std::max<std::size_t>(1, arguments.schemes.size()))
    return Fail(Blame::kOperator, "--schemes: there are {}", Joined(known));
  return chosen;
}

// JSON has no infinity.
nlohmann::json Number(double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(); }

nlohmann::ordered_json JsonOf(const SchemeReport& scheme) {
  nlohmann::ordered_json json = {{"name", scheme.info.name},
                                 {"looks_at", scheme.info.looks_at},
                                 {"unit", scheme.info.unit},
                                 {"quorum", scheme.info.quorum},
                                 {"bytes_posted_per_token", scheme.bytes_posted},
                                 {"bytes_opened_per_token", scheme.bytes_opened},
                                 {"false_rejects_published", scheme.false_rejects_published},
                                 {"false_rejects_calibrated", scheme.false_rejects_calibrated}};
  for (std::size_t k = 0; k < scheme.info.statistics.size(); ++k) {
    const LimitRule& rule = scheme.info.statistics[k].rule;
    json["statistics"].push_back({{"name", scheme.info.statistics[k].name},
                                  {"published", Number(scheme.published[k])},
                                  {"calibrated", Number(scheme.calibrated[k])},
                                  {"rule",
                                   {{"quantile", rule.quantile},
                                    {"factor", rule.factor},
                                    {"plus", rule.plus},
                                    {"never_looser", rule.never_looser},
                                    {"fixed", rule.fixed}}}});
  }
  for (const CaseReport& c : scheme.cases) {
    nlohmann::ordered_json one = {{"case", c.doc.name},
                                  {"honest", c.doc.honest},
                                  {"blind", c.blind},
                                  {"rollouts", c.rollouts},
                                  {"refused", c.refused},
                                  {"units", c.units},
                                  {"units_pass_published", c.units_pass_published},
                                  {"accepted_published", c.accepted_published},
                                  {"accepted_calibrated", c.accepted_calibrated},
                                  {"histogram", c.histogram}};
    for (const Spread& s : c.spreads)
      one["quantiles"].push_back({{"0.001", Number(s.low)},
                                  {"0.5", Number(s.median)},
                                  {"0.999", Number(s.high)},
                                  {"max", Number(s.most)}});
    json["cases"].push_back(std::move(one));
  }
  json["warnings"] = scheme.warnings;
  return json;
}

Status WriteJson(const CalibrateArguments& arguments, const Subject& subject,
                 const CalibrationReport& report) {
  const ModelConfig& config = subject.base.model.config;
  nlohmann::ordered_json json = {{"source", arguments.source},
                                 {"layers", config.layers},
                                 {"hidden", config.hidden},
                                 {"vocab", config.vocab},
                                 {"weights", ToString(subject.numerics.weights)},
                                 {"prompts", subject.prompts.size()},
                                 {"samples", arguments.samples},
                                 {"tokens_max", subject.sampling.tokens_max},
                                 {"temperature", subject.sampling.temperature},
                                 {"seed", arguments.seed},
                                 {"honest_rollouts", report.honest_rollouts}};
  json["histogram_edges"] = kHistogramEdges;
  for (const SchemeReport& scheme : report.schemes) json["schemes"].push_back(JsonOf(scheme));
  for (const NodeReport& n : report.nodes)
    json["nodes"].push_back({{"case", n.doc.name},
                             {"tokens", n.tokens},
                             {"kolmogorov", Number(n.kolmogorov)},
                             {"surprise", Number(n.surprise)}});
  return WriteFileAtomic(arguments.out, json.dump(1) + "\n");
}

// One line per fingerprint: what calibrated limits refuse and let pass, of what it can see.
std::string BriefText(const CalibrationReport& report) {
  std::string text =
      fmt::format("{:<19}{:>23}  {}\n{:<19}{:>11} {:>11}  {}\n", "", "honest rollouts refused",
                  "cheats that pass the calibrated limits", "fingerprint", "published",
                  "calibrated", "(share of rollouts)");
  for (const SchemeReport& s : report.schemes) {
    std::vector<std::string> passing;
    for (const CaseReport& c : s.cases) {
      if (c.doc.honest || c.blind || c.accepted_calibrated < 0.005) continue;
      passing.push_back(fmt::format("{} {:.0f} %", c.doc.name, 100 * c.accepted_calibrated));
    }
    text += fmt::format("{:<19}{:>9.2f} % {:>9.2f} %  {}\n", s.info.name,
                        100 * s.false_rejects_published, 100 * s.false_rejects_calibrated,
                        passing.empty() ? "none" : Joined(passing));
  }
  return text +
         "Not listed: what a fingerprint cannot see by design. One of states is blind for draft, "
         "cold and other-sample, one of tokens for zero-states and unrelated.\n";
}

// For a recipe's [trust], as far as numbers hold.
std::string LimitsText(const CalibrationReport& report) {
  std::string text = "\nfor [trust] of a recipe:\nfingerprint_limits = [";
  for (const SchemeReport& s : report.schemes) {
    std::string numbers;
    for (const double limit : s.calibrated)
      numbers += (numbers.empty() ? "" : "/") +
                 (std::isfinite(limit) ? fmt::format("{:.3g}", limit) : std::string("-"));
    text +=
        fmt::format("{}\"{}={}\"", &s == report.schemes.data() ? "" : ", ", s.info.name, numbers);
  }
  return text + "]\n";
}

// What records of nodes find, and after how many groups.
Status CalibrateRecords(const CalibrateArguments& arguments, const CalibrationPlan& plan) {
  const RecordPlan record{arguments.records, arguments.race_tolerance};
  for (const auto* names : {&arguments.pairs, &arguments.cases}) {
    for (const std::string& name : *names) {
      if (std::ranges::find(RecordCases(), name, &CaseDoc::name) != RecordCases().end()) continue;
      std::vector<std::string> known;
      for (const CaseDoc& doc : RecordCases()) known.emplace_back(doc.name);
      return Fail(Blame::kOperator, "no case '{}' of records: there are {}", name, Joined(known));
    }
  }
  std::vector<RecordReport> reports;
  for (const CaseDoc& doc : RecordCases()) {
    const bool wanted =
        doc.name == "canonical" || Wanted(doc.honest ? arguments.pairs : arguments.cases, doc.name);
    if (!wanted) continue;
    const std::int64_t begun = SystemClock().MonotonicNs();
    WG_ASSIGN(RecordReport report, RunRecordCase(plan, record, doc));
    fmt::print(stderr, "{:<14} {} groups, {} tokens, {:.1f} s: {}\n", doc.name, report.groups,
               report.tokens, 1e-9 * static_cast<double>(SystemClock().MonotonicNs() - begun),
               doc.what);
    reports.push_back(std::move(report));
  }
  fmt::print("{}", RecordText(record, reports));
  if (arguments.out.empty()) return {};
  nlohmann::ordered_json json = {{"source", arguments.source},
                                 {"samples", arguments.samples},
                                 {"tokens_max", plan.sampling.tokens_max},
                                 {"temperature", plan.sampling.temperature},
                                 {"seed", arguments.seed},
                                 {"race_tolerance", arguments.race_tolerance}};
  for (const RecordReport& r : reports)
    json["records"].push_back({{"case", r.doc.name},
                               {"honest", r.doc.honest},
                               {"groups", r.groups},
                               {"tokens", r.tokens},
                               {"findings", r.findings},
                               {"groups_needed", r.groups_needed},
                               {"by", r.by},
                               {"race_loss", r.race_loss},
                               {"nats_per_group", r.nats_per_group}});
  return WriteFileAtomic(arguments.out, json.dump(1) + "\n");
}

Status RunCalibrate(const CalibrateArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  ThreadPool pool(arguments.machine.Threads());
  std::vector<CaseDoc> docs;
  if (arguments.records == 0) {
    WG_ASSIGN(docs, CasesOf(arguments));
  }
  WG_ASSIGN(const auto fingerprints, SchemesOf(arguments));
  WG_ASSIGN(const Subject subject, SubjectOf(arguments, *ops, pool));
  const ModelConfig& config = subject.base.model.config;
  CalibrationPlan plan{.config = &config,
                       .numerics = subject.numerics,
                       .parameters = &subject.base.model.parameters,
                       .ops = ops,
                       .pool = &pool,
                       .prompts = subject.prompts,
                       .sampling = subject.sampling,
                       .stop_ids = config.eos,
                       .samples = arguments.samples,
                       .seed = arguments.seed};
  LoadedModel other;
  if (!arguments.other.empty()) {
    WG_ASSIGN(other, LoadModel(arguments.other));
    plan.other = &other.parameters;
  }
  if (arguments.records > 0) return CalibrateRecords(arguments, plan);
  std::vector<CaseScores> cases;
  for (const CaseDoc& doc : docs) {
    const std::int64_t begun = SystemClock().MonotonicNs();
    WG_ASSIGN(CaseScores scores, RunCase(plan, doc, fingerprints));
    fmt::print(stderr, "{:<14} {} rollouts, {} tokens, {:.1f} s: {}\n", doc.name, scores.rollouts,
               scores.tokens, 1e-9 * static_cast<double>(SystemClock().MonotonicNs() - begun),
               doc.what);
    cases.push_back(std::move(scores));
  }
  const CalibrationReport report = Calibrate(fingerprints, cases);
  if (!arguments.brief) fmt::print("{}\n", ReportText(report));
  fmt::print("{}{}", BriefText(report), LimitsText(report));
  if (arguments.out.empty()) return {};
  WG_TRY(WriteJson(arguments, subject, report));
  fmt::print("\nthresholds and both distributions: {}\n", arguments.out);
  return {};
}

}  // namespace

Action DefineCalibrate(CLI::App& app) {
  auto arguments = std::make_shared<CalibrateArguments>();
  app.add_option("source", arguments->source,
                 "A recipe, whose starting model and tasks are used, or a model directory.")
      ->capture_default_str();
  app.add_option("--pairs", arguments->pairs,
                 "Honest engines that limits are made for: fast-splitk, fast-tiles, fast-bf16 "
                 "(default: all; the limits are those of the noisiest).")
      ->delimiter(',');
  app.add_option("--cases", arguments->cases, "Null cases (default: all).")->delimiter(',');
  app.add_option("--schemes", arguments->schemes, "Fingerprints (default: all).")->delimiter(',');
  app.add_option("--env", arguments->environment, "Environment of the prompts, for a model.");
  app.add_option("--set", arguments->settings,
                 "Setting of the environment as key=value; repeatable.");
  app.add_option("--prompt", arguments->prompts, "Text as a prompt, for a model; repeatable.");
  app.add_option("--other", arguments->other,
                 "Model of the same shape for the case other-model (default: random weights).");
  app.add_option("--tasks", arguments->tasks, "Prompts from the environment.")
      ->check(CLI::Range(2, 100000))
      ->capture_default_str();
  app.add_option("--samples", arguments->samples, "Rollouts per prompt and case.")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--max-tokens", arguments->tokens_max,
                 "Response budget (default: the recipe's, or 64).");
  app.add_option("--temperature", arguments->temperature, "Of sampling, above 0.")
      ->check(CLI::Range(0.01, 10.0))
      ->capture_default_str();
  app.add_option("--seed", arguments->seed, "Of keys, beacons and perturbations.")
      ->capture_default_str();
  app.add_option("--weights", arguments->weights, "Working weights of a model: f32, bf16, ..")
      ->capture_default_str();
  app.add_option("--kv", arguments->kv, "Cached keys and values of a model: f32 or bf16.")
      ->capture_default_str();
  app.add_option(
      "--records", arguments->records,
      "Instead of thresholds: how many groups a node's record needs to show a cheat, out "
      "of so many of each case (a group is the samples of one prompt).");
  app.add_option("--record-tolerance", arguments->race_tolerance,
                 "Of lost races, as record=NUMBER in a recipe's fingerprint_limits.")
      ->check(CLI::Range(1e-6, 0.999));
  app.add_option("--out", arguments->out, "Write everything as JSON to this file.");
  app.add_flag("--brief", arguments->brief, "Print the last table only.");
  arguments->machine.Define(app);
  return [arguments] { return RunCalibrate(*arguments); };
}

}  // namespace waggle
