#include "proofs/dispute/tile_job.h"

#include <algorithm>
#include <set>

#include "proofs/dispute/protocol.h"
#include "proofs/dispute/tile_job_impl.h"

namespace waggle {
namespace {

TileFunction FunctionOf(NodeOp op) {
  switch (op) {
    case NodeOp::kEmbed:
      return EmbedTile;
    case NodeOp::kNorm:
      return NormTile;
    case NodeOp::kGemm:
      return GemmTile;
    case NodeOp::kRope:
      return RopeTile;
    case NodeOp::kRoundBf16:
      return RoundTile;
    case NodeOp::kAttention:
      return AttentionTile;
    case NodeOp::kAdd:
      return AddTile;
    case NodeOp::kSwiGlu:
      return SwiGluTile;
    case NodeOp::kSample:
      return SampleTile;
    case NodeOp::kChunkStats:
      return ChunkStatsTile;
    case NodeOp::kFinishStats:
      return FinishStatsTile;
    case NodeOp::kLogProbGrad:
      return LogProbGradTile;
    case NodeOp::kGemmBack:
      return GemmBackTile;
    case NodeOp::kOuter:
      return OuterTile;
    case NodeOp::kOuterBias:
      return OuterBiasTile;
    case NodeOp::kNormGrad:
      return NormGradTile;
    case NodeOp::kNormWeightGrad:
      return NormWeightGradTile;
    case NodeOp::kSwiGluGrad:
      return SwiGluGradTile;
    case NodeOp::kAttentionDot:
      return AttentionDotTile;
    case NodeOp::kAttentionGrad:
      return AttentionGradTile;
    case NodeOp::kInverseRms:
      return InverseRmsTile;
    case NodeOp::kEmbedGrad:
      return EmbedGradTile;
    case NodeOp::kSquares:
      return SquaresTile;
    case NodeOp::kSquareFold:
      return SquareFoldTile;
    case NodeOp::kClip:
      return ClipTile;
    case NodeOp::kAdamW:
      return AdamWTile;
    case NodeOp::kAddScalars:
      return AddScalarsTile;
  }
  return nullptr;
}

bool IsTruncatedDraw(const Node& node, const Program& program) {
  if (node.op != NodeOp::kSample || node.attributes[0] == 0) return false;
  const float top_p = std::bit_cast<float>(node.attributes[1]);
  const float min_p = std::bit_cast<float>(node.attributes[2]);
  const std::uint64_t vocab = program.TypeOf(node.inputs[0]).cols();
  return min_p > 0 || top_p < 1 || (node.attributes[3] > 0 && node.attributes[3] < vocab);
}

// Ids that name rows must name some.
Status CheckIds(const Program& program, const Node& node, const DataView& data) {
  const bool embeds = node.op == NodeOp::kEmbed;
  if (!embeds && node.op != NodeOp::kEmbedGrad) return {};
  const std::uint64_t vocab =
      embeds ? program.TypeOf(node.inputs[0]).rows() : node.outputs[0].rows();
  const HostTensor* ids = data(node.inputs[1].index);
  Check(ids != nullptr, "the data of a tile is known");
  for (std::uint64_t i = 0; i < ids->type.elements(); ++i)
    if (ids->Cell(i) >= vocab) return Fail(Blame::kPeer, "token {} is not in the vocabulary", i);
  return {};
}

}  // namespace

At TileWork::Load(std::uint8_t input, std::uint64_t row, std::uint64_t rows, std::uint64_t col,
                  std::uint64_t cols) {
  for (const TileRegion& r : regions)
    if (r.input == input && r.row == row && r.rows == rows && r.col == col && r.cols == cols)
      return At(r.base);
  cells += rows * cols;
  if (cells > kTileLimits.cells_max / 2) {  // the rest is for scratch
    too_large = true;
    return At(0);
  }
  const std::uint32_t base = b.Alloc(rows * cols);
  regions.push_back({input, row, rows, col, cols, base});
  return At(base);
}

At TileWork::Out() {
  const std::uint32_t base = b.Alloc(rect.rows * rect.cols);
  for (std::uint32_t i = 0; i < rect.rows * rect.cols; ++i) outputs.push_back(base + i);
  return At(base);
}

std::vector<ColumnRun> RunsOf(const TileRect& rect, std::uint64_t width) {
  std::vector<ColumnRun> runs;
  for (std::uint64_t col = rect.col; col < rect.col + rect.cols;) {
    const std::uint64_t end = std::min(rect.col + rect.cols, (col / width + 1) * width);
    runs.push_back({col / width, col % width, end - col, col - rect.col});
    col = end;
  }
  return runs;
}

std::vector<std::uint32_t> DataNeededBy(const Program& program, std::uint32_t node) {
  std::vector<std::uint32_t> needed;
  for (const Operand& input : program.nodes[node].inputs)
    if (input.source == Source::kData) needed.push_back(input.index);
  return needed;
}

Result<TileJob> MakeTileJob(const Program& program, std::uint32_t node_index, std::uint8_t slot,
                            std::uint64_t tile, const DataView& data) {
  const Node& node = program.nodes[node_index];
  WG_TRY(CheckIds(program, node, data));
  TileWork work{program, node, slot, RectOf(node.outputs[slot], tile), data, {}, {}, 0, false, {}};
  if (IsTruncatedDraw(node, program)) {
    work.Load(0, 0, 1, 0, work.Type(0).cols());
    return TileJob{std::move(work.regions), {}, true};
  }
  const TileFunction function = FunctionOf(node.op);
  Check(function != nullptr, "every operation has a tile");
  function(work);
  if (work.too_large)
    return Fail(Blame::kOperator, "{}: a tile reads more than the limit of a tile program",
                Describe(program, node_index));
  TileJob job{std::move(work.regions), work.b.Finish(std::move(work.outputs)), false};
  std::uint64_t bytes = 0;
  for (std::uint8_t i = 0; i < node.inputs.size(); ++i) {
    const Source source = node.inputs[i].source;
    if (source != Source::kState && source != Source::kNode) continue;
    for (const std::uint64_t t : TilesOfInput(program, node, job, i))
      bytes += TileBytesOf(program.TypeOf(node.inputs[i]), t);
  }
  if (bytes > kDisputeLimits.tile_bytes_max)
    return Fail(Blame::kOperator, "{}: {} bytes feed one tile, the limit is {}",
                Describe(program, node_index), bytes, kDisputeLimits.tile_bytes_max);
  if (const Status valid = Validate(job.code); !valid) {
    return Fail(Blame::kOperator, "{}: {}", Describe(program, node_index), valid.error().what);
  }
  return job;
}

std::vector<std::uint64_t> TilesOfInput(const Program& program, const Node& node,
                                        const TileJob& job, std::uint8_t input) {
  const TensorType& type = program.TypeOf(node.inputs[input]);
  const std::uint64_t across = TileColumns(type), height = type.dims.size() == 1 ? 1 : 32,
                      width = type.dims.size() == 1 ? 1024 : 32;
  std::set<std::uint64_t> tiles;
  for (const TileRegion& region : job.regions) {
    if (region.input != input || region.rows == 0 || region.cols == 0) continue;
    for (std::uint64_t r = region.row / height; r <= (region.row + region.rows - 1) / height; ++r)
      for (std::uint64_t c = region.col / width; c <= (region.col + region.cols - 1) / width; ++c)
        tiles.insert(r * across + c);
  }
  return {tiles.begin(), tiles.end()};
}

void LoadRegion(const TensorType& type, const TileRegion& region,
                const std::function<std::span<const std::uint8_t>(std::uint64_t)>& tile,
                std::span<std::uint32_t> memory) {
  const std::uint64_t across = TileColumns(type), height = type.dims.size() == 1 ? 1 : 32,
                      width = type.dims.size() == 1 ? 1024 : 32;
  const std::size_t size = BytesOf(type.element);
  for (std::uint64_t r = 0; r < region.rows; ++r) {
    const std::uint64_t row = region.row + r;
    for (std::uint64_t c = 0; c < region.cols;) {
      const std::uint64_t col = region.col + c, index = row / height * across + col / width;
      const TileRect rect = RectOf(type, index);
      const std::span<const std::uint8_t> bytes = tile(index);
      const std::uint64_t end = std::min(region.col + region.cols, rect.col + rect.cols);
      const std::uint8_t* at =
          bytes.data() + ((row - rect.row) * rect.cols + (col - rect.col)) * size;
      for (std::uint64_t k = col; k < end; ++k, ++c, at += size) {
        std::uint32_t bits = 0;
        for (std::size_t i = size; i-- > 0;) bits = bits << 8 | at[i];
        memory[region.base + r * region.cols + c] =
            type.element == Element::kBf16 ? bits << 16 : bits;
      }
    }
  }
}

void LoadRegion(const HostTensor& tensor, const TileRegion& region,
                std::span<std::uint32_t> memory) {
  for (std::uint64_t r = 0; r < region.rows; ++r)
    for (std::uint64_t c = 0; c < region.cols; ++c)
      memory[region.base + r * region.cols + c] =
          tensor.Cell((region.row + r) * tensor.type.cols() + region.col + c);
}

}  // namespace waggle
