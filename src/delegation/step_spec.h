// Between the trainer's steps and those of disputes: samples as a spec with its data, a trainer's
// state as tensors and their root. For both kinds of program that have steps.
#pragma once

#include "proofs/dispute/training_party.h"
#include "training/optimizer.h"
#include "training/samples.h"
#include "training/trainer.h"

namespace waggle {

inline constexpr std::size_t kStepRecordBytes = 2 + 8 + 5 * 32;  // of an encoded StepRecord

// The samples that the trainer reads: those that carry a gradient.
std::vector<TrainingSample> ActiveRows(std::vector<TrainingSample> rows);
// Per sample: tokens, targets, u.
std::vector<HostTensor> DataTensors(const std::vector<TrainingSample>& rows);
// fp32 bits, per tensor in name order.
std::vector<std::uint32_t> DecayOf(const Optimizer& optimizer, const ModelConfig& config);
StepSpec StepSpecOf(const std::vector<TrainingSample>& rows, const AdamWNumbers& numbers,
                    const std::vector<std::uint32_t>& decay);
void PutBetas(const AdamWNumbers& numbers, RunProgram& run);
void PutClip(double clip, RunProgram& run);

// The StateRoot of a trainer's state after `step` steps.
Digest256 StateRootOf(const std::vector<StateEntry>& entries, const Parameters& w,
                      const Parameters& m, const Parameters& v, std::uint64_t step);
Digest256 StateRootOf(const std::vector<StateEntry>& entries, const Trainer& trainer);
// Without data.
StepState StepStateOf(const std::vector<StateEntry>& entries, const Trainer& trainer);

}  // namespace waggle
