// What a referee cannot know of reinforcement learning by itself: what a step reads, given the
// responses that it is taken on. Graders and credit are functions of a run's description alone, so
// whoever judges computes them, and nobody claims anything about them.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "proofs/dispute/protocol.h"

namespace waggle {

struct StepInputs {
  StepSpec spec;  // without rows: nothing carries a gradient, and the state stays as it is
  std::vector<HostTensor> data;
};

class StepGround {
 public:
  virtual ~StepGround() = default;
  // responses: of all sequences of the batch, in order. step: steps of the optimizer before this
  // one. Blame::kPeer: responses that no canonical sampler gives.
  virtual Result<StepInputs> Inputs(std::uint64_t batch, std::uint64_t step,
                                    std::span<const std::vector<TokenRecord>> responses) const = 0;
};

// From the bytes that DescribedRun::description is the hash of. Blame::kPeer: they describe no run
// that disputes know, or another than the program's.
using DescriptionReader = std::function<Result<std::unique_ptr<const StepGround>>(
    const RunProgram& program, std::span<const std::uint8_t> description)>;

// A batch's responses as words: for each its number of tokens, then token and bits of the log-prob.
std::vector<std::uint32_t> PutResponses(std::span<const std::vector<TokenRecord>> responses);
// Nothing: not `count` responses of one to tokens_max tokens.
std::optional<std::vector<std::vector<TokenRecord>>> GetResponses(
    std::span<const std::uint32_t> words, std::size_t count, std::uint32_t tokens_max);

}  // namespace waggle
