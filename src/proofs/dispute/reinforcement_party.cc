#include "proofs/dispute/reinforcement_party.h"

#include "base/check.h"

namespace waggle {
namespace {

// The batches, or the steps, of a run as a program of their own.
DisputeTerms PartOf(const DisputeTerms& terms, DisputeKind kind) {
  DisputeTerms part = terms;
  part.program.kind = kind;
  part.program.units = BatchesIn(terms.program);
  part.program.run.reset();
  return part;
}

}  // namespace

HashTree RunTree(const RunProgram& program, std::span<const Digest256> token_roots,
                 const std::vector<StepRecord>& records) {
  std::vector<Digest256> leaves;
  for (std::uint64_t batch = 0; batch < records.size(); ++batch) {
    leaves.push_back(
        RecordLeaf(BatchRecord{batch, SequenceTree(program, token_roots, batch).root()}));
    leaves.push_back(RecordLeaf(records[batch]));
  }
  return HashTree(std::move(leaves), 2);
}

ReinforcementParty::ReinforcementParty(const DisputeTerms& terms, std::uint8_t side,
                                       const Setting& setting,
                                       std::shared_ptr<const RolloutClaims> responses,
                                       std::vector<Digest256> token_roots,
                                       std::vector<StepRecord> records, Lies rollout_lies,
                                       Lies step_lies)
    : terms_(terms),
      side_(side),
      setting_(setting),
      responses_(std::move(responses)),
      token_roots_(std::move(token_roots)),
      records_(std::move(records)),
      rollout_lies_(std::move(rollout_lies)) {
  auto model = ModelOf(terms.program);
  Check(model.has_value(), "a party knows the terms it signed");
  model_ = std::move(*model);
  Check(records_.size() == BatchesIn(terms.program), "a record for every step");
  steps_ =
      std::make_unique<TrainingParty>(PartOf(terms, DisputeKind::kTraining), side,
                                      TrainingParty::Setting{.specs = setting_.steps,
                                                             .data = setting_.data,
                                                             .before = setting_.before,
                                                             .ops = setting_.ops,
                                                             .pool = setting_.pool,
                                                             .keep_bytes = setting_.keep_bytes},
                                      records_, std::move(step_lies));
}

const HashTree& ReinforcementParty::UnitTree() {
  if (!units_) units_ = RunTree(terms_.program, token_roots_, records_);
  return *units_;
}

Bytes ReinforcementParty::UnitRecord(std::uint64_t unit) const {
  const std::uint64_t batch = unit / 2;
  if (unit % 2 == 1) return Encode(records_[batch]);
  return Encode(BatchRecord{batch, SequenceTree(terms_.program, token_roots_, batch).root()});
}

// The working weights are read out of the state that samples, whose root is agreed on.
const PolicyState* ReinforcementParty::Policy(std::uint64_t batch) {
  if (policy_) return &*policy_;
  const StepState* state = setting_.before(batch);
  if (state == nullptr) return nullptr;
  policy_.emplace();
  policy_->tensors = state->w;
  policy_->records = RecordsOf(StateOf(model_.config, {}), *state, records_[batch].step);
  policy_->root = StateRoot(policy_->records);
  return &*policy_;
}

RolloutParty& ReinforcementParty::Rollouts(std::uint64_t batch) {
  if (rollouts_ && rollouts_at_ == batch) return *rollouts_;
  rollouts_.reset();
  policy_.reset();
  rollouts_at_ = batch;
  rollouts_ = std::make_unique<RolloutParty>(
      PartOf(terms_, DisputeKind::kRollout), side_,
      RolloutParty::Setting{.policy = [this, batch] { return Policy(batch); },
                            .specs = setting_.specs,
                            .ops = setting_.ops,
                            .pool = setting_.pool,
                            .keep_bytes = setting_.keep_bytes,
                            .token_roots = token_roots_,
                            .masters = true},
      responses_, rollout_lies_);
  return *rollouts_;
}

void ReinforcementParty::StepGround(const DisputeRequest& r, DisputeReply& reply) {
  std::vector<std::uint64_t> indices;
  if (r.unit > 1) {
    indices.push_back(r.unit - 2);
    reply.extra = UnitRecord(r.unit - 2);
  }
  indices.push_back(r.unit - 1);
  reply.record = UnitRecord(r.unit - 1);
  reply.proof = PutDigests(UnitTree().Prove(indices));
}

bool ReinforcementParty::AnswerRun(const DisputeRequest& r, DisputeReply& reply) {
  const RunProgram& run = terms_.program;
  const bool units = r.tree == DisputeTree::kUnits;
  if (r.kind == RequestKind::kOpen) {
    reply.record = Encode(RunCommit{UnitTree().root(), ProgramHash(run)});
  } else if (r.kind == RequestKind::kChildren && units) {
    reply.hashes = PutDigests(ChildrenOf(UnitTree(), 2, r.level, r.steps, r.index));
  } else if (r.kind == RequestKind::kRecord && units) {
    if (r.index < run.units) reply.record = UnitRecord(r.index);
  } else if (r.kind == RequestKind::kDescription) {
    reply.record = setting_.description;
  } else if (r.kind == RequestKind::kBatch) {
    const std::uint64_t first = BatchOf(run, r.unit) * run.group;
    reply.words = PutResponses(std::span(*responses_).subspan(first, run.group));
  } else if (r.kind == RequestKind::kGround && !IsBatch(run, r.unit)) {
    StepGround(r, reply);
  } else {
    return false;
  }
  return true;
}

std::optional<DisputeReply> ReinforcementParty::Answer(const DisputeRequest& r) {
  DisputeReply reply = ReplyTo(r, side_);
  if (r.unit >= terms_.program.units) return std::nullopt;
  if (AnswerRun(r, reply)) return reply;
  const std::uint64_t batch = BatchOf(terms_.program, r.unit);
  DisputeRequest inner = r;
  inner.unit = batch;
  if (!IsBatch(terms_.program, r.unit)) {
    // No graph leads to a step that was none.
    if (setting_.steps[batch].rows.empty()) return std::nullopt;
    return steps_->Answer(inner);
  }
  auto answer = Rollouts(batch).Answer(inner);
  if (answer && r.kind == RequestKind::kGround && r.unit > 0) {
    const std::uint64_t before = r.unit - 1;
    answer->extra = UnitRecord(before);
    answer->extra_proof = PutDigests(UnitTree().Prove({&before, 1}));
  }
  return answer;
}

}  // namespace waggle
