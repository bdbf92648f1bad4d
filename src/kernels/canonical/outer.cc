// Blocking, threads and tails of grad += a^T * b over blocks of tokens (rule D1 over tokens).
//
// Both operands are token-major, so a tile of grad is the GEMM tile with tokens as k.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/canonical/gemm_driver.h"

namespace waggle::canonical {
namespace {

// Tokens packed at once: two pieces of 16 KiB or less then fit a first-level cache of 32 KiB.
constexpr std::size_t kGroupTokens = 256;
// Columns of b packed at once: at most 8 MiB.
constexpr std::size_t kChunkColumns = 8192;

// Token rows that take part: those of `a` that are not zero throughout. Skipping the others cannot
// change a bit (fma(0, b, acc) is acc, up to the sign of a zero that the next add removes).
struct Tokens {
  std::vector<std::uint32_t> rows;
  std::vector<std::size_t> block_begin;  // into rows; one more than there are blocks
};

bool IsZero(const float* values, std::size_t count) {
  return std::all_of(values, values + count, [](float v) { return v == 0.0f; });
}

Tokens SelectTokens(const OuterArgs& args) {
  Tokens tokens;
  tokens.block_begin.push_back(0);
  for (std::size_t i = 0; i + 1 < args.blocks.size(); ++i) {
    const std::uint32_t begin = args.blocks[i], end = args.blocks[i + 1];
    Check(begin <= end && end - begin <= kReductionBlock, "ascending blocks of at most 256 tokens");
    for (std::uint32_t t = begin; t < end; ++t) {
      if (!IsZero(args.a + t * args.lda, args.n)) tokens.rows.push_back(t);
    }
    if (tokens.rows.size() > tokens.block_begin.back()) {
      tokens.block_begin.push_back(tokens.rows.size());
    }
  }
  return tokens;
}

// `width` values of every token row, to places `stride` apart.
void CopyColumns(const std::uint32_t* rows, std::size_t count, const float* from, std::size_t ld,
                 std::size_t width, float* out, std::size_t stride) {
  for (std::size_t t = 0; t < count; ++t) {
    std::memcpy(out + t * stride, from + rows[t] * ld, width * sizeof(float));
  }
}
template <std::size_t kWidth>
void CopyColumns(const std::uint32_t* rows, std::size_t count, const float* from, std::size_t ld,
                 float* out) {
  for (std::size_t t = 0; t < count; ++t) {
    std::memcpy(out + t * kWidth, from + rows[t] * ld, kWidth * sizeof(float));
  }
}

// One thread's rectangle of grad.
struct Part {
  std::size_t n_begin = 0, n_end = 0, k_begin = 0, k_end = 0;
};

class OuterPart {
 public:
  OuterPart(const OuterArgs& args, const Tokens& tokens, const TileKernels& kernels,
            const Part& part)
      : args_(args),
        tokens_(tokens),
        kernels_(kernels),
        part_(part),
        columns_(std::min(kChunkColumns, part.k_end - part.k_begin)),
        a_(TileCount(kChunkRows, kernels.rows_max) * kGroupTokens * kernels.token_stride),
        b_(kGroupTokens * (columns_ + kPanelWidth)) {}

  void Run() {
    const auto& begin = tokens_.block_begin;
    for (std::size_t first = 0; first + 1 < begin.size();) {
      std::size_t last = first + 1;
      while (last + 1 < begin.size() && begin[last + 1] - begin[first] <= kGroupTokens) ++last;
      RunGroup(first, last);
      first = last;
    }
  }

 private:
  // Consecutive blocks whose tokens are packed together; each still gets its own fresh chain.
  struct Group {
    const std::uint32_t* rows;  // the tokens
    std::size_t count;
    const std::uint32_t* cuts;  // block boundaries among them
    std::size_t blocks;
  };

  void RunGroup(std::size_t first_block, std::size_t last_block);
  void PackA(const Group& group, std::size_t n, std::size_t rows);
  void PackB(const Group& group, std::size_t k, std::size_t k_end);
  void RunChunk(const Group& group, std::size_t n, std::size_t rows, std::size_t k,
                std::size_t k_end);
  void RunTile(TileFn fn, TileArgs& tile, std::size_t n, std::size_t rows, std::size_t k);

  const OuterArgs& args_;
  const Tokens& tokens_;
  const TileKernels& kernels_;
  const Part part_;
  const std::size_t columns_;
  Scratch<float> a_, b_;
};

// Columns [n, n + rows) of a, tile by tile: [token][token_stride].
void OuterPart::PackA(const Group& group, std::size_t n, std::size_t rows) {
  const std::size_t stride = kernels_.token_stride, tiles = TileCount(rows, kernels_.rows_max);
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    const std::size_t begin = rows * tile / tiles, height = rows * (tile + 1) / tiles - begin;
    const float* from = args_.a + n + begin;
    float* out = a_.get() + tile * kGroupTokens * stride;
    // A fixed width copies fast; the lanes beyond the tile are never read.
    if (n + begin + stride > args_.n) {
      CopyColumns(group.rows, group.count, from, args_.lda, height, out, stride);
    } else if (stride == 8) {
      CopyColumns<8>(group.rows, group.count, from, args_.lda, out);
    } else {
      CopyColumns<16>(group.rows, group.count, from, args_.lda, out);
    }
  }
}

// Columns [k, k_end) of b, panel by panel: [token][16], columns beyond the matrix zero.
void OuterPart::PackB(const Group& group, std::size_t k, std::size_t k_end) {
  const std::size_t piece = group.count * kPanelWidth;
  for (std::size_t t = 0; t < group.count; ++t) {
    const float* from = args_.b + group.rows[t] * args_.ldb + k;
    float* out = b_.get() + t * kPanelWidth;
    std::size_t left = k_end - k;
    for (; left >= kPanelWidth; left -= kPanelWidth, from += kPanelWidth, out += piece) {
      std::memcpy(out, from, kPanelWidth * sizeof(float));
    }
    if (left == 0) continue;
    std::memset(out, 0, kPanelWidth * sizeof(float));
    std::memcpy(out, from, left * sizeof(float));
  }
}

void OuterPart::RunGroup(std::size_t first_block, std::size_t last_block) {
  const std::size_t begin = tokens_.block_begin[first_block];
  std::vector<std::uint32_t> cuts;
  for (std::size_t block = first_block; block <= last_block; ++block) {
    cuts.push_back(static_cast<std::uint32_t>(tokens_.block_begin[block] - begin));
  }
  const Group group{tokens_.rows.data() + begin, cuts.back(), cuts.data(), cuts.size() - 1};
  for (std::size_t k = part_.k_begin; k < part_.k_end; k += columns_) {
    const std::size_t k_end = std::min(part_.k_end, k + columns_);
    PackB(group, k, k_end);
    for (std::size_t n = part_.n_begin; n < part_.n_end; n += kChunkRows) {
      RunChunk(group, n, std::min(kChunkRows, part_.n_end - n), k, k_end);
    }
  }
}

// Rows [n, n + rows) of grad: each packed panel of b stays in the first-level cache while the
// tiles of a pass by.
void OuterPart::RunChunk(const Group& group, std::size_t n, std::size_t rows, std::size_t k,
                         std::size_t k_end) {
  PackA(group, n, rows);
  const std::size_t tiles = TileCount(rows, kernels_.rows_max), panels = kernels_.tile_panels;
  const std::size_t piece = group.count * kPanelWidth;
  const std::size_t a_tile = kGroupTokens * kernels_.token_stride;
  TileArgs tile;
  tile.cuts = group.cuts;
  tile.blocks = group.blocks;
  tile.next_w_step = (panels * kPanelWidth * sizeof(float) / tiles + 63) / 64 * 64;
  for (std::size_t at = k; at < k_end; at += panels * kPanelWidth) {
    const std::size_t panel = (at - k) / kPanelWidth, end = (k_end - k - 1) / kPanelWidth;
    for (std::size_t p = 0; p < panels; ++p) {
      tile.w[p] = b_.get() + std::min(panel + p, end) * piece;
    }
    tile.next_w = b_.get() + std::min(panel + panels, end) * piece;
    for (std::size_t t = 0; t < tiles; ++t) {
      const std::size_t begin = rows * t / tiles, height = rows * (t + 1) / tiles - begin;
      tile.x = a_.get() + t * a_tile;
      tile.next_x = a_.get() + (t + 1 < tiles ? t + 1 : 0) * a_tile;
      RunTile(kernels_.outer[height], tile, n + begin, height, at);
      tile.next_w = static_cast<const std::byte*>(tile.next_w) + tile.next_w_step * group.count;
    }
  }
}

// All blocks of the group into one tile of grad, while it is in the first-level cache.
void OuterPart::RunTile(TileFn fn, TileArgs& tile, std::size_t n, std::size_t rows, std::size_t k) {
  float* grad = args_.grad + n * args_.ldg + k;
  const std::size_t width = kernels_.tile_panels * kPanelWidth;
  const std::size_t columns = std::min(width, part_.k_end - k);
  tile.y = grad;
  tile.ldy = args_.ldg;
  if (columns == width) return fn(tile);
  alignas(128) float copy[kTileRowsMax * 2 * kPanelWidth] = {};
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(copy + r * width, grad + r * args_.ldg, columns * sizeof(float));
  }
  tile.y = copy;
  tile.ldy = width;
  fn(tile);
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(grad + r * args_.ldg, copy + r * width, columns * sizeof(float));
  }
}

// bias_grad[n] += per block the chain acc + a[t, n], which is fma(a, 1, acc) exactly.
void BiasGrad(const OuterArgs& args, const Tokens& tokens, std::size_t begin, std::size_t end) {
  std::vector<float> acc(end - begin);
  for (std::size_t block = 0; block + 1 < tokens.block_begin.size(); ++block) {
    std::fill(acc.begin(), acc.end(), 0.0f);
    for (std::size_t i = tokens.block_begin[block]; i < tokens.block_begin[block + 1]; ++i) {
      const float* a = args.a + tokens.rows[i] * args.lda + begin;
      for (std::size_t n = 0; n < acc.size(); ++n) acc[n] = acc[n] + a[n];
    }
    for (std::size_t n = 0; n < acc.size(); ++n) {
      args.bias_grad[begin + n] = args.bias_grad[begin + n] + acc[n];
    }
  }
}

}  // namespace

void OuterD1(ThreadPool& pool, const OuterArgs& args, const TileKernels& kernels) {
  if (args.n == 0 || args.blocks.size() < 2) return;
  const Tokens tokens = SelectTokens(args);
  if (tokens.rows.empty()) return;
  if (args.bias_grad != nullptr) {
    pool.RunRanges(args.n, [&](std::size_t begin, std::size_t end, unsigned) {
      BiasGrad(args, tokens, begin, end);
    });
  }
  if (args.k == 0) return;
  // Cut the longer side of grad: each thread then packs less of the other operand in vain.
  const std::size_t panels = (args.k + kPanelWidth - 1) / kPanelWidth;
  const bool by_rows = args.n >= args.k || panels < 16 * pool.threads();
  pool.RunRanges(by_rows ? args.n : panels, [&](std::size_t begin, std::size_t end, unsigned) {
    const Part part =
        by_rows ? Part{begin, end, 0, args.k}
                : Part{0, args.n, begin * kPanelWidth, std::min(args.k, end * kPanelWidth)};
    OuterPart(args, tokens, kernels, part).Run();
  });
}

}  // namespace waggle::canonical
