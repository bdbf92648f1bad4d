// What a dispute about one token of a rollout costs on a policy of the shape of Qwen2.5-0.5B with
// bf16 weights (random): bytes to the referee, its seconds, rounds, seconds of the parties. One row
// per kind of operation that the lie is planted in.
//
//   ninja dispute_bench && build/release/bin/dispute_bench [tokens] [rows]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "crypto/identity.h"
#include "kernels/math.h"
#include "proofs/dispute/party.h"
#include "proofs/dispute/referee.h"
#include "proofs/dispute/tile_export.h"
#include "proofs/dispute/tile_job.h"

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
    return {[this] { return &policy; }, specs, BestOps(), pool, std::uint64_t{800} << 20};
  }
};

// Claims one token; an honest claim is what its own graph draws, a lie flips a bit of the log-prob.
std::shared_ptr<const RolloutClaims> Claim(TokenRecord token) {
  return std::make_shared<const RolloutClaims>(RolloutClaims{{token}});
}

struct Cost {
  double referee = 0, slowest = 0, a = 0, b = 0;
};

void Report(const char* name, const Referee& referee, const Cost& cost) {
  const DisputeVerdict& v = *referee.verdict();
  std::printf(
      "%-14s %-9s node %3u  rounds %2u  %7.1f kB in  referee %.3f s (slowest step %.3f)  "
      "%5.1f M operations  a %.1f s  b %.1f s\n",
      name, ToString(v.reason), v.node, referee.stats().rounds,
      static_cast<double>(referee.stats().bytes_in) / 1e3, cost.referee, cost.slowest,
      static_cast<double>(referee.stats().tile_work) / 1e6, cost.a, cost.b);
  std::fflush(stdout);
}

void Play(Setup& setup, const char* name, DisputeParty& a, DisputeParty& b) {
  auto referee = Referee::Open(setup.terms, setup.keys[0], 0);
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

struct Dearest {
  std::uint64_t bytes = 0, work = 0;
  double seconds = 0;
  std::string what;
};

void Compare(const Program& program, std::uint32_t n, std::uint8_t slot, std::uint64_t tile,
             const std::vector<HostTensor>& data, Dearest& most) {
  const Node& node = program.nodes[n];
  const auto job = MakeTileJob(program, n, slot, tile, [&](std::uint32_t i) { return &data[i]; });
  if (!job) {
    std::printf("%s: %s\n", Describe(program, n).c_str(), job.error().what.c_str());
    return;
  }
  std::uint64_t bytes = 0;
  for (std::uint8_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i].source == Source::kConst) continue;
    const TensorType& type = program.TypeOf(node.inputs[i]);
    for (const std::uint64_t t : TilesOfInput(program, node, *job, i))
      bytes += TileBytesOf(type, t);
  }
  if (bytes < most.bytes) return;
  std::vector<std::uint32_t> memory(job->code.cells, 0x3C23D70Au);  // 0.01
  const double at = Seconds();
  RunTile(job->code, memory);
  most = {bytes, WorkOf(job->code), Seconds() - at, Describe(program, n)};
}

// What the last tile of a training step would cost a referee: bytes of the tiles that feed it and
// its seconds, the dearest tile of each kind of operation. Nothing is executed; the values are made
// up.
void StepTiles(std::size_t rows) {
  RunProgram run;
  run.kind = DisputeKind::kTraining;
  run.clip = true;
  run.clip_high = 0x3FF00000u;
  const RunModel model{Shape(), {.weights = WeightFormat::kBf16}};
  StepSpec spec;
  spec.rows = {static_cast<std::uint32_t>(rows)};
  spec.inv_temperature = {0x3F800000u};
  spec.weight_decay.resize(StateOf(model.config, {}).size());
  const Program program = *StepProgramOf(run, model, spec);
  std::vector<HostTensor> data;
  for (const TensorType& type : program.data) data.push_back(HostTensor::Zero(type));
  for (std::size_t i = 0; i < rows; ++i)
    for (const std::size_t tensor : {0, 1})
      data[tensor].SetCell(i, static_cast<std::uint32_t>((i * 7919 + 13) % model.config.vocab));
  std::printf("training step of one sample of %zu rows: %zu nodes\n", rows, program.nodes.size());
  std::map<NodeOp, Dearest> kinds;
  for (std::uint32_t n = 0; n < program.nodes.size(); ++n) {
    const Node& node = program.nodes[n];
    if (node.layer > 0) continue;  // layers are alike
    for (std::uint8_t slot = 0; slot < node.outputs.size(); ++slot) {
      // Late queries see the most keys, early keys the most queries.
      for (const std::uint64_t tile : {std::uint64_t{0}, TilesOf(node.outputs[slot]) - 1})
        Compare(program, n, slot, tile, data, kinds[node.op]);
    }
  }
  for (const auto& [op, most] : kinds)
    std::printf("%-18s %7.1f kB  %.3f s  %5.1f M operations  (%s)\n", ToString(op),
                static_cast<double>(most.bytes) / 1e3, most.seconds,
                static_cast<double>(most.work) / 1e6, most.what.c_str());
}

}  // namespace

int DisputeBench(int argc, char** argv) {
  const std::size_t step_rows = argc > 2 ? static_cast<std::size_t>(std::atoi(argv[2])) : 256;
  StepTiles(step_rows);
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
      const bool here =
          program.nodes[n].layer == static_cast<std::int32_t>(layer) || op == NodeOp::kEmbed;
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
