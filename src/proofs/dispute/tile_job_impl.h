// The parts of MakeTileJob. Private to proofs/dispute/.
#pragma once

#include <bit>

#include "base/check.h"
#include "proofs/dispute/tile_builder.h"
#include "proofs/dispute/tile_job.h"

namespace waggle {

// One tile under construction.
struct TileWork {
  const Program& program;
  const Node& node;
  std::uint8_t slot;
  TileRect rect;  // of the output
  const DataView& data;
  TileBuilder b;
  std::vector<TileRegion> regions;
  std::uint64_t cells = 0;
  bool too_large = false;
  std::vector<std::uint32_t> outputs;

  const TensorType& Type(std::uint8_t input) const { return program.TypeOf(node.inputs[input]); }
  std::uint32_t Attribute(std::size_t i) const { return node.attributes[i]; }
  float Float(std::size_t i) const { return std::bit_cast<float>(node.attributes[i]); }
  const HostTensor& Data(std::uint8_t input) const {
    const HostTensor* tensor = data(node.inputs[input].index);
    Check(tensor != nullptr, "the data of a tile is known");
    return *tensor;
  }
  // A region of an input; row r of it starts r * cols cells further on.
  At Load(std::uint8_t input, std::uint64_t row, std::uint64_t rows, std::uint64_t col,
          std::uint64_t cols);
  At LoadRect(std::uint8_t input) { return Load(input, rect.row, rect.rows, rect.col, rect.cols); }
  // The output tile, row-major.
  At Out();
};

// Runs of columns of a tile that lie in one group of `width` columns.
struct ColumnRun {
  std::uint64_t group = 0;  // which
  std::uint64_t first = 0;  // column inside of the group
  std::uint64_t cols = 0;
  std::uint64_t at = 0;  // column inside of the tile
};
std::vector<ColumnRun> RunsOf(const TileRect& rect, std::uint64_t width);

// r = 1 / sqrt(R64(x^2) / cols + eps) of `cols` cells at x, to d.
void InverseRms(TileBuilder& b, At d, At x, std::uint64_t cols, float eps);

using TileFunction = void (*)(TileWork&);
// Forward (tile_forward.cc) and backward (tile_backward.cc, tile_step.cc).
void EmbedTile(TileWork& w);
void NormTile(TileWork& w);
void GemmTile(TileWork& w);
void RopeTile(TileWork& w);
void RoundTile(TileWork& w);
void AttentionTile(TileWork& w);
void AddTile(TileWork& w);
void SwiGluTile(TileWork& w);
void SampleTile(TileWork& w);
void ChunkStatsTile(TileWork& w);
void FinishStatsTile(TileWork& w);
void LogProbGradTile(TileWork& w);
void GemmBackTile(TileWork& w);
void OuterTile(TileWork& w);
void OuterBiasTile(TileWork& w);
void NormGradTile(TileWork& w);
void NormWeightGradTile(TileWork& w);
void SwiGluGradTile(TileWork& w);
void AttentionDotTile(TileWork& w);
void AttentionGradTile(TileWork& w);
void InverseRmsTile(TileWork& w);
void EmbedGradTile(TileWork& w);
void SquaresTile(TileWork& w);
void SquareFoldTile(TileWork& w);
void ClipTile(TileWork& w);
void AdamWTile(TileWork& w);
void AddScalarsTile(TileWork& w);

}  // namespace waggle
