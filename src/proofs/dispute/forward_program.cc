#include <numeric>
#include <optional>

#include "model/rope.h"
#include "proofs/dispute/graph_builder.h"

namespace waggle {

Status CheckKnown(const ModelConfig& config, const NumericsConfig& numerics) {
  if (config.experts > 0)
    return Fail(Blame::kOperator, "disputes about mixtures of experts are not supported");
  if (numerics.weights != WeightFormat::kF32 && numerics.weights != WeightFormat::kBf16)
    return Fail(Blame::kOperator, "disputes about {} weights are not supported",
                ToString(numerics.weights));
  if (config.value_head) return Fail(Blame::kOperator, "a critic draws no tokens");
  return Validate(config);
}

std::vector<StateEntry> StateOf(const ModelConfig& config, const NumericsConfig& numerics) {
  const Element element = numerics.weights == WeightFormat::kBf16 ? Element::kBf16 : Element::kF32;
  std::vector<StateEntry> state;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    TensorType type{element, {}};
    for (const std::size_t dim : spec.shape) type.dims.push_back(dim);
    state.push_back({spec.name, std::move(type)});
  }
  return state;
}

ForwardGraph::ForwardGraph(GraphBuilder& graph, const ModelConfig& config,
                           const NumericsConfig& numerics)
    : graph_(graph),
      config_(config),
      numerics_(numerics),
      head_(config.tied_head ? "model.embed_tokens.weight" : "lm_head.weight"),
      states_(TensorSpecs(config).size()) {}

Operand ForwardGraph::Weight(const std::string& name) {
  const Operand state = graph_.State(name);
  if (rounded_.empty()) return state;
  std::optional<Operand>& rounded = rounded_[state.index];
  if (!rounded) {
    const bool line = graph_.Rows(state) == 1;
    TensorType type = GraphBuilder::Matrix(graph_.Rows(state), graph_.Cols(state));
    if (line) type.dims = {graph_.Cols(state)};
    rounded = graph_.Node(NodeOp::kRoundBf16, {state}, {type});
  }
  return *rounded;
}

Operand ForwardGraph::RopeTable(std::size_t positions, bool sine) {
  auto& tables = sine ? sin_ : cos_;
  for (const auto& [n, operand] : tables)
    if (n == positions) return operand;
  const auto table = RopeTables(config_).Covering(positions);
  const std::size_t half = config_.head_dim / 2;
  HostTensor tensor = HostTensor::Zero({Element::kF32, {positions, half}});
  const AlignedVector<float>& from = sine ? table->sin : table->cos;
  std::copy_n(from.begin(), positions * half, tensor.data.begin());
  tables.emplace_back(positions, graph_.Constant(std::move(tensor)));
  return tables.back().second;
}

Operand ForwardGraph::Gemm(const Operand& x, const std::string& linear, bool bias) {
  const Operand w = Weight(linear + ".weight");
  std::vector<Operand> inputs{x, w};
  if (bias) inputs.push_back(Weight(linear + ".bias"));
  const std::uint64_t rows = graph_.Rows(x);
  const TensorType type = GraphBuilder::Matrix(rows, graph_.Rows(w));
  return graph_.Node(NodeOp::kGemm, std::move(inputs), {type},
                     {numerics_.kshards, 0, static_cast<std::uint32_t>(rows)});
}

Operand ForwardGraph::Norm(const Operand& x, const std::string& name, std::uint64_t group) {
  return graph_.Same(NodeOp::kNorm, {x, Weight(name)},
                     {static_cast<std::uint32_t>(group), Bits(config_.norm_eps)});
}

Operand ForwardGraph::Embed(const Operand& tokens) {
  const Operand table = Weight("model.embed_tokens.weight");
  return graph_.Node(NodeOp::kEmbed, {table, tokens},
                     {GraphBuilder::Matrix(graph_.Cols(tokens), config_.hidden)});
}

Operand ForwardGraph::FinalNorm(const Operand& x) {
  return Norm(x, "model.norm.weight", config_.hidden);
}

LayerNodes ForwardGraph::Layer(std::size_t layer, const Operand& x, bool taped) {
  const ModelConfig& c = config_;
  const std::string prefix = LayerPrefix(layer), attention = prefix + "self_attn.";
  LayerNodes n;
  n.x_in = x;
  n.h = Norm(x, prefix + "input_layernorm.weight", c.hidden);
  n.q = n.q_raw = Gemm(n.h, attention + "q_proj", c.qkv_bias);
  n.k = n.k_raw = Gemm(n.h, attention + "k_proj", c.qkv_bias);
  n.v = Gemm(n.h, attention + "v_proj", c.qkv_bias);
  if (c.qk_norm) {
    n.q = Norm(n.q, attention + "q_norm.weight", c.head_dim);
    n.k = Norm(n.k, attention + "k_norm.weight", c.head_dim);
  }
  const auto dh = static_cast<std::uint32_t>(c.head_dim);
  if (c.HasRope(layer)) {
    const std::size_t positions = graph_.Rows(x);
    const Operand cosine = RopeTable(positions, false), sine = RopeTable(positions, true);
    n.q = graph_.Same(NodeOp::kRope, {n.q, cosine, sine}, {dh, 0});
    n.k = graph_.Same(NodeOp::kRope, {n.k, cosine, sine}, {dh, 0});
  }
  if (numerics_.kv == KvFormat::kBf16) {
    n.k = graph_.Same(NodeOp::kRoundBf16, {n.k});
    n.v = graph_.Same(NodeOp::kRoundBf16, {n.v});
  }
  const std::uint64_t rows = graph_.Rows(x);
  std::vector<TensorType> outputs{GraphBuilder::Matrix(rows, c.q_width())};
  if (taped) outputs.push_back(GraphBuilder::Matrix(rows, c.heads));
  n.attn = graph_.Node(NodeOp::kAttention, {n.q, n.k, n.v}, std::move(outputs),
                       {static_cast<std::uint32_t>(c.heads), static_cast<std::uint32_t>(c.kv_heads),
                        dh, static_cast<std::uint32_t>(c.Window(layer)), taped ? 1u : 0u});
  n.lse = GraphBuilder::Slot(n.attn, 1);
  n.x_mid = graph_.Same(NodeOp::kAdd, {x, Gemm(n.attn, attention + "o_proj", c.o_bias)});
  n.h2 = Norm(n.x_mid, prefix + "post_attention_layernorm.weight", c.hidden);
  n.gate = Gemm(n.h2, prefix + "mlp.gate_proj", c.mlp_bias);
  n.up = Gemm(n.h2, prefix + "mlp.up_proj", c.mlp_bias);
  n.act = graph_.Same(NodeOp::kSwiGlu, {n.gate, n.up});
  n.x_out = graph_.Same(NodeOp::kAdd, {n.x_mid, Gemm(n.act, prefix + "mlp.down_proj", c.mlp_bias)});
  return n;
}

Result<Program> ForwardProgram(const ModelConfig& config, const NumericsConfig& numerics,
                               std::size_t tokens, const DrawSpec& draw, bool masters) {
  WG_TRY(CheckKnown(config, numerics));
  if (tokens == 0 || tokens > config.max_positions)
    return Fail(Blame::kOperator, "{} tokens, the context is 1 to {}", tokens,
                config.max_positions);
  Program program;
  program.state = StateOf(config, masters ? NumericsConfig{} : numerics);
  GraphBuilder graph(program);
  ForwardGraph forward(graph, config, numerics);
  if (masters && numerics.weights == WeightFormat::kBf16) forward.UseRounded();
  const Operand ids = graph.Data({Element::kI32, {tokens}});
  Operand x = forward.Embed(ids);
  for (std::size_t l = 0; l < config.layers; ++l) {
    graph.Place(-1, static_cast<std::int32_t>(l));
    x = forward.Layer(l, x, false).x_out;
  }
  graph.Place(-1, -1);
  const Operand hidden = forward.FinalNorm(x);
  const Operand logits = graph.Node(NodeOp::kGemm, {hidden, forward.Weight(forward.HeadName())},
                                    {GraphBuilder::Matrix(1, config.vocab)},
                                    {numerics.kshards, static_cast<std::uint32_t>(tokens - 1), 1});
  const Operand drawn =
      graph.Node(NodeOp::kSample, {logits}, {{Element::kI32, {1}}, {Element::kF32, {1}}},
                 {Bits(draw.temperature), Bits(draw.top_p), Bits(draw.min_p), draw.top_k,
                  draw.key[0], draw.key[1], draw.sample, static_cast<std::uint32_t>(tokens)});
  program.results = {drawn, GraphBuilder::Slot(drawn, 1)};
  return program;
}

}  // namespace waggle
