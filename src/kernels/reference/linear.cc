// Linear layers: rule D1 over inputs (forward, dX), over tokens (dW), and the exact integer profile
// ci8.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/reductions.h"
#include "kernels/reference/reference.h"

namespace waggle::reference {
namespace {

// sum over shards of (sum over the shard's 256-blocks), both left to right from +0; one shard is
// plain D1.
float Sharded(const float* x, const float* w, std::size_t k, std::uint32_t shards) {
  const std::size_t blocks = (k + kReductionBlock - 1) / kReductionBlock;
  float total = 0.0f;
  for (std::size_t s = 0; s < shards; ++s) {
    const std::size_t begin = std::min(k, blocks * s / shards * kReductionBlock);
    const std::size_t end = std::min(k, blocks * (s + 1) / shards * kReductionBlock);
    total = total + DotD1(x + begin, w + begin, end - begin);
  }
  return total;
}

// Activations of one row, quantised per group of 128 (sheet 2.11).
struct QuantisedRow {
  std::vector<std::int32_t> codes;
  std::vector<float> scales;
};
QuantisedRow Quantise(const float* x, std::size_t k) {
  QuantisedRow row{std::vector<std::int32_t>(k), {}};
  for (std::size_t begin = 0; begin < k; begin += kQuantGroup) {
    const std::size_t end = std::min(k, begin + kQuantGroup);
    float amax = 0.0f;
    for (std::size_t i = begin; i < end; ++i) amax = std::max(amax, std::fabs(x[i]));
    const float inverse = amax >= 0x1p-100f ? 127.0f / amax : 0.0f;
    row.scales.push_back(amax >= 0x1p-100f ? amax / 127.0f : 0.0f);
    for (std::size_t i = begin; i < end; ++i) row.codes[i] = NearestInt(x[i] * inverse);
  }
  return row;
}

// fma((float)d_g, sa_g * sw_g, acc) over groups ascending, d_g the exact integer dot product of
// group g.
float IntegerDot(const QuantisedRow& x, const PackedMatrix& w, std::size_t n, std::size_t k_begin,
                 float acc) {
  const std::size_t panel = n / kCi8PanelWidth, lane = n % kCi8PanelWidth;
  const std::int8_t* codes = w.CodePanel(panel);
  const float* scales = w.ScalePanel(panel);
  const std::size_t k = x.codes.size();
  for (std::size_t g = 0; g < x.scales.size(); ++g) {
    std::int32_t dot = 0;
    const std::size_t end = std::min(k, (g + 1) * kQuantGroup);
    for (std::size_t i = g * kQuantGroup; i < end; ++i) {
      const std::size_t at = k_begin + i;
      dot += x.codes[i] * codes[(at / 4 * kCi8PanelWidth + lane) * 4 + at % 4];
    }
    const float scale = x.scales[g] * scales[(k_begin / kQuantGroup + g) * kCi8PanelWidth + lane];
    acc = std::fma(static_cast<float>(dot), scale, acc);
  }
  return acc;
}

}  // namespace

void Gemm(ThreadPool& pool, const GemmArgs& args) {
  const PackedMatrix& w = *args.w;
  const std::size_t n_end = args.n_end == 0 ? w.n() : args.n_end;
  const std::size_t k_end = args.k_end == 0 ? w.k() : args.k_end;
  const std::size_t k = k_end - args.k_begin;
  Check(args.n_begin % kPanelWidth == 0 && args.k_begin % kReductionBlock == 0, "aligned ranges");
  Check(args.kshards == 1 || (!args.accumulate && args.k_begin == 0 && k_end == w.k()),
        "shards need the whole k range");
  const bool integer = w.format() == WeightFormat::kCi8;
  std::vector<QuantisedRow> quantised(integer ? args.m : 0);
  for (std::size_t m = 0; m < quantised.size(); ++m) {
    quantised[m] = Quantise(args.x + m * args.ldx, k);
  }
  pool.RunRanges(n_end - args.n_begin, [&](std::size_t begin, std::size_t end, unsigned) {
    std::vector<float> row(k);
    for (std::size_t j = begin; j < end; ++j) {
      const std::size_t n = args.n_begin + j;
      for (std::size_t i = 0; i < k && !integer; ++i) row[i] = w.At(n, args.k_begin + i);
      for (std::size_t m = 0; m < args.m; ++m) {
        const float* x = args.x + m * args.ldx;
        float& y = args.y[m * args.ldy + j];
        const float start = args.accumulate ? y : 0.0f;
        float total = 0.0f;
        if (integer) {
          total = IntegerDot(quantised[m], w, n, args.k_begin, start);
        } else if (args.kshards > 1) {
          total = Sharded(x, row.data(), k, args.kshards);
        } else {
          total = SumD1(
              k, [&](float acc, std::size_t i) { return std::fma(x[i], row[i], acc); }, start);
        }
        y = args.bias ? total + args.bias[j] : total;
      }
    }
  });
}

void OuterAccumulate(ThreadPool& pool, const OuterArgs& args) {
  pool.Run(args.n, [&](std::size_t n) {
    for (std::size_t b = 0; b + 1 < args.blocks.size(); ++b) {
      const std::size_t begin = args.blocks[b], end = args.blocks[b + 1];
      if (begin == end) continue;
      for (std::size_t k = 0; k < args.k; ++k) {
        float acc = 0.0f;
        for (std::size_t t = begin; t < end; ++t) {
          acc = std::fma(args.a[t * args.lda + n], args.b[t * args.ldb + k], acc);
        }
        args.grad[n * args.ldg + k] = args.grad[n * args.ldg + k] + acc;
      }
      if (args.bias_grad) {
        float acc = 0.0f;
        for (std::size_t t = begin; t < end; ++t) {
          acc = std::fma(args.a[t * args.lda + n], 1.0f, acc);
        }
        args.bias_grad[n] = args.bias_grad[n] + acc;
      }
    }
  });
}

}  // namespace waggle::reference
