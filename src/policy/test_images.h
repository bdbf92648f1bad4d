// Small policies and patches for the tests of this folder.
#pragma once

#include "base/philox.h"
#include "policy/patch.h"
#include "policy/patch_words.h"

namespace waggle {

inline RawBits BitsOf(std::span<const std::uint8_t> bytes) {
  RawBits bits(bytes.size());
  std::copy(bytes.begin(), bytes.end(), bits.data());
  return bits;
}
template <class Word>
RawBits BitsOfWords(const std::vector<Word>& words) {
  return BitsOf({reinterpret_cast<const std::uint8_t*>(words.data()), words.size() * sizeof(Word)});
}

// Two bf16 matrices of awkward sizes, a bias of one weight, an f16 and an f32 tensor.
inline ImageForm SomeForm() {
  return {{"bias", {WireDtype::kBf16, {1}}},
          {"half", {WireDtype::kF16, {3, 5, 7}}},
          {"model.a.weight", {WireDtype::kBf16, {33, 67}}},
          {"model.b.weight", {WireDtype::kBf16, {8, 32}}},
          {"scale", {WireDtype::kF32, {129}}}};
}

// Uniform bit patterns: NaN payloads, infinities, both zeros and subnormals among them.
inline PolicyImage RandomImage(const ImageForm& form, std::uint64_t seed) {
  PolicyImage::Tensors tensors;
  Rng rng(seed);
  for (const auto& [name, tensor] : form) {
    RawBits bits(tensor.bytes());
    for (auto& byte : bits.span()) byte = static_cast<std::uint8_t>(rng.NextU32());
    tensors.emplace(name, MakeImageTensor(name, tensor, std::move(bits)));
  }
  return PolicyImage(std::move(tensors));
}

// One of so many weights moves, mostly by one step and sometimes anywhere.
inline PolicyImage Changed(const PolicyImage& image, std::uint64_t seed, std::uint32_t one_in) {
  PolicyImage::Tensors tensors;
  Rng rng(seed);
  for (const auto& entry : image.tensors()) {
    const TensorForm& form = entry.second->form;
    RawBits bits = BitsOf(entry.second->bits.span());
    WithWord(form.dtype, [&](auto zero) {
      using Word = decltype(zero);
      for (std::uint64_t i = 0; i < form.elements(); ++i) {
        if (rng.Below(one_in) != 0) continue;
        const std::int64_t rank = Rank(LoadWord<Word>(bits.data(), i)) + (rng.Below(2) ? 1 : -1);
        const Word word = rng.Below(10) == 0 || !IsRank<Word>(rank)
                              ? static_cast<Word>(rng.NextU32())
                              : FromRank<Word>(rank);
        StoreWord(bits.data(), i, word);
      }
    });
    tensors.emplace(entry.first, MakeImageTensor(entry.first, form, std::move(bits)));
  }
  return PolicyImage(std::move(tensors));
}

inline bool SameBits(const PolicyImage& a, const PolicyImage& b) {
  if (a.Form() != b.Form()) return false;
  for (const auto& [name, tensor] : a.tensors()) {
    const auto mine = tensor->bits.span(), theirs = b.tensors().find(name)->second->bits.span();
    if (!std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end())) return false;
  }
  return a.root() == b.root();
}

}  // namespace waggle
