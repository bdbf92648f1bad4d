// waggle inspect, export: what lies in a run folder, a checkpoint or a model directory, in plain
// words; and taking the policy out.
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/inspect_rollouts.h"
#include "cli/sft.h"
#include "run/policy_at.h"
#include "run/recipe.h"
#include "run/run_folder.h"
#include "telemetry/telemetry.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr std::size_t kLogBytesMax = std::size_t{1} << 30;

std::vector<Json> Rows(const fs::path& file) {
  std::vector<Json> rows;
  const auto text = ReadFile(file, kLogBytesMax);
  if (!text) return rows;
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t end = std::min(text->find('\n', at), text->size());
    Json row = Json::parse(text->substr(at, end - at), nullptr, /*allow_exceptions=*/false);
    if (row.is_object()) rows.push_back(std::move(row));
    at = end + 1;
  }
  return rows;
}

void PrintSample(const Json& sample) {
  const auto text = [&](const char* key) {
    return sample.contains(key) ? sample[key].dump() : std::string("?");
  };
  fmt::print("    {} {}  ->  {}   (answer {}, reward {})\n",
             sample.value("correct", false) ? "right" : "wrong", text("prompt"), text("response"),
             text("answer"), text("reward"));
}

Status InspectRun(const fs::path& path, bool samples) {
  const RunFolder folder(path);
  WG_ASSIGN(const Recipe recipe, LoadRecipe(folder.recipe(), {}));
  fmt::print("run          {}\n", recipe.name);
  if (!recipe.about.empty()) fmt::print("about        {}\n", recipe.about);
  fmt::print("environment  {}\n", recipe.environment.name);
  const auto versions = folder.Checkpoints();
  fmt::print("progress     version {} of {}\n", versions.empty() ? 0 : versions.back(),
             recipe.orchestrator.steps);
  fmt::print("checkpoints  {}\n", fmt::join(versions, ", "));
  const auto metrics = Rows(path / "metrics.jsonl");
  if (!metrics.empty()) {
    fmt::print("last step\n");
    for (const auto& [name, value] : metrics.back().items()) {
      if (value.is_number()) fmt::print("    {:<34} {:.6g}\n", name, value.get<double>());
    }
  }
  const auto evaluations = Rows(path / "evaluations.jsonl");
  for (const Json& row : evaluations) {
    fmt::print("held-out     step {:>6}: {}\n", row.value("step", 0ull),
               AccuracyText(row.value("correct", 0ull), row.value("tasks", 0ull)));
  }
  if (samples && !evaluations.empty() && evaluations.back().contains("samples")) {
    fmt::print("samples of the last evaluation\n");
    for (const Json& sample : evaluations.back()["samples"]) PrintSample(sample);
  }
  if (const auto result = ReadFile(folder.result(), 1 << 16))
    fmt::print("result       {}\n", *result);
  return {};
}

Status InspectModel(const fs::path& path) {
  WG_ASSIGN(const LoadedModel loaded, LoadModel(path));
  const ModelConfig& config = loaded.config;
  std::size_t parameters = 0;
  for (const auto& [name, tensor] : loaded.parameters) parameters += tensor.size();
  fmt::print("{}: {} parameters in {} tensors\n", config.architecture, parameters,
             loaded.parameters.size());
  fmt::print(
      "{} layers, width {}, feed-forward {}, {} heads on {} key/value heads of {}, vocabulary {}, "
      "context {}\n",
      config.layers, config.hidden, config.intermediate, config.heads, config.kv_heads,
      config.head_dim, config.vocab, config.max_positions);
  if (config.experts > 0)
    fmt::print("{} experts, {} per token\n", config.experts, config.experts_per_token);
  fmt::print("{} head, rope theta {}, norm eps {:g}\n", config.tied_head ? "tied" : "separate",
             config.rope_theta, config.norm_eps);
  for (const auto& [name, tensor] : loaded.parameters) {
    double sum = 0, squares = 0;
    for (const float value : tensor.data) {
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    const double n = static_cast<double>(std::max<std::size_t>(1, tensor.size()));
    std::string shape;
    for (const std::size_t extent : tensor.shape)
      shape += (shape.empty() ? "" : " x ") + std::to_string(extent);
    fmt::print("  {:<52} {:>16}  mean {:+.4e}  rms {:.4e}\n", name, shape, sum / n,
               std::sqrt(squares / n));
  }
  return {};
}

Status Inspect(const fs::path& path, bool samples) {
  if (path.filename().string().starts_with("fault-step-")) return InspectFault(path);
  if (fs::exists(path / "recipe.toml")) return InspectRun(path, samples);
  if (fs::exists(path / "trainer")) {  // a checkpoint of a run
    const auto state = ReadFile(path / "orchestrator.json", kLogBytesMax);
    if (!state) return Forward(state.error());
    fmt::print("checkpoint   {}\norchestrator {}\n", path.filename().string(),
               state->substr(0, 400));
    for (const auto& entry : fs::directory_iterator(path / "trainer")) {
      fmt::print("    {:<40} {:>12} bytes\n", entry.path().filename().string(),
                 entry.is_regular_file() ? entry.file_size() : 0);
    }
    return {};
  }
  // llama2.c models end in .bin as well; a file of rollouts says in its first bytes what it is.
  if (fs::is_regular_file(path) && HoldsRollouts(path)) return InspectRollouts(path, samples);
  if (fs::exists(path / "config.json") || path.extension() == ".bin") return InspectModel(path);
  return Fail(Blame::kOperator,
              "{} is no run folder (recipe.toml), checkpoint (trainer/), model directory "
              "(config.json), file of rollouts or llama2.c .bin file",
              path.string());
}

Result<BaseModel> PolicyToExport(const fs::path& run, std::optional<std::uint64_t> step) {
  if (step) {
    ThreadPool pool(HardwareThreads());
    return PolicyAt(RunFolder(run), *step, BestOps(), pool);
  }
  fs::path source = run / "model";
  if (!fs::exists(source / "config.json")) source = run;
  if (!fs::exists(source / "config.json") && source.extension() != ".bin") {
    return Fail(Blame::kOperator,
                "{} holds no finished policy: `waggle resume {}` first, or name a model directory",
                run.string(), run.string());
  }
  return LoadBaseModel(source);
}

Status Export(const fs::path& run, std::optional<std::uint64_t> step, const fs::path& out,
              const std::string& format) {
  WG_ASSIGN(const BaseModel base, PolicyToExport(run, step));
  const WeightFormat weights = format == "bf16" ? WeightFormat::kBf16 : WeightFormat::kF32;
  WG_TRY(SaveBaseModel(out, base.model.config, base.model.parameters, base.tokenizer, weights));
  fmt::print("{} ({})\n", out.string(), format);
  return {};
}

}  // namespace

Action DefineInspect(CLI::App& app) {
  auto path = std::make_shared<std::string>();
  auto samples = std::make_shared<bool>(false);
  app.add_option("path", *path,
                 "Run folder, checkpoint, model directory, llama2.c file, file of rollouts "
                 "(RUN/rollouts/), or the dump of a numeric fault (which is replayed).")
      ->required()
      ->check(CLI::ExistingPath);
  app.add_flag("--samples", *samples,
               "Show sample transcripts of the last evaluation; of a file of rollouts, all.");
  return [path, samples] { return Inspect(*path, *samples); };
}

Action DefineExport(CLI::App& app) {
  auto run = std::make_shared<std::string>(), out = std::make_shared<std::string>(),
       format = std::make_shared<std::string>("bf16");
  app.add_option("run", *run, "Run folder, or a model to convert: a directory or a llama2.c .bin.")
      ->required()
      ->check(CLI::ExistingPath);
  app.add_option("--out", *out, "Directory to write.")->required();
  app.add_option("--format", *format, "f32 or bf16 (rounded to nearest even).")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  auto step = std::make_shared<std::optional<std::uint64_t>>();
  app.add_option("--step", *step,
                 "The policy of this checkpoint of a run (default: of its end); `waggle inspect` "
                 "lists them.");
  return [run, step, out, format] { return Export(*run, *step, *out, *format); };
}

}  // namespace waggle
