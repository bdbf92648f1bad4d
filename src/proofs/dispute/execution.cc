#include "proofs/dispute/execution.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::size_t kOperandsMax = 255;

template <class T>
void Put(Bytes& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}
void PutDigest(Bytes& out, const Digest256& digest) {
  out.insert(out.end(), digest.begin(), digest.end());
}

// Reads a fixed layout; `ok` goes false at the first byte that is missing.
struct FlatReader {
  std::span<const std::uint8_t> bytes;
  std::size_t at = 0;
  bool ok = true;

  template <class T>
  T Get() {
    T value = 0;
    if (bytes.size() - at < sizeof(T)) {
      ok = false;
      return value;
    }
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(T{bytes[at + i]} << (8 * i)));
    at += sizeof(T);
    return value;
  }
  Digest256 GetDigest() {
    Digest256 digest{};
    if (bytes.size() - at < digest.size()) {
      ok = false;
      return digest;
    }
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), digest.size(), digest.begin());
    at += digest.size();
    return digest;
  }
};

std::uint64_t BytesIn(const std::vector<HostTensor>& tensors) {
  std::uint64_t bytes = 0;
  for (const HostTensor& tensor : tensors)
    bytes += tensor.type.elements() * BytesOf(tensor.type.element);
  return bytes;
}

}  // namespace

Bytes Encode(const NodeRecord& record) {
  Bytes out;
  Put(out, record.index);
  Put(out, record.op);
  PutDigest(out, record.attributes);
  Put(out, static_cast<std::uint8_t>(record.inputs.size()));
  for (const NodeRecord::Input& input : record.inputs) {
    Put(out, static_cast<std::uint8_t>(input.source));
    Put(out, input.index);
    Put(out, input.slot);
    PutDigest(out, input.root);
  }
  Put(out, static_cast<std::uint8_t>(record.outputs.size()));
  for (const Digest256& root : record.outputs) PutDigest(out, root);
  return out;
}

Result<NodeRecord> DecodeNodeRecord(std::span<const std::uint8_t> bytes) {
  FlatReader reader{bytes};
  NodeRecord record;
  record.index = reader.Get<std::uint32_t>();
  record.op = reader.Get<std::uint16_t>();
  record.attributes = reader.GetDigest();
  const std::size_t inputs = reader.Get<std::uint8_t>();
  for (std::size_t i = 0; i < inputs && reader.ok; ++i) {
    NodeRecord::Input input;
    const auto source = static_cast<Source>(reader.Get<std::uint8_t>());
    if (!IsKnown(source)) return Fail(Blame::kPeer, "node record: input {} comes from nowhere", i);
    input.source = source;
    input.index = reader.Get<std::uint32_t>();
    input.slot = reader.Get<std::uint8_t>();
    input.root = reader.GetDigest();
    record.inputs.push_back(input);
  }
  const std::size_t outputs = reader.Get<std::uint8_t>();
  for (std::size_t i = 0; i < outputs && reader.ok; ++i)
    record.outputs.push_back(reader.GetDigest());
  if (!reader.ok || reader.at != bytes.size())
    return Fail(Blame::kPeer, "node record: {} bytes are not the length it says", bytes.size());
  return record;
}

Execution::Execution(const Program& program, ProgramInputs inputs, const Ops& ops, ThreadPool& pool,
                     std::uint64_t keep_bytes, Tamper tamper)
    : program_(program),
      inputs_(std::move(inputs)),
      ops_(ops),
      pool_(pool),
      keep_bytes_(keep_bytes),
      tamper_(std::move(tamper)),
      last_use_(program.nodes.size(), 0) {
  for (std::uint32_t i = 0; i < program.nodes.size(); ++i) {
    Check(program.nodes[i].inputs.size() <= kOperandsMax, "a record counts inputs in one byte");
    for (const Operand& input : program.nodes[i].inputs)
      if (input.source == Source::kNode) last_use_[input.index] = i;
  }
  RunFrom(0, static_cast<std::uint32_t>(program.nodes.size()), true);
}

std::vector<const HostTensor*> Execution::InputsOf(std::uint32_t node) {
  std::vector<const HostTensor*> inputs;
  for (const Operand& input : program_.nodes[node].inputs) {
    switch (input.source) {
      case Source::kState:
        inputs.push_back(inputs_.state(input.index, input.slot));
        break;
      case Source::kData:
        inputs.push_back(&inputs_.data[input.index]);
        break;
      case Source::kConst:
        inputs.push_back(program_.constants[input.index].get());
        break;
      case Source::kNode:
        inputs.push_back(&outputs_.at(input.index)[input.slot]);
        break;
    }
    Check(inputs.back() != nullptr, "an execution has every input");
  }
  return inputs;
}

// Nodes [first, last) that are not in memory. Outputs beyond the budget go when nobody in the range
// needs them any more; those of last - 1 stay.
void Execution::RunFrom(std::uint32_t first, std::uint32_t last, bool record) {
  std::vector<std::uint32_t> passing;
  for (std::uint32_t i = first; i < last; ++i) {
    const Node& node = program_.nodes[i];
    if (!outputs_.contains(i)) {
      std::vector<HostTensor> outputs = RunNode(ops_, pool_, node, InputsOf(i));
      if (tamper_) tamper_(i, outputs);
      const std::uint64_t bytes = BytesIn(outputs);
      if (kept_ + bytes <= keep_bytes_)
        kept_ += bytes;
      else
        passing.push_back(i);
      outputs_.emplace(i, std::move(outputs));
    }
    if (record) {
      NodeRecord rec;
      rec.index = i;
      rec.op = static_cast<std::uint16_t>(node.op);
      rec.attributes = AttributeHash(node);
      for (const Operand& input : node.inputs)
        rec.inputs.push_back({input.source, input.index, input.slot, Root(input)});
      for (std::uint8_t s = 0; s < node.outputs.size(); ++s)
        rec.outputs.push_back(Root({Source::kNode, i, s}));
      records_.push_back(std::move(rec));
    }
    std::erase_if(passing, [&](std::uint32_t node_index) {
      const bool done = last_use_[node_index] <= i && node_index + 1 != last;
      if (done) outputs_.erase(node_index);
      return done;
    });
  }
}

const HostTensor& Execution::Tensor(const Operand& operand) {
  switch (operand.source) {
    case Source::kState:
      return *inputs_.state(operand.index, operand.slot);
    case Source::kData:
      return inputs_.data[operand.index];
    case Source::kConst:
      return *program_.constants[operand.index];
    case Source::kNode:
      break;
  }
  if (!outputs_.contains(operand.index)) RunFrom(0, operand.index + 1, false);
  return outputs_.at(operand.index)[operand.slot];
}

Digest256 Execution::Root(const Operand& operand) {
  const auto key = std::tuple(operand.source, operand.index, operand.slot);
  const auto known = roots_.find(key);
  if (known != roots_.end()) return known->second;
  return roots_[key] = TensorRoot(Tensor(operand));
}

}  // namespace waggle
