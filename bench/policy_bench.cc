// What a new policy version costs to send: bytes per changed weight on training runs of ours,
// against the entropy of the same changes; and gigabytes of weights per second and core that
// encoding, applying and composing take.
//
//   policy_bench [--quick] [--only speed|bytes]
//
// One thread. Speeds are by processor seconds; contestants take turns, and the best round counts.
#include <cmath>
#include <map>

#include "bench_groups.h"
#include "bench_models.h"
#include "policy/model_image.h"
#include "policy/patch.h"
#include "policy/patch_words.h"

namespace waggle::bench {
namespace {

PolicyImage Nudged(const PolicyImage& image, std::uint32_t one_in, std::uint32_t seed) {
  PolicyImage::Tensors tensors;
  for (const auto& [name, tensor] : image.tensors()) {
    RawBits bits(tensor->bits.size());
    std::memcpy(bits.data(), tensor->bits.data(), bits.size());
    for (std::uint64_t i = 0; i < tensor->form.elements(); ++i) {
      seed = seed * 1664525u + 1013904223u;
      if ((std::uint64_t{seed} * one_in) >> 32 != 0) continue;
      const auto word = LoadWord<std::uint16_t>(bits.data(), i);
      StoreWord<std::uint16_t>(bits.data(), i, static_cast<std::uint16_t>(word ^ 1u));
    }
    tensors.emplace(name, MakeImageTensor(name, tensor->form, std::move(bits)));
  }
  return PolicyImage(std::move(tensors));
}

PolicyImage Rehashed(const PolicyImage& image) {
  PolicyImage::Tensors tensors;
  for (const auto& [name, tensor] : image.tensors()) {
    RawBits bits(tensor->bits.size());
    std::memcpy(bits.data(), tensor->bits.data(), bits.size());
    tensors.emplace(name, MakeImageTensor(name, tensor->form, std::move(bits)));
  }
  return PolicyImage(std::move(tensors));
}

std::size_t CountWords(const PolicyImage& a, const PolicyImage& b) {
  std::size_t same = 0;
  for (const auto& [name, tensor] : a.tensors()) {
    const auto& other = b.tensors().at(name);
    same += std::memcmp(tensor->bits.data(), other->bits.data(), tensor->bits.size()) == 0 ? 1 : 0;
  }
  return same;
}

void SpeedTable(bool quick) {
  ModelConfig config = QwenHalfB(quick ? 1 : 4);
  config.vocab = 32768;
  ThreadPool pool(1);
  const PolicyImage base = ImageOf(QuickParameters(config), WeightFormat::kBf16, nullptr, pool);
  const double gigabytes = 1e-9 * static_cast<double>(base.bytes());
  fmt::print("{:.0f} MB of bf16 weights in {} tensors\n", 1e3 * gigabytes, base.tensors().size());
  for (const std::uint32_t one_in : {1000u, 100u, 30u}) {
    const PolicyImage next = Nudged(base, one_in, 1), last = Nudged(next, one_in, 2);
    const Bytes patch = Must(EncodePatch(base, next, pool));
    const Bytes second = Must(EncodePatch(next, last, pool));
    std::size_t sink = 0;
    const auto times =
        Race({[&] { sink += Rehashed(base).root()[0]; },
              [&] { sink += Must(EncodePatch(base, next, pool)).size(); },
              [&] { sink += Must(ApplyPatch(base, patch, pool)).root()[0]; },
              [&] { sink += Must(ComposePatches(patch, second, base.Form())).size(); },
              [&] { sink += CountWords(base, base); }},
             quick ? 3 : 9, 0.05);
    fmt::print("{:>5.2f} % changed:", 100.0 / one_in);
    const char* names[] = {"copy and hash", "encode", "apply and check root", "compose",
                           "compare only"};
    for (std::size_t c = 0; c < times.size(); ++c) {
      std::vector<double> rates;
      for (const double seconds : times[c]) rates.push_back(gigabytes / seconds);
      fmt::print("  {} {:.2f} GB/s ({})", names[c], *std::max_element(rates.begin(), rates.end()),
                 Spread(rates));
    }
    fmt::print("{}\n", sink == 0 ? " " : "");
    std::fflush(stdout);
  }
}

// 5.3 million weights: small enough to train while one waits, matrices as real models have them.
ModelConfig FiveMillion() {
  ModelConfig c;
  c.vocab = 2048, c.hidden = 256, c.intermediate = 704, c.layers = 6;
  c.heads = c.kv_heads = 4, c.head_dim = 64;
  c.max_positions = 1024;
  c.tied_head = true;
  return c;
}

double Entropy(double p) { return p <= 0 || p >= 1 ? 0 : -p * std::log2(p); }

struct Cost {
  double weights = 0, changed = 0, bytes = 0, bound_bits = 0;
};

// Fewest bits for these changes by their own frequencies: places as coin flips of each tensor's
// share, steps as draws from the steps of the whole patch.
template <class Word>
void CountSteps(const PatchTensor& tensor, std::map<std::int64_t, double>& steps) {
  EntryReader<Word> entries(tensor);
  while (entries.Next()) steps[entries.step()] += 1;
}
Cost CostOf(const Bytes& patch, const PolicyImage& image) {
  const ImageForm form = image.Form();
  const PatchView view = Must(ReadPatch(patch, form));
  Cost cost{.bytes = static_cast<double>(patch.size())};
  for (const auto& [name, tensor] : form) cost.weights += static_cast<double>(tensor.elements());
  std::map<std::int64_t, double> steps;
  double sparse = 0;
  for (const PatchTensor& tensor : view.tensors) {
    const auto n = static_cast<double>(tensor.form.elements());
    const auto changed = static_cast<double>(tensor.changed);
    cost.changed += changed;
    if (tensor.mode == PatchMode::kDense) {
      cost.bound_bits += 8.0 * static_cast<double>(tensor.payload.size());
      continue;
    }
    cost.bound_bits += n * (Entropy(changed / n) + Entropy(1 - changed / n));
    CountSteps<std::uint16_t>(tensor, steps);
    sparse += changed;
  }
  for (const auto& [step, count] : steps) cost.bound_bits += sparse * Entropy(count / sparse);
  return cost;
}

void PrintCost(const char* what, const char* lr, const Cost& c) {
  const double bytes = c.bytes / c.changed, bound = c.bound_bits / 8 / c.changed;
  fmt::print(
      "{:<34} lr {:<5} {:>6.3f} % changed, {:.3f} bytes per changed weight, bound {:.3f}: x "
      "{:.3f}; "
      "{:>5.0f} times below bf16\n",
      what, lr, 100 * c.changed / c.weights, bytes, bound, bytes / bound, 2 * c.weights / c.bytes);
  std::fflush(stdout);
}

std::unique_ptr<Trainer> MakeTrainer(Parameters parameters, const char* lr, ThreadPool& pool) {
  NumericsConfig numerics;
  numerics.weights = WeightFormat::kBf16;
  TrainerConfig config;
  config.optimizer.lr = lr;
  config.recompute = "none";
  return Must(
      Trainer::Create(FiveMillion(), numerics, std::move(parameters), config, BestOps(), pool));
}

std::vector<SftSample> Texts(std::uint64_t step) {
  std::vector<SftSample> samples(8);
  for (std::size_t s = 0; s < samples.size(); ++s) {
    for (std::size_t i = 0; i <= 64; ++i)
      samples[s].tokens.push_back(TokenAt(s + 8 * step, i, FiveMillion().vocab));
    samples[s].loss_mask.assign(samples[s].tokens.size(), 1);
  }
  return samples;
}

// Steps of one trainer: what each costs to send, and all of them composed.
template <class Step>
void MeasureSteps(const char* what, const char* lr, Trainer& trainer, ThreadPool& pool, int warm,
                  int steps, Step step) {
  for (int i = 0; i < warm; ++i) step(i);
  PolicyImage before = ImageOf(trainer.parameters(), WeightFormat::kBf16, nullptr, pool);
  Cost sum;
  Bytes composed;
  for (int i = 0; i < steps; ++i) {
    step(warm + i);
    PolicyImage after = ImageOf(trainer.parameters(), WeightFormat::kBf16, nullptr, pool, &before);
    const Bytes patch = Must(EncodePatch(before, after, pool));
    const Cost cost = CostOf(patch, after);
    sum.weights += cost.weights, sum.changed += cost.changed;
    sum.bytes += cost.bytes, sum.bound_bits += cost.bound_bits;
    composed = i == 0 ? patch : Must(ComposePatches(composed, patch, after.Form()));
    before = std::move(after);
  }
  PrintCost(what, lr, sum);
  PrintCost(fmt::format("  {} steps composed", steps).c_str(), lr, CostOf(composed, before));
}

void BytesTable(bool quick) {
  ThreadPool pool(1);
  const int steps = quick ? 3 : 8;
  fmt::print("5.3 million bf16 weights, AdamW, fp32 masters\n");
  for (const char* lr : {"1e-6", "3e-6", "1e-5"}) {
    auto trainer = MakeTrainer(RandomParameters(FiveMillion(), 1), lr, pool);
    MeasureSteps("next token, from random weights", lr, *trainer, pool, /*warm=*/quick ? 3 : 10,
                 steps, [&](int i) { Must(trainer->SftStep(Texts(i))); });
  }
  auto warm = MakeTrainer(RandomParameters(FiveMillion(), 1), "1e-3", pool);
  for (int i = 0; i < (quick ? 10 : 100); ++i) Must(warm->SftStep(Texts(i % 16)));
  for (const char* lr : {"1e-6", "3e-6", "1e-5"}) {
    auto trainer = MakeTrainer(warm->parameters(), lr, pool);
    MeasureSteps("policy gradient, after warm-up", lr, *trainer, pool, /*warm=*/quick ? 2 : 8,
                 steps, [&](int i) {
                   const auto groups = Groups(*Must(trainer->WorkingModel()), pool, 16, 64,
                                              16 * static_cast<std::size_t>(i));
                   Must(trainer->PolicyStep(groups));
                 });
  }
}

int Main(int argc, char** argv) {
  bool quick = false;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--quick") {
      quick = true;
    } else if (arg == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else {
      fmt::print(stderr, "policy_bench [--quick] [--only speed|bytes]\n");
      return 2;
    }
  }
  fmt::print("{}; one thread; best of rounds (smallest-largest)\n", MachineName());
  if (only.empty() || only == "speed") SpeedTable(quick);
  if (only.empty() || only == "bytes") BytesTable(quick);
  return 0;
}

}  // namespace
}  // namespace waggle::bench

int main(int argc, char** argv) { return waggle::bench::Main(argc, argv); }
