// What is wrong with the first node that differs: wiring, an input, or a tile of an output.
#include <algorithm>

#include "base/check.h"
#include "proofs/dispute/referee_impl.h"

namespace waggle {

DataView Referee::Impl::View() const {
  return [this](std::uint32_t index) -> const HostTensor* {
    return data[index] ? &*data[index] : nullptr;
  };
}

Digest256 Referee::Impl::TrueRoot(const Operand& operand) const {
  if (operand.source == Source::kData) return data_roots[operand.index];
  return TensorRoot(*program->constants[operand.index]);
}

// Case 1 of the sheet: against the template.
void Referee::Impl::OnNode() {
  const Node& wanted = program->nodes[ask.node];
  const Digest256 attributes = AttributeHash(wanted);
  Both<bool> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    const NodeRecord& n = node[p];
    faults[p] = n.index != ask.node || n.op != static_cast<std::uint16_t>(wanted.op) ||
                n.attributes != attributes || n.inputs.size() != wanted.inputs.size() ||
                n.outputs.size() != wanted.outputs.size();
    for (std::size_t i = 0; i < wanted.inputs.size() && !faults[p]; ++i) {
      const Operand& w = wanted.inputs[i];
      faults[p] = n.inputs[i].source != w.source || n.inputs[i].index != w.index ||
                  n.inputs[i].slot != w.slot;
    }
  }
  if (Blamed(DisputeCase::kWiring, faults)) return;
  CompareInputs();
}

// Case 2: an input that differs, or that everybody knows, is what it should be.
void Referee::Impl::CompareInputs() {
  const Node& wanted = program->nodes[ask.node];
  for (std::size_t i = 0; i < wanted.inputs.size(); ++i) {
    const Operand& operand = wanted.inputs[i];
    ask.index = i;
    if (operand.source == Source::kData || operand.source == Source::kConst) {
      const Digest256 root = TrueRoot(operand);
      if (Blamed(DisputeCase::kInput,
                 {node[0].inputs[i].root != root, node[1].inputs[i].root != root}))
        return;
    } else if (node[0].inputs[i].root != node[1].inputs[i].root) {
      return Ask(RequestKind::kInput, false);
    }
  }
  CompareOutputs();
}

void Referee::Impl::OnInput() {
  const std::size_t i = ask.index;
  const Operand& operand = program->nodes[ask.node].inputs[i];
  const DisputeReply& r = *reply[0];
  const auto path = GetDigests(r.proof);
  const std::uint64_t index = operand.index;
  std::optional<Digest256> root;
  if (operand.source == Source::kState) {
    const auto record = DecodeStateRecord(r.record);
    const Digest256 leaf = TreeLeaf(Sha256(r.record));
    if (path && record && record->name == program->state[index].name &&
        TreeHolds(step[0].state_in, program->state.size(), 2, {&index, 1}, {&leaf, 1}, *path))
      root = operand.slot == 0 ? record->w : operand.slot == 1 ? record->m : record->v;
  } else {
    const auto record = DecodeNodeRecord(r.record);
    const Digest256 leaf = TreeLeaf(r.record);
    if (path && record && record->outputs.size() > operand.slot &&
        TreeHolds(step[0].nodes, program->nodes.size(), 2, {&index, 1}, {&leaf, 1}, *path))
      root = record->outputs[operand.slot];
  }
  if (!root) return Decide(DisputeCase::kInconsistent, {true, false});
  Decide(DisputeCase::kInput, {node[0].inputs[i].root != *root, node[1].inputs[i].root != *root});
}

// Case 3: the same inputs, two outputs.
void Referee::Impl::CompareOutputs() {
  std::uint8_t slot = 0;
  while (slot < node[0].outputs.size() && node[0].outputs[slot] == node[1].outputs[slot]) ++slot;
  Check(slot < node[0].outputs.size(), "records that are equal in all parts are equal");
  ask.slot = slot;
  Ask(RequestKind::kHead, true);
}

void Referee::Impl::OnHead() {
  const TensorType& type = program->nodes[ask.node].outputs[ask.slot];
  Both<bool> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    const auto hashes = GetDigests(reply[p]->hashes);
    faults[p] = !hashes || hashes->size() != 1 ||
                TensorRoot(type, hashes->front()) != node[p].outputs[ask.slot];
    if (!faults[p]) tile_root[p] = hashes->front();
  }
  if (Blamed(DisputeCase::kInconsistent, faults)) return;
  Descend(DisputeTree::kTiles, TilesOf(type), tile_root);
}

void Referee::Impl::AskTile() {
  for (const std::uint32_t index : DataNeededBy(*program, ask.node))
    if (!data[index]) return Ask(RequestKind::kData, false);
  Ask(RequestKind::kTiles, false);
}

void Referee::Impl::OnData() {
  const std::vector<std::uint32_t>& words = reply[0]->words;
  std::size_t at = 0;
  for (const std::uint32_t index : DataNeededBy(*program, ask.node)) {
    const TensorType& type = program->data[index];
    const std::uint64_t n = type.elements();
    if (n > kDisputeLimits.data_cells_max) return Undecidable();
    if (words.size() - at < n) return Decide(DisputeCase::kInconsistent, {true, false});
    HostTensor tensor = HostTensor::Zero(type);
    for (std::uint64_t i = 0; i < n; ++i) tensor.SetCell(i, words[at + i]);
    at += n;
    if (TensorRoot(tensor) != data_roots[index])
      return Decide(DisputeCase::kInconsistent, {true, false});
    data[index] = std::move(tensor);
  }
  if (at != words.size()) return Decide(DisputeCase::kInconsistent, {true, false});
  AskTile();
}

namespace {

// The tiles of one input, checked against its root.
struct CheckedTiles {
  std::vector<std::uint64_t> indices;
  std::vector<std::span<const std::uint8_t>> tiles;

  std::span<const std::uint8_t> Find(std::uint64_t tile) const {
    const auto at = std::lower_bound(indices.begin(), indices.end(), tile);
    return tiles[static_cast<std::size_t>(at - indices.begin())];
  }
};

std::optional<CheckedTiles> CheckTiles(const TensorType& type, const Digest256& root,
                                       std::vector<std::uint64_t> indices, const TileReply& reply) {
  if (TensorRoot(type, reply.root) != root) return std::nullopt;
  CheckedTiles checked{std::move(indices), {}};
  std::vector<Digest256> leaves;
  std::size_t at = 0;
  for (const std::uint64_t tile : checked.indices) {
    const std::uint64_t size = TileBytesOf(type, tile);
    if (reply.bytes.size() - at < size) return std::nullopt;
    checked.tiles.push_back(std::span(reply.bytes).subspan(at, size));
    leaves.push_back(TreeLeaf(checked.tiles.back()));
    at += size;
  }
  const auto proof = GetDigests(reply.proof);
  if (!proof || at != reply.bytes.size() ||
      !TreeHolds(reply.root, TilesOf(type), kTileFanOut, checked.indices, leaves, *proof))
    return std::nullopt;
  return checked;
}

}  // namespace

// False: a's proof does not hold.
bool Referee::Impl::LoadTiles(const TileJob& job, const DisputeReply& r,
                              std::vector<std::uint32_t>& memory) {
  const Node& n = program->nodes[ask.node];
  std::size_t next = 0;
  for (std::uint8_t i = 0; i < n.inputs.size(); ++i) {
    const Operand& operand = n.inputs[i];
    const TensorType& type = program->TypeOf(operand);
    const bool sent = operand.source == Source::kState || operand.source == Source::kNode;
    std::optional<CheckedTiles> checked;
    std::vector<std::uint64_t> needed = TilesOfInput(*program, n, job, i);
    if (needed.empty()) continue;
    if (sent) {
      if (next == r.tiles.size()) return false;
      checked = CheckTiles(type, node[0].inputs[i].root, std::move(needed), r.tiles[next++]);
      if (!checked) return false;
    }
    for (const TileRegion& region : job.regions) {
      if (region.input != i) continue;
      if (sent)
        LoadRegion(
            type, region, [&](std::uint64_t tile) { return checked->Find(tile); }, memory);
      else if (operand.source == Source::kConst)
        LoadRegion(*program->constants[operand.index], region, memory);
      else
        LoadRegion(*data[operand.index], region, memory);
    }
  }
  return next == r.tiles.size();
}

void Referee::Impl::OnTiles() {
  const Node& n = program->nodes[ask.node];
  const TileRect rect = RectOf(n.outputs[ask.slot], ask.tile);
  auto job = MakeTileJob(*program, ask.node, ask.slot, ask.tile, View());
  if (!job) return Undecidable();
  std::vector<std::uint32_t> cells;
  if (job->whole) {
    // Truncated sampling: one row, by the reference kernel.
    HostTensor row = HostTensor::Zero(program->TypeOf(n.inputs[0]));
    std::vector<std::uint32_t> memory(row.type.elements() + job->regions[0].base);
    if (!LoadTiles(*job, *reply[0], memory))
      return Decide(DisputeCase::kInconsistent, {true, false});
    for (std::uint64_t i = 0; i < row.type.elements(); ++i)
      row.SetCell(i, memory[job->regions[0].base + i]);
    ThreadPool serial(1);
    const HostTensor* input = &row;
    const auto out = RunNode(ReferenceOps(), serial, n, {&input, 1});
    cells.push_back(out[ask.slot].Cell(0));
  } else {
    std::vector<std::uint32_t> memory(job->code.cells);
    if (!LoadTiles(*job, *reply[0], memory))
      return Decide(DisputeCase::kInconsistent, {true, false});
    decided = DecidedTile{Describe(*program, ask.node), std::move(job->code), memory, {}};
    stats.tile_work = WorkOf(decided->code);
    RunTile(decided->code, memory);
    for (const std::uint32_t cell : decided->code.outputs) cells.push_back(memory[cell]);
    decided->expected = cells;
  }
  Check(cells.size() == rect.rows * rect.cols, "a tile has its elements");
  Bytes bytes;
  for (const std::uint32_t cell : cells)
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<std::uint8_t>(cell >> (8 * i)));
  const Digest256 leaf = TreeLeaf(bytes);
  Decide(DisputeCase::kOutput, {leaf != descent.hash[0], leaf != descent.hash[1]});
}

// One graph, two results (rollouts): the node that draws says which.
void Referee::Impl::OnResult() {
  const DisputeReply& r = *reply[0];
  const bool rollout = IsBatch(terms.program, ask.unit);
  const Operand& operand = program->results[rollout ? 0 : ask.index * 3];
  const std::uint64_t index = operand.index;
  const auto path = GetDigests(r.proof);
  const auto record = DecodeNodeRecord(r.record);
  const Digest256 leaf = TreeLeaf(r.record);
  if (!path || !record || record->outputs.size() != program->nodes[index].outputs.size() ||
      !TreeHolds(step[0].nodes, program->nodes.size(), 2, {&index, 1}, {&leaf, 1}, *path))
    return Decide(DisputeCase::kInconsistent, {true, false});
  Both<bool> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    if (rollout) {
      faults[p] = ResultRoot(record->outputs[0], record->outputs[1]) != step[p].state_out;
      continue;
    }
    const StateRecord& s = state[p];
    faults[p] = s.name != program->state[ask.index].name || s.step != step[p].step + 1 ||
                s.w != record->outputs[0] || s.m != record->outputs[1] || s.v != record->outputs[2];
  }
  Decide(DisputeCase::kResult, faults);
}

// One graph, two states after the step: down to a tensor, then the node that made it.
void Referee::Impl::OnState() {
  ask.index = descent.index;
  Ask(RequestKind::kResult, false);
}

}  // namespace waggle
