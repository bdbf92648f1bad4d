// The referee's state. Private to proofs/dispute/.
#pragma once

#include <array>
#include <optional>

#include "proofs/dispute/execution.h"
#include "proofs/dispute/ground.h"
#include "proofs/dispute/referee.h"
#include "proofs/dispute/tile_job.h"

namespace waggle {

template <class T>
using Both = std::array<T, 2>;

struct Referee::Impl {
  DisputeTerms terms;
  const Signer& signer;
  Digest256 id{};
  RunModel model;
  DescriptionReader reader;  // kReinforcement

  // The question at hand.
  std::vector<DisputeRequest> requests;
  DisputeRequest ask;
  Both<bool> waiting{};
  Both<std::int64_t> deadline{};
  Both<std::uint32_t> extensions{};
  Both<std::size_t> said{};   // bytes
  std::int64_t patience = 0;  // of this question
  Both<std::optional<DisputeReply>> reply;
  std::uint32_t round = 0;
  std::int64_t now = 0;

  // A descent in two trees of one shape.
  struct Descent {
    DisputeTree tree = DisputeTree::kUnits;
    std::uint64_t leaves = 0, index = 0;
    std::size_t fan_out = 2, level = 0;
    Both<Digest256> hash{};
  } descent;

  // What has been agreed on, or claimed, on the way.
  Both<Digest256> run_root{}, token_root{}, tile_root{};
  Both<TokenRecord> token;
  Both<StepRecord> step;
  Both<NodeRecord> node;
  Both<StateRecord> state;
  std::optional<Program> program;
  std::vector<Digest256> data_roots;
  std::vector<std::optional<HostTensor>> data;
  Digest256 state_before{};        // StateRoot that the unit begins with
  std::uint64_t steps_before = 0;  // kReinforcement: steps of the optimizer up to there
  Digest256 batch_root{};          // kReinforcement: of the batch that the step is taken on
  std::vector<std::vector<TokenRecord>> responses;         // its

  std::optional<DisputeVerdict> verdict;
  std::vector<DisputeEntry> entries;
  std::int64_t opened = 0;
  RefereeStats stats;
  std::optional<DecidedTile> decided;

  Impl(const DisputeTerms& t, const Signer& s) : terms(t), signer(s) {}

  // referee.cc: questions and answers.
  void Ask(RequestKind kind, bool both);
  void Take();  // every reply is in
  void Decide(DisputeCase reason, Both<bool> loses);
  // True if somebody is at fault; the verdict is then made.
  bool Blamed(DisputeCase reason, Both<bool> faults);
  void Undecidable() { Decide(DisputeCase::kNotComparable, {false, false}); }

  // referee_descent.cc: down to a node.
  void OnOpen();
  void Descend(DisputeTree tree, std::uint64_t leaves, const Both<Digest256>& roots);
  void Continue();
  void OnChildren();
  void OnRecord();
  void OnUnit(const Both<std::span<const std::uint8_t>>& records);
  void OnGround();
  void OnTokenGround(const DisputeReply& r, const SequenceSpec& spec);
  void OnStepGround(const DisputeReply& r, const StepSpec& spec);
  void OnGraph();
  void OnStepGraph();

  // referee_reinforcement.cc: what the units of a run of reinforcement learning begin with.
  bool AreUnits(std::span<const std::uint64_t> indices, std::span<const Bytes* const> records,
                const Bytes& proof) const;
  bool TakeStepBefore(const Bytes& record);
  void OnRunStepGround();
  void OnBatch();
  void OnDescription();
  void OnStepInputs(StepInputs inputs);

  void CompareGraphs();

  // referee_node.cc: what is wrong with the node.
  void OnNode();
  void CompareInputs();
  void OnInput();
  void CompareOutputs();
  void OnHead();
  void AskTile();
  void OnData();
  void OnTiles();
  void OnResult();
  void OnState();
  bool LoadTiles(const TileJob& job, const DisputeReply& r, std::vector<std::uint32_t>& memory);
  Digest256 TrueRoot(const Operand& operand) const;  // data and constants
  DataView View() const;
};

}  // namespace waggle
