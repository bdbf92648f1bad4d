// A small run of rollouts, an honest party, and liars of every kind, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include "model/config.h"
#include "proofs/dispute/party.h"
#include "proofs/dispute/referee.h"
#include "proofs/dispute/test_programs.h"

namespace waggle::testing_dispute {

// Signatures that cost nothing, for games by the thousand: a hash of who, domain and message.
class CheapSigner : public Signer {
 public:
  explicit CheapSigner(std::uint8_t who) { id_.value.fill(who); }
  const NodeId& id() const override { return id_; }
  Signature Sign(std::string_view domain, std::span<const std::uint8_t> message) const override {
    return Of(id_, domain, message);
  }
  bool Holds(const NodeId& signer, std::string_view domain, std::span<const std::uint8_t> message,
             const Signature& signature) const override {
    return Of(signer, domain, message) == signature;
  }

 private:
  static Signature Of(const NodeId& who, std::string_view domain,
                      std::span<const std::uint8_t> message) {
    Sha256Hasher hasher;
    hasher.Update(std::span<const std::uint8_t>(who.value));
    hasher.Update({reinterpret_cast<const std::uint8_t*>(domain.data()), domain.size()});
    const Digest256 digest = hasher.Update(message).Finish();
    Signature signature{};
    std::copy(digest.begin(), digest.end(), signature.begin());
    return signature;
  }
  NodeId id_;
};

inline ModelConfig TinyConfig() {
  ModelConfig c = testing_models::AnswerConfig(true);
  c.vocab = 70;  // ragged tiles, a ragged quad of the race
  c.hidden = 48;
  c.intermediate = 40;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.layers = 1;
  c.qkv_bias = false;  // what a config.json of this family can say
  c.window = {};
  c.max_positions = 64;
  return c;
}

class RolloutGame {
 public:
  static constexpr std::uint32_t kBatches = 3, kGroup = 2, kTokens = 5;

  explicit RolloutGame(ModelConfig config = TinyConfig(), NumericsConfig numerics = {})
      : config_(std::move(config)), pool_(1), signers_{CheapSigner(1), CheapSigner(2)} {
    EXPECT_TRUE(CheckWritable(config_).has_value());
    policy_ = PolicyState::Of(
        StateOf(config_, numerics),
        StateTensors(StateOf(config_, numerics), testing_models::AnswerParameters(config_)));
    for (std::uint32_t s = 0; s < kBatches * kGroup; ++s) {
      SequenceSpec spec;
      spec.prompt = SomeTokens(3 + s, config_.vocab);
      spec.stop_ids = {static_cast<TokenId>(7)};
      spec.temperature = s == 1 ? 0.0f : 1.0f;
      if (s == 2) spec.top_p = 0.9f;
      spec.key0 = 11;
      spec.key1 = 22;
      spec.sample = s;
      spec.tokens_max = kTokens - s % 2;
      specs_.push_back(std::move(spec));
    }
    RunProgram& p = terms_.program;
    p.config = WriteModelConfig(config_, "float32");
    p.weights = static_cast<std::uint8_t>(numerics.weights);
    p.kv = static_cast<std::uint8_t>(numerics.kv);
    p.state = policy_.root;
    p.units = kBatches;
    p.group = kGroup;
    p.tokens_max = kTokens;
    p.data = SpecRoot(specs_);
    terms_.a = signers_[0].id();
    terms_.b = signers_[1].id();
    model_ = *ModelOf(p);
    for (std::size_t s = 0; s < specs_.size(); ++s) claims_.push_back(Respond(s, {}));
  }

  const DisputeTerms& terms() const { return terms_; }
  const CheapSigner& signer(int side) const { return signers_[side]; }
  const std::vector<SequenceSpec>& specs() const { return specs_; }
  const RolloutClaims& honest_claims() const { return claims_; }
  const PolicyState& policy() const { return policy_; }
  const RunModel& model() const { return model_; }
  ThreadPool& pool() { return pool_; }

  Program ProgramAt(std::size_t sequence, std::uint32_t token) const {
    return *TokenProgram(model_, specs_[sequence], Prefix(claims_[sequence], token));
  }

  // One token of a response under some lies.
  TokenRecord Draw(std::size_t sequence, std::span<const TokenRecord> before, const Lies& lies,
                   const PolicyState* policy = nullptr) {
    const std::vector<TokenId> prefix = Prefix(before, static_cast<std::uint32_t>(before.size()));
    auto program = std::make_unique<Program>(*TokenProgram(model_, specs_[sequence], prefix));
    std::vector<TokenId> tokens = specs_[sequence].prompt;
    tokens.insert(tokens.end(), prefix.begin(), prefix.end());
    const PolicyState& state = policy != nullptr ? *policy : policy_;
    ProgramInputs inputs{[&](std::uint32_t i, std::uint8_t) { return &state.tensors[i]; },
                         {TokensTensor(tokens)}};
    UnitGraph graph(std::move(program), std::move(inputs), state.records, BestOps(), pool_,
                    1u << 30, lies);
    const Operand& token = graph.program().results[0];
    const Operand& logp = graph.program().results[1];
    return {static_cast<std::uint32_t>(before.size()),
            static_cast<TokenId>(graph.execution().Tensor(token).Cell(0)),
            graph.execution().Tensor(logp).Cell(0)};
  }

  std::vector<TokenRecord> Respond(std::size_t sequence, const Lies& lies) {
    std::vector<TokenRecord> response;
    while (!IsOver(specs_[sequence], Prefix(response, static_cast<std::uint32_t>(response.size()))))
      response.push_back(Draw(sequence, response, lies));
    return response;
  }

  RolloutParty::Setting Setting(const PolicyState* policy = nullptr) {
    return {[p = policy != nullptr ? policy : &policy_] { return p; }, specs_, BestOps(), pool_};
  }
  std::unique_ptr<RolloutParty> Honest(std::uint8_t side) {
    return std::make_unique<RolloutParty>(terms_, side, Setting(),
                                          std::make_shared<const RolloutClaims>(claims_));
  }
  // Lies about one token of one sequence, which must be there; what follows is made up.
  std::unique_ptr<RolloutParty> Liar(std::uint8_t side, std::size_t sequence, std::uint32_t token,
                                     Lies lies, const PolicyState* policy = nullptr) {
    RolloutClaims claims = claims_;
    std::vector<TokenRecord>& claim = claims[sequence];
    const TokenRecord honest = claim[token];
    const TokenRecord drawn = Draw(sequence, std::span(claim).first(token), lies, policy);
    claim.resize(token);
    claim.push_back(drawn);
    if (drawn == honest) {
      // The lie drowned on the way to the result: put another one on top.
      claim.back().logp ^= 1;
      const auto last = static_cast<std::uint32_t>(ProgramAt(sequence, token).nodes.size() - 1);
      lies.outputs = [inner = std::move(lies.outputs), last](std::uint32_t node,
                                                             std::vector<HostTensor>& out) {
        if (inner) inner(node, out);
        if (node == last) out[1].SetCell(0, out[1].Cell(0) ^ 1);
      };
    }
    return std::make_unique<RolloutParty>(terms_, side, Setting(policy),
                                          std::make_shared<const RolloutClaims>(std::move(claims)),
                                          std::move(lies));
  }

  // Flips one bit of one element of an output.
  static Lies WrongBit(std::uint32_t node, std::uint8_t slot, std::uint64_t element,
                       std::uint32_t bit = 0) {
    Lies lies;
    lies.outputs = [=](std::uint32_t n, std::vector<HostTensor>& out) {
      // Asked about another token, the node may be smaller.
      if (n == node && element < out[slot].type.elements())
        out[slot].SetCell(element, out[slot].Cell(element) ^ (1u << bit));
    };
    return lies;
  }

  // Plays, and checks that the evidence leads to the verdict again.
  DisputeVerdict Play(DisputeParty& a, DisputeParty& b, RefereeStats* stats = nullptr,
                      DisputeEvidence* evidence = nullptr) {
    auto referee = Referee::Open(terms_, signers_[0], 0);
    EXPECT_TRUE(referee.has_value());
    RunDispute(*referee, a, b, signers_[0], signers_[1]);
    const DisputeEvidence found = referee->evidence();
    const auto read = DecodeDisputeEvidence(Encode(found));
    EXPECT_TRUE(read.has_value());
    const Status again = CheckDisputeEvidence(*read, signers_[0]);
    EXPECT_TRUE(again.has_value()) << again.error().what;
    if (stats != nullptr) *stats = referee->stats();
    if (evidence != nullptr) *evidence = found;
    return *referee->verdict();
  }

  static std::vector<TokenId> Prefix(std::span<const TokenRecord> claim, std::uint32_t n) {
    std::vector<TokenId> prefix;
    for (std::uint32_t i = 0; i < n; ++i) prefix.push_back(claim[i].token);
    return prefix;
  }

 private:
  ModelConfig config_;
  ThreadPool pool_;
  CheapSigner signers_[2];
  PolicyState policy_;
  std::vector<SequenceSpec> specs_;
  DisputeTerms terms_;
  RunModel model_;
  RolloutClaims claims_;
};

// Answers as another party does, but for what `change` does to it; false: silence.
class Meddler : public DisputeParty {
 public:
  using Change = std::function<bool(const DisputeRequest&, DisputeReply&)>;
  Meddler(DisputeParty& inner, Change change) : inner_(inner), change_(std::move(change)) {}
  std::optional<DisputeReply> Answer(const DisputeRequest& request) override {
    auto reply = inner_.Answer(request);
    if (reply && !change_(request, *reply)) return std::nullopt;
    return reply;
  }

 private:
  DisputeParty& inner_;
  Change change_;
};

}  // namespace waggle::testing_dispute
