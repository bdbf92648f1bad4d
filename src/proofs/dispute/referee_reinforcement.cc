// Runs of reinforcement learning: what their units begin with, and what a step reads. The batch
// that a step is taken on is agreed; from its responses the referee grades and credits by itself.
#include <algorithm>

#include "base/check.h"
#include "proofs/dispute/party.h"
#include "proofs/dispute/referee_impl.h"

namespace waggle {

std::vector<std::uint32_t> PutResponses(std::span<const std::vector<TokenRecord>> responses) {
  std::vector<std::uint32_t> words;
  for (const std::vector<TokenRecord>& response : responses) {
    words.push_back(static_cast<std::uint32_t>(response.size()));
    for (const TokenRecord& token : response) {
      words.push_back(static_cast<std::uint32_t>(token.token));
      words.push_back(token.logp);
    }
  }
  return words;
}

std::optional<std::vector<std::vector<TokenRecord>>> GetResponses(
    std::span<const std::uint32_t> words, std::size_t count, std::uint32_t tokens_max) {
  std::vector<std::vector<TokenRecord>> responses;
  std::size_t at = 0;
  while (responses.size() < count) {
    if (at == words.size()) return std::nullopt;
    const std::uint32_t tokens = words[at++];
    if (tokens == 0 || tokens > tokens_max || (words.size() - at) / 2 < tokens) return std::nullopt;
    std::vector<TokenRecord>& response = responses.emplace_back();
    for (std::uint32_t i = 0; i < tokens; ++i, at += 2)
      response.push_back({i, static_cast<TokenId>(words[at]), words[at + 1]});
  }
  if (at != words.size()) return std::nullopt;
  return responses;
}

// Whether these are records of units left of the one in dispute, on which both sides agree.
bool Referee::Impl::AreUnits(std::span<const std::uint64_t> indices,
                             std::span<const Bytes* const> records, const Bytes& proof) const {
  const auto path = GetDigests(proof);
  std::vector<Digest256> leaves;
  for (const Bytes* record : records) leaves.push_back(TreeLeaf(Sha256(*record)));
  return path && TreeHolds(run_root[0], terms.program.units, 2, indices, leaves, *path);
}

// A step that nothing carried a gradient to left its state, and the optimizer's clock, as they
// were.
bool Referee::Impl::TakeStepBefore(const Bytes& record) {
  const auto before = DecodeStepRecord(record);
  if (!before) return false;
  state_before = before->state_out;
  steps_before = before->step + (before->state_out == before->state_in ? 0 : 1);
  return true;
}

// record: of the batch; extra: of the step before it, if there is one; proof: of both.
void Referee::Impl::OnRunStepGround() {
  const DisputeReply& r = *reply[0];
  const std::uint64_t batch = BatchOf(terms.program, ask.unit);
  std::vector<std::uint64_t> indices;
  std::vector<const Bytes*> records;
  if (batch > 0) {
    indices.push_back(ask.unit - 2);
    records.push_back(&r.extra);
  }
  indices.push_back(ask.unit - 1);
  records.push_back(&r.record);
  const auto record = DecodeBatchRecord(r.record);
  if (!record || record->batch != batch || !AreUnits(indices, records, r.proof))
    return Decide(DisputeCase::kInconsistent, {true, false});
  steps_before = 0;
  if (batch > 0 && !TakeStepBefore(r.extra))
    return Decide(DisputeCase::kInconsistent, {true, false});
  batch_root = record->sequences;
  Ask(RequestKind::kBatch, false);
}

void Referee::Impl::OnBatch() {
  const RunProgram& run = terms.program;
  auto said = GetResponses(reply[0]->words, run.group, run.tokens_max);
  if (!said) return Decide(DisputeCase::kInconsistent, {true, false});
  std::vector<Digest256> roots;
  for (const std::vector<TokenRecord>& response : *said)
    roots.push_back(TokenRoot(response, run.tokens_max));
  if (SequenceTree(run, roots, 0).root() != batch_root)
    return Decide(DisputeCase::kInconsistent, {true, false});
  responses = std::move(*said);
  Ask(RequestKind::kDescription, false);
}

void Referee::Impl::OnDescription() {
  const Bytes& description = reply[0]->record;
  if (Sha256(description) != terms.program.run->description)
    return Decide(DisputeCase::kInconsistent, {true, false});
  // What the client committed to, and what both say was sampled: nobody's fault here.
  const auto ground = reader(terms.program, description);
  if (!ground) return Undecidable();
  auto inputs = (*ground)->Inputs(BatchOf(terms.program, ask.unit), steps_before, responses);
  if (!inputs) return Undecidable();
  OnStepInputs(std::move(*inputs));
}

void Referee::Impl::OnStepInputs(StepInputs inputs) {
  const StepSpec& spec = inputs.spec;
  const bool moves = !spec.rows.empty();
  Digest256 wanted{};
  if (moves) {
    auto built = StepProgramOf(terms.program, model, spec);
    if (!built || inputs.data.size() != built->data.size()) return Undecidable();
    program = std::move(*built);
    wanted = TemplateHash(*program);
  }
  data_roots.clear();
  data.clear();
  for (HostTensor& tensor : inputs.data) {
    data_roots.push_back(TensorRoot(tensor));
    data.push_back(std::move(tensor));
  }
  Both<bool> state_faults{}, data_faults{}, template_faults{}, result_faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    state_faults[p] = step[p].state_in != state_before || step[p].step != steps_before;
    data_faults[p] = step[p].data != spec.data;
    template_faults[p] = step[p].program != wanted;
    result_faults[p] = !moves && step[p].state_out != state_before;
  }
  if (Blamed(DisputeCase::kState, state_faults)) return;
  if (Blamed(DisputeCase::kData, data_faults)) return;
  if (Blamed(DisputeCase::kTemplate, template_faults)) return;
  if (Blamed(DisputeCase::kResult, result_faults)) return;
  Check(step[0].state_out != step[1].state_out, "two records of one step differ somewhere");
  Ask(RequestKind::kGraph, true);
}

}  // namespace waggle
