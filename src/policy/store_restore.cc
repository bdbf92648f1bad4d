// From what a store holds to a policy: one chain, its patches composed, one pass over the weights.
#include "policy/store.h"

namespace waggle {

Result<std::optional<std::vector<PolicyStore::Stored>>> PolicyStore::ReadChain(
    const std::vector<PolicyLink>& chain) {
  std::vector<Stored> parts;
  for (const PolicyLink& link : chain) {
    WG_ASSIGN(std::optional<Stored> part, Read(link.base, link.version));
    if (!part) return std::nullopt;
    parts.push_back(std::move(*part));
  }
  return parts;
}

namespace {

// Composed, or one after the other where patches are of two kinds.
Result<PolicyImage> ApplyAll(const PolicyImage& base,
                             std::span<const std::span<const std::uint8_t>> patches,
                             const ImageForm& form, ThreadPool& pool) {
  Bytes folded(patches[0].begin(), patches[0].end());
  for (std::size_t i = 1; i < patches.size(); ++i) {
    auto next = ComposePatches(folded, patches[i], form);
    if (!next && next.error().blame == Blame::kOperator) {
      WG_ASSIGN(const PolicyImage middle, ApplyPatch(base, folded, pool));
      return ApplyAll(middle, patches.subspan(i), form, pool);
    }
    if (!next) return Forward(std::move(next.error()));
    folded = std::move(*next);
  }
  return ApplyPatch(base, folded, pool);
}

}  // namespace

Result<std::optional<PolicyImage>> PolicyStore::Restore(PolicyVersion version,
                                                        const ImageForm& form,
                                                        const PolicyImage* have) {
  const auto held = have == nullptr ? std::nullopt : VersionOf(have->root());
  const auto chain = ShortestChain(Links(), version, held);
  if (!chain) return std::nullopt;
  WG_ASSIGN(const auto parts, ReadChain(*chain));
  if (!parts) return std::nullopt;
  std::optional<PolicyImage> image;
  std::vector<std::span<const std::uint8_t>> patches;
  for (const Stored& part : *parts) {
    if (part.manifest.kind == PolicyKind::kFull) {
      WG_ASSIGN(image, ImageFrom(part.manifest, part.bytes(), form, nullptr, *pool_));
    } else {
      WG_TRY(ReadPayload(part.manifest, part.bytes(), form));
      patches.push_back(part.bytes());
    }
  }
  if (!image) image = *have;  // its tensors are shared, not copied
  if (patches.empty()) return image;
  WG_ASSIGN(PolicyImage restored, ApplyAll(*image, patches, form, *pool_));
  return std::optional<PolicyImage>(std::move(restored));
}

}  // namespace waggle
