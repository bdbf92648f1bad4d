#include "base/check.h"
#include "policy/patch.h"
#include "policy/patch_words.h"

namespace waggle {
namespace {

constexpr std::size_t kBlockBytes = 64;

// Adds one entry per differing word of a block. `first`: index of the block's first word.
template <class Word>
void AddBlock(const std::uint64_t* before, const std::uint64_t* after, std::uint64_t first,
              std::size_t lanes, PatchMode mode, EntryWriter& entries) {
  constexpr unsigned kBits = 8 * sizeof(Word), kWords = 8 / sizeof(Word);
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    // Words of memory are little endian, so the lowest bits are the first weight.
    for (std::uint64_t rest = before[lane] ^ after[lane]; rest != 0;) {
      const auto word = static_cast<unsigned>(std::countr_zero(rest)) / kBits;
      const auto old = static_cast<Word>(before[lane] >> (word * kBits));
      const auto now = static_cast<Word>(after[lane] >> (word * kBits));
      const std::uint64_t index = first + lane * kWords + word;
      if (mode == PatchMode::kSteps) {
        entries.AddStep(index, Rank(now) - Rank(old));
      } else {
        entries.AddValue(index, now);
      }
      rest &= ~(std::uint64_t{static_cast<Word>(~Word{0})} << (word * kBits));
    }
  }
}

// False: the changes take more room than the whole tensor.
template <class Word>
bool Scan(std::span<const std::uint8_t> before, std::span<const std::uint8_t> after, PatchMode mode,
          EntryWriter& entries) {
  constexpr std::size_t kBlockWords = kBlockBytes / sizeof(Word);
  const std::uint64_t bits_max = before.size() * 8;
  std::size_t at = 0;
  for (; at + kBlockBytes <= before.size(); at += kBlockBytes) {
    std::uint64_t a[8], b[8], difference = 0;
    std::memcpy(a, before.data() + at, kBlockBytes);
    std::memcpy(b, after.data() + at, kBlockBytes);
    for (int i = 0; i < 8; ++i) difference |= a[i] ^ b[i];
    if (difference == 0) [[likely]]
      continue;
    entries.Reserve(kBlockWords);
    AddBlock<Word>(a, b, at / sizeof(Word), 8, mode, entries);
    if (entries.BitsMin() > bits_max) return false;
  }
  std::uint64_t a[8] = {}, b[8] = {};
  if (at < before.size()) {
    std::memcpy(a, before.data() + at, before.size() - at);
    std::memcpy(b, after.data() + at, before.size() - at);
  }
  entries.Reserve(kBlockWords);
  AddBlock<Word>(a, b, at / sizeof(Word), 8, mode, entries);
  return true;
}

// The record of a tensor; empty if it did not change.
Bytes EncodeTensor(std::string_view name, const ImageTensor& before, const ImageTensor& after,
                   PatchMode mode) {
  Bytes record;
  if (&before == &after || before.leaf == after.leaf) return record;
  EntryWriter entries;
  const bool sparse = WithWord(after.form.dtype, [&](auto word) {
    return Scan<decltype(word)>(before.bits.span(), after.bits.span(), mode, entries);
  });
  if (sparse) entries.PutRecord(record, name, after.form, mode);
  if (!sparse || record.size() >= after.bits.size()) {
    record.clear();
    PutDense(record, name, after.form, after.bits.span());
  }
  return record;
}

}  // namespace

Result<Bytes> EncodePatch(const PolicyImage& base, const PolicyImage& next, ThreadPool& pool,
                          PatchMode mode) {
  Check(mode != PatchMode::kDense, "a dense patch is a snapshot");
  if (base.Form() != next.Form())
    return Fail(Blame::kOperator, "a patch is between two versions of one model: forms differ");
  std::vector<const PolicyImage::Tensors::value_type*> tensors;
  for (const auto& entry : next.tensors()) tensors.push_back(&entry);
  std::vector<Bytes> records(tensors.size());
  pool.Run(tensors.size(), [&](std::size_t i) {
    const auto& [name, tensor] = *tensors[i];
    records[i] = EncodeTensor(name, *base.tensors().find(name)->second, *tensor, mode);
  });
  std::uint64_t changed = 0;
  std::size_t bytes = 128;
  for (const Bytes& record : records) {
    changed += record.empty() ? 0 : 1;
    bytes += record.size();
  }
  Bytes patch;
  patch.reserve(bytes);
  PutPatchHead(patch, base.root(), next.root(), changed);
  for (const Bytes& record : records) patch.insert(patch.end(), record.begin(), record.end());
  return patch;
}

Bytes EncodeSnapshot(const PolicyImage& image) {
  Bytes patch;
  patch.reserve(image.bytes() + 512 * image.tensors().size() + 128);
  PutPatchHead(patch, kNoRoot, image.root(), image.tensors().size());
  for (const auto& [name, tensor] : image.tensors())
    PutDense(patch, name, tensor->form, tensor->bits.span());
  return patch;
}

}  // namespace waggle
