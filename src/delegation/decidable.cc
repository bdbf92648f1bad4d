#include "delegation/decidable.h"

#include "proofs/dispute/tile_job.h"

namespace waggle {
namespace {

Status CheckTiles(const Program& program, const DataView& view) {
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n) {
    const std::vector<TensorType>& outputs = program.nodes[n].outputs;
    for (std::uint8_t slot = 0; slot < outputs.size(); ++slot) {
      const std::uint64_t tiles = TilesOf(outputs[slot]);
      const std::uint64_t columns = (outputs[slot].cols() + 31) / 32;
      // The last rows read the most, the rows before them are the last that are 32.
      for (const std::uint64_t back : {std::uint64_t{1}, columns, 2 * columns}) {
        const auto job = MakeTileJob(program, n, slot, tiles - std::min(tiles, back), view);
        if (!job) return Forward(job.error());
      }
    }
  }
  return {};
}

}  // namespace

Status CheckDecidable(const RunModel& model, const SequenceSpec& spec) {
  const std::vector<TokenId> prefix(spec.tokens_max - 1, 0);
  WG_ASSIGN(const Program program, TokenProgram(model, spec, prefix));
  std::vector<TokenId> tokens = spec.prompt;
  tokens.insert(tokens.end(), prefix.begin(), prefix.end());
  const HostTensor ids = TokensTensor(tokens);
  const Status good = CheckTiles(program, [&](std::uint32_t) { return &ids; });
  if (good) return {};
  return Fail(Blame::kOperator,
              "a response of {} tokens to a prompt of {} could not be disputed: {}. Lower "
              "sampling.tokens_max, or take shorter prompts",
              spec.tokens_max, spec.prompt.size(), good.error().what);
}

Status CheckDecidable(const RunProgram& run, const RunModel& model, std::uint32_t rows) {
  StepSpec spec;
  spec.rows = {rows};
  spec.inv_temperature = {0};
  spec.weight_decay.resize(StateOf(model.config, {}).size());
  WG_ASSIGN(const Program program, StepProgramOf(run, model, spec));
  std::vector<HostTensor> data;
  for (const TensorType& type : program.data) data.push_back(HostTensor::Zero(type));
  const Status good = CheckTiles(program, [&](std::uint32_t i) { return &data[i]; });
  if (good) return {};
  return Fail(Blame::kOperator,
              "a step on a sample of {} tokens could not be disputed: {}. Lower "
              "sampling.tokens_max, or take shorter prompts",
              rows, good.error().what);
}

}  // namespace waggle
