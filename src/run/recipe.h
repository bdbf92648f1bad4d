// A recipe: everything that decides the bits of a run, as one visited struct. Its effective TOML
// text is stored with the run and hashed into the run id; unknown keys are errors. A published
// system is a recipe over shared parts, never an `if`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "rollout/rollout.h"
#include "training/trainer_config.h"

namespace waggle {

enum class SwapPolicy : std::uint8_t;  // engine/engine.h
enum class LengthMode : std::uint8_t;  // training/shaping.h

// Where the starting policy comes from: a checkpoint, or a fresh model of this shape (then usually
// warmed up by SFT).
struct ModelRecipe {
  std::string path;
  std::string architecture = "LlamaForCausalLM";
  std::uint64_t layers = 2, hidden = 64, intermediate = 192, heads = 4, kv_heads = 2,
                positions = 128;
  std::uint64_t seed = 1;
  double init_std = 0.02;
  bool tied_head = true;
  std::string characters, prompt_suffix;
  std::string weights = "f32", kv = "f32";

  template <class V>
  void Visit(V&& v) {
    v("path", path, Any{},
      "Model directory (Hugging Face layout) or llama2.c .bin; empty: a fresh model of the shape "
      "below.");
    v("architecture", architecture, OneOf{"LlamaForCausalLM", "Qwen3ForCausalLM"},
      "Family of a fresh model.");
    v("layers", layers, Range<std::uint64_t>{1, 128}, "Transformer blocks of a fresh model.");
    v("hidden", hidden, Range<std::uint64_t>{8, 16384}, "Width of the residual stream.");
    v("intermediate", intermediate, Range<std::uint64_t>{8, 65536}, "Width of the SwiGLU layer.");
    v("heads", heads, Range<std::uint64_t>{1, 256}, "Query heads.");
    v("kv_heads", kv_heads, Range<std::uint64_t>{1, 256}, "Key/value heads; divides heads.");
    v("positions", positions, Range<std::uint64_t>{16, 1048576},
      "Longest sequence, prompt and response together.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "Seed of the random initial weights.");
    v("init_std", init_std, Range<double>{1e-6, 1.0},
      "Standard deviation of the random initial weights.");
    v("tied_head", tied_head, Any{}, "Whether the output layer shares the embedding's weights.");
    v("characters", characters, Any{},
      "Vocabulary of a fresh model: one token per character. Empty: the environment's own.");
    v("prompt_suffix", prompt_suffix, Any{},
      "Special token put after every prompt, by its text; empty: none.");
    v("weights", weights, OneOf{"f32", "bf16", "int8", "ci8"}, "Format of the working weights.");
    v("kv", kv, OneOf{"f32", "bf16"}, "Format of cached keys and values.");
  }
};

// Supervised warm-up on demonstrations. Cached under the cache folder by content.
struct WarmupRecipe {
  std::uint64_t steps = 0, batch = 128, seed = 7;
  double lr = 3e-3;
  std::vector<std::string> settings, mixture;

  template <class V>
  void Visit(V&& v) {
    v("steps", steps, Range<std::uint64_t>{0, 1000000}, "Optimizer steps of the warm-up; 0: none.");
    v("batch", batch, Range<std::uint64_t>{1, 65536}, "Demonstrations per step.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "Seed of the demonstrations' order.");
    v("lr", lr, Range<double>{0.0, 1.0},
      "Peak learning rate (linear warm-up over 5 %, cosine to a tenth).");
    v("settings", settings, Any{},
      "Environment settings that differ during warm-up, as \"key=value\".");
    v("mixture", mixture, Any{},
      "Demonstrations come from these in turn, each as \"environment key=value ...\"; empty: from "
      "the task itself.");
  }
};

// Prompts that say how long the response should be, and what keeping to it is worth.
struct LengthRecipe {
  std::vector<std::string> targets;
  std::string form = "{} tokens: ", mode = "linear";
  double weight = 0.0003;

  template <class V>
  void Visit(V&& v) {
    v("targets", targets, Any{},
      "Response lengths in tokens; each task asks for one of them, drawn from its seed. Empty: no "
      "length budget.");
    v("form", form, Any{}, "Text put before the prompt; {} stands for the target.");
    v("mode", mode, OneOf{"linear", "max", "clip"},
      "linear: reward - weight * |target - length|. max: reward * (weight * (target - length) + "
      "0.5), the factor held in [0, 1]. clip: no reward above the target.");
    v("weight", weight, Range<double>{0.0, 1.0}, "What a token off the target costs.");
  }
};

struct EnvironmentRecipe {
  std::string name = "arithmetic";
  std::vector<std::string> settings;
  LengthRecipe length;

  template <class V>
  void Visit(V&& v) {
    v("name", name, Any{}, "Task family; `waggle env list` shows all.");
    v("settings", settings, Any{},
      "Settings of the environment as \"key=value\"; `waggle env show NAME` lists them.");
    v.Section("length", length, "Length budgets in prompts.");
  }
};

struct SamplingRecipe {
  double temperature = 1.0, top_p = 1.0, min_p = 0.0;
  std::uint32_t top_k = 0, tokens_max = 32;
  std::string swap = "finish";
  std::uint64_t kv_bytes = std::uint64_t{256} << 20, step_tokens = 1024, sequences_max = 512;

  template <class V>
  void Visit(V&& v) {
    v("temperature", temperature, Range<double>{0.0, 10.0},
      "Sampling temperature; log-probs are those at this temperature.");
    v("top_p", top_p, Range<double>{0.0, 1.0}, "Nucleus; 1: off (recommended for RL).");
    v("min_p", min_p, Range<double>{0.0, 1.0},
      "Smallest probability relative to the best token; 0: off.");
    v("top_k", top_k, Range<std::uint32_t>{0, 1u << 20}, "Keep the k best tokens; 0: off.");
    v("tokens_max", tokens_max, Range<std::uint32_t>{1, 32768}, "Response budget in tokens.");
    v("swap", swap, OneOf{"finish", "recompute", "keep_kv"},
      "What a new policy version does to responses that are being sampled: they keep the old one "
      "to their end; go on under the new one, everything before computed anew; or go on and keep "
      "the old one's keys and values. But for finish, settings that never change a bit otherwise "
      "do in a local run with ahead > 0: they decide at which token it comes.");
    v("kv_bytes", kv_bytes, Range<std::uint64_t>{1u << 16, 1ull << 42},
      "Memory for keys and values.");
    v("step_tokens", step_tokens, Range<std::uint64_t>{1, 1u << 20},
      "Tokens per engine step. Never changes a bit.");
    v("sequences_max", sequences_max, Range<std::uint64_t>{1, 1u << 16},
      "Sequences decoded at once. Never changes a bit.");
  }
};

// A fixed set of training tasks, drawn by how hard they are (run/task_pool.h).
struct DifficultyRecipe {
  std::uint64_t tasks = 0;
  double pass_min = 0.0, pass_max = 1.0, hard_max = 0.25, normal_max = 0.75;
  double hard_weight = 0.2, normal_weight = 1.0, easy_weight = 0.2, unseen_weight = 1.0;

  template <class V>
  void Visit(V&& v) {
    v("tasks", tasks, Range<std::uint64_t>{0, 1u << 22},
      "Training tasks in all; each lease draws one of them. 0: no pool, each lease a new task.");
    v("pass_min", pass_min, Range<double>{0.0, 1.0},
      "A task measured with a pass rate below this leaves the pool for good; the last one stays.");
    v("pass_max", pass_max, Range<double>{0.0, 1.0}, "And one with a pass rate above this.");
    v("hard_max", hard_max, Range<double>{0.0, 1.0},
      "A task is hard up to this pass rate, as measured last.");
    v("normal_max", normal_max, Range<double>{0.0, 1.0},
      "A task is normal above hard_max and up to this pass rate, easy beyond.");
    v("hard_weight", hard_weight, Range<double>{0.0, 1e6}, "Weight of a hard task in the draw.");
    v("normal_weight", normal_weight, Range<double>{0.0, 1e6},
      "Weight of a normal task in the draw.");
    v("easy_weight", easy_weight, Range<double>{0.0, 1e6}, "Weight of an easy task in the draw.");
    v("unseen_weight", unseen_weight, Range<double>{0.0, 1e6},
      "Weight of a task that was never measured.");
  }
};

struct OrchestratorRecipe {
  std::uint64_t steps = 100;
  std::uint32_t groups_per_step = 32, group_size = 8, waves_max = 1, worker_parts = 0;
  std::uint64_t ahead = 0, lag_versions_max = 4;
  bool drop_uniform = false;
  std::string batches = "wave", stale = "refuse", reward = "environment";
  DifficultyRecipe difficulty;

  bool by_arrival() const { return batches == "arrival"; }

  template <class V>
  void Visit(V&& v) {
    v("steps", steps, Range<std::uint64_t>{0, 10000000},
      "Training batches; each publishes one policy version.");
    v("groups_per_step", groups_per_step, Range<std::uint32_t>{1, 65536},
      "Prompts per training batch.");
    v("group_size", group_size, Range<std::uint32_t>{1, 1024}, "Rollouts per prompt.");
    v("drop_uniform", drop_uniform, Any{},
      "Difficulty filter: leave out groups whose rollouts are all right or all wrong.");
    v("waves_max", waves_max, Range<std::uint32_t>{1, 64},
      "With drop_uniform: sample at most this many times groups_per_step.");
    v("ahead", ahead, Range<std::uint64_t>{0, 64},
      "Batches sampled before the trainer needs them: their policy is that many versions old. 0 "
      "is synchronous.");
    v("lag_versions_max", lag_versions_max, Range<std::uint64_t>{0, 1024},
      "Oldest policy that tokens are trained on, in versions before the one that trains.");
    v("batches", batches, OneOf{"wave", "arrival"},
      "A batch is a wave of leases, in their order, whoever was fast; or the groups that arrived "
      "first, so that nobody waits for the slowest (runs that others join, with ahead above 0).");
    v("stale", stale, OneOf{"refuse", "withhold"},
      "A group that comes older than that: sampled again, or kept for its rewards, which shape the "
      "mean of its group while its stale responses ship no tokens.");
    v("reward", reward, OneOf{"environment", "random"},
      "\"random\" is the control experiment: a coin instead of the grader.");
    v("worker_parts", worker_parts, Range<std::uint32_t>{0, 65536},
      "In runs that others join, one node is at most this part of a training step (8: an eighth, "
      "of whole groups, drawn); what is above it is paid and not trained on. 0: no limit.");
    v.Section("difficulty", difficulty, "Pools of tasks by measured pass rate.");
  }
};

struct EvaluationRecipe {
  std::uint64_t every = 0, tasks = 200;
  double temperature = 0.0;

  template <class V>
  void Visit(V&& v) {
    v("every", every, Range<std::uint64_t>{0, 1000000},
      "Evaluate every this many steps, and at start and end; 0: only start and end.");
    v("tasks", tasks, Range<std::uint64_t>{0, 100000}, "Held-out tasks per evaluation; 0: none.");
    v("temperature", temperature, Range<double>{0.0, 10.0},
      "Temperature of evaluation; 0: greedy.");
  }
};

// Who checks what, and what it is paid: for runs that others join. Never changes a bit of training.
struct TrustRecipe {
  bool audits = false;
  std::uint64_t epoch_versions = 10, newcomer_groups = 0;
  std::uint32_t audit_items = 1, auditors = 1, dispute_epochs = 1, step_audits = 1;
  std::uint64_t window_seconds = 60, sign_seconds = 5;
  double budget = 1000.0, price_rollout = 0.01, price_ktoken = 0.1, worker_stake = 0.0,
         validator_stake = 0.0, item_cost = 0.0;
  std::uint64_t canary_every = 4;
  std::uint32_t canary_groups = 64, spot_checks = 4;
  std::string beacon = "commit-reveal", drand = "quicknet";
  std::string tier = "exact";
  std::vector<std::string> fingerprint_limits;

  bool fingerprinted() const { return tier != "exact"; }

  template <class V>
  void Visit(V&& v) {
    v("audits", audits, Any{},
      "Groups become signed batches, validators replay what a beacon draws, and a ledger pays for "
      "what holds.");
    v("epoch_versions", epoch_versions, Range<std::uint64_t>{1, 1000000},
      "Policy versions of one epoch: batches are signed and audited at its end.");
    v("newcomer_groups", newcomer_groups, Range<std::uint64_t>{0, 1000000},
      "The first so many groups of every node are replayed before they are accepted, by the host "
      "itself; 0: none.");
    v("audit_items", audit_items, Range<std::uint32_t>{1, 256},
      "Groups replayed of a batch that is audited.");
    v("auditors", auditors, Range<std::uint32_t>{1, 16},
      "Validators drawn for a batch that is audited; one honest one is enough.");
    v("step_audits", step_audits, Range<std::uint32_t>{0, 64},
      "Training steps of every epoch that the beacon names for validators to take again; 0: none.");
    v("dispute_epochs", dispute_epochs, Range<std::uint32_t>{0, 10000},
      "Pay is withheld until so many later epochs have ended.");
    v("window_seconds", window_seconds, Range<std::uint64_t>{1, 31622400},
      "And at least so long after the draw; a worker has as long to answer a finding.");
    v("sign_seconds", sign_seconds, Range<std::uint64_t>{1, 86400},
      "How long workers have to sign for their batch; later, it goes into the next one.");
    v("budget", budget, Range<double>{0.000001, 1e9},
      "Units locked for the run, spread over its epochs.");
    v("price_rollout", price_rollout, Range<double>{0.0, 1000.0}, "Units for a rollout.");
    v("price_ktoken", price_ktoken, Range<double>{0.0, 1000.0},
      "Units for a thousand sampled tokens, at first; it moves with what is asked for.");
    v("worker_stake", worker_stake, Range<double>{0.0, 1e6},
      "Units that a worker must have at stake; withheld pay is a stake too, so 0 is sound.");
    v("validator_stake", validator_stake, Range<double>{0.0, 1e6},
      "Units that a validator must have at stake.");
    v("item_cost", item_cost, Range<double>{0.0, 1e6},
      "What sampling a group costs an honest worker, in units: it says how often batches are "
      "audited (`waggle ledger plan`). 0: what it is paid at most, so that every batch is where "
      "nothing is at stake.");
    v("canary_every", canary_every, Range<std::uint64_t>{0, 1000000},
      "In one epoch of so many, on average, the host hides a batch of its own whose truth it has "
      "committed to, mostly a bad one: whoever calls it good did not look. 0: none.");
    v("canary_groups", canary_groups, Range<std::uint32_t>{1, 1000000},
      "Groups of such a batch, at most (else it is as large as the others): the host replays each "
      "once.");
    v("spot_checks", spot_checks, Range<std::uint32_t>{0, 1000000},
      "The host replays what one of so many verdicts of \"accepted\" is about; 1: all, 0: none.");
    v("beacon", beacon, OneOf{"commit-reveal", "drand"},
      "Where the draw of audits comes from: secrets of the validators, or the second round of "
      "drand after the seal (`--drand-rounds`).");
    v("drand", drand, OneOf{"quicknet", "default"}, "Which of drand's networks.");
    v("tier", tier, OneOf{"exact", "toploc", "toploc+", "grail", "dense"},
      "How rollouts are checked. exact: tokens and log-probs bit for bit, so workers are canonical "
      "engines. Else any engine samples and posts a fingerprint (docs/fingerprints.md): toploc and "
      "grail as they were published, with what passes them; toploc+ and dense with that closed.");
    v("fingerprint_limits", fingerprint_limits, Any{},
      "Limits of the tier's fingerprints, as `waggle calibrate` prints them: \"dense=0.001\"; "
      "\"-\" in place of a number is the published one. Empty: all published.");
  }
};

// Watching for reward hacking (training/watch/reward_watch.h).
struct WatchRecipe {
  bool on = false, act = true;

  template <class V>
  void Visit(V&& v) {
    v("on", on, Any{}, "Look at every window of 256 rollouts for signs of reward hacking.");
    v("act", act, Any{},
      "On red: train nothing until two windows are green again, go back to the last green "
      "checkpoint, and train on what the strict grader says from then on: local runs only. Else "
      "only say it.");
  }
};

struct Recipe {
  std::string name = "run", about;
  std::uint64_t seed = 1, checkpoint_every = 25, checkpoints_kept = 2;
  ModelRecipe model;
  WarmupRecipe warmup;
  EnvironmentRecipe environment;
  SamplingRecipe sampling;
  OrchestratorRecipe orchestrator;
  TrainerConfig trainer;
  EvaluationRecipe evaluation;
  WatchRecipe watch;
  TrustRecipe trust;

  template <class V>
  void Visit(V&& v) {
    v("name", name, Any{}, "Name of the run and of its folder.");
    v("about", about, Any{}, "One line for people.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "Seed of tasks and sampling keys.");
    v("checkpoint_every", checkpoint_every, Range<std::uint64_t>{1, 1000000},
      "Steps between checkpoints.");
    v("checkpoints_kept", checkpoints_kept, Range<std::uint64_t>{1, 1000},
      "Checkpoints kept on disk.");
    v.Section("model", model, "The policy at the start.");
    v.Section("warmup", warmup, "Supervised warm-up before reinforcement learning.");
    v.Section("environment", environment, "The task.");
    v.Section("sampling", sampling, "How rollouts are sampled.");
    v.Section("orchestrator", orchestrator, "What is sampled and when it is trained on.");
    v.Section("trainer", trainer, "Algorithm and optimizer.");
    v.Section("evaluation", evaluation, "Held-out evaluation.");
    v.Section("watch", watch, "Watching for reward hacking.");
    v.Section("trust", trust, "Audits and pay.");
  }
};

// Reads recipe.toml: `path` is the file, or a folder that holds recipe.toml. Then what PROFILE.toml
// beside it says differently, if one is named; then "key=value" overrides.
Result<Recipe> LoadRecipe(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides,
                          const std::string& profile = "");

// What no single setting shows: combinations that cannot run, values that are none.
Status Validate(const Recipe& recipe);

// Targets of a length budget as numbers; empty without one.
Result<std::vector<std::uint32_t>> LengthTargetsOf(const LengthRecipe& length);
LengthMode LengthModeOf(const LengthRecipe& length);
SwapPolicy SwapPolicyOf(const SamplingRecipe& sampling);

// Identity of a run: SHA-256 of its effective recipe text and of the digest of its starting
// weights.
Hash256 RunIdOf(Recipe recipe, const Hash256& initial_weights);

}  // namespace waggle
