// What a policy version consists of, before any of it has arrived: sheets gradient.md 1.8 and
// prime.md 5. Small enough to be announced by its hash; everything else is checked against it.
//
// One encoding (base/wire.h), so one manifest has one digest. Not signed itself: the digest stands
// in a signed announcement.
#pragma once

#include <optional>
#include <string>

#include "base/wire.h"
#include "policy/patch.h"
#include "rollout/rollout.h"

namespace waggle {

enum class PolicyKind : std::uint8_t {
  kFull = 1,     // payload: a snapshot
  kDelta = 2,    // payload: a patch from the base version
  kAdapter = 3,  // the same, and it touches adapter tensors only: the base weights are frozen
};
inline bool IsKnown(PolicyKind kind) {
  return kind >= PolicyKind::kFull && kind <= PolicyKind::kAdapter;
}

struct ManifestLimits {
  std::uint32_t chunk_bytes_min = 4096, chunk_bytes_max = 16u << 20;
  std::size_t chunks_max = std::size_t{1} << 18;  // 1 TiB of the usual chunks
};
inline constexpr ManifestLimits kManifestLimits{};
inline constexpr std::uint32_t kChunkBytes = 4u << 20;
inline constexpr std::size_t kManifestBytesMax = kManifestLimits.chunks_max * 32 + 512;

struct PolicyManifest {
  Hash256 run{};
  PolicyVersion version;
  PolicyKind kind = PolicyKind::kFull;
  std::optional<PolicyVersion> base;  // absent exactly when kFull
  Digest256 base_root{};              // kNoRoot exactly when kFull
  Digest256 root{};                   // of the version
  std::uint64_t payload_bytes = 0;
  std::uint32_t chunk_bytes = kChunkBytes;  // of every chunk but the last
  std::vector<Digest256> chunks;            // SHA-256 of each, in order
  bool operator==(const PolicyManifest&) const = default;

  // REQUIRES chunk < chunks.size().
  std::uint64_t ChunkOffset(std::size_t chunk) const { return std::uint64_t{chunk} * chunk_bytes; }
  std::size_t ChunkSize(std::size_t chunk) const;
};

Bytes Encode(const PolicyManifest& manifest);
// Blame::kPeer; names field and offset, or which two fields contradict each other.
Result<PolicyManifest> DecodeManifest(std::span<const std::uint8_t> bytes);
// What announcements name: SHA-256 of the encoding.
Digest256 DigestOf(const PolicyManifest& manifest);

// `facts` (run, version, kind, base, roots, chunk size) completed for a payload, chunks hashed.
// REQUIRES facts that DecodeManifest would accept.
PolicyManifest MakeManifest(PolicyManifest facts, std::span<const std::uint8_t> payload,
                            ThreadPool& pool);
// The bytes of one chunk.
std::span<const std::uint8_t> ChunkOf(const PolicyManifest& manifest,
                                      std::span<const std::uint8_t> payload, std::size_t chunk);

// The frame of `payload` (whole, its chunks verified), which must say what the manifest says: other
// roots, or an adapter update that touches base weights, are Blame::kPeer.
Result<PatchView> ReadPayload(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              const ImageForm& form);
// The policy that it makes. `base`: null for kFull; else it must have the base root
// (Blame::kOperator).
Result<PolicyImage> ImageFrom(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              const ImageForm& form, const PolicyImage* base, ThreadPool& pool);

}  // namespace waggle
