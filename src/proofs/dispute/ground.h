// From terms and the client's specs to the program that a unit must instantiate: the same for
// parties and referee.
#pragma once

#include "proofs/dispute/protocol.h"

namespace waggle {

// The model behind a run.
struct RunModel {
  ModelConfig config;
  NumericsConfig numerics;
  bool masters = false;  // rollouts read a trainer's state (kReinforcement)
};
// Errors (blame operator): see ForwardProgram; a program past the limits.
Result<RunModel> ModelOf(const RunProgram& program);

// Whether a response that begins with `prefix` is over.
bool IsOver(const SequenceSpec& spec, std::span<const TokenId> prefix);

// Token `prefix.size()` of a response. Errors (blame peer): ids outside of the vocabulary.
Result<Program> TokenProgram(const RunModel& model, const SequenceSpec& spec,
                             std::span<const TokenId> prefix);

Result<Program> StepProgramOf(const RunProgram& run, const RunModel& model, const StepSpec& spec);

Bytes EncodeSpec(const SequenceSpec& spec);
Bytes EncodeSpec(const StepSpec& spec);
template <class Spec>
HashTree SpecTree(const std::vector<Spec>& specs) {
  std::vector<Digest256> leaves;
  for (const Spec& spec : specs) leaves.push_back(TreeLeaf(EncodeSpec(spec)));
  return HashTree(std::move(leaves), 2);
}
Result<SequenceSpec> DecodeSequenceSpec(std::span<const std::uint8_t> bytes);
Result<StepSpec> DecodeStepSpec(std::span<const std::uint8_t> bytes);

}  // namespace waggle
