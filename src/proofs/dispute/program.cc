#include "proofs/dispute/program.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::array<const char*, kNodeOps + 1> kNames = {
    "none",         "embed",         "norm",
    "gemm",         "rope",          "round",
    "attention",    "add",           "swiglu",
    "sample",       "chunk_stats",   "finish_stats",
    "logprob_grad", "gemm_back",     "outer",
    "outer_bias",   "norm_grad",     "norm_weight_grad",
    "swiglu_grad",  "attention_dot", "attention_grad",
    "inverse_rms",  "embed_grad",    "squares",
    "square_fold",  "clip",          "adamw",
    "add_scalars"};

template <class T>
void Put(Bytes& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}
void PutText(Bytes& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }

void PutType(Bytes& out, const TensorType& type) {
  Put(out, static_cast<std::uint8_t>(type.element));
  Put(out, static_cast<std::uint8_t>(type.dims.size()));
  for (const std::uint64_t dim : type.dims) Put(out, dim);
}

}  // namespace

const char* ToString(NodeOp op) {
  const auto at = static_cast<std::uint16_t>(op);
  return at <= kNodeOps ? kNames[at] : "unknown";
}

const TensorType& Program::TypeOf(const Operand& operand) const {
  switch (operand.source) {
    case Source::kState:
      return state[operand.index].type;
    case Source::kData:
      return data[operand.index];
    case Source::kConst:
      return constants[operand.index]->type;
    case Source::kNode:
      break;
  }
  return nodes[operand.index].outputs[operand.slot];
}

std::uint32_t Program::StateIndex(const std::string& name) const {
  const auto at = std::lower_bound(
      state.begin(), state.end(), name,
      [](const StateEntry& entry, const std::string& wanted) { return entry.name < wanted; });
  Check(at != state.end() && at->name == name, "a program asks for tensors of its model");
  return static_cast<std::uint32_t>(at - state.begin());
}

std::string Describe(const Program& program, std::size_t index) {
  const Node& node = program.nodes[index];
  std::string text = fmt::format("node {}: {}", index, ToString(node.op));
  if (node.layer >= 0) text += fmt::format(", layer {}", node.layer);
  if (node.sample >= 0) text += fmt::format(", sample {}", node.sample);
  return text;
}

Digest256 AttributeHash(const Node& node) {
  Bytes bytes;
  PutText(bytes, "a1");
  for (const std::uint32_t word : node.attributes) Put(bytes, word);
  return Sha256(bytes);
}

Digest256 TemplateHash(const Program& program) {
  Bytes bytes;
  PutText(bytes, "g1");
  Put(bytes, static_cast<std::uint32_t>(program.nodes.size()));
  for (std::size_t i = 0; i < program.nodes.size(); ++i) {
    const Node& node = program.nodes[i];
    Put(bytes, static_cast<std::uint32_t>(i));
    Put(bytes, static_cast<std::uint16_t>(node.op));
    const Digest256 attributes = AttributeHash(node);
    bytes.insert(bytes.end(), attributes.begin(), attributes.end());
    Put(bytes, static_cast<std::uint8_t>(node.inputs.size()));
    for (const Operand& input : node.inputs) {
      Put(bytes, static_cast<std::uint8_t>(input.source));
      Put(bytes, input.index);
      Put(bytes, input.slot);
      PutType(bytes, program.TypeOf(input));
    }
    Put(bytes, static_cast<std::uint8_t>(node.outputs.size()));
    for (const TensorType& type : node.outputs) PutType(bytes, type);
  }
  for (const Operand& result : program.results) {
    Put(bytes, result.index);
    Put(bytes, result.slot);
  }
  return Sha256(bytes);
}

HostTensor TokensTensor(std::span<const TokenId> tokens) {
  HostTensor tensor = HostTensor::Zero({Element::kI32, {tokens.size()}});
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tensor.SetCell(i, static_cast<std::uint32_t>(tokens[i]));
  return tensor;
}

}  // namespace waggle
