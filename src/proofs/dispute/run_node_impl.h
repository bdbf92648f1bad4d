// One node being run. Private to proofs/dispute/.
#pragma once

#include <bit>
#include <deque>

#include "kernels/packed_matrix.h"
#include "proofs/dispute/execution.h"

namespace waggle {

struct NodeRun {
  const Ops& ops;
  ThreadPool& pool;
  const Node& node;
  std::span<const HostTensor* const> in;
  std::vector<HostTensor> out;
  std::deque<AlignedVector<float>> widened;

  const float* Rows(std::size_t input);  // as fp32
  float* Out(std::size_t slot) { return out[slot].data.data(); }
  std::uint32_t Attribute(std::size_t i) const { return node.attributes[i]; }
  float Float(std::size_t i) const { return std::bit_cast<float>(node.attributes[i]); }
};

AlignedVector<float> Floats(const HostTensor& tensor);
PackedMatrix PackOf(const HostTensor& w);
void RunTraining(NodeRun& run);

}  // namespace waggle
