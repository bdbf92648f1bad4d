#include <algorithm>

#include "base/hex.h"
#include "policy/patch.h"
#include "policy/patch_words.h"

namespace waggle {
namespace {

// Copied, changed and hashed while it lies in the first-level cache: memory is passed once.
constexpr std::size_t kBlockBytes = 16384;

using TensorResult = Result<std::shared_ptr<const ImageTensor>>;

template <class Word>
TensorResult ApplyEntries(const std::string& name, const ImageTensor& before,
                          const PatchTensor& change) {
  auto tensor = std::make_shared<ImageTensor>();
  tensor->form = before.form;
  tensor->bits = RawBits(before.bits.size());
  std::uint8_t* const bits = tensor->bits.data();
  Sha256Hasher leaf = LeafHasher(name, before.form);
  EntryReader<Word> entries(change);
  bool more = entries.Next();
  for (std::size_t at = 0; at < tensor->bits.size(); at += kBlockBytes) {
    const std::size_t end = std::min(at + kBlockBytes, tensor->bits.size());
    std::memcpy(bits + at, before.bits.data() + at, end - at);
    for (; more && entries.index() * sizeof(Word) < end; more = entries.Next()) {
      const std::uint64_t i = entries.index();
      const std::optional<Word> word = entries.Apply(LoadWord<Word>(bits, i));
      if (!word) return Forward(entries.Finish().error());
      StoreWord(bits, i, *word);
    }
    leaf.Update(std::span<const std::uint8_t>(bits + at, end - at));
  }
  WG_TRY(entries.Finish());
  tensor->leaf = leaf.Finish();
  return tensor;
}

TensorResult Whole(const std::string& name, const PatchTensor& change) {
  RawBits bits(change.payload.size());
  std::ranges::copy(change.payload, bits.data());
  return MakeImageTensor(name, change.form, std::move(bits));
}

// New tensors for all records, in their order; the first error in that order, whoever found it.
Result<std::vector<std::shared_ptr<const ImageTensor>>> ApplyRecords(
    const PolicyImage::Tensors& base, const PatchView& view, ThreadPool& pool) {
  std::vector<TensorResult> results(view.tensors.size());
  pool.Run(results.size(), [&](std::size_t i) {
    const PatchTensor& change = view.tensors[i];
    const std::string name(change.name);
    if (change.mode == PatchMode::kDense) {
      results[i] = Whole(name, change);
      return;
    }
    const ImageTensor& before = *base.find(change.name)->second;
    results[i] = WithWord(change.form.dtype, [&](auto word) {
      return ApplyEntries<decltype(word)>(name, before, change);
    });
  });
  std::vector<std::shared_ptr<const ImageTensor>> tensors;
  for (TensorResult& result : results) {
    if (!result) return Forward(std::move(result.error()));
    tensors.push_back(std::move(*result));
  }
  return tensors;
}

Result<PolicyImage> Assemble(PolicyImage::Tensors tensors, const PatchView& view,
                             std::vector<std::shared_ptr<const ImageTensor>> changed) {
  for (std::size_t i = 0; i < changed.size(); ++i)
    tensors.insert_or_assign(std::string(view.tensors[i].name), std::move(changed[i]));
  PolicyImage image(std::move(tensors));
  if (image.root() != view.new_root) {
    return Fail(Blame::kPeer,
                "patch field new root at byte 37: it promises {}, and what it leads to is {}",
                ToHex(view.new_root), ToHex(image.root()));
  }
  return image;
}

}  // namespace

Result<PolicyImage> ApplyPatch(const PolicyImage& base, std::span<const std::uint8_t> patch,
                               ThreadPool& pool, BaseCheck check) {
  WG_ASSIGN(const PatchView view, ReadPatch(patch, base.Form()));
  const bool has_steps = std::ranges::any_of(
      view.tensors, [](const PatchTensor& t) { return t.mode == PatchMode::kSteps; });
  if (check == BaseCheck::kRepair && has_steps)
    return Fail(Blame::kOperator, "a patch of steps repairs nothing: it needs exactly its base");
  if (check == BaseCheck::kExact && view.base_root != base.root()) {
    return Fail(Blame::kOperator, "the patch builds on policy {}, we hold {}",
                ToHex(view.base_root), ToHex(base.root()));
  }
  WG_ASSIGN(auto changed, ApplyRecords(base.tensors(), view, pool));
  return Assemble(base.tensors(), view, std::move(changed));
}

Result<PolicyImage> ApplySnapshot(const ImageForm& form, std::span<const std::uint8_t> patch,
                                  ThreadPool& pool) {
  WG_ASSIGN(const PatchView view, ReadPatch(patch, form));
  if (view.base_root != kNoRoot)
    return Fail(Blame::kPeer, "patch field base root at byte 5: a snapshot builds on nothing");
  // Names ascend and all are of the form: equal counts mean that none is missing.
  if (view.tensors.size() != form.size())
    return Fail(Blame::kPeer, "patch field tensors at byte 69: {} of the model's {} tensors",
                view.tensors.size(), form.size());
  for (const PatchTensor& tensor : view.tensors) {
    if (tensor.mode != PatchMode::kDense)
      return Fail(Blame::kPeer, "tensor {} before byte {}: a snapshot has whole tensors only",
                  tensor.name, tensor.gaps_at);
  }
  WG_ASSIGN(auto changed, ApplyRecords({}, view, pool));
  return Assemble({}, view, std::move(changed));
}

}  // namespace waggle
