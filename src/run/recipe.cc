#include "run/recipe.h"

#include <charconv>
#include <vector>

#include "base/files.h"
#include "crypto/hash.h"
#include "engine/engine.h"
#include "proofs/fingerprint/tier.h"
#include "rollout/limits.h"
#include "training/shaping.h"

namespace waggle {
namespace {

constexpr std::size_t kRecipeBytesMax = 1 << 20;

// Settings that are younger than the first runs, as a recipe's text holds them by default.
constexpr std::string_view kYounger[] = {
    "teacher = \"\"\n",
    "\n[trainer.algorithm.critic]\nlr = \"1e-5\"\nlambda = 0.95\nclip = 0.2\nwarmup_steps = 0\n",
    "lambda = 0.95\n",  // of the advantage
    "\n[environment.length]\ntargets = []\nform = \"{} tokens: \"\nmode = \"linear\"\nweight = "
    "0.0003\n",
    "swap = \"finish\"\n",
    "batches = \"wave\"\n",
    "stale = \"refuse\"\n",
    "worker_parts = 0\n",
    "\n[orchestrator.difficulty]\ntasks = 0\npass_min = 0.0\npass_max = 1.0\nhard_max = 0.25\n"
    "normal_max = 0.75\nhard_weight = 0.2\nnormal_weight = 1.0\neasy_weight = 0.2\n"
    "unseen_weight = 1.0\n",
    "\n[watch]\non = false\nact = true\n"};

// One layer of settings over another.
struct RecipeText {
  std::string file, text;
};

Status Apply(Recipe& recipe, const std::vector<RecipeText>& texts,
             const std::vector<std::string>& overrides) {
  for (const RecipeText& one : texts) WG_TRY(ReadToml(one.text, one.file, recipe));
  for (const std::string& entry : overrides) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos)
      return Fail(Blame::kOperator, "--set {}: expected section.key=value", entry);
    WG_TRY(Override(recipe, entry.substr(0, equals), entry.substr(equals + 1)));
  }
  return {};
}

}  // namespace

Result<Recipe> LoadRecipe(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides, const std::string& profile) {
  const auto file = std::filesystem::is_directory(path) ? path / "recipe.toml" : path;
  std::vector<RecipeText> texts(1, {file.string(), ""});
  if (!profile.empty()) texts.push_back({(file.parent_path() / (profile + ".toml")).string(), ""});
  for (RecipeText& one : texts) {
    WG_ASSIGN(one.text, ReadFile(one.file, kRecipeBytesMax));
  }
  Recipe named;
  WG_TRY(Apply(named, texts, overrides));
  // The named algorithm's row gives the defaults of its section; what the recipe says on top of it
  // wins.
  Recipe recipe;
  WG_ASSIGN(recipe.trainer.algorithm, NamedAlgorithm(named.trainer.algorithm.name));
  WG_TRY(Apply(recipe, texts, overrides));
  if (const Status valid = Validate(recipe); !valid)
    return Fail(valid.error().blame, "{}: {}", file.string(), valid.error().what);
  return recipe;
}

Status Validate(const Recipe& recipe) {
  WG_TRY(Validate(recipe.trainer));
  const OrchestratorRecipe& o = recipe.orchestrator;
  if (o.ahead > o.lag_versions_max) {
    return Fail(Blame::kOperator,
                "orchestrator.ahead = {} samples rollouts that lag_versions_max = {} refuses",
                o.ahead, o.lag_versions_max);
  }
  if (o.by_arrival() && (o.ahead == 0 || o.drop_uniform || o.difficulty.tasks > 0)) {
    return Fail(
        Blame::kOperator,
        "orchestrator.batches = \"arrival\" needs ahead above 0, and neither drop_uniform nor "
        "pools by difficulty, which look at whole waves");
  }
  if (o.worker_parts > o.groups_per_step)
    return Fail(Blame::kOperator,
                "orchestrator.worker_parts = {}: a part of {} groups_per_step that is less than a "
                "group",
                o.worker_parts, o.groups_per_step);
  if (o.difficulty.hard_max > o.difficulty.normal_max ||
      o.difficulty.pass_min > o.difficulty.pass_max)
    return Fail(Blame::kOperator, "orchestrator.difficulty: a lower bound is above its upper one");
  if (recipe.trust.fingerprinted()) {
    WG_TRY(FingerprintTier::Make(recipe.trust.tier, recipe.trust.fingerprint_limits));
    if (recipe.sampling.swap == "keep_kv")
      return Fail(
          Blame::kOperator,
          "sampling.swap = \"keep_kv\" leaves keys and values of two versions in one answer, "
          "which has no fingerprint");
  }
  return LengthTargetsOf(recipe.environment.length).map([](const auto&) {});
}

Result<std::vector<std::uint32_t>> LengthTargetsOf(const LengthRecipe& length) {
  std::vector<std::uint32_t> targets;
  for (const std::string& text : length.targets) {
    std::uint32_t target = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
    if (error != std::errc{} || end != text.data() + text.size() || target == 0 ||
        target > kWire.response_tokens_max)
      return Fail(Blame::kOperator, "environment.length.targets: '{}' is no number of tokens",
                  text);
    targets.push_back(target);
  }
  return targets;
}

LengthMode LengthModeOf(const LengthRecipe& length) {
  if (length.mode == "max") return LengthMode::kMax;
  return length.mode == "clip" ? LengthMode::kClip : LengthMode::kLinear;
}

SwapPolicy SwapPolicyOf(const SamplingRecipe& sampling) {
  if (sampling.swap == "recompute") return SwapPolicy::kRecompute;
  return sampling.swap == "keep_kv" ? SwapPolicy::kKeepKv : SwapPolicy::kFinish;
}

Hash256 RunIdOf(Recipe recipe, const Hash256& initial_weights) {
  // What never changes a bit, and what only people read, is not part of the identity.
  const Recipe defaults;
  recipe.name = defaults.name;
  recipe.about = defaults.about;
  recipe.checkpoints_kept = defaults.checkpoints_kept;
  recipe.model.path = defaults.model.path;               // the weights themselves are hashed
  recipe.trainer.algorithm.kl.teacher.clear();           // and the teacher's
  if (!recipe.watch.act) recipe.watch = defaults.watch;  // it only looks
  recipe.trust = defaults.trust;                         // the terms of the ledger's run
  // Where new weights take over in the middle of a response, the engine's schedule decides at which
  // token they come.
  if (recipe.sampling.swap == "finish") {
    // With a watch that acts, checkpoints are what it goes back to.
    if (!recipe.watch.on) recipe.checkpoint_every = defaults.checkpoint_every;
    recipe.sampling.kv_bytes = defaults.sampling.kv_bytes;
    recipe.sampling.step_tokens = defaults.sampling.step_tokens;
    recipe.sampling.sequences_max = defaults.sampling.sequences_max;
  }
  std::string text = "WGL-RUN-1\n" + WriteToml(recipe);
  text.erase(std::min(text.size(), text.find("\n[trust]\n")));  // the last section
  // Where they say nothing, older runs keep their ids.
  for (const std::string_view line : kYounger) {
    if (const std::size_t at = text.find(line); at != std::string::npos)
      text.erase(at, line.size());
  }
  std::vector<std::uint8_t> bytes(text.begin(), text.end());
  bytes.insert(bytes.end(), initial_weights.begin(), initial_weights.end());
  return Sha256(bytes);
}

}  // namespace waggle
