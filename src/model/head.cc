#include "model/head.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::size_t kPassRows = 1024;     // least rows of a pass, if there are as many
constexpr std::size_t kTileColumns = 1024;  // ids of one logits tile
constexpr std::size_t kChunk = 256;         // ids that share statistics (sheet 2.8)
// Rows of logits lie this much further apart than a tile is wide: widths are powers of two, and
// rows that far apart would compete for the same few sets of a cache.
constexpr std::size_t kRowGap = 16;
// Logits that the score leaves for the backward pass: as many whole tiles as fit. The others are
// computed again.
constexpr std::size_t kKeptBytes = std::size_t{128} << 20;

struct Tile {
  std::size_t first = 0, columns = 0;
  bool ends_shard = false;  // of the D1 over the vocabulary
  bool kept = false;
  float* z = nullptr;  // (rows, columns), stride ld
  std::size_t ld() const { return columns + kRowGap; }
};

// Tiles ascend and end at every shard border, so that dX can be summed shard by shard.
std::vector<Tile> Tiles(std::size_t vocab, std::size_t kshards) {
  if (vocab <= kTileColumns) return {Tile{0, vocab, true}};
  const std::size_t blocks = (vocab + kReductionBlock - 1) / kReductionBlock;
  std::vector<Tile> tiles;
  for (std::size_t s = 0; s < kshards; ++s) {
    const std::size_t begin = blocks * s / kshards * kReductionBlock;
    const std::size_t end = std::min(blocks * (s + 1) / kshards * kReductionBlock, vocab);
    for (std::size_t at = begin; at < end; at += kTileColumns) {
      const std::size_t columns = std::min(kTileColumns, end - at);
      tiles.push_back(Tile{at, columns, at + columns == end});
    }
  }
  return tiles;
}

// One pass over the vocabulary for some rows.
class HeadPass {
 public:
  // `keep`: a backward pass follows, and logits that fit stay for it.
  HeadPass(const Exec& exec, const Model::Impl& impl, const HeadRows& rows, const float* hidden,
           bool keep)
      : exec_(exec),
        impl_(impl),
        rows_(rows),
        d_(impl.config.hidden),
        n_(rows.row.size()),
        chunks_((impl.config.vocab + kChunk - 1) / kChunk),
        tiles_(Tiles(impl.config.vocab, exec.kshards)),
        x_(exec.ws.head_x.Get(n_ * d_)),
        stats_(n_) {
    PlaceTiles(keep);
    for (std::size_t i = 0; i < n_; ++i) {
      std::memcpy(x_ + i * d_, hidden + rows.row[i] * d_, d_ * sizeof(float));
    }
  }

  void Score(std::size_t first_row, TokenScores& scores) {
    float* m = exec_.ws.head_m.Get(n_ * chunks_);
    float* l = exec_.ws.head_l.Get(n_ * chunks_);
    float* s = exec_.ws.head_s.Get(n_ * chunks_);
    std::vector<float> target_logit(n_);
    for (const Tile& tile : tiles_) {
      Logits(tile);
      const std::size_t chunk = tile.first / kChunk;
      ForEachTemperature([&](std::size_t begin, std::size_t count) {
        ChunkStatsArgs args;
        args.z = tile.z + begin * tile.ld();
        args.ldz = tile.ld();
        args.columns = tile.columns;
        args.rows = count;
        args.inv_temperature = rows_.inv_temperature[begin];
        args.m = m + begin * chunks_ + chunk;
        args.l = l + begin * chunks_ + chunk;
        args.s = s + begin * chunks_ + chunk;
        args.ldc = chunks_;
        exec_.ops.ChunkStats(exec_.ForElements(count * tile.columns), args);
      });
      for (std::size_t i = 0; i < n_; ++i) {
        const std::size_t id = static_cast<std::size_t>(rows_.target[i]);
        if (id - tile.first < tile.columns)
          target_logit[i] = tile.z[i * tile.ld() + id - tile.first];
      }
    }
    exec_.ForElements(n_ * chunks_).Run(n_, [&](std::size_t i) {
      stats_[i] = exec_.ops.FinishStats(m + i * chunks_, l + i * chunks_, s + i * chunks_, chunks_);
      const float y = target_logit[i] * rows_.inv_temperature[i];
      scores.logp[first_row + rows_.row[i]] = (y - stats_[i].max) - stats_[i].log_sum;
      scores.entropy[first_row + rows_.row[i]] = stats_[i].entropy;
    });
  }

  // After Score. dx: (n, d), overwritten.
  void Backward(const BackwardPass& pass, const std::vector<float>& u,
                const std::vector<float>& u_entropy, float* dx) {
    const Linear& head = impl_.head;
    float* grad = nullptr;
    if (pass.gradients.full()) grad = pass.gradients.Full(head.name + ".weight", {head.out(), d_});
    bool first_of_shard = true, first_shard = true;
    const bool sharded = tiles_.size() > 1 && exec_.kshards > 1;
    float* part = sharded ? pass.buffers.head_shard.Get(n_ * d_) : dx;
    for (const Tile& tile : tiles_) {
      if (!tile.kept) Logits(tile);
      LogitGradients(tile, u, u_entropy);
      InputGradients(tile, part, !first_of_shard);
      if (grad != nullptr) WeightGradients(tile, grad + tile.first * d_);
      first_of_shard = sharded && tile.ends_shard;
      if (!first_of_shard) continue;
      if (first_shard)
        std::memcpy(dx, part, n_ * d_ * sizeof(float));
      else
        exec_.ops.Add(exec_.ForElements(n_ * d_), dx, dx, part, n_ * d_);
      first_shard = false;
    }
  }

 private:
  double Flops(const Tile& tile) const {
    return 2.0 * static_cast<double>(n_) * static_cast<double>(tile.columns * d_);
  }

  // Kept tiles have memory of their own, the others share what the last one leaves.
  void PlaceTiles(bool keep) {
    std::size_t used = 0, widest = 0;
    for (Tile& tile : tiles_) {
      const std::size_t size = n_ * tile.ld();
      tile.kept = keep && (used + size) * sizeof(float) <= kKeptBytes;
      if (tile.kept) {
        used += size;
      } else {
        widest = std::max(widest, size);
      }
    }
    float* z = exec_.ws.head_z.Get(used + widest);
    float* next = z;
    for (Tile& tile : tiles_) {
      tile.z = tile.kept ? next : z + used;
      if (tile.kept) next += n_ * tile.ld();
    }
  }

  void Logits(const Tile& tile) {
    GemmArgs args;
    args.y = tile.z;
    args.ldy = tile.ld();
    args.x = x_;
    args.ldx = d_;
    args.m = n_;
    args.w = &impl_.head.w;
    args.n_begin = tile.first;
    args.n_end = tile.first + tile.columns;
    args.kshards = exec_.kshards;
    exec_.ops.Gemm(exec_.ForFlops(Flops(tile)), args);
  }

  void LogitGradients(const Tile& tile, const std::vector<float>& u,
                      const std::vector<float>& u_entropy) {
    ForEachTemperature([&](std::size_t begin, std::size_t count) {
      LogProbBackwardArgs args;
      args.z = tile.z + begin * tile.ld();
      args.ldz = tile.ld();
      args.columns = tile.columns;
      args.rows = count;
      args.first_id = tile.first;
      args.inv_temperature = rows_.inv_temperature[begin];
      args.stats = stats_.data() + begin;
      args.targets = rows_.target.data() + begin;
      args.u = u.data() + begin;
      args.u_entropy = u_entropy.empty() ? nullptr : u_entropy.data() + begin;
      exec_.ops.LogProbBackward(exec_.ForElements(count * tile.columns), args);
    });
  }

  // A D1 over the whole vocabulary, tile after tile.
  void InputGradients(const Tile& tile, float* dx, bool accumulate) {
    GemmArgs args;
    args.y = dx;
    args.ldy = d_;
    args.x = tile.z;
    args.ldx = tile.ld();
    args.m = n_;
    args.w = &impl_.head.w_t;
    args.k_begin = tile.first;
    args.k_end = tile.first + tile.columns;
    args.accumulate = accumulate;
    args.kshards = tiles_.size() == 1 ? exec_.kshards : 1;
    exec_.ops.Gemm(exec_.ForFlops(Flops(tile)), args);
  }

  void WeightGradients(const Tile& tile, float* grad) {
    OuterArgs args;
    args.grad = grad;
    args.ldg = d_;
    args.a = tile.z;
    args.lda = tile.ld();
    args.b = x_;
    args.ldb = d_;
    args.n = tile.columns;
    args.k = d_;
    args.blocks = rows_.blocks;
    exec_.ops.OuterAccumulate(exec_.ForFlops(Flops(tile)), args);
  }

  // visit(begin, count) for runs of rows of equal temperature.
  template <class Visit>
  void ForEachTemperature(Visit visit) {
    for (std::size_t begin = 0, end = 0; begin < n_; begin = end) {
      while (end < n_ && rows_.inv_temperature[end] == rows_.inv_temperature[begin]) ++end;
      visit(begin, end - begin);
    }
  }

  const Exec& exec_;
  const Model::Impl& impl_;
  const HeadRows& rows_;
  std::size_t d_, n_, chunks_;
  std::vector<Tile> tiles_;
  float* x_;
  std::vector<RowStats> stats_;
};

std::vector<float> Gather(std::span<const float> values, const std::vector<std::uint32_t>& rows) {
  std::vector<float> gathered;
  if (values.empty()) return gathered;
  gathered.reserve(rows.size());
  for (const std::uint32_t row : rows) gathered.push_back(values[row]);
  return gathered;
}

}  // namespace

std::vector<HeadRows> PlanHead(const TokenBatch& batch, const TokenTargets& targets,
                               std::size_t first, std::size_t last) {
  std::vector<HeadRows> passes(1);
  const std::uint32_t base = batch.offsets[first];
  for (std::size_t s = first; s < last; ++s) {
    const float temperature = targets.temperature[s];
    const float inverse =
        temperature > 0 ? 1.0f / temperature : 1.0f;  // a greedy sample is scored at T = 1
    const std::uint32_t end = batch.offsets[s + 1];
    for (std::uint32_t at = batch.offsets[s]; at < end;) {
      if (passes.back().row.size() >= kPassRows) passes.emplace_back();
      HeadRows& pass = passes.back();
      const std::uint32_t stop = std::min(at + static_cast<std::uint32_t>(kReductionBlock), end);
      for (; at < stop; ++at) {
        if (targets.target[at] < 0) continue;
        pass.row.push_back(at - base);
        pass.target.push_back(targets.target[at]);
        pass.inv_temperature.push_back(inverse);
      }
      const auto rows = static_cast<std::uint32_t>(pass.row.size());
      if (rows > pass.blocks.back()) pass.blocks.push_back(rows);
    }
  }
  if (passes.back().row.empty()) passes.pop_back();
  return passes;
}

void ScoreHead(const Exec& exec, const Model::Impl& impl, const HeadRows& rows, const float* hidden,
               std::size_t first_row, TokenScores& scores) {
  HeadPass(exec, impl, rows, hidden, false).Score(first_row, scores);
}

void HeadBackward(const BackwardPass& pass, const HeadRows& rows, const float* hidden,
                  std::span<const float> u, std::span<const float> u_entropy, float* dhidden,
                  TokenScores& scores) {
  const std::size_t d = pass.impl.config.hidden, n = rows.row.size();
  HeadPass head(pass.exec, pass.impl, rows, hidden, true);
  head.Score(0, scores);
  float* dx = pass.buffers.head_dx.Get(n * d);
  head.Backward(pass, Gather(u, rows.row), Gather(u_entropy, rows.row), dx);
  for (std::size_t i = 0; i < n; ++i)
    std::memcpy(dhidden + rows.row[i] * d, dx + i * d, d * sizeof(float));
}

}  // namespace waggle
