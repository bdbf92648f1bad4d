// One policy-gradient step, forward, backward and AdamW, as training does it: tokens per second,
// and arithmetic beside the GEMM rate; what recomputing activations costs and saves.
//
//   training_bench [--quick] [--only small|large|step] [--threads N] [--model DIR]
//                  [--samples N] [--length N] [--steps N] [--recompute none|swiglu|block]
//
// `step` (only on request) prints seconds and loss of each step on one model: what bench/peers/
// compares. One thread unless told otherwise.
#include <cstdlib>
#include <optional>
#include <vector>

#include "bench_groups.h"
#include "bench_models.h"

namespace waggle::bench {
namespace {

struct Options {
  bool quick = false;
  std::string only, model, recompute = "none";
  unsigned threads = 1;
  std::size_t samples = 16, length = 128;
  int steps = 3;
  bool Wants(const char* part) const { return only.empty() || only == part; }
};

// One thread is timed by its processor seconds, so that neighbours on the machine do not count.
double Now(const ThreadPool& pool) { return pool.threads() == 1 ? ThreadSeconds() : Seconds(); }

TrainerConfig Config(const std::string& recompute) {
  TrainerConfig config;
  config.recompute = recompute;
  config.optimizer.lr = "0";  // weights, and so log-probs, stay as the groups have them
  return config;
}

// Useful arithmetic of a step: 6 per matrix weight and row, and attention's share.
double StepFlops(const ModelConfig& c, std::size_t rows, std::size_t length) {
  const double attention = 6.0 * static_cast<double>(c.layers * c.q_width() * length);
  return static_cast<double>(rows) * (6 * MatrixWeights(c) + attention);
}

void StepTable(const Options& options, ThreadPool& pool, const char* name, const ModelConfig& model,
               WeightFormat format, std::size_t samples, std::size_t length) {
  const std::size_t rows = samples * length;
  GemmYardstick gemm(model.intermediate, model.hidden);
  for (const char* recompute : {"none", "swiglu", "block"}) {
    NumericsConfig numerics;
    numerics.weights = format;
    auto trainer = Must(Trainer::Create(model, numerics, QuickParameters(model), Config(recompute),
                                        BestOps(), pool));
    const auto groups = Groups(*Must(trainer->WorkingModel()), pool, samples, length);
    Must(trainer->PolicyStep(groups, PolicyVersion{1}));  // packs, buffers
    std::vector<double> seconds, parts;
    for (int r = 0; r < (options.quick ? 1 : 3); ++r) {
      double rate = gemm.flops() / gemm.Seconds(pool, Now);
      const double begin = Now(pool);
      Must(trainer->PolicyStep(groups, PolicyVersion{1}));
      seconds.push_back(Now(pool) - begin);
      rate = 0.5 * (rate + gemm.flops() / gemm.Seconds(pool, Now));
      parts.push_back(StepFlops(model, rows, length) / seconds.back() / rate);
    }
    fmt::print(
        "{:<22} {:<5} recompute {:<6} {:>7.0f} tokens/s  {:>7.1f} GFLOP/s: {:>5.1f} % of "
        "GEMM ({})  resident {:>6.0f} MB\n",
        name, ToString(format), recompute, static_cast<double>(rows) / Median(seconds),
        1e-9 * StepFlops(model, rows, length) / Median(seconds), 100 * Median(parts), Spread(parts),
        1e-6 * static_cast<double>(ResidentBytes()));
    std::fflush(stdout);
    trainer.reset();
    ::malloc_trim(0);
  }
}

// Plain next-token steps on samples of equal length, with a learning rate: losses can be compared.
void Steps(const Options& options, ThreadPool& pool) {
  ModelConfig config = FifteenMillion();
  Parameters parameters;
  if (options.model.empty()) {
    parameters = QuickParameters(config);
  } else {
    LoadedModel loaded = Must(LoadModel(options.model));
    config = loaded.config;
    parameters = std::move(loaded.parameters);
  }
  TrainerConfig settings = Config(options.recompute);
  settings.optimizer.lr = "1e-3";
  settings.optimizer.beta2 = "0.95";
  auto trainer =
      Must(Trainer::Create(config, {}, std::move(parameters), settings, BestOps(), pool));
  std::vector<SftSample> samples(options.samples);
  for (std::size_t s = 0; s < samples.size(); ++s) {
    for (std::size_t i = 0; i <= options.length; ++i) {
      samples[s].tokens.push_back(TokenAt(s, i, config.vocab));
    }
    samples[s].loss_mask.assign(samples[s].tokens.size(), 1);
  }
  for (int i = 0; i < options.steps; ++i) {
    const double begin = Now(pool);
    const StepReport report = Must(trainer->SftStep(samples));
    Must(trainer->WorkingModel());  // packing the new weights is part of a step
    fmt::print("step {:.4f} s loss {:.6f} gradient_norm {:.6f}\n", Now(pool) - begin, report.loss,
               report.gradient_norm);
    std::fflush(stdout);
  }
}

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--quick") {
      options.quick = true;
      continue;
    }
    const char* value = i + 1 < argc ? argv[++i] : "";
    const auto count = static_cast<std::size_t>(std::max(1, std::atoi(value)));
    if (arg == "--only") {
      options.only = value;
    } else if (arg == "--model") {
      options.model = value;
    } else if (arg == "--recompute") {
      options.recompute = value;
    } else if (arg == "--threads") {
      options.threads = static_cast<unsigned>(count);
    } else if (arg == "--samples") {
      options.samples = count;
    } else if (arg == "--length") {
      options.length = count;
    } else if (arg == "--steps") {
      options.steps = static_cast<int>(count);
    } else {
      fmt::print(stderr,
                 "training_bench [--quick] [--only small|large|step] [--threads N] [--model "
                 "DIR] [--samples N] [--length N] [--steps N] "
                 "[--recompute none|swiglu|block]\n");
      return std::nullopt;
    }
  }
  return options;
}

int Main(int argc, char** argv) {
  const std::optional<Options> options = Parse(argc, argv);
  if (!options) return 2;
  ThreadPool pool(options->threads);
  if (options->only == "step") {
    Steps(*options, pool);
    return 0;
  }
  fmt::print(
      "{}; {} thread(s); one policy step on groups of 8; random weights; median "
      "(smallest-largest)\n",
      MachineName(), pool.threads());
  if (options->Wants("small")) {
    StepTable(*options, pool, "15M, 6 layers", FifteenMillion(), WeightFormat::kF32,
              options->quick ? 8 : 16, 128);
  }
  if (options->Wants("large")) {
    const std::size_t layers = options->quick ? 1 : 2;
    StepTable(*options, pool, options->quick ? "0.5B shapes, 1 layer" : "0.5B shapes, 2 layers",
              QwenHalfB(layers), WeightFormat::kBf16, options->quick ? 2 : 8, 128);
  }
  return 0;
}

}  // namespace
}  // namespace waggle::bench

int main(int argc, char** argv) { return waggle::bench::Main(argc, argv); }
