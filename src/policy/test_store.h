// A short line of policy versions, published as a trainer would, for the tests of this folder.
#pragma once

#include "base/test_folder.h"
#include "policy/store.h"
#include "policy/test_images.h"

namespace waggle {

struct Update {
  PolicyManifest manifest;
  Bytes payload;
  Digest256 digest() const { return DigestOf(manifest); }
  std::span<const std::uint8_t> chunk(std::size_t i) const { return ChunkOf(manifest, payload, i); }
};

// Versions 1..count, one in `one_in` weights moving each time; snapshots in chunks of 4 KiB.
class PolicyLine {
 public:
  explicit PolicyLine(std::size_t count, std::uint32_t one_in = 50) : pool_(1) {
    for (std::size_t v = 1; v <= count; ++v)
      images_.push_back(v == 1 ? RandomImage(SomeForm(), 1) : Changed(images_.back(), v, one_in));
  }
  static Hash256 Run() { return {1, 2, 3}; }
  static PolicyVersion V(std::uint64_t v) { return PolicyVersion{v}; }
  ImageForm Form() const { return images_.front().Form(); }
  const PolicyImage& image(std::uint64_t v) const { return images_.at(v - 1); }

  Update Full(std::uint64_t v) {
    return Make({.run = Run(), .version = V(v), .root = image(v).root()}, EncodeSnapshot(image(v)));
  }
  Update Delta(std::uint64_t base, std::uint64_t v, PatchMode mode = PatchMode::kSteps) {
    return Make({.run = Run(),
                 .version = V(v),
                 .kind = PolicyKind::kDelta,
                 .base = V(base),
                 .base_root = image(base).root(),
                 .root = image(v).root()},
                EncodePatch(image(base), image(v), pool_, mode).value());
  }
  Update Make(PolicyManifest facts, Bytes payload) {
    facts.chunk_bytes = 4096;
    return {MakeManifest(std::move(facts), payload, pool_), std::move(payload)};
  }
  PolicyStore Open(const std::filesystem::path& root, const StoreConfig& config = {}) {
    return PolicyStore::Open(root, Run(), pool_, config).value();
  }
  ThreadPool& pool() { return pool_; }

 private:
  ThreadPool pool_;
  std::vector<PolicyImage> images_;
};

inline bool Holds(PolicyStore& store, const PolicyLine& line, std::uint64_t v) {
  const auto restored = store.Restore(PolicyVersion{v}, line.Form());
  return restored && *restored && SameBits(**restored, line.image(v));
}

}  // namespace waggle
