// One side of a dispute: answers the referee's requests from what it claimed and from executions of
// the programs in question. Nothing is prepared for a dispute while a run goes on: roots, trees and
// tiles are computed when they are asked for.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "proofs/dispute/execution.h"
#include "proofs/dispute/ground.h"
#include "proofs/dispute/protocol.h"

namespace waggle {

// The seam between a party and whoever carries its messages.
class DisputeParty {
 public:
  virtual ~DisputeParty() = default;
  // Nothing: silence.
  virtual std::optional<DisputeReply> Answer(const DisputeRequest& request) = 0;
};

// One that says nothing yet, from this side.
inline DisputeReply ReplyTo(const DisputeRequest& request, std::uint8_t side) {
  DisputeReply reply;
  reply.dispute = request.dispute;
  reply.round = request.round;
  reply.party = side;
  return reply;
}

// Where a test plants a lie. All empty: an honest party.
struct Lies {
  Execution::Tamper outputs;                              // of a node
  std::function<void(std::vector<NodeRecord>&)> records;  // wiring, attributes, roots
  std::function<void(StepRecord&)> step;                  // state, data, template, result
  std::function<void(Program&)> program;                  // another graph altogether
  std::function<void(std::vector<StateRecord>&)> after;   // training: the state it leaves
};

// The graph of one unit: executed, recorded, open to questions.
class UnitGraph {
 public:
  // state: as ProgramInputs; records: StateRecords of the state that goes in.
  UnitGraph(std::unique_ptr<Program> program, ProgramInputs inputs,
            std::vector<StateRecord> records, const Ops& ops, ThreadPool& pool,
            std::uint64_t keep_bytes, const Lies& lies);

  Execution& execution() { return *execution_; }
  const Program& program() const { return *program_; }
  const Digest256& nodes_root() const { return nodes_->root(); }
  // Fills in `reply` for requests about nodes, tiles, data and results.
  void Answer(const DisputeRequest& request, DisputeReply& reply);

 private:
  void AnswerInput(const DisputeRequest& request, DisputeReply& reply);
  void AnswerTiles(const DisputeRequest& request, DisputeReply& reply);
  const HashTree& Tiles(const Operand& operand);

  std::unique_ptr<Program> program_;
  std::vector<HostTensor> data_;
  std::unique_ptr<Execution> execution_;
  std::vector<NodeRecord> records_;
  std::optional<HashTree> nodes_;
  std::vector<StateRecord> state_records_;
  std::optional<HashTree> state_tree_;
  std::optional<std::pair<Operand, HashTree>> tiles_;  // the last that was asked for
};

// What somebody says that a run's responses are: sequence s of batch b at [b * group + s]. Shorter
// responses than RunProgram::tokens_max are padded with absent tokens.
using RolloutClaims = std::vector<std::vector<TokenRecord>>;
// What is committed to of one response, of at most `tokens_max` tokens.
Digest256 TokenRoot(std::span<const TokenRecord> response, std::uint32_t tokens_max);
// Roots of all sequences, as TokenRoot gives them, to the trees above.
HashTree SequenceTree(const RunProgram& program, std::span<const Digest256> token_roots,
                      std::uint64_t unit);
HashTree BatchTree(const RunProgram& program, std::span<const Digest256> token_roots);

// Policy tensors of a StateOf, and their records.
struct PolicyState {
  std::vector<HostTensor> tensors;
  std::vector<StateRecord> records;
  Digest256 root{};
  static PolicyState Of(const std::vector<StateEntry>& entries, std::vector<HostTensor> tensors);
};

class RolloutParty : public DisputeParty {
 public:
  struct Setting {
    // Asked for when somebody asks for a graph, not before; lives as long as the party. Null: it
    // cannot be had, and the party is silent.
    std::function<const PolicyState*()> policy;
    const std::vector<SequenceSpec>& specs;
    const Ops& ops;
    ThreadPool& pool;
    std::uint64_t keep_bytes = std::uint64_t{1} << 30;
    std::vector<Digest256> token_roots = {};  // of all sequences, if they are known already
    bool masters = false;                     // RunModel::masters
  };
  // side: 0 is DisputeTerms::a.
  RolloutParty(const DisputeTerms& terms, std::uint8_t side, Setting setting,
               std::shared_ptr<const RolloutClaims> claims, Lies lies = {});
  RunCommit Commit();
  std::optional<DisputeReply> Answer(const DisputeRequest& request) override;

 private:
  TokenRecord ClaimAt(std::size_t sequence, std::uint64_t token) const;
  HashTree TokenTree(std::size_t sequence) const;
  UnitGraph* Graph(const DisputeRequest& request);
  void Ground(const DisputeRequest& request, DisputeReply& reply);
  StepRecord Step(const DisputeRequest& request, UnitGraph& graph);
  bool AnswerTree(const DisputeRequest& request, DisputeReply& reply);

  const DisputeTerms terms_;
  const std::uint8_t side_;
  Setting setting_;
  std::shared_ptr<const RolloutClaims> claims_;
  Lies lies_;
  RunModel model_;
  std::unique_ptr<UnitGraph> graph_;
  const PolicyState* policy_ = nullptr;  // of graph_
  std::tuple<std::uint64_t, std::uint32_t, std::uint32_t> graph_at_;
};

// Root of the client's data: what RunProgram::data holds.
Digest256 SpecRoot(const std::vector<SequenceSpec>& specs);
// Nodes of `tree` `steps` levels below (level, index).
std::vector<Digest256> ChildrenOf(const HashTree& tree, std::size_t fan_out, std::size_t level,
                                  std::size_t steps, std::uint64_t index);

// Carries messages between a referee and two parties until there is a verdict; a party that is
// silent stays so past its deadline. For tests, benches and disputes within one process.
class Referee;
void RunDispute(Referee& referee, DisputeParty& a, DisputeParty& b, const Signer& sign_a,
                const Signer& sign_b, std::int64_t start_ns = 0);

}  // namespace waggle
