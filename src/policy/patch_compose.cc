// a -> b and b -> c as a -> c: both lists of changed weights are in ascending order, so one merge
// does it, in memory of the patches' size.
#include "base/hex.h"
#include "policy/patch.h"
#include "policy/patch_words.h"

namespace waggle {
namespace {

Status Overflow(const PatchTensor& tensor) {
  return Fail(Blame::kPeer,
              "tensor {}: field steps at byte {}: two steps together leave the number "
              "format, so they are not of one chain",
              tensor.name, tensor.payload_at);
}

// Whole tensor, then changes: a whole tensor.
template <class Word>
Status ChangeDense(Bytes& record, const PatchTensor& dense, const PatchTensor& change) {
  Bytes bits(dense.payload.begin(), dense.payload.end());
  EntryReader<Word> entries(change);
  while (entries.Next()) {
    const auto word = entries.Apply(LoadWord<Word>(bits.data(), entries.index()));
    if (word) StoreWord(bits.data(), entries.index(), *word);
  }
  WG_TRY(entries.Finish());
  PutDense(record, dense.name, dense.form, bits);
  return {};
}

template <class Word>
Status MergeSteps(EntryWriter& out, EntryReader<Word>& a, EntryReader<Word>& b,
                  const PatchTensor& tensor) {
  bool more_a = a.Next(), more_b = b.Next();
  while (more_a || more_b) {
    out.Reserve(1);
    if (more_a && (!more_b || a.index() < b.index())) {
      out.AddStep(a.index(), a.step());
      more_a = a.Next();
    } else if (!more_a || b.index() < a.index()) {
      out.AddStep(b.index(), b.step());
      more_b = b.Next();
    } else {
      const std::int64_t step = a.step() + b.step();
      if (std::abs(step) >= std::int64_t{kSignBit<Word>} * 2) return Overflow(tensor);
      if (step != 0) out.AddStep(a.index(), step);
      more_a = a.Next();
      more_b = b.Next();
    }
  }
  return {};
}

template <class Word>
void MergeValues(EntryWriter& out, EntryReader<Word>& a, EntryReader<Word>& b) {
  bool more_a = a.Next(), more_b = b.Next();
  while (more_a || more_b) {
    out.Reserve(1);
    const bool take_b = more_b && (!more_a || b.index() <= a.index());
    const bool both = more_a && more_b && a.index() == b.index();
    if (take_b) {
      out.AddValue(b.index(), b.value());
      more_b = b.Next();
      if (both) more_a = a.Next();
    } else {
      out.AddValue(a.index(), a.value());
      more_a = a.Next();
    }
  }
}

template <class Word>
Status MergeEntries(Bytes& record, const PatchTensor& first, const PatchTensor& second) {
  if (first.mode != second.mode) {
    return Fail(Blame::kOperator,
                "tensor {}: steps and replaced values do not compose, apply one after the other",
                first.name);
  }
  EntryWriter out;
  EntryReader<Word> a(first), b(second);
  if (first.mode == PatchMode::kSteps) {
    WG_TRY(MergeSteps(out, a, b, second));
  } else {
    MergeValues(out, a, b);
  }
  WG_TRY(a.Finish());
  WG_TRY(b.Finish());
  if (out.size() > 0) out.PutRecord(record, first.name, first.form, first.mode);
  return {};
}

// A record as it is, after reading it through: what leaves here is well formed.
template <class Word>
Status Keep(Bytes& record, const PatchTensor& tensor) {
  if (tensor.mode != PatchMode::kDense) {
    EntryReader<Word> entries(tensor);
    while (entries.Next()) {
    }
    WG_TRY(entries.Finish());
  }
  PutRecordHead(record, tensor.name, tensor.form, tensor.mode, tensor.changed, tensor.rice,
                tensor.gaps, tensor.payload.size());
  record.insert(record.end(), tensor.payload.begin(), tensor.payload.end());
  return {};
}

// Either may be null, not both.
Status Compose(Bytes& record, const PatchTensor* first, const PatchTensor* second) {
  const PatchTensor& any = first != nullptr ? *first : *second;
  return WithWord(any.form.dtype, [&](auto word) -> Status {
    using Word = decltype(word);
    if (first == nullptr) return Keep<Word>(record, *second);
    if (second == nullptr) return Keep<Word>(record, *first);
    if (second->mode == PatchMode::kDense) {
      Bytes unused;
      WG_TRY(Keep<Word>(unused, *first));
      return Keep<Word>(record, *second);
    }
    if (first->mode == PatchMode::kDense) return ChangeDense<Word>(record, *first, *second);
    return MergeEntries<Word>(record, *first, *second);
  });
}

}  // namespace

Result<Bytes> ComposePatches(std::span<const std::uint8_t> first,
                             std::span<const std::uint8_t> second, const ImageForm& form) {
  WG_ASSIGN(const PatchView a, ReadPatch(first, form));
  WG_ASSIGN(const PatchView b, ReadPatch(second, form));
  if (b.base_root != a.new_root)
    return Fail(Blame::kOperator, "the second patch builds on {}, the first leads to {}",
                ToHex(b.base_root), ToHex(a.new_root));
  Bytes records;
  std::uint64_t count = 0;
  auto i = a.tensors.begin();
  auto j = b.tensors.begin();
  while (i != a.tensors.end() || j != b.tensors.end()) {
    const bool take_a = j == b.tensors.end() || (i != a.tensors.end() && i->name <= j->name);
    const bool take_b = i == a.tensors.end() || (j != b.tensors.end() && j->name <= i->name);
    const std::size_t before = records.size();
    WG_TRY(Compose(records, take_a ? &*i : nullptr, take_b ? &*j : nullptr));
    count += records.size() > before ? 1 : 0;
    if (take_a) ++i;
    if (take_b) ++j;
  }
  Bytes patch;
  PutPatchHead(patch, a.base_root, b.new_root, count);
  patch.insert(patch.end(), records.begin(), records.end());
  return patch;
}

}  // namespace waggle
