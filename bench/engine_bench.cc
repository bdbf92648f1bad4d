// The engine against the limits of the machine: decode at batch 1 beside reading the weights, a
// batch of 64 beside the GEMM rate, group sampling that shares its prompt beside the same without
// sharing, replay beside decode, resident memory beside what was declared.
//
//   engine_bench [--quick] [--only memory|decode|batch|group|replay|audit|sample] [--threads N]
//                [--layers N] [--model DIR] [--weights f32|bf16|int8] [--prompt P] [--tokens N]
//
// Shapes of Qwen2.5-0.5B, random weights. One thread unless told otherwise. `sample` (only on
// request) samples 64 responses of one model and prints tokens per second: what bench/peers/
// compares.
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "bench_models.h"
#include "engine/engine.h"
#include "engine/replay_group.h"

namespace waggle::bench {
namespace {

struct Options {
  bool quick = false;
  bool one_format = false;  // --weights was given
  std::string only, model, weights = "f32";
  unsigned threads = 1;
  std::size_t layers = 24, prompt = 16, tokens = 64;
  bool Wants(const char* part) const {
    return only.empty() ? part != std::string("sample") : only == part;
  }
};

std::vector<TokenId> Prompt(std::size_t tokens, std::size_t seed) {
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < tokens; ++i) {
    ids.push_back(static_cast<TokenId>((seed * 7919 + i * 104729 + 17) % 30011));
  }
  return ids;
}

SamplingOptions Sampling(std::size_t tokens_max) {
  SamplingOptions options;
  options.config.tokens_max = static_cast<std::uint32_t>(tokens_max);
  options.key = PhiloxKeyFrom(11);
  return options;
}

EngineConfig Pages(std::size_t pages, bool prefix_cache = true) {
  EngineConfig config;
  config.kv_pages = pages;
  config.prefix_cache = prefix_cache;
  return config;
}

// Steps until `sequences` samples are past their prompts.
void Prefill(Engine& engine, std::size_t sequences) {
  while (engine.Step().size() < sequences) {
  }
}

// One thread is timed by its processor seconds, so that neighbours on the machine do not count.
double Now(const ThreadPool& pool) { return pool.threads() == 1 ? ThreadSeconds() : Seconds(); }

double StepSeconds(Engine& engine, const ThreadPool& pool) {
  const double begin = Now(pool);
  engine.Step();
  return Now(pool) - begin;
}

class ReadLoop {
 public:
  ReadLoop() : memory_(kBytes, std::byte{1}) {}
  // Bytes per second with the threads of the pool, the better of with and without prefetch.
  double Rate(ThreadPool& pool) {
    static volatile std::uint64_t sink;
    double best = 1e30;
    for (const bool prefetch : {false, true}) {
      const double begin = Now(pool);
      pool.RunRanges(kBytes / kChunk, [&](std::size_t first, std::size_t last, unsigned) {
        sink = ReadAll(memory_.data() + first * kChunk, (last - first) * kChunk, prefetch);
      });
      best = std::min(best, Now(pool) - begin);
    }
    return static_cast<double>(kBytes) / best;
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{256} << 20, kChunk = std::size_t{1} << 20;
  AlignedVector<std::byte> memory_;
};

// Decode of one sequence: every weight is read once per token.
void DecodeOne(const Options& options, ThreadPool& pool,
               const std::shared_ptr<const Model>& model) {
  const int rounds = options.quick ? 9 : 31;
  Engine engine(model, PolicyVersion{1}, Pages(8), pool);
  Must(engine.Submit(Prompt(options.prompt, 1), 1, Sampling(static_cast<std::size_t>(rounds) + 8)));
  Prefill(engine, 1);
  ReadLoop read;
  std::vector<double> steps, parts, rates;
  engine.Step();
  for (int r = 0; r < rounds; ++r) {
    const double before = read.Rate(pool);
    steps.push_back(StepSeconds(engine, pool));
    rates.push_back(std::max(before, read.Rate(pool)));
    parts.push_back(static_cast<double>(model->bytes()) / steps.back() / rates.back());
  }
  fmt::print(
      "decode, batch 1, {:<5} {:>7.1f} ms/token  {:>6.2f} GB/s of {:>6.2f} GB/s read loop: "
      "{:>5.1f} % ({}; target 90 %)\n",
      ToString(model->numerics().weights), 1e3 * Median(steps),
      1e-9 * static_cast<double>(model->bytes()) / Median(steps), 1e-9 * Median(rates),
      100 * Median(parts), Spread(parts));
  std::fflush(stdout);
}

// 64 samples, four prompts of 16 each: every weight serves 64 rows.
void Batch64(const Options& options, ThreadPool& pool, const std::shared_ptr<const Model>& model) {
  const int rounds = options.quick ? 5 : 15;
  Engine engine(model, PolicyVersion{1}, Pages(256), pool);
  for (std::size_t g = 0; g < 4; ++g) {
    Must(engine.Submit(Prompt(64, g), 16, Sampling(static_cast<std::size_t>(rounds) + 8)));
  }
  Prefill(engine, 64);
  const ModelConfig& c = model->config();
  GemmYardstick gemm(c.intermediate, c.hidden);
  const auto rate = [&] {
    double best = 1e30;
    for (int i = 0; i < 2; ++i) best = std::min(best, gemm.Seconds(pool, Now));
    return gemm.flops() / best;
  };
  std::vector<double> steps, parts, rates;
  engine.Step();
  const double flops = 2 * 64 * MatrixWeights(c);
  for (int r = 0; r < rounds; ++r) {
    const double before = rate();
    steps.push_back(StepSeconds(engine, pool));
    rates.push_back(0.5 * (before + rate()));
    parts.push_back(flops / steps.back() / rates.back());
  }
  fmt::print(
      "decode, 4 groups of 16, {:<5} {:>7.1f} ms/step  {:>6.0f} tokens/s  {:>6.1f} GFLOP/s "
      "of {:>6.1f} GEMM: {:>5.1f} % ({}; target 85 %)\n",
      ToString(model->numerics().weights), 1e3 * Median(steps), 64 / Median(steps),
      1e-9 * flops / Median(steps), 1e-9 * Median(rates), 100 * Median(parts), Spread(parts));
  std::fflush(stdout);
}

// One decode step of 16 samples after 512 positions, on pages that they share or that each has for
// itself: the attention alone, or the whole model with its head.
class GroupStep {
 public:
  GroupStep(std::shared_ptr<const Model> model, bool shared)
      : model_(std::move(model)),
        c_(model_->config()),
        kv_(c_, model_->numerics().kv, kPages * (shared ? 1 : kSamples) + kSamples) {
    const std::size_t owners = shared ? 1 : kSamples;
    const std::size_t used = owners * kPages * kv_.bytes_per_page();
    std::memset(kv_.Page(0, 0), 0x3d, used);  // every number is 0.046
    for (std::size_t s = 0; s < kSamples; ++s) {
      std::vector<std::uint32_t> pages;
      for (std::size_t p = 0; p < kPages; ++p) {
        pages.push_back(static_cast<std::uint32_t>(s % owners * kPages + p));
      }
      pages.push_back(static_cast<std::uint32_t>(owners * kPages + s));  // its own, for the token
      pages_.push_back(std::move(pages));
    }
    q_.assign(kSamples * c_.q_width(), 0.25f);
    out_.resize(q_.size());
    hidden_.resize(kSamples * c_.hidden);
    logits_.resize(kSamples * c_.vocab);
  }

  double Attention(ThreadPool& pool) {
    const double begin = Now(pool);
    for (std::size_t l = 0; l < c_.layers; ++l) {
      std::vector<std::vector<const std::byte*>> lists(kSamples);
      std::vector<AttentionSpan> spans(kSamples);
      for (std::size_t s = 0; s < kSamples; ++s) {
        for (std::size_t p = 0; p < kPages; ++p) lists[s].push_back(kv_.Page(pages_[s][p], l));
        spans[s].q = q_.data() + s * c_.q_width();
        spans[s].out = out_.data() + s * c_.q_width();
        spans[s].ldq = spans[s].ldo = c_.q_width();
        spans[s].rows = 1, spans[s].first_position = kPages * kPageTokens - 1;
        spans[s].pages = lists[s].data();
      }
      AttentionArgs args;
      args.spans = spans, args.format = kv_.format();
      args.heads = c_.heads, args.kv_heads = c_.kv_heads, args.head_dim = c_.head_dim;
      BestOps().Attention(pool, args);
    }
    return Now(pool) - begin;
  }

  double Whole(ThreadPool& pool) {
    const TokenId token = 7;
    std::vector<SequenceChunk> chunks;
    for (const auto& pages : pages_) chunks.push_back({{&token, 1}, kPages * kPageTokens, pages});
    const double begin = Now(pool);
    model_->Forward(pool, kv_, chunks, hidden_.data());
    model_->Logits(pool, hidden_.data(), kSamples, logits_.data());
    return Now(pool) - begin;
  }

 private:
  static constexpr std::size_t kSamples = 16, kPages = 8;

  std::shared_ptr<const Model> model_;
  const ModelConfig& c_;
  KvPool kv_;
  std::vector<std::vector<std::uint32_t>> pages_;
  AlignedVector<float> q_, out_, hidden_, logits_;
};

void SharedGroup(const Options& options, ThreadPool& pool,
                 const std::shared_ptr<const Model>& model) {
  GroupStep apart(model, false), together(model, true);
  const auto race = [&](const char* what, double (GroupStep::*step)(ThreadPool&),
                        const char* target) {
    std::vector<double> unshared, shared;
    (apart.*step)(pool);
    (together.*step)(pool);
    for (int r = 0; r < (options.quick ? 5 : 15); ++r) {
      unshared.push_back((apart.*step)(pool));
      shared.push_back((together.*step)(pool));
    }
    const auto ratios = Ratios(unshared, shared);
    fmt::print(
        "group of 16, prompt 512, {:<14} unshared {:>7.1f} ms, shared {:>7.1f} ms: {:.2f} x "
        "({}{})\n",
        what, 1e3 * Median(unshared), 1e3 * Median(shared), Median(ratios), Spread(ratios), target);
    std::fflush(stdout);
  };
  race("attention", &GroupStep::Attention, "; target 4 x");
  race("a whole step", &GroupStep::Whole, "");
}

// A response decoded at batch 1, and the same response replayed: tokens drawn again, compared.
void Replay(const Options& options, ThreadPool& pool, const std::shared_ptr<const Model>& model) {
  const std::size_t tokens = options.quick ? 96 : 256;
  const std::vector<TokenId> prompt = Prompt(16, 3);
  const SamplingOptions sampling = Sampling(tokens);
  Engine engine(model, PolicyVersion{1}, Pages(8), pool);
  const double begin = Now(pool);
  Must(engine.Submit(prompt, 1, sampling));
  Rollout rollout;
  while (!engine.idle()) {
    for (const TokenEvent& event : engine.Step()) {
      rollout.tokens.push_back(event.token);
      rollout.logps.push_back(event.logp);
      rollout.loss_mask.push_back(1);
    }
  }
  const double decode = Now(pool) - begin;
  rollout.spans = {{0, PolicyVersion{1}}};
  std::vector<double> ratios, seconds;
  for (int r = 0; r < 3; ++r) {
    const double start = Now(pool);
    const ReplayReport report = Must(ReplayRollout(*model, pool, prompt, rollout, sampling, 0));
    seconds.push_back(Now(pool) - start);
    ratios.push_back(decode / seconds.back());
    if (!report.equal) fmt::print("  the replay differs at token {}\n", report.first_difference);
  }
  fmt::print(
      "replay of {} tokens, {:<5} decode at batch 1 {:>6.2f} s, replay {:>6.2f} s: {:.1f} x "
      "cheaper ({}; target 8 x)\n",
      tokens, ToString(model->numerics().weights), decode, Median(seconds), Median(ratios),
      Spread(ratios));
  std::fflush(stdout);
}

// A group as a worker samples it, and as an auditor replays it; what an audit of one group in 64
// adds to the work of sampling them.
void Audit(const Options& options, ThreadPool& pool, const std::shared_ptr<const Model>& model) {
  const std::size_t tokens = options.quick ? 32 : 128;
  constexpr std::uint32_t kSamples = 16;
  const SamplingOptions sampling = Sampling(tokens);
  Group group{.prompt = Prompt(64, 3)};
  group.rollouts.resize(kSamples);
  Engine engine(model, PolicyVersion{1}, Pages(256), pool);
  const double begin = Now(pool);
  Must(engine.Submit(group.prompt, kSamples, sampling));
  while (!engine.idle()) {
    for (const TokenEvent& event : engine.Step()) {
      Rollout& rollout = group.rollouts[event.sample];
      rollout.spans = {{0, PolicyVersion{1}}};
      rollout.tokens.push_back(event.token);
      rollout.logps.push_back(event.logp);
      rollout.loss_mask.push_back(1);
    }
  }
  const double sampled = Now(pool) - begin;
  const PolicyLookup policy = [&](PolicyVersion) -> Result<const Model*> { return model.get(); };
  std::vector<double> ratios, seconds;
  for (int r = 0; r < 3; ++r) {
    const double start = Now(pool);
    const GroupReplay replay = Must(ReplayGroup(policy, pool, group, sampling));
    seconds.push_back(Now(pool) - start);
    ratios.push_back(sampled / seconds.back());
    for (const ReplayReport& report : replay.rollouts)
      if (!report.equal) fmt::print("  the replay differs at token {}\n", report.first_difference);
  }
  fmt::print(
      "audit of a group of {} x {} tokens, {:<5} sampled together {:>6.2f} s, replayed {:>6.2f} s: "
      "{:.2f} x cheaper ({}); one group in 64 adds {:.2f} % (target 2 %)\n",
      kSamples, tokens, ToString(model->numerics().weights), sampled, Median(seconds),
      Median(ratios), Spread(ratios), 100.0 / 64 / Median(ratios));
  std::fflush(stdout);
}

// What the engine and one Forward hold besides weights and pages, from shapes alone.
std::size_t DeclaredBuffers(const ModelConfig& c, std::size_t rows, std::size_t draws,
                            unsigned threads) {
  const std::size_t row = 4 * c.hidden + 2 * c.q_width() + 2 * c.kv_width() + 3 * c.intermediate;
  const std::size_t block = (std::size_t{64} << 20) / (c.vocab * sizeof(float));
  const std::size_t logits = std::min(draws, std::max<std::size_t>(1, block)) * c.vocab;
  return sizeof(float) * (rows * row + logits + draws * c.hidden + threads * c.vocab);
}

void Memory(ThreadPool& pool, const std::shared_ptr<const Model>& model) {
  const ModelConfig& c = model->config();
  Engine engine(model, PolicyVersion{1}, Pages(256), pool);
  for (std::size_t g = 0; g < 4; ++g) Must(engine.Submit(Prompt(64, g), 16, Sampling(8)));
  Prefill(engine, 64);
  engine.Step();
  const std::size_t resident = ResidentBytes();
  const std::size_t pages = engine.stats().pages_used * c.layers *
                            KvPageBytes(c.kv_heads, c.head_dim, model->numerics().kv);
  const std::size_t buffers = DeclaredBuffers(c, 256, 64, pool.threads());
  const auto mb = [](std::size_t bytes) { return static_cast<double>(bytes) * 1e-6; };
  fmt::print(
      "memory, 64 sequences, {:<5} resident {:>7.1f} MB; weights {:.1f} + pages {:.1f} + "
      "buffers {:.1f}: {:.3f} x (target 1.1 x)\n",
      ToString(model->numerics().weights), mb(resident), mb(model->bytes()), mb(pages), mb(buffers),
      mb(resident) / mb(model->bytes() + pages + buffers));
  std::fflush(stdout);
}

// 64 responses of one model: prompts of `prompt` tokens, no end token, `tokens` each.
void Sample(const Options& options, ThreadPool& pool) {
  NumericsConfig numerics;
  numerics.weights = options.weights == "bf16"   ? WeightFormat::kBf16
                     : options.weights == "int8" ? WeightFormat::kInt8
                                                 : WeightFormat::kF32;
  std::shared_ptr<const Model> model;
  if (options.model.empty()) {
    model = QuickModel(FifteenMillion(), numerics.weights);
  } else {
    LoadedModel loaded = Must(LoadModel(options.model));
    model = Must(Model::Create(loaded.config, numerics, loaded.parameters, nullptr, BestOps()));
  }
  const std::size_t pages = (options.prompt + options.tokens) / kPageTokens + 1;
  Engine engine(model, PolicyVersion{1}, Pages(64 * pages), pool);
  for (std::size_t s = 0; s < 64; ++s) {
    Must(engine.Submit(Prompt(options.prompt, s), 1, Sampling(options.tokens)));
  }
  const double begin = Now(pool);
  for (std::size_t begun = 0; begun < 64;) begun += engine.Step().size();
  const double prefilled = Now(pool);
  std::size_t drawn = 0;
  while (!engine.idle()) drawn += engine.Step().size();
  const double done = Now(pool);
  fmt::print("sample prefill_tokens_per_s {:.1f} decode_tokens_per_s {:.1f} total_s {:.3f}\n",
             static_cast<double>(64 * options.prompt) / (prefilled - begin),
             static_cast<double>(drawn) / (done - prefilled), done - begin);
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
    if (arg == "--only") {
      options.only = value;
    } else if (arg == "--model") {
      options.model = value;
    } else if (arg == "--weights") {
      options.weights = value;
      options.one_format = true;
    } else if (arg == "--threads") {
      options.threads = static_cast<unsigned>(std::max(1, std::atoi(value)));
    } else if (arg == "--layers") {
      options.layers = static_cast<std::size_t>(std::max(1, std::atoi(value)));
    } else if (arg == "--prompt") {
      options.prompt = static_cast<std::size_t>(std::max(1, std::atoi(value)));
    } else if (arg == "--tokens") {
      options.tokens = static_cast<std::size_t>(std::max(2, std::atoi(value)));
    } else {
      fmt::print(stderr,
                 "engine_bench [--quick] [--only memory|decode|batch|group|replay|audit|sample] "
                 "[--threads N] [--layers N] [--model DIR] [--weights f32|bf16|int8] "
                 "[--prompt P] [--tokens N]\n");
      return std::nullopt;
    }
  }
  return options;
}

int Main(int argc, char** argv) {
  const std::optional<Options> options = Parse(argc, argv);
  if (!options) return 2;
  ThreadPool pool(options->threads);
  if (options->only == "sample") {
    Sample(*options, pool);
    return 0;
  }
  fmt::print(
      "{}; {} thread(s); shapes of Qwen2.5-0.5B, {} layers, random weights; median (smallest"
      "-largest)\n",
      MachineName(), pool.threads(), options->layers);
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kInt8}) {
    if (options->one_format && options->weights != ToString(format)) continue;
    const auto model = QuickModel(QwenHalfB(options->layers), format);
    if (options->Wants("memory")) Memory(pool, model);
    if (options->Wants("decode")) DecodeOne(*options, pool, model);
    if (format != WeightFormat::kBf16) continue;
    if (options->Wants("batch")) Batch64(*options, pool, model);
    if (options->Wants("group")) SharedGroup(*options, pool, model);
    if (options->Wants("replay")) Replay(*options, pool, model);
    if (options->Wants("audit")) Audit(*options, pool, model);
  }
  return 0;
}

}  // namespace
}  // namespace waggle::bench

int main(int argc, char** argv) { return waggle::bench::Main(argc, argv); }
