// Runs programs with the kernels that engine and trainer use, node by node, and answers what a
// dispute asks about the run: roots, hashes inside of them, tiles. The honest party's memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/ops.h"
#include "proofs/dispute/program.h"

namespace waggle {

// The outputs of one node from its inputs, in the order of Node::inputs. Whole tensors.
std::vector<HostTensor> RunNode(const Ops& ops, ThreadPool& pool, const Node& node,
                                std::span<const HostTensor* const> inputs);

// The state and data of a run. state(index, slot): a tensor that lives as long as the source.
struct ProgramInputs {
  std::function<const HostTensor*(std::uint32_t index, std::uint8_t slot)> state;
  std::vector<HostTensor> data;
};

// NodeRec of sheet gensyn.md 3.3.
struct NodeRecord {
  struct Input {
    Source source = Source::kNode;
    std::uint32_t index = 0;
    std::uint8_t slot = 0;
    Digest256 root{};
    bool operator==(const Input&) const = default;
  };
  std::uint32_t index = 0;
  std::uint16_t op = 0;
  Digest256 attributes{};
  std::vector<Input> inputs;
  std::vector<Digest256> outputs;
  bool operator==(const NodeRecord&) const = default;
};
Bytes Encode(const NodeRecord& record);
Result<NodeRecord> DecodeNodeRecord(std::span<const std::uint8_t> bytes);

class Execution {
 public:
  // Called after each node with what it puts out: where a test plants its lie.
  using Tamper = std::function<void(std::uint32_t node, std::vector<HostTensor>& outputs)>;

  // Runs the program once. Outputs are kept while they fit `keep_bytes`; what does not fit is
  // computed again when it is asked for. Borrows ops and pool; `program` must outlive it.
  Execution(const Program& program, ProgramInputs inputs, const Ops& ops, ThreadPool& pool,
            std::uint64_t keep_bytes, Tamper tamper = nullptr);

  const Program& program() const { return program_; }
  const HostTensor& Tensor(const Operand& operand);
  Digest256 Root(const Operand& operand);
  const std::vector<NodeRecord>& records() const { return records_; }

 private:
  void RunFrom(std::uint32_t first, std::uint32_t last, bool record);
  std::vector<const HostTensor*> InputsOf(std::uint32_t node);

  const Program& program_;
  ProgramInputs inputs_;
  const Ops& ops_;
  ThreadPool& pool_;
  std::uint64_t keep_bytes_, kept_ = 0;
  Tamper tamper_;
  std::vector<std::uint32_t> last_use_;
  std::map<std::uint32_t, std::vector<HostTensor>> outputs_;
  std::map<std::tuple<Source, std::uint32_t, std::uint8_t>, Digest256> roots_;
  std::vector<NodeRecord> records_;
};

}  // namespace waggle
