// Blocking, threads and tails of grad += a^T * b over blocks of tokens (rule D1 over tokens).
//
// Both operands are token-major, so a tile of grad is the GEMM tile with tokens as k. Consecutive
// blocks are packed together; each still gets its own fresh chain, added to grad in order.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/canonical/gemm_driver.h"

namespace waggle::canonical {
namespace {

// Tokens packed at once, and fp32 bytes of b beside them in the second-level cache.
constexpr std::size_t kGroupTokens = 512;
constexpr std::size_t kChunkBytes = 384 * 1024;

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
        a_(kGroupTokens * kTokenStride),
        b_(kChunkBytes / sizeof(float)) {}

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
  void RunGroup(std::size_t first_block, std::size_t last_block);
  void PackA(const std::uint32_t* rows, std::size_t count, std::size_t n, std::size_t width);
  void PackB(const std::uint32_t* rows, std::size_t count, std::size_t k, float* out);
  void RunTile(std::size_t n, std::size_t rows, std::size_t k, const float* b,
               std::size_t first_block, std::size_t last_block);

  const OuterArgs& args_;
  const Tokens& tokens_;
  const TileKernels& kernels_;
  const Part part_;
  Scratch<float> a_, b_;
};

void OuterPart::PackA(const std::uint32_t* rows, std::size_t count, std::size_t n,
                      std::size_t width) {
  for (std::size_t t = 0; t < count; ++t) {
    std::memcpy(a_.get() + t * kTokenStride, args_.a + rows[t] * args_.lda + n,
                width * sizeof(float));
  }
}

// One panel of b: [token][32], columns beyond the matrix zero.
void OuterPart::PackB(const std::uint32_t* rows, std::size_t count, std::size_t k, float* out) {
  const std::size_t width = std::min(kPanelWidth, part_.k_end - k);
  for (std::size_t t = 0; t < count; ++t, out += kPanelWidth) {
    const float* from = args_.b + rows[t] * args_.ldb + k;
    if (width == kPanelWidth) {
      std::memcpy(out, from, kPanelWidth * sizeof(float));
    } else {
      std::memset(out, 0, kPanelWidth * sizeof(float));
      std::memcpy(out, from, width * sizeof(float));
    }
  }
}

void OuterPart::RunGroup(std::size_t first_block, std::size_t last_block) {
  const std::size_t begin = tokens_.block_begin[first_block];
  const std::size_t count = tokens_.block_begin[last_block] - begin;
  const std::uint32_t* rows = tokens_.rows.data() + begin;
  const std::size_t piece = count * kPanelWidth;
  const std::size_t chunk = std::max<std::size_t>(1, kChunkBytes / (piece * sizeof(float)));
  const std::size_t n_total = part_.n_end - part_.n_begin;
  const std::size_t tiles = TileCount(n_total, kernels_.rows_max);
  for (std::size_t k = part_.k_begin; k < part_.k_end; k += chunk * kPanelWidth) {
    const std::size_t k_end = std::min(part_.k_end, k + chunk * kPanelWidth);
    for (std::size_t at = k; at < k_end; at += kPanelWidth) {
      PackB(rows, count, at, b_.get() + (at - k) / kPanelWidth * piece);
    }
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const std::size_t n = n_total * tile / tiles, height = n_total * (tile + 1) / tiles - n;
      PackA(rows, count, part_.n_begin + n, height);
      for (std::size_t at = k; at < k_end; at += kPanelWidth) {
        RunTile(part_.n_begin + n, height, at, b_.get() + (at - k) / kPanelWidth * piece,
                first_block, last_block);
      }
    }
  }
}

// All blocks of the group into one tile of grad, while it is in the first-level cache.
void OuterPart::RunTile(std::size_t n, std::size_t rows, std::size_t k, const float* b,
                        std::size_t first_block, std::size_t last_block) {
  float* grad = args_.grad + n * args_.ldg + k;
  const std::size_t width = std::min(kPanelWidth, part_.k_end - k);
  const bool ragged = width < kPanelWidth;
  alignas(128) float copy[kTileRowsMax * kPanelWidth];
  TileArgs tile;
  tile.y = ragged ? copy : grad;
  tile.ldy = ragged ? kPanelWidth : args_.ldg;
  tile.continue_total = true;
  for (std::size_t r = 0; ragged && r < rows; ++r) {
    std::memset(copy + r * kPanelWidth, 0, kPanelWidth * sizeof(float));
    std::memcpy(copy + r * kPanelWidth, grad + r * args_.ldg, width * sizeof(float));
  }
  const std::size_t origin = tokens_.block_begin[first_block];
  for (std::size_t block = first_block; block < last_block; ++block) {
    const std::size_t at = tokens_.block_begin[block] - origin;
    tile.x = a_.get() + at * kTokenStride;
    tile.w = b + at * kPanelWidth;
    tile.k_count = tokens_.block_begin[block + 1] - tokens_.block_begin[block];
    kernels_.outer[rows](tile);
  }
  for (std::size_t r = 0; ragged && r < rows; ++r) {
    std::memcpy(grad + r * args_.ldg, copy + r * kPanelWidth, width * sizeof(float));
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
  const bool by_rows = args.n >= args.k || panels < 8 * pool.threads();
  pool.RunRanges(by_rows ? args.n : panels, [&](std::size_t begin, std::size_t end, unsigned) {
    const Part part =
        by_rows ? Part{begin, end, 0, args.k}
                : Part{0, args.n, begin * kPanelWidth, std::min(args.k, end * kPanelWidth)};
    OuterPart(args, tokens, kernels, part).Run();
  });
}

}  // namespace waggle::canonical
