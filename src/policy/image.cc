#include "policy/image.h"

#include <sys/mman.h>

#include "base/check.h"
#include "crypto/merkle.h"
#include "policy/leb128.h"

namespace waggle {

const char* ToString(WireDtype dtype) {
  switch (dtype) {
    case WireDtype::kBf16:
      return "bf16";
    case WireDtype::kF16:
      return "f16";
    case WireDtype::kF32:
      return "f32";
  }
  return "?";
}

std::string ToString(const TensorForm& form) {
  std::string text = ToString(form.dtype);
  const char* between = " [";
  for (const std::uint64_t extent : form.shape) {
    text += between + std::to_string(extent);
    between = ", ";
  }
  return text + (form.shape.empty() ? " []" : "]");
}

bool IsAdapterTensor(std::string_view name) {
  return name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight");
}

// First touches of small pages would cost more than everything that is done to the weights (1 GB/s
// against 4 here), so large tensors ask for large pages.
RawBits::RawBits(std::size_t bytes)
    : data_(AlignedAllocator<std::uint8_t>().allocate(bytes)), size_(bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const auto begin = reinterpret_cast<std::uintptr_t>(data_.get());
  const std::uintptr_t first = (begin + kHugePage - 1) & ~(kHugePage - 1),
                       last = (begin + bytes) & ~(kHugePage - 1);
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

Status CheckForm(const ImageForm& form) {
  if (form.empty() || form.size() > kImageLimits.tensors_max)
    return Fail(Blame::kOperator, "{} tensors, 1 to {} are possible", form.size(),
                kImageLimits.tensors_max);
  for (const auto& [name, tensor] : form) {
    if (name.empty() || name.size() > kImageLimits.name_bytes_max)
      return Fail(Blame::kOperator, "a tensor name of {} bytes, 1 to {} are possible", name.size(),
                  kImageLimits.name_bytes_max);
    if (!IsKnown(tensor.dtype) || tensor.shape.size() > kImageLimits.rank_max)
      return Fail(Blame::kOperator, "tensor {}: unknown number format or rank above {}", name,
                  kImageLimits.rank_max);
    std::uint64_t room = kImageLimits.tensor_elements_max;
    for (const std::uint64_t extent : tensor.shape) {
      if (extent == 0 || extent > room)
        return Fail(Blame::kOperator, "tensor {}: {} is empty or above {} weights", name,
                    ToString(tensor), kImageLimits.tensor_elements_max);
      room /= extent;
    }
  }
  return {};
}

Sha256Hasher LeafHasher(const std::string& name, const TensorForm& form) {
  Bytes head;
  PutLeb128(head, name.size());
  head.insert(head.end(), name.begin(), name.end());
  head.push_back(static_cast<std::uint8_t>(form.dtype));
  head.push_back(static_cast<std::uint8_t>(form.shape.size()));
  for (const std::uint64_t extent : form.shape) PutLeb128(head, extent);
  return MerkleLeafHasher().Update(std::span<const std::uint8_t>(head));
}

std::shared_ptr<const ImageTensor> MakeImageTensor(const std::string& name, TensorForm form,
                                                   RawBits bits) {
  Check(bits.size() == form.bytes(), "the bits of a tensor fill its form");
  auto tensor = std::make_shared<ImageTensor>();
  tensor->leaf = LeafHasher(name, form).Update(bits.span()).Finish();
  tensor->form = std::move(form);
  tensor->bits = std::move(bits);
  return tensor;
}

PolicyImage::PolicyImage(Tensors tensors) : tensors_(std::move(tensors)) {
  std::vector<Digest256> leaves;
  leaves.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) leaves.push_back(tensor->leaf);
  root_ = MerkleRoot(std::move(leaves));
}

ImageForm PolicyImage::Form() const {
  ImageForm form;
  for (const auto& [name, tensor] : tensors_) form.emplace(name, tensor->form);
  return form;
}

std::uint64_t PolicyImage::bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors_) bytes += tensor->bits.size();
  return bytes;
}

}  // namespace waggle
