// WPT1: one policy version as what changed since another, lossless (sheet grail.md 8.3; byte layout
// with a worked example in docs/policy-format.md; why in docs/adr/0009).
//
// Compared are bits, so -0 is not +0 and NaN payloads travel. A changed weight is its distance from
// the one before (Rice coded) and a step in the order of its number format (sign, Elias gamma):
// most steps of training are +-1. A tensor whose changes would not be shorter is sent whole. A
// snapshot is a patch from nothing: base root kNoRoot, every tensor whole.
//
// All functions are pure, and give the same bytes and bits for any number of threads. Errors about
// a patch name the field and the byte offset; Blame::kPeer unless said otherwise.
#pragma once

#include <string_view>

#include "base/wire.h"
#include "policy/image.h"

namespace waggle {

enum class PatchMode : std::uint8_t {
  kSteps = 0,    // steps from the base's bits: smallest; needs exactly that base
  kReplace = 1,  // the new bits: applying twice is harmless, so a damaged base can be repaired
  kDense = 2,    // all new bits of the tensor
};
inline bool IsKnown(PatchMode mode) { return mode <= PatchMode::kDense; }

// One changed tensor of a patch. Borrows the patch's bytes.
struct PatchTensor {
  std::string_view name;
  TensorForm form;
  PatchMode mode = PatchMode::kSteps;
  std::uint64_t changed = 0;  // weights; all of them when dense
  unsigned rice = 0;          // k
  std::span<const std::uint8_t> gaps, payload;
  std::size_t gaps_at = 0, payload_at = 0;  // offsets in the patch
};

struct PatchView {
  Digest256 base_root{}, new_root{};
  std::vector<PatchTensor> tensors;  // names strictly ascending
  std::uint64_t changed() const {
    std::uint64_t n = 0;
    for (const PatchTensor& tensor : tensors) n += tensor.changed;
    return n;
  }
};

// The frame of a patch for a model of this form: every size is checked against the bytes that are
// left and against the form before anything is allocated for it. Gaps and steps are not read yet.
Result<PatchView> ReadPatch(std::span<const std::uint8_t> patch, const ImageForm& form);

// Both images must be of one form (Blame::kOperator). `mode`: kSteps or kReplace.
Result<Bytes> EncodePatch(const PolicyImage& base, const PolicyImage& next, ThreadPool& pool,
                          PatchMode mode = PatchMode::kSteps);
Bytes EncodeSnapshot(const PolicyImage& image);

enum class BaseCheck : std::uint8_t {
  kExact,   // the base must have the patch's base root
  kRepair,  // any base; only for patches without steps. The new root is checked all the same
};
// A new image; `base` stays as it is and shares the tensors that did not change. Nothing is
// returned that does not have the patch's new root. Another base than the patch asks for is
// Blame::kOperator: the patch may well be good.
Result<PolicyImage> ApplyPatch(const PolicyImage& base, std::span<const std::uint8_t> patch,
                               ThreadPool& pool, BaseCheck check = BaseCheck::kExact);
Result<PolicyImage> ApplySnapshot(const ImageForm& form, std::span<const std::uint8_t> patch,
                                  ThreadPool& pool);

// a -> c from a -> b and b -> c, without any weights: what a late joiner takes. Applying the result
// equals applying both. Blame::kOperator when the second does not build on the first, or when one
// tensor has steps in one and replaced values in the other: apply those one by one.
Result<Bytes> ComposePatches(std::span<const std::uint8_t> first,
                             std::span<const std::uint8_t> second, const ImageForm& form);

}  // namespace waggle
