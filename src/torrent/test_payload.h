// A payload with its manifest and torrent, and sources of every kind, for the tests of this folder
// and of those above it.
#pragma once

#include <cstring>
#include <memory>
#include <set>

#include "base/philox.h"
#include "torrent/layout.h"
#include "torrent/swarm.h"

namespace waggle {

struct TestPayload {
  explicit TestPayload(std::size_t bytes, std::uint32_t chunk_bytes = 64 << 10,
                       std::uint64_t seed = 1) {
    payload.resize(bytes);
    Rng rng(seed);
    for (std::size_t i = 0; i < bytes; i += 8) {
      const std::uint64_t word = rng.NextU64();
      std::memcpy(payload.data() + i, &word, std::min<std::size_t>(8, bytes - i));
    }
    Describe(chunk_bytes, seed);
  }
  TestPayload(Bytes bytes, std::uint32_t chunk_bytes) : payload(std::move(bytes)) {
    Describe(chunk_bytes, 1);
  }
  std::vector<std::size_t> AllChunks() const {
    std::vector<std::size_t> all(manifest.chunks.size());
    for (std::size_t c = 0; c < all.size(); ++c) all[c] = c;
    return all;
  }

  Bytes payload, info;
  PolicyManifest manifest;

 private:
  void Describe(std::uint32_t chunk_bytes, std::uint64_t version) {
    ThreadPool pool(1);
    manifest = MakeManifest({.run = {1, 2, 3},
                             .version = PolicyVersion{version},
                             .root = {4, 5, 6},
                             .chunk_bytes = chunk_bytes},
                            payload, pool);
    info = MakeTorrentInfo(manifest, payload, pool).value();
  }
};

// Straight from memory. A liar's first read of a place is right, so that it passes its own check,
// and all further ones, which go to others, are wrong.
class TestSource final : public PayloadSource {
 public:
  explicit TestSource(const TestPayload& of, bool lies = false) : of_(of), lies_(lies) {}
  Status Read(std::size_t chunk, std::uint64_t offset, std::span<std::uint8_t> out) override {
    std::memcpy(out.data(), ChunkOf(of_.manifest, of_.payload, chunk).data() + offset, out.size());
    if (lies_ && !told_.insert({chunk, offset}).second) out[0] ^= 1;
    return {};
  }

 private:
  const TestPayload& of_;
  const bool lies_;
  std::set<std::pair<std::size_t, std::uint64_t>> told_;
};

// What a receiver got.
struct TestSink {
  explicit TestSink(const TestPayload& of) : payload(of.payload.size()), manifest(of.manifest) {}
  Swarm::Take take() {
    return [this](std::size_t chunk, std::span<const std::uint8_t> bytes) -> Status {
      std::memcpy(payload.data() + manifest.ChunkOffset(chunk), bytes.data(), bytes.size());
      ++chunks;
      return {};
    };
  }
  Bytes payload;
  const PolicyManifest& manifest;
  std::size_t chunks = 0;
};

}  // namespace waggle
