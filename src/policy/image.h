// One version of the policy as the bits that its working weights have: what is hashed, sent, stored
// and sampled from. Never fp32 masters: two nodes agree on a policy when these bits agree.
//
// Root (sheet grail.md 8.2 item 7): Merkle root (crypto/merkle.h) over the tensors in byte order of
// their names, each one leaf of
//   LEB128 name length | name | u8 dtype | u8 rank | LEB128 extents | bits, little endian,
//   row-major
// so that a tensor under another name, shape or number format is another policy.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "crypto/hash.h"

namespace waggle {

// Numbers are for ever: they stand in leaves and patches.
enum class WireDtype : std::uint8_t { kBf16 = 1, kF16 = 2, kF32 = 3 };
inline bool IsKnown(WireDtype dtype) {
  return dtype >= WireDtype::kBf16 && dtype <= WireDtype::kF32;
}
inline std::size_t BytesOf(WireDtype dtype) { return dtype == WireDtype::kF32 ? 4 : 2; }
const char* ToString(WireDtype dtype);

struct ImageLimits {
  std::size_t tensors_max = std::size_t{1} << 20;
  std::size_t name_bytes_max = 256;
  std::size_t rank_max = 8;
  std::uint64_t tensor_elements_max = (std::uint64_t{1} << 32) - 1;
};
inline constexpr ImageLimits kImageLimits{};

// What a tensor is, without its bits.
struct TensorForm {
  WireDtype dtype = WireDtype::kBf16;
  std::vector<std::uint64_t> shape;
  std::uint64_t elements() const {
    std::uint64_t n = 1;
    for (const std::uint64_t extent : shape) n *= extent;
    return n;
  }
  std::uint64_t bytes() const { return elements() * BytesOf(dtype); }
  bool operator==(const TensorForm&) const = default;
};
std::string ToString(const TensorForm& form);  // "bf16 [4, 16]"

// What a model is, without its bits: what a stranger's declared sizes are checked against before
// anything is allocated. Ordered by name.
using ImageForm = std::map<std::string, TensorForm, std::less<>>;

// Whether every name, shape and size is within kImageLimits, with at least one tensor and no empty
// one. Blame::kOperator: forms come from a model's configuration, not from peers.
Status CheckForm(const ImageForm& form);

// "<layer>.lora_A.weight" or "<layer>.lora_B.weight": what an adapter-only update may touch.
bool IsAdapterTensor(std::string_view name);

// Memory that is not zeroed before it is written: weights are gigabytes. Owns, moves.
class RawBits {
 public:
  RawBits() = default;
  explicit RawBits(std::size_t bytes);
  std::uint8_t* data() { return data_.get(); }
  const std::uint8_t* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::span<std::uint8_t> span() { return {data_.get(), size_}; }
  std::span<const std::uint8_t> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const { AlignedAllocator<std::uint8_t>().deallocate(p, 0); }
  };
  std::unique_ptr<std::uint8_t[], Free> data_;
  std::size_t size_ = 0;
};

// Immutable; versions share the tensors that did not change between them.
struct ImageTensor {
  TensorForm form;
  RawBits bits;
  Digest256 leaf{};
};

// The leaf of a tensor up to its bits; Update() it with them.
Sha256Hasher LeafHasher(const std::string& name, const TensorForm& form);
// A tensor with its leaf. REQUIRES bits.size() == form.bytes().
std::shared_ptr<const ImageTensor> MakeImageTensor(const std::string& name, TensorForm form,
                                                   RawBits bits);

class PolicyImage {
 public:
  using Tensors = std::map<std::string, std::shared_ptr<const ImageTensor>, std::less<>>;

  // Leaves must be those of MakeImageTensor: the root is folded from them, not from the bits.
  // REQUIRES a form that passes CheckForm.
  explicit PolicyImage(Tensors tensors);

  const Tensors& tensors() const { return tensors_; }
  const Digest256& root() const { return root_; }
  ImageForm Form() const;
  std::uint64_t bytes() const;  // of all weights

 private:
  Tensors tensors_;
  Digest256 root_{};
};

// Root of no policy at all: what a snapshot builds on.
inline constexpr Digest256 kNoRoot{};

}  // namespace waggle
