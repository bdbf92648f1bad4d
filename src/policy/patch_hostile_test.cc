// Patches from strangers: every refusal is provoked once, and none of them costs more than looking.
#include <gtest/gtest.h>

#include "policy/leb128.h"
#include "policy/patch.h"
#include "policy/test_images.h"

namespace waggle {
namespace {

constexpr std::size_t kHead = 69;  // magic, flags, two roots

class HostilePatch : public ::testing::Test {
 protected:
  // A record for tensor "w" of bf16 [4, 5], every part at will.
  struct Record {
    std::string name = "w";
    std::uint8_t dtype = 1, rank = 2;
    std::vector<std::uint64_t> extents = {4, 5};
    std::uint8_t mode = 0;
    std::uint64_t changed = 5;
    std::uint8_t k = 0;
    Bytes gaps = {0x36, 0xfc};
    Bytes payload = {0xd5, 0x40};
    std::optional<std::uint64_t> gaps_length, payload_length, name_length;
  };

  Bytes Patch(const std::vector<Record>& records, std::optional<std::uint64_t> count = {}) const {
    Bytes out;
    PutPatchHead(out, base_.root(), next_root_, count.value_or(records.size()));
    for (const Record& r : records) {
      PutLeb128(out, r.name_length.value_or(r.name.size()));
      out.insert(out.end(), r.name.begin(), r.name.end());
      out.push_back(r.dtype);
      out.push_back(r.rank);
      for (const std::uint64_t extent : r.extents) PutLeb128(out, extent);
      out.push_back(r.mode);
      PutLeb128(out, r.changed);
      out.push_back(r.k);
      PutLeb128(out, r.gaps_length.value_or(r.gaps.size()));
      out.insert(out.end(), r.gaps.begin(), r.gaps.end());
      PutLeb128(out, r.payload_length.value_or(r.payload.size()));
      out.insert(out.end(), r.payload.begin(), r.payload.end());
    }
    return out;
  }
  void ExpectRefused(const Bytes& patch, const char* part) {
    const auto applied = ApplyPatch(base_, patch, pool_);
    ASSERT_FALSE(applied) << part;
    EXPECT_EQ(applied.error().blame, Blame::kPeer) << applied.error().what;
    EXPECT_NE(applied.error().what.find(part), std::string::npos) << applied.error().what;
  }
  void RefusesRecord(const Record& record, const char* part) {
    ExpectRefused(Patch({record}), part);
  }

  static PolicyImage Base() {
    PolicyImage::Tensors tensors;
    tensors["v"] =
        MakeImageTensor("v", {WireDtype::kF32, {2}}, BitsOfWords(std::vector<std::uint32_t>(2, 0)));
    tensors["w"] = MakeImageTensor("w", {WireDtype::kBf16, {4, 5}},
                                   BitsOfWords(std::vector<std::uint16_t>(20, 0x3f80)));
    return PolicyImage(std::move(tensors));
  }

  ThreadPool pool_{1};
  PolicyImage base_ = Base();
  Digest256 next_root_{};
};

TEST_F(HostilePatch, TheUntouchedOneFailsOnlyAtItsRoot) { RefusesRecord(Record{}, "new root"); }

TEST_F(HostilePatch, EveryFieldOfTheFrame) {
  Bytes bytes = Patch({Record{}});
  bytes[3] = '2';
  ExpectRefused(bytes, "WPT1");
  bytes = Patch({Record{}});
  bytes[4] = 1;
  ExpectRefused(bytes, "flags at byte 5");
  ExpectRefused(Patch({Record{}}, 3), "tensors");
  ExpectRefused(Patch({Record{}}, 2), "runs past the end");
  ExpectRefused(Patch({Record{}}, 0), "left over");
  RefusesRecord({.name = "x"}, "no such tensor");
  RefusesRecord({.name_length = 1u << 30}, "name at byte");
  RefusesRecord({.dtype = 2}, "dtype");
  RefusesRecord({.dtype = 0}, "dtype");
  RefusesRecord({.rank = 1, .extents = {20}}, "rank");
  RefusesRecord({.extents = {5, 4}}, "extent");
  RefusesRecord({.mode = 3}, "mode");
  RefusesRecord({.changed = 0}, "changed");
  RefusesRecord({.changed = 21}, "changed");
  RefusesRecord({.k = 21}, "k at byte");
  RefusesRecord({.mode = 2}, "changed");
  RefusesRecord({.mode = 2, .changed = 20}, "gaps");
  RefusesRecord({.mode = 2, .changed = 20, .gaps = {}, .payload = Bytes(39)}, "payload");
  RefusesRecord({.mode = 1}, "payload");
}

// Declared sizes beyond what is there, up to 2^64 - 1: refused before anything is made for them.
TEST_F(HostilePatch, PatchBombs) {
  for (const std::uint64_t size : {std::uint64_t{6}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    RefusesRecord({.gaps_length = size}, "gaps");
    RefusesRecord({.payload_length = size}, "payload");
    RefusesRecord({.changed = size << 8 | 64}, "changed");
  }
  // More entries than the bits that are there can hold.
  RefusesRecord({.changed = 17, .gaps = {0, 0}, .payload = Bytes(5)}, "gaps");
  RefusesRecord({.changed = 9, .gaps = {0, 0}, .payload = {0xff, 0xff}}, "payload");
  RefusesRecord({.changed = 3, .k = 8, .gaps = {0, 0, 0}}, "gaps");
}

TEST_F(HostilePatch, EntriesThatLeadNowhere) {
  RefusesRecord({.changed = 1, .gaps = {0xff, 0xff, 0xf0}, .payload = {0x40}}, "past the end");
  RefusesRecord({.changed = 1, .k = 20, .gaps = {0x7f, 0xff, 0xff}, .payload = {0x40}}, "past the");
  RefusesRecord({.changed = 1, .gaps = Bytes(1000, 0xff), .payload = {0x40}}, "past the end");
  RefusesRecord({.changed = 1, .gaps = {0x00, 0x00}, .payload = {0x40}}, "left over");
  RefusesRecord({.changed = 1, .gaps = {0x01}, .payload = {0x40}}, "left over");  // padding
  RefusesRecord({.changed = 1, .gaps = {0x00}, .payload = {0x41}}, "left over");
  RefusesRecord({.changed = 1, .gaps = {0x00}, .payload = {0x40, 0x00}}, "left over");
  RefusesRecord({.changed = 1, .gaps = {0x00}, .payload = {0x00}}, "steps");  // no step ends
  RefusesRecord({.changed = 2, .gaps = {0x00}, .payload = {0x41}}, "steps");  // the second is cut
  // 17 zeros: longer than any step of 16 bits.
  RefusesRecord({.changed = 1, .gaps = {0x00}, .payload = {0x00, 0x00, 0x20, 0, 0}}, "steps");
  // From 1.0 upwards by 65535 ranks.
  RefusesRecord({.changed = 1, .gaps = {0x00}, .payload = {0x00, 0x00, 0x7f, 0xff, 0x80}},
                "out of the number format");
}

TEST_F(HostilePatch, NumbersHaveOneForm) {
  Bytes bytes = Patch({});
  bytes.resize(kHead);
  bytes.insert(bytes.end(), {0x80, 0x00});  // zero in two bytes
  ExpectRefused(bytes, "shortest form");
  bytes.resize(kHead);
  bytes.insert(bytes.end(), 9, 0xff);
  bytes.push_back(0x02);
  ExpectRefused(bytes, "above 64 bits");
  bytes.resize(kHead);
  bytes.insert(bytes.end(), 20, 0xff);
  ExpectRefused(bytes, "above 64 bits");
}

TEST(HostileBytes, EveryCutAndEveryFlippedBitIsRefused) {
  ThreadPool pool(1);
  const PolicyImage base = RandomImage(SomeForm(), 1), next = Changed(base, 2, 40);
  for (const PatchMode mode : {PatchMode::kSteps, PatchMode::kReplace}) {
    const Bytes patch = EncodePatch(base, next, pool, mode).value();
    for (std::size_t n = 0; n < patch.size(); ++n) {
      ASSERT_FALSE(ApplyPatch(base, std::span(patch).first(n), pool)) << n;
      for (int bit = 0; bit < 8; ++bit) {
        Bytes changed = patch;
        changed[n] ^= static_cast<std::uint8_t>(1 << bit);
        const auto applied = ApplyPatch(base, changed, pool);
        ASSERT_FALSE(applied) << "byte " << n << " bit " << bit;
        const bool other_base = n >= 5 && n < 37;
        ASSERT_EQ(applied.error().blame, other_base ? Blame::kOperator : Blame::kPeer);
      }
    }
  }
}

TEST(HostileBytes, ManyMutationsNeverLeadToAnotherPolicy) {
  ThreadPool pool(1);
  const PolicyImage base = RandomImage(SomeForm(), 1), next = Changed(base, 2, 20);
  const Bytes patch = EncodePatch(base, next, pool).value(), snapshot = EncodeSnapshot(next);
  Rng rng(9);
  int well_formed = 0;
  for (int i = 0; i < 20000; ++i) {
    Bytes changed = i % 8 == 0 ? snapshot : patch;
    for (std::uint32_t edits = 1 + rng.Below(3); edits > 0; --edits) {
      const auto at = kHead + rng.Below(static_cast<std::uint32_t>(changed.size() - kHead));
      changed[at] = static_cast<std::uint8_t>(rng.NextU32());
      if (rng.Below(4) == 0) changed.resize(std::max(kHead + 1, changed.size() - rng.Below(9)));
    }
    if (changed == patch || changed == snapshot) continue;
    well_formed += ReadPatch(changed, base.Form()) ? 1 : 0;
    ASSERT_FALSE(ApplyPatch(base, changed, pool));
    ASSERT_FALSE(ApplySnapshot(base.Form(), changed, pool));
    if (const auto composed = ComposePatches(changed, patch, base.Form())) {
      ASSERT_TRUE(ReadPatch(*composed, base.Form()));
    }
  }
  EXPECT_GT(well_formed, 1000);  // flips inside of gaps and steps pass the frame
}

}  // namespace
}  // namespace waggle
