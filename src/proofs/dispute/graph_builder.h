// Adds nodes to a program and works out the shapes of what they put out. Private to
// proofs/dispute/.
#pragma once

#include <bit>

#include "proofs/dispute/program.h"

namespace waggle {

inline std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }

class GraphBuilder {
 public:
  explicit GraphBuilder(Program& program) : program_(program) {}
  void Place(std::int32_t sample, std::int32_t layer) { sample_ = sample, layer_ = layer; }

  Operand State(const std::string& name, std::uint8_t slot = 0) const {
    return {Source::kState, program_.StateIndex(name), slot};
  }
  Operand Constant(HostTensor tensor) {
    program_.constants.push_back(std::make_shared<const HostTensor>(std::move(tensor)));
    return {Source::kConst, static_cast<std::uint32_t>(program_.constants.size() - 1), 0};
  }
  Operand Data(TensorType type) {
    program_.data.push_back(std::move(type));
    return {Source::kData, static_cast<std::uint32_t>(program_.data.size() - 1), 0};
  }
  // Output 0 of a new node; the others are Slot(that, n).
  Operand Node(NodeOp op, std::vector<Operand> inputs, std::vector<TensorType> outputs,
               std::vector<std::uint32_t> attributes = {}) {
    program_.nodes.push_back(
        {op, std::move(attributes), std::move(inputs), std::move(outputs), sample_, layer_});
    return {Source::kNode, static_cast<std::uint32_t>(program_.nodes.size() - 1), 0};
  }
  static Operand Slot(Operand operand, std::uint8_t slot) {
    operand.slot = slot;
    return operand;
  }
  std::uint64_t Rows(const Operand& x) const { return program_.TypeOf(x).rows(); }
  std::uint64_t Cols(const Operand& x) const { return program_.TypeOf(x).cols(); }
  static TensorType Matrix(std::uint64_t rows, std::uint64_t cols) {
    return {Element::kF32, {rows, cols}};
  }

  Operand Same(NodeOp op, std::vector<Operand> inputs, std::vector<std::uint32_t> attributes = {}) {
    const TensorType type = Matrix(Rows(inputs[0]), Cols(inputs[0]));
    return Node(op, std::move(inputs), {type}, std::move(attributes));
  }

 private:
  Program& program_;
  std::int32_t sample_ = -1, layer_ = -1;
};

// What a layer's forward leaves for its backward.
struct LayerNodes {
  Operand x_in, h, q_raw, k_raw, q, k, v, attn, lse, x_mid, h2, gate, up, act, x_out;
};

// The transformer of model/forward.cc as nodes.
class ForwardGraph {
 public:
  ForwardGraph(GraphBuilder& graph, const ModelConfig& config, const NumericsConfig& numerics);
  // A weight as the forward uses it: for programs whose state is fp32 masters and whose working
  // weights are bf16, a rounding node made once; else the state itself.
  void UseRounded() { rounded_.resize(states_); }
  Operand Weight(const std::string& name);

  Operand Embed(const Operand& tokens);
  // `taped`: with LSE, as training wants it.
  LayerNodes Layer(std::size_t layer, const Operand& x, bool taped);
  Operand FinalNorm(const Operand& x);
  const std::string& HeadName() const { return head_; }
  Operand RopeTable(std::size_t positions, bool sine);
  Operand Gemm(const Operand& x, const std::string& linear, bool bias);

 private:
  Operand Norm(const Operand& x, const std::string& name, std::uint64_t group);

  GraphBuilder& graph_;
  const ModelConfig& config_;
  const NumericsConfig& numerics_;
  std::string head_;
  std::size_t states_;
  std::vector<std::optional<Operand>> rounded_;
  std::vector<std::pair<std::size_t, Operand>> cos_, sin_;  // by positions
};

// Blame operator where disputes do not know the model.
Status CheckKnown(const ModelConfig& config, const NumericsConfig& numerics);

}  // namespace waggle
