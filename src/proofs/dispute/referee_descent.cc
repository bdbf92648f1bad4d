// From the two commitments to the first node in which they differ.
#include <algorithm>

#include "base/check.h"
#include "proofs/dispute/referee_impl.h"

namespace waggle {
namespace {

std::uint64_t Power(std::uint64_t base, std::size_t exponent) {
  std::uint64_t power = 1;
  for (; exponent > 0; --exponent) power *= base;
  return power;
}

}  // namespace

void Referee::Impl::OnOpen() {
  Both<bool> garbage{}, other{};
  for (std::size_t p = 0; p < 2; ++p) {
    const auto commit = DecodeRunCommit(reply[p]->record);
    garbage[p] = !commit;
    if (!commit) continue;
    run_root[p] = commit->units;
    other[p] = commit->program != ProgramHash(terms.program);
  }
  if (Blamed(DisputeCase::kInconsistent, garbage)) return;
  if (Blamed(DisputeCase::kProgram, other)) return;
  if (run_root[0] == run_root[1]) return Decide(DisputeCase::kNoDispute, {false, false});
  Descend(DisputeTree::kUnits, terms.program.units, run_root);
}

void Referee::Impl::Descend(DisputeTree tree, std::uint64_t leaves, const Both<Digest256>& roots) {
  descent.tree = tree;
  descent.leaves = leaves;
  descent.fan_out = tree == DisputeTree::kTiles ? kTileFanOut : 2;
  descent.level = TreeHeight(leaves, descent.fan_out);
  descent.index = 0;
  descent.hash = roots;
  Continue();
}

void Referee::Impl::Continue() {
  Check(descent.hash[0] != descent.hash[1], "a descent follows a difference");
  ask.tree = descent.tree;
  ask.index = descent.index;
  if (descent.level > 0) {
    const std::size_t steps = descent.fan_out == 2 ? terms.rules.steps : 1;
    ask.level = static_cast<std::uint8_t>(descent.level);
    ask.steps = static_cast<std::uint8_t>(std::min(steps, descent.level));
    return Ask(RequestKind::kChildren, true);
  }
  if (descent.tree == DisputeTree::kTiles) {
    ask.tile = descent.index;
    return AskTile();
  }
  Ask(RequestKind::kRecord, true);
}

void Referee::Impl::OnChildren() {
  const std::uint64_t below = Power(descent.fan_out, ask.steps);
  const std::uint64_t first = descent.index * below;
  const std::uint64_t width = TreeWidth(descent.leaves, descent.fan_out, descent.level - ask.steps);
  const std::uint64_t count = std::min(first + below, width) - first;
  Both<std::vector<Digest256>> children;
  Both<bool> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    auto hashes = GetDigests(reply[p]->hashes);
    faults[p] =
        !hashes || hashes->size() != count || FoldTree(*hashes, descent.fan_out) != descent.hash[p];
    if (!faults[p]) children[p] = std::move(*hashes);
  }
  if (Blamed(DisputeCase::kInconsistent, faults)) return;
  std::uint64_t i = 0;
  while (i < count && children[0][i] == children[1][i]) ++i;
  Check(i < count, "equal children fold to equal parents");
  descent.level -= ask.steps;
  descent.index = first + i;
  descent.hash = {children[0][i], children[1][i]};
  Continue();
}

void Referee::Impl::OnRecord() {
  Both<bool> faults{};
  Both<std::span<const std::uint8_t>> records;
  for (std::size_t p = 0; p < 2; ++p) {
    records[p] = reply[p]->record;
    const Digest256 leaf =
        descent.tree == DisputeTree::kNodes ? TreeLeaf(records[p]) : TreeLeaf(Sha256(records[p]));
    faults[p] = leaf != descent.hash[p];
  }
  if (Blamed(DisputeCase::kInconsistent, faults)) return;
  switch (descent.tree) {
    case DisputeTree::kUnits:
      ask.unit = descent.index;
      return OnUnit(records);
    case DisputeTree::kSequences:
      ask.sequence = static_cast<std::uint32_t>(descent.index);
      for (std::size_t p = 0; p < 2; ++p) {
        const auto record = DecodeSequenceRecord(records[p]);
        faults[p] = !record || record->sequence != descent.index;
        if (record) token_root[p] = record->tokens;
      }
      if (Blamed(DisputeCase::kInconsistent, faults)) return;
      return Descend(DisputeTree::kTokens, terms.program.tokens_max, token_root);
    case DisputeTree::kTokens:
      ask.token = static_cast<std::uint32_t>(descent.index);
      for (std::size_t p = 0; p < 2; ++p) {
        const auto record = DecodeTokenRecord(records[p]);
        faults[p] = !record || record->index != descent.index;
        if (record) token[p] = *record;
      }
      if (Blamed(DisputeCase::kInconsistent, faults)) return;
      return Ask(RequestKind::kGround, false);
    case DisputeTree::kNodes:
      ask.node = static_cast<std::uint32_t>(descent.index);
      for (std::size_t p = 0; p < 2; ++p) {
        auto record = DecodeNodeRecord(records[p]);
        faults[p] = !record;
        if (record) node[p] = std::move(*record);
      }
      if (Blamed(DisputeCase::kInconsistent, faults)) return;
      return OnNode();
    case DisputeTree::kState:
      for (std::size_t p = 0; p < 2; ++p) {
        auto record = DecodeStateRecord(records[p]);
        faults[p] = !record;
        if (record) state[p] = std::move(*record);
      }
      if (Blamed(DisputeCase::kInconsistent, faults)) return;
      return OnState();
    case DisputeTree::kTiles:
      break;
  }
  Check(false, "tiles have no records");
}

void Referee::Impl::OnUnit(const Both<std::span<const std::uint8_t>>& records) {
  Both<bool> faults{};
  Both<Digest256> roots;
  for (std::size_t p = 0; p < 2; ++p) {
    if (IsBatch(terms.program, ask.unit)) {
      const auto record = DecodeBatchRecord(records[p]);
      faults[p] = !record || record->batch != BatchOf(terms.program, ask.unit);
      if (record) roots[p] = record->sequences;
    } else {
      const auto record = DecodeStepRecord(records[p]);
      // How many steps a run of reinforcement learning has taken by then is found on the ground.
      const bool numbered = terms.program.kind == DisputeKind::kTraining;
      faults[p] =
          !record || (numbered && record->step != descent.index) || record->nodes != Digest256{};
      if (record) step[p] = *record;
    }
  }
  if (Blamed(DisputeCase::kInconsistent, faults)) return;
  if (!IsBatch(terms.program, ask.unit)) return Ask(RequestKind::kGround, false);
  Descend(DisputeTree::kSequences, terms.program.group, roots);
}

void Referee::Impl::OnGround() {
  const DisputeReply& r = *reply[0];
  const RunProgram& run = terms.program;
  const bool rollout = IsBatch(run, ask.unit);
  state_before = run.state;
  if (run.kind == DisputeKind::kReinforcement && !rollout) return OnRunStepGround();
  const std::uint64_t leaves = rollout ? BatchesIn(run) * run.group : run.units;
  const std::uint64_t index =
      rollout ? BatchOf(run, ask.unit) * run.group + ask.sequence : ask.unit;
  const auto path = GetDigests(r.proof);
  const Digest256 leaf = TreeLeaf(r.record);
  if (!path || !TreeHolds(terms.program.data, leaves, 2, {&index, 1}, {&leaf, 1}, *path))
    return Decide(DisputeCase::kInconsistent, {true, false});
  // The client committed to these bytes: if they are no spec, that is nobody's fault here.
  if (rollout) {
    if (run.kind == DisputeKind::kReinforcement && ask.unit > 0) {
      const std::uint64_t before = ask.unit - 1;
      const Bytes* const record = &r.extra;
      if (!AreUnits({&before, 1}, {&record, 1}, r.extra_proof) || !TakeStepBefore(r.extra))
        return Decide(DisputeCase::kInconsistent, {true, false});
    }
    const auto spec = DecodeSequenceSpec(r.record);
    if (!spec) return Undecidable();
    return OnTokenGround(r, *spec);
  }
  const auto spec = DecodeStepSpec(r.record);
  if (!spec) return Undecidable();
  OnStepGround(r, *spec);
}

// words: token and log-prob bits of everything before the token in dispute; hashes: that these are
// the leaves of a's tree, which b's tree has too.
void Referee::Impl::OnTokenGround(const DisputeReply& r, const SequenceSpec& spec) {
  const std::uint32_t n = ask.token;
  const auto proof = GetDigests(r.hashes);
  if (!proof || r.words.size() != std::size_t{2} * n)
    return Decide(DisputeCase::kInconsistent, {true, false});
  std::vector<TokenId> prefix;
  std::vector<std::uint64_t> indices;
  std::vector<Digest256> leaves;
  for (std::uint32_t i = 0; i < n; ++i) {
    const auto id = static_cast<TokenId>(r.words[2 * i]);
    prefix.push_back(id);
    indices.push_back(i);
    leaves.push_back(RecordLeaf(TokenRecord{i, id, r.words[2 * i + 1]}));
  }
  if (n > 0 && !TreeHolds(token_root[0], terms.program.tokens_max, 2, indices, leaves, *proof))
    return Decide(DisputeCase::kInconsistent, {true, false});
  const bool over = IsOver(spec, prefix) || (n > 0 && prefix.back() < 0);
  Both<bool> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    const bool absent = token[p].token < 0;
    faults[p] = over ? token[p] != TokenRecord{n, -1, 0} : absent;
  }
  if (Blamed(DisputeCase::kPresence, faults)) return;
  Check(!over, "two absent tokens are equal");
  auto built = TokenProgram(model, spec, prefix);
  if (!built) return Undecidable();
  program = std::move(*built);
  std::vector<TokenId> tokens = spec.prompt;
  tokens.insert(tokens.end(), prefix.begin(), prefix.end());
  data.clear();
  data.push_back(TokensTensor(tokens));
  data_roots = {TensorRoot(*data[0])};
  Ask(RequestKind::kGraph, true);
}

// hashes: roots of the step's data; extra, extra_proof: the record of the step before and its path.
void Referee::Impl::OnStepGround(const DisputeReply& r, const StepSpec& spec) {
  auto roots = GetDigests(r.hashes);
  if (!roots || DataRoot(*roots) != spec.data)
    return Decide(DisputeCase::kInconsistent, {true, false});
  data_roots = std::move(*roots);
  if (ask.unit > 0) {
    const std::uint64_t index = ask.unit - 1;
    const auto path = GetDigests(r.extra_proof);
    const auto record = DecodeStepRecord(r.extra);
    const Digest256 leaf = TreeLeaf(Sha256(r.extra));
    if (!path || !record ||
        !TreeHolds(run_root[0], terms.program.units, 2, {&index, 1}, {&leaf, 1}, *path))
      return Decide(DisputeCase::kInconsistent, {true, false});
    state_before = record->state_out;
  }
  auto built = StepProgramOf(terms.program, model, spec);
  if (!built || data_roots.size() != built->data.size()) return Undecidable();
  program = std::move(*built);
  data.clear();
  data.resize(program->data.size());
  const Digest256 wanted = TemplateHash(*program);
  Both<bool> state_faults{}, data_faults{}, template_faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    state_faults[p] = step[p].state_in != state_before;
    data_faults[p] = step[p].data != spec.data;
    template_faults[p] = step[p].program != wanted;
  }
  if (Blamed(DisputeCase::kState, state_faults)) return;
  if (Blamed(DisputeCase::kData, data_faults)) return;
  if (Blamed(DisputeCase::kTemplate, template_faults)) return;
  Check(step[0].state_out != step[1].state_out, "two records of one step differ somewhere");
  Ask(RequestKind::kGraph, true);
}

// The records that were committed to, now with the roots of their nodes.
void Referee::Impl::OnStepGraph() {
  Both<bool> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    const auto record = DecodeStepRecord(reply[p]->record);
    if (record) step[p].nodes = record->nodes;
    faults[p] = !record || Encode(step[p]) != reply[p]->record;
  }
  if (Blamed(DisputeCase::kInconsistent, faults)) return;
  CompareGraphs();
}

void Referee::Impl::OnGraph() {
  if (!IsBatch(terms.program, ask.unit)) return OnStepGraph();
  const Digest256 wanted = TemplateHash(*program), data_root = DataRoot(data_roots);
  const std::uint64_t position = data[0]->type.elements();
  Both<bool> garbage{}, state_faults{}, data_faults{}, template_faults{}, result_faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    const auto record = DecodeStepRecord(reply[p]->record);
    garbage[p] = !record || record->step != position;
    if (garbage[p]) continue;
    step[p] = *record;
    state_faults[p] = step[p].state_in != state_before;
    data_faults[p] = step[p].data != data_root;
    template_faults[p] = step[p].program != wanted;
    result_faults[p] = step[p].state_out != ResultRoot(token[p]);
  }
  if (Blamed(DisputeCase::kInconsistent, garbage)) return;
  if (Blamed(DisputeCase::kState, state_faults)) return;
  if (Blamed(DisputeCase::kData, data_faults)) return;
  if (Blamed(DisputeCase::kTemplate, template_faults)) return;
  if (Blamed(DisputeCase::kResult, result_faults)) return;
  CompareGraphs();
}

void Referee::Impl::CompareGraphs() {
  if (step[0].nodes != step[1].nodes)
    return Descend(DisputeTree::kNodes, program->nodes.size(), {step[0].nodes, step[1].nodes});
  // One graph and two results: one of them is not the graph's.
  ask.index = 0;
  if (IsBatch(terms.program, ask.unit)) return Ask(RequestKind::kResult, false);
  Descend(DisputeTree::kState, program->state.size(), {step[0].state_out, step[1].state_out});
}

}  // namespace waggle
