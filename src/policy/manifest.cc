#include "policy/manifest.h"

#include <algorithm>

#include "base/check.h"
#include "base/hex.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PolicyManifest>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "version", x.version);
  v(3, "kind", x.kind);
  v(4, "base", x.base);
  v(5, "base_root", x.base_root);
  v(6, "root", x.root);
  v(7, "payload_bytes", x.payload_bytes);
  v(8, "chunk_bytes", x.chunk_bytes);
  v.Numbers(9, "chunks", x.chunks, kManifestLimits.chunks_max);
}

namespace {

// What single fields cannot say.
Status CheckFields(const PolicyManifest& m) {
  const bool full = m.kind == PolicyKind::kFull;
  if (full != !m.base || full != (m.base_root == kNoRoot))
    return Fail(Blame::kPeer,
                "manifest fields kind, base, base_root: a full version has no base, "
                "every other has one");
  if (m.base && m.base->value >= m.version.value)
    return Fail(Blame::kPeer, "manifest field base: version {} cannot build on {}", m.version.value,
                m.base->value);
  if (m.root == kNoRoot) return Fail(Blame::kPeer, "manifest field root: that is no policy");
  if (m.chunk_bytes < kManifestLimits.chunk_bytes_min ||
      m.chunk_bytes > kManifestLimits.chunk_bytes_max)
    return Fail(Blame::kPeer, "manifest field chunk_bytes: {} is outside {}..{}", m.chunk_bytes,
                kManifestLimits.chunk_bytes_min, kManifestLimits.chunk_bytes_max);
  // Division first: payload_bytes may be anything.
  if (m.payload_bytes == 0 || (m.payload_bytes - 1) / m.chunk_bytes + 1 != m.chunks.size())
    return Fail(Blame::kPeer, "manifest fields payload_bytes, chunks: {} bytes are not {} chunks",
                m.payload_bytes, m.chunks.size());
  return {};
}

}  // namespace

std::size_t PolicyManifest::ChunkSize(std::size_t chunk) const {
  return std::min<std::uint64_t>(chunk_bytes, payload_bytes - ChunkOffset(chunk));
}

Bytes Encode(const PolicyManifest& manifest) { return WireEncode(manifest, kManifestBytesMax); }

Result<PolicyManifest> DecodeManifest(std::span<const std::uint8_t> bytes) {
  auto manifest = WireDecode<PolicyManifest>(bytes, kManifestBytesMax);
  if (!manifest) return Fail(Blame::kPeer, "policy manifest: {}", std::move(manifest.error().what));
  WG_TRY(CheckFields(*manifest));
  return std::move(*manifest);
}

Digest256 DigestOf(const PolicyManifest& manifest) { return Sha256(Encode(manifest)); }

PolicyManifest MakeManifest(PolicyManifest facts, std::span<const std::uint8_t> payload,
                            ThreadPool& pool) {
  facts.payload_bytes = payload.size();
  facts.chunks.resize(payload.empty() ? 0 : (payload.size() - 1) / facts.chunk_bytes + 1);
  pool.Run(facts.chunks.size(),
           [&](std::size_t i) { facts.chunks[i] = Sha256(ChunkOf(facts, payload, i)); });
  const Status valid = CheckFields(facts);
  Check(valid.has_value(), valid ? "" : valid.error().what);
  return facts;
}

std::span<const std::uint8_t> ChunkOf(const PolicyManifest& manifest,
                                      std::span<const std::uint8_t> payload, std::size_t chunk) {
  return payload.subspan(manifest.ChunkOffset(chunk), manifest.ChunkSize(chunk));
}

Result<PatchView> ReadPayload(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              const ImageForm& form) {
  WG_ASSIGN(PatchView view, ReadPatch(payload, form));
  if (view.base_root != manifest.base_root || view.new_root != manifest.root) {
    return Fail(Blame::kPeer,
                "the manifest of version {} leads from {} to {}, its payload from {} to {}",
                manifest.version.value, ToHex(manifest.base_root), ToHex(manifest.root),
                ToHex(view.base_root), ToHex(view.new_root));
  }
  if (manifest.kind != PolicyKind::kAdapter) return view;
  for (const PatchTensor& tensor : view.tensors) {
    if (!IsAdapterTensor(tensor.name))
      return Fail(Blame::kPeer, "version {} updates adapters only, and its payload changes {}",
                  manifest.version.value, tensor.name);
  }
  return view;
}

Result<PolicyImage> ImageFrom(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              const ImageForm& form, const PolicyImage* base, ThreadPool& pool) {
  WG_TRY(ReadPayload(manifest, payload, form));
  if (manifest.kind == PolicyKind::kFull) return ApplySnapshot(form, payload, pool);
  if (base == nullptr)
    return Fail(Blame::kOperator, "version {} needs version {}, which is not here",
                manifest.version.value, manifest.base->value);
  return ApplyPatch(*base, payload, pool);
}

}  // namespace waggle
