#include <algorithm>

#include "base/check.h"
#include "proofs/dispute/party.h"
#include "proofs/dispute/referee.h"

namespace waggle {

PolicyState PolicyState::Of(const std::vector<StateEntry>& entries,
                            std::vector<HostTensor> tensors) {
  PolicyState state;
  state.tensors = std::move(tensors);
  for (std::size_t i = 0; i < entries.size(); ++i)
    state.records.push_back({entries[i].name, TensorRoot(state.tensors[i]), {}, {}, 0});
  state.root = StateRoot(state.records);
  return state;
}

Digest256 SpecRoot(const std::vector<SequenceSpec>& specs) { return SpecTree(specs).root(); }

namespace {

std::vector<TokenRecord> Padded(std::span<const TokenRecord> response, std::uint32_t tokens_max) {
  std::vector<TokenRecord> records(response.begin(), response.end());
  while (records.size() < tokens_max)
    records.push_back({static_cast<std::uint32_t>(records.size()), -1, 0});
  return records;
}

}  // namespace

Digest256 TokenRoot(std::span<const TokenRecord> response, std::uint32_t tokens_max) {
  return RecordTree(Padded(response, tokens_max)).root();
}

HashTree SequenceTree(const RunProgram& program, std::span<const Digest256> token_roots,
                      std::uint64_t unit) {
  std::vector<SequenceRecord> records;
  for (std::uint32_t s = 0; s < program.group; ++s)
    records.push_back({s, token_roots[unit * program.group + s]});
  return RecordTree(records);
}

HashTree BatchTree(const RunProgram& program, std::span<const Digest256> token_roots) {
  std::vector<BatchRecord> records;
  for (std::uint64_t unit = 0; unit < program.units; ++unit)
    records.push_back({unit, SequenceTree(program, token_roots, unit).root()});
  return RecordTree(records);
}

RolloutParty::RolloutParty(const DisputeTerms& terms, std::uint8_t side, Setting setting,
                           std::shared_ptr<const RolloutClaims> claims, Lies lies)
    : terms_(terms),
      side_(side),
      setting_(std::move(setting)),
      claims_(std::move(claims)),
      lies_(std::move(lies)) {
  auto model = ModelOf(terms.program);
  Check(model.has_value(), "a party knows the terms it signed");
  model_ = std::move(*model);
  model_.masters = setting_.masters;
  Check(claims_->size() == terms.program.units * terms.program.group, "a claim for every sequence");
  if (!setting_.token_roots.empty()) return;
  for (const std::vector<TokenRecord>& claim : *claims_)
    setting_.token_roots.push_back(TokenRoot(claim, terms.program.tokens_max));
}

TokenRecord RolloutParty::ClaimAt(std::size_t sequence, std::uint64_t token) const {
  const std::vector<TokenRecord>& claim = (*claims_)[sequence];
  if (token < claim.size()) return claim[token];
  return {static_cast<std::uint32_t>(token), -1, 0};
}

HashTree RolloutParty::TokenTree(std::size_t sequence) const {
  return RecordTree(Padded((*claims_)[sequence], terms_.program.tokens_max));
}

RunCommit RolloutParty::Commit() {
  return {BatchTree(terms_.program, setting_.token_roots).root(), ProgramHash(terms_.program)};
}

UnitGraph* RolloutParty::Graph(const DisputeRequest& r) {
  const auto at = std::tuple(r.unit, r.sequence, r.token);
  if (graph_ != nullptr && graph_at_ == at) return graph_.get();
  graph_.reset();
  policy_ = setting_.policy();
  if (policy_ == nullptr) return nullptr;
  graph_at_ = at;
  const std::size_t sequence = r.unit * terms_.program.group + r.sequence;
  const SequenceSpec& spec = setting_.specs[sequence];
  std::vector<TokenId> prefix;
  for (std::uint32_t i = 0; i < r.token; ++i) prefix.push_back(ClaimAt(sequence, i).token);
  auto program = TokenProgram(model_, spec, prefix);
  if (!program) return nullptr;  // of a token that was not claimed: nobody honest asks
  std::vector<TokenId> tokens = spec.prompt;
  tokens.insert(tokens.end(), prefix.begin(), prefix.end());
  ProgramInputs inputs;
  inputs.state = [policy = policy_](std::uint32_t i, std::uint8_t) { return &policy->tensors[i]; };
  inputs.data.push_back(TokensTensor(tokens));
  graph_ = std::make_unique<UnitGraph>(std::make_unique<Program>(std::move(*program)),
                                       std::move(inputs), policy_->records, setting_.ops,
                                       setting_.pool, setting_.keep_bytes, lies_);
  return graph_.get();
}

StepRecord RolloutParty::Step(const DisputeRequest& r, UnitGraph& graph) {
  StepRecord step;
  step.step = graph.execution().Tensor({Source::kData, 0, 0}).type.elements();
  step.state_in = policy_->root;
  const Digest256 tokens = graph.execution().Root({Source::kData, 0, 0});
  step.data = DataRoot({&tokens, 1});
  step.program = TemplateHash(graph.program());
  step.nodes = graph.nodes_root();
  step.state_out = ResultRoot(ClaimAt(r.unit * terms_.program.group + r.sequence, r.token));
  if (lies_.step) lies_.step(step);
  return step;
}

void RolloutParty::Ground(const DisputeRequest& r, DisputeReply& reply) {
  const std::uint64_t index = r.unit * terms_.program.group + r.sequence;
  reply.record = EncodeSpec(setting_.specs[index]);
  reply.proof = PutDigests(SpecTree(setting_.specs).Prove({&index, 1}));
  std::vector<std::uint64_t> indices;
  for (std::uint32_t i = 0; i < r.token; ++i) {
    const TokenRecord claim = ClaimAt(index, i);
    indices.push_back(i);
    reply.words.push_back(static_cast<std::uint32_t>(claim.token));
    reply.words.push_back(claim.logp);
  }
  if (r.token > 0) reply.hashes = PutDigests(TokenTree(index).Prove(indices));
}

// What is known without a graph; false: it is not.
bool RolloutParty::AnswerTree(const DisputeRequest& r, DisputeReply& reply) {
  const RunProgram& run = terms_.program;
  const std::vector<Digest256>& roots = setting_.token_roots;
  const std::uint64_t sequence = r.unit * run.group + r.sequence;
  const auto children_of = [&](const HashTree& tree) {
    reply.hashes = PutDigests(ChildrenOf(tree, 2, r.level, r.steps, r.index));
    return true;
  };
  if (r.kind == RequestKind::kChildren) {
    if (r.tree == DisputeTree::kUnits) return children_of(BatchTree(run, roots));
    if (r.tree == DisputeTree::kSequences) return children_of(SequenceTree(run, roots, r.unit));
    if (r.tree == DisputeTree::kTokens) return children_of(TokenTree(sequence));
    return false;
  }
  if (r.kind != RequestKind::kRecord) return false;
  if (r.tree == DisputeTree::kUnits) {
    if (r.index < run.units)
      reply.record = Encode(BatchRecord{r.index, SequenceTree(run, roots, r.index).root()});
    return true;
  }
  if (r.tree == DisputeTree::kSequences) {
    if (r.index < run.group)
      reply.record = Encode(
          SequenceRecord{static_cast<std::uint32_t>(r.index), roots[r.unit * run.group + r.index]});
    return true;
  }
  if (r.tree != DisputeTree::kTokens) return false;
  if (r.index < run.tokens_max) reply.record = Encode(ClaimAt(sequence, r.index));
  return true;
}

std::optional<DisputeReply> RolloutParty::Answer(const DisputeRequest& r) {
  DisputeReply reply = ReplyTo(r, side_);
  const RunProgram& run = terms_.program;
  if (r.unit >= run.units || r.sequence >= run.group || r.token >= run.tokens_max)
    return std::nullopt;
  const std::uint64_t sequence = r.unit * run.group + r.sequence;
  if (r.kind == RequestKind::kOpen) {
    reply.record = Encode(Commit());
    return reply;
  }
  if (AnswerTree(r, reply)) {
    if (r.kind == RequestKind::kRecord && reply.record.empty()) return std::nullopt;
    return reply;
  }
  if (r.kind == RequestKind::kGround) {
    Ground(r, reply);
    return reply;
  }
  // No graph leads to a token that is not there.
  if (ClaimAt(sequence, r.token).token < 0) return std::nullopt;
  UnitGraph* graph = Graph(r);
  if (graph == nullptr) return std::nullopt;
  if (r.kind == RequestKind::kGraph)
    reply.record = Encode(Step(r, *graph));
  else
    graph->Answer(r, reply);
  return reply;
}

void RunDispute(Referee& referee, DisputeParty& a, DisputeParty& b, const Signer& sign_a,
                const Signer& sign_b, std::int64_t start_ns) {
  std::int64_t now = start_ns;
  while (!referee.verdict()) {
    const std::vector<DisputeRequest> requests = referee.requests();
    const std::uint32_t round = requests.front().round;
    for (const DisputeRequest& request : requests) {
      const std::optional<DisputeReply> reply = (request.party == 0 ? a : b).Answer(request);
      // What is refused counts as nothing said.
      if (reply) (void)referee.Deliver(++now, Sign(request.party == 0 ? sign_a : sign_b, *reply));
    }
    if (referee.verdict() || referee.requests().front().round != round) continue;
    std::int64_t last = now;
    for (const DisputeRequest& request : referee.requests())
      last = std::max(last, request.deadline_ns);
    referee.Tick(now = last + 1);
  }
}

}  // namespace waggle
