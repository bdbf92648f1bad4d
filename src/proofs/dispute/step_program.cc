// One optimizer step as a graph: model/forward.cc, head.cc, backward.cc and training/optimizer.cc,
// sample after sample. Gradients are running totals that pass from node to node, so every node
// reads one sample only; that is the order in which micro-batches add up too (sheet engine.md
// 2.12).
#include <map>

#include "base/check.h"
#include "kernels/packed_matrix.h"
#include "proofs/dispute/graph_builder.h"
#include "proofs/dispute/ground.h"

namespace waggle {
namespace {

constexpr std::uint64_t kLongSum = 4096;  // longer sums over features are cut into nodes
constexpr std::uint64_t kStatsChunk = 256, kSquaresChunk = 4096;

class StepGraph {
 public:
  StepGraph(Program& program, const RunProgram& run, const RunModel& model, const StepSpec& spec)
      : program_(program),
        run_(run),
        c_(model.config),
        numerics_(model.numerics),
        spec_(spec),
        graph_(program),
        forward_(graph_, c_, numerics_) {
    if (numerics_.weights == WeightFormat::kBf16) forward_.UseRounded();
  }

  void Build() {
    for (std::size_t s = 0; s < spec_.rows.size(); ++s) Sample(s);
    graph_.Place(-1, -1);
    Optimize();
  }

 private:
  static std::uint32_t U(std::size_t n) { return static_cast<std::uint32_t>(n); }

  // Adds to the running total of a gradient.
  void Accumulate(const std::string& name, NodeOp op, std::vector<Operand> inputs, TensorType type,
                  std::vector<std::uint32_t> attributes = {}) {
    const auto total = totals_.find(name);
    if (total != totals_.end()) inputs.push_back(total->second);
    totals_[name] = graph_.Node(op, std::move(inputs), {std::move(type)}, std::move(attributes));
  }

  Operand GemmBack(const Operand& dy, const std::string& weight) {
    const Operand w = forward_.Weight(weight);
    const TensorType type = GraphBuilder::Matrix(graph_.Rows(dy), graph_.Cols(w));
    const std::uint64_t n = graph_.Rows(w);
    if (numerics_.kshards > 1 || n <= kLongSum)
      return graph_.Node(NodeOp::kGemmBack, {dy, w}, {type}, {numerics_.kshards, 0, U(n)});
    Operand sum;
    for (std::uint64_t at = 0; at < n; at += kLongSum) {
      std::vector<Operand> inputs{dy, w};
      if (at > 0) inputs.push_back(sum);
      sum = graph_.Node(NodeOp::kGemmBack, std::move(inputs), {type},
                        {1, U(at), U(std::min(at + kLongSum, n))});
    }
    return sum;
  }

  // dW, db, and dX.
  Operand Linear(const std::string& name, bool bias, const Operand& x, const Operand& dy) {
    const std::uint64_t n = graph_.Cols(dy), k = graph_.Cols(x);
    Accumulate(name + ".weight", NodeOp::kOuter, {dy, x}, GraphBuilder::Matrix(n, k));
    if (bias) Accumulate(name + ".bias", NodeOp::kOuterBias, {dy}, GraphBuilder::Matrix(1, n));
    return GemmBack(dy, name + ".weight");
  }

  Operand Norm(const std::string& name, std::uint64_t group, const Operand& x, const Operand& dy) {
    const std::vector<std::uint32_t> attributes{U(group), Bits(c_.norm_eps)};
    const Operand r =
        graph_.Node(NodeOp::kInverseRms, {x},
                    {GraphBuilder::Matrix(graph_.Rows(x), graph_.Cols(x) / group)}, attributes);
    Accumulate(name, NodeOp::kNormWeightGrad, {dy, x, r}, GraphBuilder::Matrix(1, group),
               attributes);
    return graph_.Same(NodeOp::kNormGrad, {dy, x, forward_.Weight(name)}, attributes);
  }

  Operand Head(std::size_t s, const Operand& hidden, const Operand& target, const Operand& u,
               const std::optional<Operand>& u_entropy) {
    const std::uint64_t rows = graph_.Rows(hidden);
    const std::uint64_t chunks = (c_.vocab + kStatsChunk - 1) / kStatsChunk;
    const std::uint32_t inverse = spec_.inv_temperature[s];
    const Operand w = forward_.Weight(forward_.HeadName());
    const Operand z =
        graph_.Node(NodeOp::kGemm, {hidden, w}, {GraphBuilder::Matrix(rows, c_.vocab)},
                    {numerics_.kshards, 0, U(rows)});
    const TensorType stats = GraphBuilder::Matrix(rows, chunks);
    const Operand m = graph_.Node(NodeOp::kChunkStats, {z},
                                  std::vector<TensorType>(u_entropy ? 3 : 2, stats), {inverse});
    std::vector<Operand> parts{m, GraphBuilder::Slot(m, 1)}, inputs{z};
    if (u_entropy) parts.push_back(GraphBuilder::Slot(m, 2));
    const Operand whole = graph_.Node(NodeOp::kFinishStats, parts, {GraphBuilder::Matrix(rows, 4)});
    inputs.insert(inputs.end(), {whole, target, u});
    if (u_entropy) inputs.push_back(*u_entropy);
    const Operand dz = graph_.Same(NodeOp::kLogProbGrad, inputs, {inverse});
    Accumulate(forward_.HeadName(), NodeOp::kOuter, {dz, hidden},
               GraphBuilder::Matrix(c_.vocab, c_.hidden));
    return GemmBack(dz, forward_.HeadName());
  }

  Operand Mlp(const std::string& prefix, const LayerNodes& n, const Operand& dx) {
    const Operand dact = Linear(prefix + "mlp.down_proj", c_.mlp_bias, n.act, dx);
    const TensorType type = GraphBuilder::Matrix(graph_.Rows(dx), c_.intermediate);
    const Operand dgate = graph_.Node(NodeOp::kSwiGluGrad, {n.gate, n.up, dact}, {type, type});
    const Operand from_gate = Linear(prefix + "mlp.gate_proj", c_.mlp_bias, n.h2, dgate);
    const Operand from_up =
        Linear(prefix + "mlp.up_proj", c_.mlp_bias, n.h2, GraphBuilder::Slot(dgate, 1));
    const Operand dh = graph_.Same(NodeOp::kAdd, {from_gate, from_up});
    const Operand back = Norm(prefix + "post_attention_layernorm.weight", c_.hidden, n.x_mid, dh);
    return graph_.Same(NodeOp::kAdd, {dx, back});
  }

  Operand Attention(std::size_t layer, const LayerNodes& n, const Operand& dx) {
    const std::string prefix = LayerPrefix(layer), attention = prefix + "self_attn.";
    const std::uint32_t dh = U(c_.head_dim);
    const std::uint64_t rows = graph_.Rows(dx);
    const Operand dattn = Linear(attention + "o_proj", c_.o_bias, n.attn, dx);
    const Operand dots = graph_.Node(NodeOp::kAttentionDot, {dattn, n.attn},
                                     {GraphBuilder::Matrix(rows, c_.heads)}, {dh});
    const TensorType kv = GraphBuilder::Matrix(rows, c_.kv_width());
    Operand dq = graph_.Node(NodeOp::kAttentionGrad, {n.q, n.k, n.v, n.attn, dattn, n.lse, dots},
                             {GraphBuilder::Matrix(rows, c_.q_width()), kv, kv},
                             {U(c_.heads), U(c_.kv_heads), dh, U(c_.Window(layer))});
    Operand dk = GraphBuilder::Slot(dq, 1);
    const Operand dv = GraphBuilder::Slot(dq, 2);
    if (c_.HasRope(layer)) {
      const Operand cosine = forward_.RopeTable(rows, false), sine = forward_.RopeTable(rows, true);
      dq = graph_.Same(NodeOp::kRope, {dq, cosine, sine}, {dh, 1});
      dk = graph_.Same(NodeOp::kRope, {dk, cosine, sine}, {dh, 1});
    }
    if (c_.qk_norm) {
      dq = Norm(attention + "q_norm.weight", c_.head_dim, n.q_raw, dq);
      dk = Norm(attention + "k_norm.weight", c_.head_dim, n.k_raw, dk);
    }
    const Operand from_q = Linear(attention + "q_proj", c_.qkv_bias, n.h, dq);
    const Operand from_k = Linear(attention + "k_proj", c_.qkv_bias, n.h, dk);
    const Operand both = graph_.Same(NodeOp::kAdd, {from_q, from_k});
    const Operand from_v = Linear(attention + "v_proj", c_.qkv_bias, n.h, dv);
    const Operand all = graph_.Same(NodeOp::kAdd, {both, from_v});
    const Operand back = Norm(prefix + "input_layernorm.weight", c_.hidden, n.x_in, all);
    return graph_.Same(NodeOp::kAdd, {dx, back});
  }

  void Sample(std::size_t s) {
    graph_.Place(static_cast<std::int32_t>(s), -1);
    const std::uint64_t rows = spec_.rows[s];
    const Operand tokens = graph_.Data({Element::kI32, {rows}});
    const Operand target = graph_.Data({Element::kI32, {rows}});
    const Operand u = graph_.Data({Element::kF32, {rows}});
    std::optional<Operand> u_entropy;
    if (spec_.entropy) u_entropy = graph_.Data({Element::kF32, {rows}});
    std::vector<LayerNodes> layers;
    Operand x = forward_.Embed(tokens);
    for (std::size_t l = 0; l < c_.layers; ++l) {
      graph_.Place(static_cast<std::int32_t>(s), static_cast<std::int32_t>(l));
      layers.push_back(forward_.Layer(l, x, true));
      x = layers.back().x_out;
    }
    graph_.Place(static_cast<std::int32_t>(s), -1);
    const Operand hidden = forward_.FinalNorm(x);
    Operand dx = Norm("model.norm.weight", c_.hidden, x, Head(s, hidden, target, u, u_entropy));
    for (std::size_t l = c_.layers; l-- > 0;) {
      graph_.Place(static_cast<std::int32_t>(s), static_cast<std::int32_t>(l));
      dx = Attention(l, layers[l], Mlp(LayerPrefix(l), layers[l], dx));
    }
    graph_.Place(static_cast<std::int32_t>(s), -1);
    Accumulate(c_.tied_head ? kLookup : "model.embed_tokens.weight", NodeOp::kEmbedGrad,
               {dx, tokens}, GraphBuilder::Matrix(c_.vocab, c_.hidden));
  }

  Operand ClipFactor(const std::vector<Operand>& gradients) {
    std::optional<Operand> sum;
    const TensorType scalar{Element::kU32, {2}};
    for (const Operand& g : gradients) {
      const std::uint64_t n = graph_.Rows(g) * graph_.Cols(g);
      const Operand squares =
          graph_.Node(NodeOp::kSquares, {g},
                      {GraphBuilder::Matrix((n + kSquaresChunk - 1) / kSquaresChunk, 1)});
      const Operand one = graph_.Node(NodeOp::kSquareFold, {squares}, {scalar});
      sum = sum ? graph_.Node(NodeOp::kAddScalars, {*sum, one}, {scalar}) : one;
    }
    return graph_.Node(NodeOp::kClip, {*sum}, {{Element::kF32, {1}}},
                       {run_.clip_low, run_.clip_high});
  }

  void Optimize() {
    const std::string embedding = "model.embed_tokens.weight";
    if (c_.tied_head)
      totals_[embedding] = graph_.Same(NodeOp::kAdd, {totals_.at(embedding), totals_.at(kLookup)});
    std::vector<Operand> gradients;
    for (const StateEntry& entry : program_.state) gradients.push_back(totals_.at(entry.name));
    std::optional<Operand> factor;
    if (run_.clip) factor = ClipFactor(gradients);
    for (std::size_t i = 0; i < program_.state.size(); ++i) {
      const std::string& name = program_.state[i].name;
      std::vector<Operand> inputs{graph_.State(name, 0), graph_.State(name, 1),
                                  graph_.State(name, 2), gradients[i]};
      if (factor) inputs.push_back(*factor);
      const TensorType& type = program_.state[i].type;
      const Operand next = graph_.Node(
          NodeOp::kAdamW, std::move(inputs), {type, type, type},
          {spec_.lr, run_.beta1, run_.beta2, run_.eps, spec_.weight_decay[i], spec_.c1, spec_.c2});
      for (std::uint8_t slot = 0; slot < 3; ++slot)
        program_.results.push_back(GraphBuilder::Slot(next, slot));
    }
  }

  static constexpr const char* kLookup = "(lookup)";

  Program& program_;
  const RunProgram& run_;
  const ModelConfig& c_;
  const NumericsConfig& numerics_;
  const StepSpec& spec_;
  GraphBuilder graph_;
  ForwardGraph forward_;
  std::map<std::string, Operand> totals_;
};

}  // namespace

Result<Program> StepProgramOf(const RunProgram& run, const RunModel& model, const StepSpec& spec) {
  WG_TRY(CheckKnown(model.config, model.numerics));
  if (spec.rows.empty() || spec.inv_temperature.size() != spec.rows.size())
    return Fail(Blame::kPeer, "step: {} samples and {} temperatures", spec.rows.size(),
                spec.inv_temperature.size());
  std::uint64_t positions = 0;
  for (const std::uint32_t rows : spec.rows) positions += rows;
  if (positions * model.config.head_dim > kDisputeLimits.rope_cells_max)
    return Fail(Blame::kOperator, "step: {} rows are past the limits of disputes", positions);
  for (const std::uint32_t rows : spec.rows)
    if (rows == 0 || rows > model.config.max_positions)
      return Fail(Blame::kPeer, "step: a sample of {} rows", rows);
  if (spec.rows.size() * model.config.layers > kDisputeLimits.sample_layers_max)
    return Fail(Blame::kOperator, "step: a graph past the limits of disputes");
  Program program;
  program.moments = true;
  program.state = StateOf(model.config, {});  // fp32 masters
  if (spec.weight_decay.size() != program.state.size())
    return Fail(Blame::kPeer, "step: one weight decay per tensor");
  StepGraph(program, run, model, spec).Build();
  return program;
}

}  // namespace waggle
