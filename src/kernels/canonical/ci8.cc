// Driver of the exact integer profile: quantise the activations, then tiles over panels.
#include "kernels/canonical/ci8.h"

#include <algorithm>
#include <cstring>

#include "kernels/canonical/gemm_driver.h"

namespace waggle::canonical {
namespace {

struct Activations {
  std::size_t groups, ldx;
  Scratch<std::uint8_t> codes;
  Scratch<float> scales;
  Activations(std::size_t rows, std::size_t k)
      : groups((k + kQuantGroup - 1) / kQuantGroup),
        ldx(groups * kQuantGroup + 64),  // rows of a tile fall into different cache sets
        codes(rows * ldx),
        scales(rows * groups) {}
};

void QuantiseRow(const GemmArgs& args, const GemmShape& shape, const Ci8Kernels& kernels,
                 std::size_t row, const Activations& to) {
  const float* x = args.x + row * args.ldx;
  for (std::size_t g = 0; g < to.groups; ++g) {
    const std::size_t begin = g * kQuantGroup, count = std::min(kQuantGroup, shape.k - begin);
    to.scales.get()[row * to.groups + g] =
        kernels.quantise(x + begin, count, to.codes.get() + row * to.ldx + begin);
  }
}

void RunTile(const GemmArgs& args, const GemmShape& shape, const Ci8Kernels& kernels,
             const Activations& x, std::size_t panel, std::size_t row, std::size_t rows) {
  const PackedMatrix& w = *args.w;
  const std::size_t p = shape.panel + panel, first_group = shape.k_begin / kQuantGroup;
  Ci8TileArgs tile;
  tile.x = x.codes.get() + row * x.ldx;
  tile.ldx = x.ldx;
  tile.x_scales = x.scales.get() + row * x.groups;
  tile.ldx_scales = x.groups;
  tile.w = w.CodePanel(p) + shape.k_begin * kCi8PanelWidth;
  tile.w_scales = w.ScalePanel(p) + first_group * kCi8PanelWidth;
  tile.w_sums = w.CodeSumPanel(p) + first_group * kCi8PanelWidth;
  tile.k_count = w.k() - shape.k_begin;
  tile.groups = x.groups;
  tile.continue_total = args.accumulate;
  const std::size_t column = panel * kCi8PanelWidth;
  const std::size_t columns = std::min(kCi8PanelWidth, shape.n - column);
  float* y = args.y + row * args.ldy + column;
  const float* bias = args.bias ? args.bias + column : nullptr;
  if (columns == kCi8PanelWidth) {
    tile.y = y;
    tile.ldy = args.ldy;
    tile.bias = bias;
    kernels.tile[rows](tile);
    return;
  }
  alignas(128) float copy[kCi8RowsMax * kCi8PanelWidth] = {};
  alignas(128) float bias_copy[kCi8PanelWidth] = {};
  for (std::size_t r = 0; r < rows && args.accumulate; ++r) {
    std::memcpy(copy + r * kCi8PanelWidth, y + r * args.ldy, columns * sizeof(float));
  }
  if (bias) std::memcpy(bias_copy, bias, columns * sizeof(float));
  tile.y = copy;
  tile.ldy = kCi8PanelWidth;
  tile.bias = bias ? bias_copy : nullptr;
  kernels.tile[rows](tile);
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(y + r * args.ldy, copy + r * kCi8PanelWidth, columns * sizeof(float));
  }
}

}  // namespace

void GemmCi8(ThreadPool& pool, const GemmArgs& args, const Ci8Kernels& kernels) {
  const GemmShape shape = CheckedShape(args);
  if (args.m == 0 || shape.n == 0) return;
  if (shape.k == 0) return EmptySum(args, shape);
  const Activations x(args.m, shape.k);
  // A few rows are quantised sooner than threads are woken.
  if (args.m * shape.k < 65536) {
    for (std::size_t row = 0; row < args.m; ++row) QuantiseRow(args, shape, kernels, row, x);
  } else {
    pool.Run(args.m, [&](std::size_t row) { QuantiseRow(args, shape, kernels, row, x); });
  }
  const std::size_t tiles = TileCount(args.m, kernels.rows_max);
  const auto run = [&](std::size_t panel, std::size_t tile) {
    const std::size_t row = args.m * tile / tiles;
    RunTile(args, shape, kernels, x, panel, row, args.m * (tile + 1) / tiles - row);
  };
  pool.RunRanges(shape.panels * tiles, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) run(i / tiles, i % tiles);
  });
}

}  // namespace waggle::canonical
