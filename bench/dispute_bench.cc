// What a dispute about one token of a rollout costs on a policy of the shape of Qwen2.5-0.5B with
// bf16 weights (random): bytes to the referee, its seconds, rounds, seconds of the parties. One row
// per kind of operation that the lie is planted in.
//
//   ninja dispute_bench && build/release/bin/dispute_bench [tokens]
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "crypto/identity.h"
#include "kernels/math.h"
#include "proofs/dispute/party.h"
#include "proofs/dispute/referee.h"
#include "proofs/dispute/tile_export.h"

namespace waggle {
namespace {

double Seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

ModelConfig Shape() {
  ModelConfig c;
  c.architecture = "Qwen2ForCausalLM";
  c.vocab = 151936;
  c.hidden = 896;
  c.intermediate = 4864;
  c.layers = 24;
  c.heads = 14;
  c.kv_heads = 2;
  c.head_dim = 64;
  c.max_positions = 32768;
  c.norm_eps = 1e-6f;
  c.rope_theta = 1e6;
  c.tied_head = true;
  c.qkv_bias = true;
  return c;
}

std::vector<HostTensor> RandomWeights(const std::vector<StateEntry>& entries) {
  std::vector<HostTensor> tensors;
  std::uint32_t stream = 0;
  for (const StateEntry& entry : entries) {
    HostTensor tensor = HostTensor::Zero(entry.type);
    const bool norm = entry.name.find("norm") != std::string::npos;
    ++stream;
    for (std::size_t i = 0; i < tensor.halves.size(); i += 4) {
      const PhiloxCounter words = Philox({static_cast<std::uint32_t>(i / 4), stream, 0, 0}, {1, 2});
      for (std::size_t k = 0; k < 4 && i + k < tensor.halves.size(); ++k) {
        const float u = static_cast<float>(words[k] >> 8) * 0x1p-24f - 0.5f;
        tensor.halves[i + k] = Bf16FromFloat(norm ? 1.0f : 0.07f * u);
      }
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

struct Setup {
  ThreadPool pool{HardwareThreads()};
  KeyPair keys[2] = {KeyPair::Generate(), KeyPair::Generate()};
  PolicyState policy;
  std::vector<SequenceSpec> specs;
  DisputeTerms terms;

  explicit Setup(std::size_t tokens) {
    const ModelConfig config = Shape();
    const NumericsConfig numerics{.weights = WeightFormat::kBf16};
    double at = Seconds();
    const std::vector<StateEntry> entries = StateOf(config, numerics);
    std::vector<HostTensor> weights = RandomWeights(entries);
    std::printf("weights made in %.1f s\n", Seconds() - at);
    at = Seconds();
    policy = PolicyState::Of(entries, std::move(weights));
    std::printf("state root of %zu tensors in %.1f s\n", entries.size(), Seconds() - at);
    SequenceSpec spec;
    for (std::size_t i = 0; i < tokens; ++i)
      spec.prompt.push_back(static_cast<TokenId>((i * 7919 + 13) % config.vocab));
    spec.key0 = 3;
    spec.tokens_max = 4;
    specs.push_back(spec);
    RunProgram& p = terms.program;
    p.config = WriteModelConfig(config, "bfloat16");
    p.weights = static_cast<std::uint8_t>(numerics.weights);
    p.state = policy.root;
    p.units = 1;
    p.group = 1;
    p.tokens_max = 4;
    p.data = SpecRoot(specs);
    terms.a = keys[0].id();
    terms.b = keys[1].id();
  }
  RolloutParty::Setting Setting() {
    return {policy, specs, BestOps(), pool, std::uint64_t{800} << 20};
  }
};

// Claims one token; an honest claim is what its own graph draws, a lie flips a bit of the log-prob.
RolloutClaims Claim(TokenRecord token) { return {{token}}; }

struct Cost {
  double referee = 0, slowest = 0, a = 0, b = 0;
};

void Report(const char* name, const Referee& referee, const Cost& cost) {
  const DisputeVerdict& v = *referee.verdict();
  std::printf("%-14s %-9s node %3u  rounds %2u  %7.1f kB in  referee %.3f s (slowest step %.3f)  "
              "%5.1f M operations  a %.1f s  b %.1f s\n",
              name, ToString(v.reason), v.node, referee.stats().rounds,
              static_cast<double>(referee.stats().bytes_in) / 1e3, cost.referee, cost.slowest,
              static_cast<double>(referee.stats().tile_work) / 1e6, cost.a, cost.b);
  std::fflush(stdout);
}

void Play(Setup& setup, const char* name, DisputeParty& a, DisputeParty& b) {
  auto referee = Referee::Open(setup.terms, setup.keys[0], {}, 0);
  Cost cost;
  while (!referee->verdict()) {
    const std::vector<DisputeRequest> requests = referee->requests();
    for (const DisputeRequest& request : requests) {
      double at = Seconds();
      const auto reply = (request.party == 0 ? a : b).Answer(request);
      const SignedReply signed_reply = Sign(setup.keys[request.party], *reply);
      (request.party == 0 ? cost.a : cost.b) += Seconds() - at;
      at = Seconds();
      if (const Status ok = referee->Deliver(1, signed_reply); !ok)
        std::printf("refused: %s\n", ok.error().what.c_str());
      cost.referee += Seconds() - at;
      cost.slowest = std::max(cost.slowest, Seconds() - at);
    }
  }
  Report(name, *referee, cost);
  const Referee::DecidedTile* tile = referee->decided_tile();
  if (tile == nullptr) return;
  const TileExport text{tile->what, tile->code, tile->memory, tile->expected};
  const double at = Seconds();
  const Status ok = CheckTileExport(text);
  std::printf("  %s: integers alone %s in %.2f s; evidence %.1f kB\n", tile->what.c_str(),
              ok ? "agree" : "DIFFER", Seconds() - at,
              static_cast<double>(Encode(referee->evidence()).size()) / 1e3);
}

}  // namespace

int DisputeBench(int argc, char** argv) {
  Setup setup(argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 256);
  const RunModel model = *ModelOf(setup.terms.program);
  const Program program = *TokenProgram(model, setup.specs[0], {});
  // The honest claim: one execution.
  double at = Seconds();
  Execution run(program,
                {[&](std::uint32_t i, std::uint8_t) { return &setup.policy.tensors[i]; },
                 {TokensTensor(setup.specs[0].prompt)}},
                BestOps(), setup.pool, 0);
  const TokenRecord honest{0, static_cast<TokenId>(run.Tensor(program.results[0]).Cell(0)),
                           run.Tensor(program.results[1]).Cell(0)};
  std::printf("execution with %zu node records in %.1f s (%s, %u threads)\n", program.nodes.size(),
              Seconds() - at, BestOps().name, HardwareThreads());
  RolloutParty truth(setup.terms, 1, setup.Setting(), Claim(honest));
  const auto last = static_cast<std::uint32_t>(program.nodes.size() - 1);
  const std::size_t layer = 12;
  for (const NodeOp op : {NodeOp::kEmbed, NodeOp::kNorm, NodeOp::kGemm, NodeOp::kRope,
                          NodeOp::kAttention, NodeOp::kSwiGlu, NodeOp::kSample}) {
    std::uint32_t node = last;
    for (std::uint32_t n = 0; n < program.nodes.size(); ++n) {
      const bool here = program.nodes[n].layer == static_cast<std::int32_t>(layer) ||
                        op == NodeOp::kEmbed;
      // Of the matrix products the last of the layer: down_proj, the longest sums.
      if (program.nodes[n].op == op && here) node = n;
    }
    TokenRecord lie = honest;
    lie.logp ^= 1;
    Lies lies;
    lies.outputs = [=](std::uint32_t n, std::vector<HostTensor>& out) {
      if (n == node && n != last) {
        const std::uint64_t end = out[0].type.elements() - 1;
        out[0].SetCell(end, out[0].Cell(end) ^ 1);
      }
      // Whatever became of it, the result is the claimed one.
      if (n == last) {
        out[0].SetCell(0, static_cast<std::uint32_t>(lie.token));
        out[1].SetCell(0, lie.logp);
      }
    };
    RolloutParty liar(setup.terms, 0, setup.Setting(), Claim(lie), lies);
    Play(setup, ToString(op), liar, truth);
  }
  return 0;
}

}  // namespace waggle

int main(int argc, char** argv) { return waggle::DisputeBench(argc, argv); }
