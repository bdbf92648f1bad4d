// Blocking, threads, ranges and tails of y = x * W^T under rule D1.
//
// K is cut into blocks of 256 (the restart points of D1), and never across threads. Large batches:
// for a chunk of panels that fits the second-level cache, for each K block, for each tile of rows:
// copy the rows, run over the panels. Where registers are few (16 with AVX2), a tile is half a
// panel wide and its weights stay in the first-level cache while the rows pass by instead. Small
// batches: stream each panel once, rows in registers.
#include "kernels/canonical/gemm.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/canonical/gemm_driver.h"

namespace waggle::canonical {
namespace {

// From this many rows on, weights are copied or widened to fp32 before they are used.
constexpr std::size_t kExpandRows = 33;
// Sliced tiles copy from fewer rows on, where the weights come from a cache: few features or
// inputs.
constexpr std::size_t kSlicedRowsMin = 13, kSlicedCachedWeights = std::size_t{1} << 20;
// fp32 bytes of a (256 k) x 32 panel piece: 32 KiB; this many stay in L2 beside the rows.
constexpr std::size_t kChunkPanels = 12;

// One thread's part of the work: panels [panel, panel + panels) of the call, rows [row, row +
// rows).
struct Part {
  std::size_t panel = 0, panels = 0, row = 0, rows = 0;
};

class D1Part {
 public:
  D1Part(const GemmArgs& args, const GemmShape& shape, const TileKernels& kernels, const Part& part)
      : args_(args),
        shape_(shape),
        kernels_(kernels),
        part_(part),
        format_(static_cast<std::size_t>(args.w->format())),
        tiles_(TileCount(part.rows, kernels.rows_max)) {}

  void Run() {
    const bool sliced = kernels_.slice_width < kPanelWidth;
    const bool cached = shape_.n * shape_.k <= kSlicedCachedWeights;
    if (part_.rows < (sliced && cached ? kSlicedRowsMin : kExpandRows)) {
      RunSmall();
    } else if (sliced) {
      RunSliced();
    } else {
      RunLarge();
    }
  }

 private:
  // Where totals of panels [panel, panel + count) go: y itself, or a shard's own buffer.
  struct Target {
    float* y = nullptr;
    std::size_t ldy = 0, first_row = 0, first_column = 0;
    bool continue_total = false, is_output = false;
  };

  std::size_t Blocks() const { return (shape_.k + kReductionBlock - 1) / kReductionBlock; }
  std::size_t KOf(std::size_t block) const { return std::min(shape_.k, block * kReductionBlock); }
  std::size_t TileBegin(std::size_t rows, std::size_t tile) const { return rows * tile / tiles_; }
  std::size_t Columns(std::size_t panel) const {
    return std::min(kPanelWidth, shape_.n - panel * kPanelWidth);
  }
  // Of one panel over one block of k.
  std::size_t BlockBytes() const {
    return args_.w->format() == WeightFormat::kF32    ? kReductionBlock * kPanelWidth * 4
           : args_.w->format() == WeightFormat::kBf16 ? kReductionBlock * kPanelWidth * 2
                                                      : kReductionBlock * kPanelWidth;
  }
  Target Output() const { return {args_.y, args_.ldy, 0, 0, args_.accumulate, true}; }

  const std::byte* Weights(std::size_t panel, std::size_t k) const;
  const float* Scales(std::size_t panel, std::size_t k) const;

  void RunSmall();
  void RunLarge();
  void RunSliced();
  void RunSlices(std::size_t panel, std::size_t k, std::size_t k_count, std::size_t row,
                 std::size_t rows, const float* x, const float* w, const Target& target, bool first,
                 bool last);
  void Expand(std::size_t panel, std::size_t k, std::size_t k_count, float* out) const;
  template <class Body>
  void ForEachShard(std::size_t panel, std::size_t panels, float* shard, const Body& run);
  void FoldShard(std::size_t panel, std::size_t panels, const float* shard, bool first, bool last);
  void RunTile(TileFn fn, TileArgs tile, std::size_t row, std::size_t rows, std::size_t column,
               std::size_t width, const Target& target, bool last);

  const GemmArgs& args_;
  const GemmShape& shape_;
  const TileKernels& kernels_;
  const Part part_;
  const std::size_t format_;
  const std::size_t tiles_;
};

const std::byte* D1Part::Weights(std::size_t panel, std::size_t k) const {
  const std::size_t p = shape_.panel + panel, at = shape_.k_begin + k;
  const PackedMatrix& w = *args_.w;
  switch (w.format()) {
    case WeightFormat::kF32:
      return reinterpret_cast<const std::byte*>(w.F32Panel(p) + at * 32);
    case WeightFormat::kBf16:
      return reinterpret_cast<const std::byte*>(w.Bf16Panel(p) + at * 16);
    default:
      return reinterpret_cast<const std::byte*>(w.CodePanel(p) + at * 32);
  }
}

const float* D1Part::Scales(std::size_t panel, std::size_t k) const {
  if (args_.w->format() != WeightFormat::kInt8) return nullptr;
  const std::size_t group = (shape_.k_begin + k) / kQuantGroup;
  return args_.w->ScalePanel(shape_.panel + panel) + group * kPanelWidth;
}

// Runs one tile of features [column, column + width) into `target`; where the matrix ends before
// that, through a full-width copy.
void D1Part::RunTile(TileFn fn, TileArgs tile, std::size_t row, std::size_t rows,
                     std::size_t column, std::size_t width, const Target& target, bool last) {
  float* y = target.y + (row - target.first_row) * target.ldy + (column - target.first_column);
  const float* bias = target.is_output && last && args_.bias ? args_.bias + column : nullptr;
  const std::size_t columns = std::min(width, shape_.n - column);
  if (columns == width || !target.is_output) {
    tile.y = y;
    tile.ldy = target.ldy;
    tile.bias = bias;
    fn(tile);
    return;
  }
  alignas(128) float copy[kTileRowsMax * kPanelWidth * kTilePanelsMax] = {};
  alignas(128) float bias_copy[kPanelWidth * kTilePanelsMax] = {};
  for (std::size_t r = 0; r < rows && tile.continue_total; ++r) {
    std::memcpy(copy + r * width, y + r * target.ldy, columns * sizeof(float));
  }
  if (bias) std::memcpy(bias_copy, bias, columns * sizeof(float));
  tile.y = copy;
  tile.ldy = width;
  tile.bias = bias ? bias_copy : nullptr;
  fn(tile);
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(y + r * target.ldy, copy + r * width, columns * sizeof(float));
  }
}

// run(target, first block, end block) for the one D1 sum, or shard by shard with a fold in between.
template <class Body>
void D1Part::ForEachShard(std::size_t panel, std::size_t panels, float* shard, const Body& run) {
  const std::size_t blocks = Blocks(), shards = args_.kshards;
  if (shards == 1) {
    run(Output(), 0, blocks);
    return;
  }
  const std::size_t width = panels * kPanelWidth;
  const Target target{shard, width, part_.row, panel * kPanelWidth, false, false};
  for (std::size_t s = 0; s < shards; ++s) {
    const std::size_t begin = blocks * s / shards, end = blocks * (s + 1) / shards;
    if (begin == end) {  // an empty shard totals +0
      std::fill_n(shard, part_.rows * width, 0.0f);
    } else {
      run(target, begin, end);
    }
    FoldShard(panel, panels, shard, s == 0, s + 1 == shards);
  }
}

void D1Part::FoldShard(std::size_t panel, std::size_t panels, const float* shard, bool first,
                       bool last) {
  const std::size_t width = panels * kPanelWidth, column = panel * kPanelWidth;
  const std::size_t columns = std::min(width, shape_.n - column);
  for (std::size_t r = 0; r < part_.rows; ++r) {
    float* y = args_.y + (part_.row + r) * args_.ldy + column;
    for (std::size_t c = 0; c < columns; ++c) {
      const float total = (first ? 0.0f : y[c]) + shard[r * width + c];
      y[c] = last && args_.bias ? total + args_.bias[column + c] : total;
    }
  }
}

void D1Part::RunSmall() {
  const std::size_t blocks = Blocks(), rows = part_.rows;
  // One row needs no copy: a D1 block of x is contiguous already.
  const bool copy_x = rows > 1;
  Scratch<float> copied(copy_x ? blocks * rows * kXStride : 0);
  for (std::size_t b = 0; copy_x && b < blocks; ++b) {
    for (std::size_t r = 0; r < rows; ++r) {
      std::memcpy(copied.get() + (b * rows + r) * kXStride,
                  args_.x + (part_.row + r) * args_.ldx + KOf(b),
                  (KOf(b + 1) - KOf(b)) * sizeof(float));
    }
  }
  const float* x = copy_x ? copied.get() : args_.x + part_.row * args_.ldx;
  const std::size_t x_block = copy_x ? rows * kXStride : kReductionBlock;
  Scratch<float> shard(args_.kshards > 1 ? rows * kTilePanelsMax * kPanelWidth : 0);
  const bool one_tile = tiles_ == 1;
  const std::size_t wide = one_tile ? kernels_.wide_panels[rows] : 1;
  for (std::size_t panel = part_.panel; panel < part_.panel + part_.panels;) {
    const std::size_t panels = part_.panel + part_.panels - panel >= wide ? wide : 1;
    ForEachShard(
        panel, panels, shard.get(), [&](Target target, std::size_t first, std::size_t last) {
          // Several row tiles share a block of the panel while it is in the first-level cache.
          const std::size_t step = one_tile ? last - first : 1;
          for (std::size_t b = first; b < last; b += step) {
            for (std::size_t t = 0; t < tiles_; ++t) {
              const std::size_t row = TileBegin(rows, t), tile_rows = TileBegin(rows, t + 1) - row;
              TileArgs tile;
              tile.x = x + b * x_block + row * kXStride;
              tile.x_block = x_block;
              tile.w = Weights(panel, KOf(b));
              tile.scales = Scales(panel, KOf(b));
              if (panels > 1) {
                tile.w_panel =
                    static_cast<std::size_t>(Weights(panel + 1, KOf(b)) - Weights(panel, KOf(b)));
                tile.scale_panel = args_.w->groups() * kPanelWidth;
              }
              tile.k_count = KOf(b + step) - KOf(b);
              tile.continue_total = target.continue_total || b > first;
              // The last tile has its weights from the ones before it, and fetches the next block.
              if (t > 0 && t + 1 == tiles_) tile.far_bytes = BlockBytes();
              const TileFn fn = panels > 1 ? kernels_.gemm_wide[format_][tile_rows]
                                           : kernels_.gemm[format_][tile_rows];
              RunTile(fn, tile, part_.row + row, tile_rows, panel * kPanelWidth,
                      panels * kPanelWidth, target, b + step == last);
            }
          }
        });
    panel += panels;
  }
}

void D1Part::Expand(std::size_t panel, std::size_t k, std::size_t k_count, float* out) const {
  const std::byte* w = Weights(panel, k);
  switch (args_.w->format()) {
    case WeightFormat::kF32:
      return kernels_.expand_f32(reinterpret_cast<const float*>(w), k_count, out);
    case WeightFormat::kBf16:
      return kernels_.expand_bf16(reinterpret_cast<const std::uint32_t*>(w), k_count, out);
    default:
      return kernels_.expand_int8(reinterpret_cast<const std::int8_t*>(w), Scales(panel, k),
                                  k_count, out);
  }
}

void D1Part::RunLarge() {
  constexpr std::size_t kPiece = kReductionBlock * kPanelWidth;
  const bool expand = args_.w->format() != WeightFormat::kF32;
  Scratch<float> expanded(expand ? kChunkPanels * kPiece : 0);
  Scratch<float> shard(args_.kshards > 1 ? part_.rows * kChunkPanels * kPanelWidth : 0);
  alignas(128) float x[kTileRowsMax * kXStride];
  const std::size_t end_panel = part_.panel + part_.panels;
  for (std::size_t chunk = part_.panel; chunk < end_panel; chunk += kChunkPanels) {
    const std::size_t panels = std::min(kChunkPanels, end_panel - chunk);
    ForEachShard(
        chunk, panels, shard.get(), [&](Target target, std::size_t first, std::size_t last) {
          for (std::size_t b = first; b < last; ++b) {
            const std::size_t k = KOf(b), k_count = KOf(b + 1) - k;
            for (std::size_t p = 0; expand && p < panels; ++p) {
              Expand(chunk + p, k, k_count, expanded.get() + p * kPiece);
            }
            for (std::size_t t = 0; t < tiles_; ++t) {
              const std::size_t row = TileBegin(part_.rows, t);
              const std::size_t rows = TileBegin(part_.rows, t + 1) - row;
              for (std::size_t r = 0; r < rows; ++r) {
                std::memcpy(x + r * kXStride, args_.x + (part_.row + row + r) * args_.ldx + k,
                            k_count * sizeof(float));
              }
              for (std::size_t p = 0; p < panels; ++p) {
                TileArgs tile;
                tile.x = x;
                tile.w = expand ? static_cast<const void*>(expanded.get() + p * kPiece)
                                : Weights(chunk + p, k);
                tile.k_count = k_count;
                tile.continue_total = target.continue_total || b > first;
                if (!expand && t + 1 == tiles_) tile.far_bytes = BlockBytes();
                RunTile(kernels_.gemm[0][rows], tile, part_.row + row, rows,
                        (chunk + p) * kPanelWidth, kPanelWidth, target, b + 1 == last);
              }
            }
          }
        });
  }
}

// One D1 block of all rows of a copied chunk against one widened panel, slice by slice.
void D1Part::RunSlices(std::size_t panel, std::size_t k, std::size_t k_count, std::size_t row,
                       std::size_t rows, const float* x, const float* w, const Target& target,
                       bool first, bool last) {
  const std::size_t width = kernels_.slice_width, tiles = TileCount(rows, kernels_.rows_max);
  const std::size_t end = panel * kPanelWidth + Columns(panel);
  const std::byte* next = Weights(panel, 0);
  std::size_t share = 0;
  if (panel + 1 < part_.panel + part_.panels) {
    next = Weights(panel + 1, k);
    const std::size_t bytes = BlockBytes() / kReductionBlock * k_count;
    share = bytes / (tiles * (kPanelWidth / width)) / 64 * 64 + 64;
  }
  for (std::size_t column = panel * kPanelWidth; column < end; column += width) {
    for (std::size_t t = 0; t < tiles; ++t) {
      const std::size_t from = rows * t / tiles, tile_rows = rows * (t + 1) / tiles - from;
      TileArgs tile;
      tile.x = x + from * kXStride;
      tile.w = w;
      tile.k_count = k_count;
      tile.continue_total = target.continue_total || !first;
      // The next panel comes nearer, a share per tile: 32 KiB of fp32 over all tiles of this one.
      for (const std::byte* end_line = next + share; next < end_line; next += 64) {
        __builtin_prefetch(next, 0, 2);
      }
      RunTile(kernels_.slice[tile_rows], tile, row + from, tile_rows, column, width, target, last);
    }
    w += kReductionBlock * width;
  }
}

void D1Part::RunSliced() {
  const std::size_t chunk_rows = std::min(part_.rows, kSlicedRows);
  Scratch<float> widened(kReductionBlock * kPanelWidth), x(chunk_rows * kXStride);
  Scratch<float> shard(args_.kshards > 1 ? part_.rows * kChunkPanels * kPanelWidth : 0);
  const std::size_t end_row = part_.row + part_.rows, end_panel = part_.panel + part_.panels;
  for (std::size_t chunk = part_.panel; chunk < end_panel; chunk += kChunkPanels) {
    const std::size_t panels = std::min(kChunkPanels, end_panel - chunk);
    const auto run = [&](const Target& target, std::size_t first, std::size_t last) {
      for (std::size_t row = part_.row; row < end_row; row += chunk_rows) {
        const std::size_t rows = std::min(chunk_rows, end_row - row);
        for (std::size_t b = first; b < last; ++b) {
          const std::size_t k = KOf(b), k_count = KOf(b + 1) - k;
          for (std::size_t r = 0; r < rows; ++r) {
            std::memcpy(x.get() + r * kXStride, args_.x + (row + r) * args_.ldx + k,
                        k_count * sizeof(float));
          }
          for (std::size_t p = chunk; p < chunk + panels; ++p) {
            Expand(p, k, k_count, widened.get());
            RunSlices(p, k, k_count, row, rows, x.get(), widened.get(), target, b == first,
                      b + 1 == last);
          }
        }
      }
    };
    ForEachShard(chunk, panels, shard.get(), run);
  }
}

// Share of the threads' time that does work when `units` are dealt out evenly in whole numbers.
double Balance(std::size_t units, std::size_t threads) {
  const std::size_t most = (units + threads - 1) / threads;
  return static_cast<double>(units) / static_cast<double>(most * threads);
}

}  // namespace

GemmShape CheckedShape(const GemmArgs& args) {
  Check(args.w != nullptr, "a weight matrix");
  const std::size_t n_end = args.n_end == 0 ? args.w->n() : args.n_end;
  const std::size_t k_end = args.k_end == 0 ? args.w->k() : args.k_end;
  Check(args.n_begin % kPanelWidth == 0 && args.n_begin <= n_end && n_end <= args.w->n(),
        "a feature range of the matrix that starts at a panel");
  Check(args.k_begin % kReductionBlock == 0 && args.k_begin <= k_end && k_end <= args.w->k(),
        "an input range of the matrix that starts at a D1 block");
  Check(args.kshards >= 1, "at least one shard");
  Check(args.kshards == 1 || (!args.accumulate && args.k_begin == 0 && k_end == args.w->k()),
        "shards need the whole input range and a fresh total");
  GemmShape shape;
  shape.n = n_end - args.n_begin;
  shape.panel = args.n_begin / kPanelWidth;
  shape.panels = (shape.n + kPanelWidth - 1) / kPanelWidth;
  shape.k_begin = args.k_begin;
  shape.k = k_end - args.k_begin;
  return shape;
}

void EmptySum(const GemmArgs& args, const GemmShape& shape) {
  for (std::size_t m = 0; m < args.m; ++m) {
    float* y = args.y + m * args.ldy;
    for (std::size_t n = 0; n < shape.n; ++n) {
      const float total = args.accumulate ? y[n] : 0.0f;
      y[n] = args.bias ? total + args.bias[n] : total;
    }
  }
}

void GemmD1(ThreadPool& pool, const GemmArgs& args, const TileKernels& kernels) {
  const GemmShape shape = CheckedShape(args);
  if (args.m == 0 || shape.n == 0) return;
  if (shape.k == 0) return EmptySum(args, shape);
  // Panels by default: each thread then reads its own weights only. Tall inputs over few panels
  // are cut by rows where that keeps the threads busier.
  const std::size_t threads = pool.threads();
  const bool by_rows = args.m >= 2 * kExpandRows * threads &&
                       Balance(shape.panels, threads) + 0.02 < Balance(args.m, threads);
  pool.RunRanges(by_rows ? args.m : shape.panels,
                 [&](std::size_t begin, std::size_t end, unsigned) {
                   const Part part = by_rows ? Part{0, shape.panels, begin, end - begin}
                                             : Part{begin, end - begin, 0, args.m};
                   D1Part(args, shape, kernels, part).Run();
                 });
}

}  // namespace waggle::canonical
