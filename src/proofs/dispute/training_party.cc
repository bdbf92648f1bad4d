#include "proofs/dispute/training_party.h"

#include "base/check.h"

namespace waggle {

Digest256 SpecRoot(const std::vector<StepSpec>& specs) { return SpecTree(specs).root(); }

std::vector<StateRecord> RecordsOf(const std::vector<StateEntry>& entries, const StepState& state,
                                   std::uint64_t step) {
  std::vector<StateRecord> records;
  for (std::size_t i = 0; i < entries.size(); ++i)
    records.push_back({entries[i].name, TensorRoot(state.w[i]), TensorRoot(state.m[i]),
                       TensorRoot(state.v[i]), step});
  return records;
}

void TakeOver(const StepOutcome& outcome, StepState& state) {
  const Program& program = outcome.graph->program();
  const auto result = [&](std::size_t i) {
    return outcome.graph->execution().Tensor(program.results[i]);
  };
  for (std::size_t i = 0; i < program.state.size(); ++i) {
    state.w[i] = result(i * 3);
    state.m[i] = result(i * 3 + 1);
    state.v[i] = result(i * 3 + 2);
  }
}

StepOutcome ExecuteStep(const RunProgram& run, const RunModel& model, const StepSpec& spec,
                        std::uint64_t step, const StepState& state, const Ops& ops,
                        ThreadPool& pool, std::uint64_t keep_bytes, const Lies& lies) {
  auto program = StepProgramOf(run, model, spec);
  Check(program.has_value(), "a step that is executed is one");
  StepOutcome outcome;
  outcome.before = RecordsOf(program->state, state, step);
  ProgramInputs inputs;
  inputs.state = [&state](std::uint32_t i, std::uint8_t slot) {
    return &(slot == 0 ? state.w : slot == 1 ? state.m : state.v)[i];
  };
  inputs.data = state.data;
  outcome.graph =
      std::make_unique<UnitGraph>(std::make_unique<Program>(std::move(*program)), std::move(inputs),
                                  outcome.before, ops, pool, keep_bytes, lies);
  UnitGraph& graph = *outcome.graph;
  const Program& p = graph.program();
  for (std::size_t i = 0; i < p.state.size(); ++i)
    outcome.after.push_back({p.state[i].name, graph.execution().Root(p.results[i * 3]),
                             graph.execution().Root(p.results[i * 3 + 1]),
                             graph.execution().Root(p.results[i * 3 + 2]), step + 1});
  if (lies.after) lies.after(outcome.after);
  std::vector<Digest256> roots;
  for (std::uint32_t i = 0; i < p.data.size(); ++i)
    roots.push_back(graph.execution().Root({Source::kData, i, 0}));
  outcome.record = {step,
                    StateRoot(outcome.before),
                    DataRoot(roots),
                    TemplateHash(p),
                    graph.nodes_root(),
                    StateRoot(outcome.after)};
  if (lies.step) lies.step(outcome.record);
  return outcome;
}

TrainingParty::TrainingParty(const DisputeTerms& terms, std::uint8_t side, const Setting& setting,
                             std::vector<StepRecord> records, Lies lies)
    : terms_(terms),
      side_(side),
      setting_(setting),
      records_(std::move(records)),
      lies_(std::move(lies)) {
  auto model = ModelOf(terms.program);
  Check(model.has_value(), "a party knows the terms it signed");
  model_ = std::move(*model);
  Check(records_.size() == terms.program.units, "a record for every step");
}

HashTree TrainingParty::UnitTree() const { return RecordTree(records_); }

RunCommit TrainingParty::Commit() const { return {UnitTree().root(), ProgramHash(terms_.program)}; }

StepOutcome* TrainingParty::Outcome(std::uint64_t step) {
  if (outcome_ && outcome_at_ == step) return &*outcome_;
  outcome_.reset();
  const StepState* before = setting_.before(step);
  if (before == nullptr) return nullptr;
  outcome_.emplace(ExecuteStep(terms_.program, model_, setting_.specs[step], records_[step].step,
                               *before, setting_.ops, setting_.pool, setting_.keep_bytes, lies_));
  outcome_at_ = step;
  return &*outcome_;
}

void TrainingParty::Ground(const DisputeRequest& r, DisputeReply& reply) {
  const std::uint64_t index = r.unit;
  reply.record = EncodeSpec(setting_.specs[index]);
  reply.proof = PutDigests(SpecTree(setting_.specs).Prove({&index, 1}));
  std::vector<Digest256> roots;
  for (const HostTensor& tensor : setting_.data(index)) roots.push_back(TensorRoot(tensor));
  reply.hashes = PutDigests(roots);
  if (index == 0) return;
  const std::uint64_t before = index - 1;
  reply.extra = Encode(records_[before]);
  reply.extra_proof = PutDigests(UnitTree().Prove({&before, 1}));
}

std::optional<DisputeReply> TrainingParty::Answer(const DisputeRequest& r) {
  DisputeReply reply = ReplyTo(r, side_);
  if (r.unit >= records_.size()) return std::nullopt;
  const bool record = r.kind == RequestKind::kRecord, children = r.kind == RequestKind::kChildren;
  const auto children_of = [&](const HashTree& tree) {
    reply.hashes = PutDigests(ChildrenOf(tree, 2, r.level, r.steps, r.index));
  };
  if (r.kind == RequestKind::kOpen) {
    reply.record = Encode(Commit());
  } else if (children && r.tree == DisputeTree::kUnits) {
    children_of(UnitTree());
  } else if (record && r.tree == DisputeTree::kUnits) {
    if (r.index < records_.size()) reply.record = Encode(records_[r.index]);
  } else if (r.kind == RequestKind::kGround) {
    Ground(r, reply);
  } else if (StepOutcome* outcome = Outcome(r.unit); outcome == nullptr) {
    return std::nullopt;
  } else if (r.kind == RequestKind::kGraph) {
    StepRecord with_nodes = records_[r.unit];
    with_nodes.nodes = outcome->record.nodes;
    reply.record = Encode(with_nodes);
  } else if (children && r.tree == DisputeTree::kState) {
    children_of(RecordTree(outcome->after));
  } else if (record && r.tree == DisputeTree::kState) {
    if (r.index < outcome->after.size()) reply.record = Encode(outcome->after[r.index]);
  } else {
    outcome->graph->Answer(r, reply);
  }
  return reply;
}

}  // namespace waggle
