#include "cli/common.h"

#include <charconv>
#include <cstdlib>

namespace waggle {

void MachineOptions::Define(CLI::App& app) {
  app.add_option("--threads", threads,
                 "Threads to use; 0: all. Never changes a bit of any result.");
  app.add_option(
      "--isa", isa, "Kernels to use: " + [] {
        std::string names;
        for (const Ops* ops : AvailableOps())
          names += std::string(names.empty() ? "" : ", ") + ops->name;
        return names;
      }() + ". Never changes a bit of any result.");
}

unsigned MachineOptions::Threads() const { return threads == 0 ? HardwareThreads() : threads; }

Result<const Ops*> MachineOptions::SelectedOps() const {
  if (isa.empty()) return &BestOps();
  if (const Ops* ops = FindOps(isa.c_str())) return ops;
  return Fail(Blame::kOperator, "--isa {}: this CPU has no such kernels", isa);
}

void ModelOptions::Define(CLI::App& app) {
  app.add_option(
         "--model", path,
         "Model directory (Hugging Face layout), or a llama2.c .bin with its tokenizer beside it.")
      ->required();
  app.add_option("--weights", weights, "Working weights: f32, bf16, int8 or ci8.")
      ->capture_default_str();
  app.add_option("--kv", kv, "Cached keys and values: f32 or bf16.")->capture_default_str();
}

Result<OpenModel> Open(const ModelOptions& options, const Ops& ops) {
  ModelRecipe recipe;
  recipe.weights = options.weights;
  recipe.kv = options.kv;
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(recipe));
  WG_ASSIGN(BaseCheckpoint base, OpenBaseModel(options.path));
  const ModelConfig& config = base.checkpoint.config();
  WG_ASSIGN(auto model, Model::Create(config, numerics, base.checkpoint, nullptr, ops));
  return OpenModel{{{config, {}}, std::move(base.tokenizer)}, std::move(model)};
}

Result<std::vector<TokenId>> ParseIds(const std::string& text, std::size_t vocab) {
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    TokenId id = 0;
    const auto [stop, error] = std::from_chars(at, end, id);
    if (error != std::errc{} || (stop != end && *stop != ',')) {
      return Fail(Blame::kOperator, "--ids: expected numbers separated by commas, at '{}'",
                  std::string(at, end));
    }
    if (id < 0 || static_cast<std::size_t>(id) >= vocab)
      return Fail(Blame::kOperator, "--ids: {} is outside the vocabulary of {}", id, vocab);
    ids.push_back(id);
    at = stop == end ? end : stop + 1;
  }
  if (ids.empty()) return Fail(Blame::kOperator, "--ids: no ids");
  return ids;
}

std::filesystem::path CacheDirectory() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return std::filesystem::path(cache) / "waggle";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::filesystem::path(home) / ".cache" / "waggle";
  return ".cache/waggle";
}

}  // namespace waggle
