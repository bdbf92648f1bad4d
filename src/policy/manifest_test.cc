#include "policy/manifest.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "policy/test_store.h"

namespace waggle {
namespace {

PolicyManifest SomeManifest() {
  PolicyManifest m{.run = {9},
                   .version = PolicyVersion{8},
                   .kind = PolicyKind::kDelta,
                   .base = PolicyVersion{7},
                   .base_root = {5},
                   .root = {6},
                   .payload_bytes = 5000,
                   .chunk_bytes = 4096};
  m.chunks = {Digest256{1}, Digest256{2}};
  return m;
}

// Bytes that were written once must be read for ever: these never change.
TEST(PolicyManifest, Golden) {
  const auto zeros = [](std::size_t n) { return std::string(2 * n, '0'); };
  EXPECT_EQ(ToHex(Encode(SomeManifest())),
            "0120000000"
            "09" +
                zeros(31) +  // run
                "0208000000"
                "0800000000000000" +  // version
                "0301000000"
                "02" +  // kind
                "0408000000"
                "0700000000000000" +  // base
                "0520000000"
                "05" +
                zeros(31) +  // base_root
                "0620000000"
                "06" +
                zeros(31) +  // root
                "0708000000"
                "8813000000000000" +  // payload_bytes
                "0804000000"
                "00100000" +  // chunk_bytes
                "0940000000"
                "01" +
                zeros(31) + "02" + zeros(31));
  EXPECT_EQ(ToHex(DigestOf(SomeManifest())), ToHex(Sha256(Encode(SomeManifest()))));
}

TEST(PolicyManifest, ReadsBackWhatItWrote) {
  EXPECT_EQ(DecodeManifest(Encode(SomeManifest())).value(), SomeManifest());
  PolicyLine line(2);
  EXPECT_EQ(DecodeManifest(Encode(line.Full(1).manifest)).value(), line.Full(1).manifest);
}

TEST(PolicyManifest, EveryCutIsRefusedAndOneValueHasOneEncoding) {
  const Bytes bytes = Encode(SomeManifest());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto cut = DecodeManifest(std::span(bytes).first(n));
    ASSERT_FALSE(cut) << n;
    EXPECT_EQ(cut.error().blame, Blame::kPeer);
    for (int bit = 0; bit < 8; ++bit) {
      Bytes changed = bytes;
      changed[n] ^= static_cast<std::uint8_t>(1 << bit);
      if (const auto other = DecodeManifest(changed)) {
        EXPECT_EQ(Encode(*other), changed);
        EXPECT_NE(DigestOf(*other), DigestOf(SomeManifest()));
      }
    }
  }
}

TEST(PolicyManifest, FieldsThatContradictEachOther) {
  const auto refused = [](const auto& change, const char* part) {
    PolicyManifest m = SomeManifest();
    change(m);
    const auto decoded = DecodeManifest(Encode(m));
    ASSERT_FALSE(decoded) << part;
    EXPECT_NE(decoded.error().what.find(part), std::string::npos) << decoded.error().what;
  };
  refused([](auto& m) { m.base.reset(); }, "base");
  refused([](auto& m) { m.base_root = kNoRoot; }, "base_root");
  refused([](auto& m) { m.kind = PolicyKind::kFull; }, "a full version has no base");
  refused([](auto& m) { m.kind = static_cast<PolicyKind>(4); }, "kind");
  refused([](auto& m) { m.base = m.version; }, "cannot build on");
  refused([](auto& m) { m.base = PolicyVersion{9}; }, "cannot build on");
  refused([](auto& m) { m.root = kNoRoot; }, "root");
  refused([](auto& m) { m.chunk_bytes = 4095; }, "chunk_bytes");
  refused([](auto& m) { m.chunk_bytes = 0; }, "chunk_bytes");
  refused([](auto& m) { m.chunk_bytes = ~0u; }, "chunk_bytes");
  refused([](auto& m) { m.payload_bytes = 0; }, "payload_bytes");
  refused([](auto& m) { m.payload_bytes = ~std::uint64_t{0}; }, "payload_bytes");
  refused([](auto& m) { m.payload_bytes = 8193; }, "chunks");
  refused([](auto& m) { m.chunks.clear(); }, "chunks");
}

TEST(PolicyManifest, ChunksCoverThePayload) {
  PolicyLine line(1);
  const Update full = line.Full(1);
  ASSERT_EQ(full.manifest.chunks.size(), 2u);
  EXPECT_EQ(full.chunk(0).size() + full.chunk(1).size(), full.payload.size());
  EXPECT_EQ(Sha256(full.chunk(1)), full.manifest.chunks[1]);
}

}  // namespace
}  // namespace waggle
