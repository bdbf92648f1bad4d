// Small policies, their states as programs see them, and runs, for the tests of this folder.
#pragma once

#include <numeric>

#include "kernels/math.h"
#include "model/test_models.h"
#include "proofs/dispute/execution.h"
#include "proofs/dispute/tile_job.h"

namespace waggle::testing_dispute {

// fp32 masters as the working weights that StateOf describes.
inline std::vector<HostTensor> StateTensors(const std::vector<StateEntry>& state,
                                            const Parameters& parameters) {
  std::vector<HostTensor> tensors;
  for (const StateEntry& entry : state) {
    HostTensor tensor = HostTensor::Zero(entry.type);
    const AlignedVector<float>& from = parameters.at(entry.name).data;
    if (entry.type.element == Element::kBf16) {
      for (std::size_t i = 0; i < from.size(); ++i) tensor.halves[i] = Bf16FromFloat(from[i]);
    } else {
      tensor.data = from;
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

inline std::vector<TokenId> SomeTokens(std::size_t n, std::size_t vocab) {
  std::vector<TokenId> tokens;
  for (std::size_t j = 0; j < n; ++j) tokens.push_back(static_cast<TokenId>((7 * j + 3) % vocab));
  return tokens;
}

// Every tile of every output of a run, by tile programs: bits equal to what the kernels put out.
// Returns the first difference in words, or nothing.
inline std::string CompareTiles(Execution& run, const std::vector<HostTensor>& data, bool soft,
                                std::size_t every = 1) {
  const Program& program = run.program();
  const DataView view = [&](std::uint32_t i) { return &data[i]; };
  std::size_t count = 0;
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n) {
    const Node& node = program.nodes[n];
    for (std::uint8_t slot = 0; slot < node.outputs.size(); ++slot) {
      for (std::uint64_t tile = 0; tile < TilesOf(node.outputs[slot]); ++tile) {
        if (count++ % every != 0) continue;
        const auto job = MakeTileJob(program, n, slot, tile, view);
        if (!job) return job.error().what;
        if (job->whole) continue;
        std::vector<std::uint32_t> memory(job->code.cells);
        for (const TileRegion& region : job->regions)
          LoadRegion(run.Tensor(node.inputs[region.input]), region, memory);
        (soft ? RunTileSoft : RunTile)(job->code, memory);
        const HostTensor& expected = run.Tensor({Source::kNode, n, slot});
        const TileRect rect = RectOf(node.outputs[slot], tile);
        for (std::size_t i = 0; i < job->code.outputs.size(); ++i) {
          const std::uint64_t at =
              (rect.row + i / rect.cols) * expected.type.cols() + rect.col + i % rect.cols;
          if (memory[job->code.outputs[i]] != expected.Cell(at))
            return fmt::format("{}, slot {}, tile {}, element {}: {:08x} is not {:08x}",
                               Describe(program, n), slot, tile, i, memory[job->code.outputs[i]],
                               expected.Cell(at));
        }
      }
    }
  }
  return {};
}

}  // namespace waggle::testing_dispute
