// Blocking, threads, ranges and tails of y = x * W^T under rule D1.
//
// K is cut into blocks of 256 (the restart points of D1), and never across threads. Rows that fit
// one tile: stream each panel once, rows in registers. More rows: for each chunk of them that fits
// the second-level cache, for each K block: copy the rows once, then for each panel, whose piece of
// at most 16 KiB stays in the first-level cache, all tiles of rows.
#include "kernels/canonical/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/canonical/gemm_driver.h"

namespace waggle::canonical {
namespace {

// A last block of at most this many k goes with the block before it.
constexpr std::size_t kShortBlock = 64;
constexpr std::size_t kWidenedPiece = (kReductionBlock + kShortBlock) * kPanelWidth;
// Panels whose shard totals are kept at once (kshards > 1).
constexpr std::size_t kShardPanels = 24;

// One thread's part of the work: panels [panel, panel + panels) of the call, rows [row, row +
// rows).
struct Part {
  std::size_t panel = 0, panels = 0, row = 0, rows = 0;
};

// x[row .. row + rows, k .. end) with the stride of the tiles.
void CopyRows(const GemmArgs& args, std::size_t row, std::size_t rows, std::size_t k,
              std::size_t end, float* out) {
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(out + r * kXStride, args.x + (row + r) * args.ldx + k, (end - k) * sizeof(float));
  }
}

class D1Part {
 public:
  D1Part(const GemmArgs& args, const GemmShape& shape, const TileKernels& kernels, const Part& part)
      : args_(args),
        shape_(shape),
        kernels_(kernels),
        part_(part),
        format_(static_cast<std::size_t>(args.w->format())),
        bytes_per_k_(args.w->PanelBytesPerK()) {}

  void Run() {
    if (part_.rows <= kernels_.rows_max) {
      RunStream();
    } else {
      RunShared();
    }
  }

 private:
  // Where totals go: y itself, or a shard's own buffer.
  struct Target {
    float* y = nullptr;
    std::size_t ldy = 0, first_row = 0, first_column = 0;
    bool continue_total = false, is_output = false;
  };
  // Copied rows [row, row + rows) of x, at one D1 block or a whole and a short one.
  struct Chunk {
    std::size_t row, rows, k, k_count;
    const float* x;
    bool first, last;  // of the blocks of the target's total
  };

  std::size_t Blocks() const { return (shape_.k + kReductionBlock - 1) / kReductionBlock; }
  std::size_t KOf(std::size_t block) const { return std::min(shape_.k, block * kReductionBlock); }
  std::size_t EndPanel() const { return part_.panel + part_.panels; }
  // Columns of a shard's buffer: tiles are written whole, a panel beyond the end included.
  std::size_t ShardWidth(std::size_t panels) const {
    return TileCount(panels, kernels_.tile_panels) * kernels_.tile_panels * kPanelWidth;
  }
  Target Output() const { return {args_.y, args_.ldy, 0, 0, args_.accumulate, true}; }

  const std::byte* Weights(std::size_t panel, std::size_t k) const;
  const float* Scales(std::size_t panel, std::size_t k) const;
  void RunStream();
  void StreamPanels(std::size_t panel, std::size_t log2, const float* x, std::size_t x_block,
                    const Target& target, std::size_t first, std::size_t last);
  void RunShared();
  void RunChunk(const Chunk& chunk, std::size_t panel, std::size_t end, float* widened,
                const Target& target);
  void RunTiles(const Chunk& chunk, std::size_t panel, TileArgs tile, TileFn const* table,
                const Target& target);
  template <class Body>
  void ForEachShard(std::size_t panel, std::size_t panels, float* shard, const Body& run);
  void FoldShard(std::size_t panel, std::size_t panels, const float* shard, bool first, bool last);
  void RunTile(TileFn fn, TileArgs& tile, std::size_t row, std::size_t rows, std::size_t column,
               std::size_t width, const Target& target, bool last);

  const GemmArgs& args_;
  const GemmShape& shape_;
  const TileKernels& kernels_;
  const Part part_;
  const std::size_t format_;
  const std::size_t bytes_per_k_;
};

const std::byte* D1Part::Weights(std::size_t panel, std::size_t k) const {
  return args_.w->PanelData(shape_.panel + panel) + (shape_.k_begin + k) * bytes_per_k_;
}

const float* D1Part::Scales(std::size_t panel, std::size_t k) const {
  if (args_.w->format() != WeightFormat::kInt8) return nullptr;
  const std::size_t group = (shape_.k_begin + k) / kQuantGroup;
  return args_.w->ScalePanel(shape_.panel + panel) + group * kPanelWidth;
}

// Runs one tile of features [column, column + width) into `target`; where the matrix, or this part
// of it, ends before that, through a full-width copy.
void D1Part::RunTile(TileFn fn, TileArgs& tile, std::size_t row, std::size_t rows,
                     std::size_t column, std::size_t width, const Target& target, bool last) {
  float* y = target.y + (row - target.first_row) * target.ldy + (column - target.first_column);
  const float* bias = target.is_output && last && args_.bias ? args_.bias + column : nullptr;
  const std::size_t end = std::min(shape_.n, EndPanel() * kPanelWidth);
  const std::size_t columns = std::min(width, end - column);
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
  const std::size_t width = ShardWidth(panels);
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
  const std::size_t width = ShardWidth(panels), column = panel * kPanelWidth;
  const std::size_t columns = std::min(panels * kPanelWidth, shape_.n - column);
  for (std::size_t r = 0; r < part_.rows; ++r) {
    float* y = args_.y + (part_.row + r) * args_.ldy + column;
    for (std::size_t c = 0; c < columns; ++c) {
      const float total = (first ? 0.0f : y[c]) + shard[r * width + c];
      y[c] = last && args_.bias ? total + args_.bias[column + c] : total;
    }
  }
}

// Rows of one tile against 2^log2 panels, the blocks [first, last) of k.
void D1Part::StreamPanels(std::size_t panel, std::size_t log2, const float* x, std::size_t x_block,
                          const Target& target, std::size_t first, std::size_t last) {
  const std::size_t panels = std::size_t{1} << log2;
  TileArgs tile;
  tile.x = x + first * x_block;
  tile.x_block = x_block;
  for (std::size_t p = 0; p < panels; ++p) {
    tile.w[p] = Weights(panel + p, KOf(first));
    tile.scales[p] = Scales(panel + p, KOf(first));
  }
  tile.k_count = KOf(last) - KOf(first);
  tile.continue_total = target.continue_total;
  RunTile(kernels_.stream[format_][part_.rows][log2], tile, part_.row, part_.rows,
          panel * kPanelWidth, panels * kPanelWidth, target, true);
}

void D1Part::RunStream() {
  const std::size_t blocks = Blocks(), rows = part_.rows;
  // One row needs no copy: a D1 block of x is contiguous already.
  const bool copy_x = rows > 1;
  Scratch<float> copied(copy_x ? blocks * rows * kXStride : 0);
  for (std::size_t b = 0; copy_x && b < blocks; ++b) {
    CopyRows(args_, part_.row, rows, KOf(b), KOf(b + 1), copied.get() + b * rows * kXStride);
  }
  const float* x = copy_x ? copied.get() : args_.x + part_.row * args_.ldx;
  const std::size_t x_block = copy_x ? rows * kXStride : kReductionBlock;
  Scratch<float> shard(args_.kshards > 1 ? rows * kTilePanelsMax * kPanelWidth : 0);
  const auto& stream = kernels_.stream[format_][rows];
  for (std::size_t panel = part_.panel; panel < EndPanel();) {
    std::size_t log2 = std::size(stream) - 1;
    while (stream[log2] == nullptr || (std::size_t{1} << log2) > EndPanel() - panel) --log2;
    const std::size_t panels = std::size_t{1} << log2;
    ForEachShard(panel, panels, shard.get(),
                 [&](const Target& target, std::size_t first, std::size_t last) {
                   StreamPanels(panel, log2, x, x_block, target, first, last);
                 });
    panel += panels;
  }
}

// All rows of the chunk against panels [panel, panel + tile_panels), described by `tile`.
void D1Part::RunTiles(const Chunk& chunk, std::size_t panel, TileArgs tile, TileFn const* table,
                      const Target& target) {
  const std::size_t tiles = TileCount(chunk.rows, kernels_.rows_max);
  const std::size_t bytes = kernels_.tile_panels * chunk.k_count * bytes_per_k_;
  // Each tile brings its share of the next panels nearer; whole lines in all.
  tile.next_w_step = (bytes / tiles + 63) / chunk.k_count + 1;
  const std::size_t share = tile.next_w_step * chunk.k_count;
  for (std::size_t t = 0, row = 0; t < tiles; ++t) {
    const std::size_t end = chunk.rows * (t + 1) / tiles;
    tile.x = chunk.x + row * kXStride;
    tile.next_x = t + 1 < tiles ? chunk.x + end * kXStride : chunk.x;
    RunTile(table[end - row], tile, chunk.row + row, end - row, panel * kPanelWidth,
            kernels_.tile_panels * kPanelWidth, target, chunk.last);
    tile.next_w = static_cast<const std::byte*>(tile.next_w) + share;
    row = end;
  }
}

// A chunk of rows against the panels [panel, end).
void D1Part::RunChunk(const Chunk& chunk, std::size_t panel, std::size_t end, float* widened,
                      const Target& target) {
  const std::size_t tiles = TileCount(chunk.rows, kernels_.rows_max);
  const std::size_t widen_tiles = kernels_.widen_tiles[format_];
  const bool widen = widen_tiles != 0 && tiles >= widen_tiles;
  for (; panel < end; panel += kernels_.tile_panels) {
    TileArgs tile;
    tile.k_count = chunk.k_count;
    tile.continue_total = target.continue_total || !chunk.first;
    tile.x_block = chunk.rows * kXStride;
    for (std::size_t p = 0; p < kernels_.tile_panels; ++p) {
      // A panel beyond the end repeats the last one; its results are dropped.
      const std::size_t at = std::min(panel + p, end - 1);
      tile.w[p] = Weights(at, chunk.k);
      tile.scales[p] = Scales(at, chunk.k);
      if (widen) {
        float* piece = widened + p * kWidenedPiece;
        kernels_.widen[format_](tile.w[p], tile.scales[p], chunk.k_count, piece);
        tile.w[p] = piece;
      }
    }
    tile.next_w = Weights(std::min(panel + kernels_.tile_panels, end - 1), chunk.k);
    RunTiles(chunk, panel, tile, kernels_.shared[widen ? 0 : format_], target);
  }
}

void D1Part::RunShared() {
  const std::size_t chunk_rows = std::min(part_.rows, kChunkRows);
  Scratch<float> x(2 * chunk_rows * kXStride);
  alignas(128) float widened[2 * kWidenedPiece];
  const bool sharded = args_.kshards > 1;
  const std::size_t step = sharded ? std::min(part_.panels, kShardPanels) : part_.panels;
  Scratch<float> shard(sharded ? part_.rows * ShardWidth(step) : 0);
  const std::size_t end_row = part_.row + part_.rows;
  for (std::size_t panel = part_.panel; panel < EndPanel(); panel += step) {
    const std::size_t end = std::min(panel + step, EndPanel());
    const auto run = [&](const Target& target, std::size_t first, std::size_t last) {
      for (std::size_t row = part_.row; row < end_row; row += chunk_rows) {
        const std::size_t rows = std::min(chunk_rows, end_row - row);
        for (std::size_t b = first, next; b < last; b = next) {
          next = b + 2 == last && KOf(last) - KOf(b + 1) <= kShortBlock ? last : b + 1;
          for (std::size_t i = b; i < next; ++i) {
            CopyRows(args_, row, rows, KOf(i), KOf(i + 1), x.get() + (i - b) * rows * kXStride);
          }
          const Chunk chunk{row,     rows,       KOf(b),      KOf(next) - KOf(b),
                            x.get(), b == first, next == last};
          RunChunk(chunk, panel, end, widened, target);
        }
      }
    };
    ForEachShard(panel, end - panel, shard.get(), run);
  }
}

// Fewer rows a thread are not worth a cut by rows.
constexpr std::size_t kRowsPerThread = 33;

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
  const std::size_t width = args.w->panel_width();
  Check(args.n_begin % width == 0 && args.n_begin <= n_end && n_end <= args.w->n(),
        "a feature range of the matrix that starts at a panel");
  Check(args.k_begin % kReductionBlock == 0 && args.k_begin <= k_end && k_end <= args.w->k(),
        "an input range of the matrix that starts at a D1 block");
  Check(args.kshards >= 1, "at least one shard");
  Check(args.kshards == 1 || (!args.accumulate && args.k_begin == 0 && k_end == args.w->k()),
        "shards need the whole input range and a fresh total");
  GemmShape shape;
  shape.n = n_end - args.n_begin;
  shape.panel = args.n_begin / width;
  shape.panels = (shape.n + width - 1) / width;
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
  const bool by_rows = args.m >= 2 * kRowsPerThread * threads &&
                       Balance(shape.panels, threads) + 0.02 < Balance(args.m, threads);
  pool.RunRanges(by_rows ? args.m : shape.panels,
                 [&](std::size_t begin, std::size_t end, unsigned) {
                   const Part part = by_rows ? Part{0, shape.panels, begin, end - begin}
                                             : Part{begin, end - begin, 0, args.m};
                   D1Part(args, shape, kernels, part).Run();
                 });
}

}  // namespace waggle::canonical
