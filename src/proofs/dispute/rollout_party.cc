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

RolloutParty::RolloutParty(const DisputeTerms& terms, std::uint8_t side, const Setting& setting,
                           RolloutClaims claims, Lies lies)
    : terms_(terms),
      side_(side),
      setting_(setting),
      claims_(std::move(claims)),
      lies_(std::move(lies)) {
  auto model = ModelOf(terms.program);
  Check(model.has_value(), "a party knows the terms it signed");
  model_ = std::move(*model);
  Check(claims_.size() == terms.program.units * terms.program.group, "a claim for every sequence");
  for (std::vector<TokenRecord>& claim : claims_)
    while (claim.size() < terms.program.tokens_max)
      claim.push_back({static_cast<std::uint32_t>(claim.size()), -1, 0});
}

const std::vector<TokenRecord>& RolloutParty::Claim(const DisputeRequest& r) const {
  return claims_[r.unit * terms_.program.group + r.sequence];
}

HashTree RolloutParty::TokenTree(std::size_t sequence) const {
  return RecordTree(claims_[sequence]);
}

HashTree RolloutParty::SequenceTree(std::uint64_t unit) const {
  std::vector<SequenceRecord> records;
  for (std::uint32_t s = 0; s < terms_.program.group; ++s)
    records.push_back({s, TokenTree(unit * terms_.program.group + s).root()});
  return RecordTree(records);
}

HashTree RolloutParty::UnitTree() const {
  std::vector<BatchRecord> records;
  for (std::uint64_t unit = 0; unit < terms_.program.units; ++unit)
    records.push_back({unit, SequenceTree(unit).root()});
  return RecordTree(records);
}

RunCommit RolloutParty::Commit() { return {UnitTree().root(), ProgramHash(terms_.program)}; }

UnitGraph& RolloutParty::Graph(const DisputeRequest& r) {
  const auto at = std::tuple(r.unit, r.sequence, r.token);
  if (graph_ != nullptr && graph_at_ == at) return *graph_;
  graph_at_ = at;
  const SequenceSpec& spec = setting_.specs[r.unit * terms_.program.group + r.sequence];
  std::vector<TokenId> prefix;
  for (std::uint32_t i = 0; i < r.token; ++i) prefix.push_back(Claim(r)[i].token);
  auto program = TokenProgram(model_, spec, prefix);
  Check(program.has_value(), "a party computes what it claimed");
  std::vector<TokenId> tokens = spec.prompt;
  tokens.insert(tokens.end(), prefix.begin(), prefix.end());
  ProgramInputs inputs;
  inputs.state = [this](std::uint32_t i, std::uint8_t) { return &setting_.policy.tensors[i]; };
  inputs.data.push_back(TokensTensor(tokens));
  graph_ = std::make_unique<UnitGraph>(std::make_unique<Program>(std::move(*program)),
                                       std::move(inputs), setting_.policy.records, setting_.ops,
                                       setting_.pool, setting_.keep_bytes, lies_);
  return *graph_;
}

StepRecord RolloutParty::Step(const DisputeRequest& r) {
  UnitGraph& graph = Graph(r);
  StepRecord step;
  step.step = graph.execution().Tensor({Source::kData, 0, 0}).type.elements();
  step.state_in = setting_.policy.root;
  const Digest256 tokens = graph.execution().Root({Source::kData, 0, 0});
  step.data = DataRoot({&tokens, 1});
  step.program = TemplateHash(graph.program());
  step.nodes = graph.nodes_root();
  step.state_out = ResultRoot(Claim(r)[r.token]);
  if (lies_.step) lies_.step(step);
  return step;
}

void RolloutParty::Ground(const DisputeRequest& r, DisputeReply& reply) {
  const std::uint64_t index = r.unit * terms_.program.group + r.sequence;
  reply.record = EncodeSpec(setting_.specs[index]);
  reply.proof = PutDigests(SpecTree(setting_.specs).Prove({&index, 1}));
  std::vector<std::uint64_t> indices;
  for (std::uint32_t i = 0; i < r.token; ++i) {
    indices.push_back(i);
    reply.words.push_back(static_cast<std::uint32_t>(Claim(r)[i].token));
    reply.words.push_back(Claim(r)[i].logp);
  }
  if (r.token > 0) reply.hashes = PutDigests(TokenTree(index).Prove(indices));
}

std::optional<DisputeReply> RolloutParty::Answer(const DisputeRequest& r) {
  DisputeReply reply;
  reply.dispute = r.dispute;
  reply.round = r.round;
  reply.party = side_;
  const RunProgram& run = terms_.program;
  if (r.unit >= run.units || r.sequence >= run.group || r.token >= run.tokens_max)
    return std::nullopt;
  const std::uint64_t sequence = r.unit * run.group + r.sequence;
  const bool record = r.kind == RequestKind::kRecord, children = r.kind == RequestKind::kChildren;
  const auto children_of = [&](const HashTree& tree) {
    reply.hashes = PutDigests(ChildrenOf(tree, 2, r.level, r.steps, r.index));
  };
  if (r.kind == RequestKind::kOpen) {
    reply.record = Encode(Commit());
  } else if (children && r.tree == DisputeTree::kUnits) {
    children_of(UnitTree());
  } else if (children && r.tree == DisputeTree::kSequences) {
    children_of(SequenceTree(r.unit));
  } else if (children && r.tree == DisputeTree::kTokens) {
    children_of(TokenTree(sequence));
  } else if (record && r.tree == DisputeTree::kUnits) {
    if (r.index >= run.units) return std::nullopt;
    reply.record = Encode(BatchRecord{r.index, SequenceTree(r.index).root()});
  } else if (record && r.tree == DisputeTree::kSequences) {
    if (r.index >= run.group) return std::nullopt;
    const auto s = static_cast<std::uint32_t>(r.index);
    reply.record = Encode(SequenceRecord{s, TokenTree(r.unit * terms_.program.group + s).root()});
  } else if (record && r.tree == DisputeTree::kTokens) {
    if (r.index >= run.tokens_max) return std::nullopt;
    reply.record = Encode(Claim(r)[r.index]);
  } else if (r.kind == RequestKind::kGround) {
    Ground(r, reply);
  } else if (Claim(r)[r.token].token < 0) {
    return std::nullopt;  // no graph leads to a token that is not there
  } else if (r.kind == RequestKind::kGraph) {
    reply.record = Encode(Step(r));
  } else {
    Graph(r).Answer(r, reply);
  }
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
