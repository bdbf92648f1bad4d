#include <algorithm>

#include "base/check.h"
#include "proofs/dispute/party.h"
#include "proofs/dispute/tile_job.h"

namespace waggle {
namespace {

HashTree NodeTree(const std::vector<NodeRecord>& records) {
  std::vector<Digest256> leaves;
  for (const NodeRecord& record : records) leaves.push_back(TreeLeaf(Encode(record)));
  return HashTree(std::move(leaves), 2);
}

}  // namespace

std::vector<Digest256> ChildrenOf(const HashTree& tree, std::size_t fan_out, std::size_t level,
                                  std::size_t steps, std::uint64_t index) {
  if (steps > level || steps > 8 || level > tree.height()) return {};
  std::uint64_t below = 1;
  for (std::size_t i = 0; i < steps; ++i) below *= fan_out;
  const std::span<const Digest256> nodes = tree.Level(level - steps);
  const std::uint64_t first = std::min<std::uint64_t>(index * below, nodes.size());
  const std::uint64_t last = std::min<std::uint64_t>(first + below, nodes.size());
  return {nodes.begin() + static_cast<std::ptrdiff_t>(first),
          nodes.begin() + static_cast<std::ptrdiff_t>(last)};
}

UnitGraph::UnitGraph(std::unique_ptr<Program> program, ProgramInputs inputs,
                     std::vector<StateRecord> records, const Ops& ops, ThreadPool& pool,
                     std::uint64_t keep_bytes, const Lies& lies)
    : program_(std::move(program)), data_(inputs.data), state_records_(std::move(records)) {
  if (lies.program) lies.program(*program_);
  execution_ = std::make_unique<Execution>(*program_, std::move(inputs), ops, pool, keep_bytes,
                                           lies.outputs);
  records_ = execution_->records();
  if (lies.records) lies.records(records_);
  nodes_ = NodeTree(records_);
}

const HashTree& UnitGraph::Tiles(const Operand& operand) {
  if (!tiles_ || !(tiles_->first == operand))
    tiles_.emplace(operand, TileTree(execution_->Tensor(operand)));
  return tiles_->second;
}

void UnitGraph::AnswerInput(const DisputeRequest& request, DisputeReply& reply) {
  const Operand& operand = program_->nodes[request.node].inputs[request.index];
  if (operand.source == Source::kData || operand.source == Source::kConst) return;
  const std::uint64_t index = operand.index;
  if (operand.source == Source::kNode) {
    reply.record = Encode(records_[index]);
    reply.proof = PutDigests(nodes_->Prove({&index, 1}));
    return;
  }
  if (!state_tree_) state_tree_ = RecordTree(state_records_);
  reply.record = Encode(state_records_[index]);
  reply.proof = PutDigests(state_tree_->Prove({&index, 1}));
}

void UnitGraph::AnswerTiles(const DisputeRequest& request, DisputeReply& reply) {
  const Node& node = program_->nodes[request.node];
  const auto job = MakeTileJob(*program_, request.node, request.slot, request.tile,
                               [&](std::uint32_t i) { return &data_[i]; });
  if (!job) return;
  for (std::uint8_t i = 0; i < node.inputs.size(); ++i) {
    const Operand& operand = node.inputs[i];
    if (operand.source != Source::kState && operand.source != Source::kNode) continue;
    const std::vector<std::uint64_t> tiles = TilesOfInput(*program_, node, *job, i);
    if (tiles.empty()) continue;
    const HashTree& tree = Tiles(operand);
    TileReply out{tree.root(), {}, PutDigests(tree.Prove(tiles))};
    for (const std::uint64_t tile : tiles) {
      const Bytes bytes = TileOf(execution_->Tensor(operand), tile);
      out.bytes.insert(out.bytes.end(), bytes.begin(), bytes.end());
    }
    reply.tiles.push_back(std::move(out));
  }
}

void UnitGraph::Answer(const DisputeRequest& request, DisputeReply& reply) {
  if (request.node >= program_->nodes.size()) return;
  const Node& node = program_->nodes[request.node];
  if (request.slot >= node.outputs.size() || request.tile >= TilesOf(node.outputs[request.slot]))
    return;
  if (request.kind == RequestKind::kInput && request.index >= node.inputs.size()) return;
  if (request.kind == RequestKind::kResult && request.index * 3 >= program_->results.size() &&
      request.index > 0)
    return;
  const Operand output{Source::kNode, request.node, request.slot};
  switch (request.kind) {
    case RequestKind::kChildren: {
      const bool tiles = request.tree == DisputeTree::kTiles;
      reply.hashes = PutDigests(ChildrenOf(tiles ? Tiles(output) : *nodes_, tiles ? kTileFanOut : 2,
                                           request.level, request.steps, request.index));
      return;
    }
    case RequestKind::kRecord:
      if (request.index < records_.size()) reply.record = Encode(records_[request.index]);
      return;
    case RequestKind::kInput:
      return AnswerInput(request, reply);
    case RequestKind::kHead: {
      const Digest256 root = Tiles(output).root();
      reply.hashes = PutDigests({&root, 1});
      return;
    }
    case RequestKind::kData:
      for (const std::uint32_t index : DataNeededBy(*program_, request.node))
        for (std::uint64_t i = 0; i < data_[index].type.elements(); ++i)
          reply.words.push_back(data_[index].Cell(i));
      return;
    case RequestKind::kTiles:
      return AnswerTiles(request, reply);
    case RequestKind::kResult: {
      const std::size_t at = program_->results.size() == 2 ? 0 : request.index * 3;
      const std::uint64_t index = program_->results[at].index;
      reply.record = Encode(records_[index]);
      reply.proof = PutDigests(nodes_->Prove({&index, 1}));
      return;
    }
    case RequestKind::kOpen:
    case RequestKind::kGround:
    case RequestKind::kGraph:
    case RequestKind::kBatch:
    case RequestKind::kDescription:
      return;  // not of a graph
  }
}

}  // namespace waggle
