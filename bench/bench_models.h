// Models with the shapes of real ones and weights that cost nothing to make, and what the benches
// ask of a machine: its name, its memory in use.
#pragma once

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "machine_probe.h"
#include "model/checkpoint.h"
#include "model/model.h"

namespace waggle::bench {

// Qwen2.5-0.5B: 24 layers, 494 million weights, of which 136 million are the tied head.
inline ModelConfig QwenHalfB(std::size_t layers = 24) {
  ModelConfig c;
  c.architecture = "Qwen2ForCausalLM";
  c.vocab = 151936, c.hidden = 896, c.intermediate = 4864, c.layers = layers;
  c.heads = 14, c.kv_heads = 2, c.head_dim = 64;
  c.max_positions = 4096, c.norm_eps = 1e-6f;
  c.tied_head = c.qkv_bias = true;
  c.rope_theta = 1e6;
  return c;
}

// 15 million weights: 6 layers of 288, as small story models have them.
inline ModelConfig FifteenMillion() {
  ModelConfig c;
  c.vocab = 32000, c.hidden = 288, c.intermediate = 768, c.layers = 6;
  c.heads = c.kv_heads = 6, c.head_dim = 48;
  c.max_positions = 2048;
  c.tied_head = true;
  return c;
}

// Weights of matrices that one token passes through, head included.
inline double MatrixWeights(const ModelConfig& c) {
  const double d = static_cast<double>(c.hidden);
  const double layer = 2 * d * static_cast<double>(c.q_width() + c.kv_width()) +
                       3 * d * static_cast<double>(c.intermediate);
  return static_cast<double>(c.layers) * layer + d * static_cast<double>(c.vocab);
}

// Uniform weights of the usual spread; norms 1.
inline Parameters QuickParameters(const ModelConfig& config) {
  Parameters parameters = ZeroParameters(config);
  std::uint32_t state = 20240607;
  for (auto& [name, tensor] : parameters) {
    const bool norm = tensor.shape.size() == 1 && name.find("norm") != std::string::npos;
    for (float& value : tensor.data) {
      state = state * 1664525u + 1013904223u;
      value = norm ? 1.0f : (static_cast<float>(state >> 8) * 0x1p-24f - 0.5f) * 0.07f;
    }
  }
  return parameters;
}

template <class T>
T Must(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().what);
  std::exit(1);
}

inline std::shared_ptr<const Model> QuickModel(const ModelConfig& config, WeightFormat format,
                                               KvFormat kv = KvFormat::kF32) {
  NumericsConfig numerics;
  numerics.weights = format;
  numerics.kv = kv;
  auto model = Must(Model::Create(config, numerics, QuickParameters(config), nullptr, BestOps()));
  ::malloc_trim(0);  // the fp32 originals are gone: let the system have them
  return model;
}

inline std::size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Smallest and largest of what Median looked at.
inline std::string Spread(const std::vector<double>& values, const char* format = "{:.2f}-{:.2f}") {
  if (values.empty()) return "-";
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return fmt::format(fmt::runtime(format), *low, *high);
}

inline std::vector<double> Ratios(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return ratios;
}

// y = x * W^T with 1024 rows, fp32, all threads: its speed is what "the GEMM rate" means here.
class GemmYardstick {
 public:
  GemmYardstick(std::size_t n, std::size_t k) : x_(kRows * k, 0.25f), y_(kRows * n) {
    const AlignedVector<float> w(n * k, 0.5f);
    w_ = PackedMatrix::Pack(w.data(), n, k, k, WeightFormat::kF32);
  }
  double flops() const { return 2.0 * kRows * static_cast<double>(w_.n() * w_.k()); }
  double Seconds(ThreadPool& pool, double (*now)(const ThreadPool&)) {
    GemmArgs args;
    args.w = &w_, args.m = kRows;
    args.x = x_.data(), args.ldx = w_.k();
    args.y = y_.data(), args.ldy = w_.n();
    const double begin = now(pool);
    BestOps().Gemm(pool, args);
    return now(pool) - begin;
  }

 private:
  static constexpr std::size_t kRows = 1024;
  AlignedVector<float> x_, y_;
  PackedMatrix w_;
};

}  // namespace waggle::bench
