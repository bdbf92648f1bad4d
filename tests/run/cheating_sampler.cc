// For tests: somebody who was given rollouts to sample and does it wrong at one place, commits to
// what comes of it, and answers for it as consistently as it can. It can be slow, and can die at a
// question.
//
//   cheating_sampler RECIPE FOLDER LIE SEQUENCE TOKEN SLOW_MS DIE_AT [SECTION.KEY=VALUE...]
//
// LIE: weights (SEQUENCE from another policy than the one that was named), token (another token at
// this place, then the response goes on from it), logp (one bit of its log-prob), none. DIE_AT: the
// question that it dies at; 0: at none. FOLDER gets invite.txt and lie.txt ("sequence token", as
// they turned out: the first place that differs from an honest run). It answers with the key in
// FOLDER/node.key, if there is one.
#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "crypto/key_file.h"
#include "delegation/answer_run.h"
#include "delegation/delegated_rollouts.h"
#include "unreliable_party.h"

namespace {

using namespace waggle;
namespace fs = std::filesystem;

struct Orders {
  std::string lie;
  std::uint64_t sequence = 0;
  std::uint32_t token = 0;
  int slow_ms = 0, die_at = 0;
};

class CheatingSampler : public Answerer {
 public:
  // honest: what an honest run of this work comes to.
  CheatingSampler(const RolloutWork& work, const TensorSource& policy, RolloutClaims honest,
                  const Orders& orders)
      : work_(work), orders_(orders), pool_(1), honest_(std::move(honest)), claims_(honest_) {
    const auto entries = StateOf(work.model.config, work.model.numerics);
    policy_ = PolicyStateOf(entries, policy);
    if (orders.lie == "none") return;
    if (orders.lie == "weights") {
      // Says the root that was named, of weights that it has not.
      HostTensor& head = policy_.tensors.front();
      for (std::uint64_t i = 0; i < head.type.elements(); i += 7)
        head.SetCell(i, std::bit_cast<std::uint32_t>(std::bit_cast<float>(head.Cell(i)) * 1.25f));
      claims_[orders.sequence] = Respond(orders.sequence, {});
      return;
    }
    lies_.outputs = [this](std::uint32_t node, std::vector<HostTensor>& out) {
      if (node != last_) return;
      if (orders_.lie == "token")
        out[0].SetCell(0, (out[0].Cell(0) + 1) % work_.model.config.vocab);
      else
        out[1].SetCell(0, out[1].Cell(0) ^ 1);
    };
    claims_[orders.sequence] = Respond(orders.sequence, honest_[orders.sequence]);
  }
  // Where the first difference from an honest run is.
  std::pair<std::size_t, std::size_t> Place() const {
    for (std::size_t s = 0; s < honest_.size(); ++s) {
      std::size_t t = 0;
      while (t < honest_[s].size() && t < claims_[s].size() && honest_[s][t] == claims_[s][t]) ++t;
      if (t < std::max(honest_[s].size(), claims_[s].size())) return {s, t};
    }
    return {honest_.size(), 0};
  }

  const RunProgram& program() const override { return work_.run; }
  RunCommit Commit() override {
    std::vector<Digest256> roots;
    for (const auto& claim : claims_) roots.push_back(TokenRoot(claim, work_.run.tokens_max));
    return {BatchTree(work_.run, roots).root(), ProgramHash(work_.run)};
  }
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override {
    auto party =
        std::make_unique<RolloutParty>(terms, side,
                                       RolloutParty::Setting{.policy = [this] { return &policy_; },
                                                             .specs = work_.specs,
                                                             .ops = BestOps(),
                                                             .pool = pool_},
                                       std::make_shared<const RolloutClaims>(claims_), lies_);
    return std::make_unique<Unreliable>(std::move(party), orders_.slow_ms, orders_.die_at);
  }

 private:
  TokenRecord Draw(std::size_t sequence, const std::vector<TokenRecord>& before, const Lies& lies) {
    std::vector<TokenId> prefix, tokens = work_.specs[sequence].prompt;
    for (const TokenRecord& token : before) prefix.push_back(token.token);
    tokens.insert(tokens.end(), prefix.begin(), prefix.end());
    auto program =
        std::make_unique<Program>(*TokenProgram(work_.model, work_.specs[sequence], prefix));
    last_ = static_cast<std::uint32_t>(program->nodes.size() - 1);
    ProgramInputs inputs{[this](std::uint32_t i, std::uint8_t) { return &policy_.tensors[i]; },
                         {TokensTensor(tokens)}};
    UnitGraph graph(std::move(program), std::move(inputs), policy_.records, BestOps(), pool_,
                    1u << 30, lies);
    const Operand &token = graph.program().results[0], &logp = graph.program().results[1];
    return {static_cast<std::uint32_t>(before.size()),
            static_cast<TokenId>(graph.execution().Tensor(token).Cell(0)),
            graph.execution().Tensor(logp).Cell(0)};
  }

  // honest: it says the same until orders_.token, where it lies; empty: the truth about the policy
  // that it has.
  std::vector<TokenRecord> Respond(std::size_t sequence, const std::vector<TokenRecord>& honest) {
    std::vector<TokenRecord> response;
    std::vector<TokenId> prefix;
    while (!honest.empty() && response.size() < orders_.token) {
      response.push_back(honest[response.size()]);
      prefix.push_back(response.back().token);
    }
    while (!IsOver(work_.specs[sequence], prefix)) {
      const bool lie = !honest.empty() && response.size() == orders_.token;
      response.push_back(Draw(sequence, response, lie ? lies_ : Lies{}));
      prefix.push_back(response.back().token);
    }
    return response;
  }

  const RolloutWork& work_;
  const Orders orders_;
  ThreadPool pool_;
  PolicyState policy_;
  Lies lies_;
  std::uint32_t last_ = 0;
  RolloutClaims honest_, claims_;
};

Status Cheat(const fs::path& recipe_file, const fs::path& folder, const Orders& orders,
             const std::vector<std::string>& overrides) {
  WG_ASSIGN(RolloutRecipe recipe, ReadRolloutRecipe(recipe_file));
  WG_TRY(OverrideAll(recipe, overrides));
  WG_ASSIGN(const RolloutWork work, OpenRolloutWork(std::move(recipe)));
  WG_ASSIGN(const auto policy, OpenPolicy(work.recipe));
  fs::create_directories(folder);
  ThreadPool pool(1);
  WG_TRY(SampleRollouts(work, folder, BestOps(), pool, {}));
  WG_ASSIGN(RolloutClaims honest, ResponseLog::Read(folder, work.run.tokens_max));
  CheatingSampler sampler(work, *policy, std::move(honest), orders);
  const auto [sequence, token] = sampler.Place();
  WG_TRY(WriteFileAtomic(folder / "lie.txt", fmt::format("{} {}\n", sequence, token)));
  KeyPair key = KeyPair::Generate();
  if (fs::exists(folder / "node.key")) {
    WG_ASSIGN(key, ReadKeyFile(folder / "node.key", ""));
  }
  return AnswerIn(folder, sampler, key);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 8) return 2;
  const Orders orders{argv[3], std::strtoull(argv[4], nullptr, 10),
                      static_cast<std::uint32_t>(std::atoi(argv[5])), std::atoi(argv[6]),
                      std::atoi(argv[7])};
  return ExitCodeOf(Cheat(argv[1], argv[2], orders, {argv + 8, argv + argc}));
}
