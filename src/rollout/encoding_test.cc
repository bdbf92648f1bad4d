#include "rollout/encoding.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/hex.h"
#include "base/philox.h"

namespace waggle {
namespace {

Lease SomeLease() {
  return {.id = LeaseId{7},
          .environment = "sort",
          .task_seed = 0x0123456789abcdefull,
          .group_size = 2,
          .version = PolicyVersion{3},
          .key = {0x11111111u, 0x22222222u},
          .sampling = {
              .temperature = 0.7f, .top_p = 0.9f, .min_p = 0.05f, .top_k = 40, .tokens_max = 5}};
}

Group SomeGroup() {
  Group group{.lease = LeaseId{7}, .prompt = {1, 5, 9}, .rollouts = {}};
  group.rollouts.push_back({.tokens = {4, 2},
                            .logps = {-0.25f, -1.5f},
                            .loss_mask = {1, 1},
                            .spans = {{0, PolicyVersion{3}}, {1, PolicyVersion{4}}},
                            .finish = FinishReason::kStop,
                            .reward = 1.0f});
  group.rollouts.push_back({.tokens = {8},
                            .logps = {-0.0f},
                            .loss_mask = {0},
                            .spans = {{0, PolicyVersion{3}}},
                            .finish = FinishReason::kLength,
                            .reward = 0.5f});
  return group;
}

TEST(Encoding, ReadsBackWhatItWrote) {
  EXPECT_EQ(DecodeLease(Encode(SomeLease())).value(), SomeLease());
  EXPECT_EQ(DecodeGroup(Encode(SomeGroup())).value(), SomeGroup());
  const std::vector<GroupRecord> records = {{SomeLease(), SomeGroup()}, {SomeLease(), Group{}}};
  EXPECT_EQ(DecodeRecords(EncodeRecords(records)).value(), records);
  EXPECT_TRUE(DecodeRecords(EncodeRecords({})).value().empty());
}

// A field that only some groups have: absent and empty are one value, and one of the two is
// written.
TEST(Encoding, FingerprintsStandOnlyWhereThereAreAny) {
  const Bytes plain = Encode(SomeGroup());
  Group group = SomeGroup();
  group.fingerprints = {{1, 2, 3}, {}};
  const Bytes printed = Encode(group);
  EXPECT_EQ(DecodeGroup(printed).value(), group);
  EXPECT_TRUE(std::equal(plain.begin(), plain.end(), printed.begin()));
  for (std::size_t cut = plain.size() + 1; cut < printed.size(); ++cut)
    EXPECT_FALSE(DecodeGroup(std::span(printed).first(cut))) << cut;
  Bytes empty = plain;
  empty.insert(empty.end(), {4, 0, 0, 0, 0});
  EXPECT_FALSE(DecodeGroup(empty));
}

// Bytes that were written once must be read for ever: these never change.
TEST(Encoding, Golden) {
  EXPECT_EQ(ToHex(Encode(SomeLease())),
            "010800000007000000000000000204000000736f72740308000000efcdab89674523010404000000020000"
            "0005080000"
            "000300000000000000060400000011111111070400000022222222082d00000001040000003333333f0204"
            "0000006666"
            "663f0304000000cdcc4c3d040400000028000000050400000005000000090100000000");
  EXPECT_EQ(ToHex(Encode(SomeGroup())),
            "01080000000700000000000000020c00000001000000050000000900000003c900000075000000010800"
            "000004000000020000000208000000000080be0000c0bf0302000000010104400000001c000000010400"
            "000000000000020800000003000000000000000301000000001c00000001040000000100000002080000"
            "00040000000000000003010000000005010000000006040000000000803f4c0000000104000000080000"
            "0002040000000000008003010000000004200000001c0000000104000000000000000208000000030000"
            "000000000003010000000005010000000106040000000000003f");
}

TEST(Encoding, EveryCutIsRefused) {
  const Bytes bytes = Encode(SomeGroup());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto cut = DecodeGroup(std::span(bytes).first(n));
    ASSERT_FALSE(cut.has_value()) << n;
    EXPECT_EQ(cut.error().blame, Blame::kPeer);
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_NE(DecodeGroup(longer).error().what.find("left over"), std::string::npos);
}

TEST(Encoding, OneValueOneEncoding) {
  const Bytes bytes = Encode(SomeGroup());
  Rng rng(/*seed=*/5);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    Bytes changed = bytes;
    changed[rng.Below(static_cast<std::uint32_t>(changed.size()))] ^=
        static_cast<std::uint8_t>(1u << rng.Below(8));
    const auto group = DecodeGroup(changed);
    if (!group) continue;
    ++accepted;
    EXPECT_EQ(Encode(*group), changed);
  }
  EXPECT_GT(accepted,
            1000);  // flips inside a payload give other values; flips of the frame are refused
}

TEST(Encoding, RefusesWhatIsNoNumberAndWhatIsTooMuch) {
  Group group = SomeGroup();
  group.rollouts[0].logps[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(DecodeGroup(Encode(group)).error().what.find("logps"), std::string::npos);

  Lease lease = SomeLease();
  lease.environment.assign(kWire.name_bytes_max + 1, 'x');
  EXPECT_NE(DecodeLease(Encode(lease)).error().what.find("environment"), std::string::npos);

  group = SomeGroup();
  group.rollouts.assign(kWire.group_size_max + 1, Rollout{});
  EXPECT_NE(DecodeGroup(Encode(group)).error().what.find("rollouts"), std::string::npos);

  Bytes bytes = Encode(SomeLease());
  bytes[0] = 2;  // fields out of order
  EXPECT_NE(DecodeLease(bytes).error().what.find("out of order"), std::string::npos);
  EXPECT_FALSE(DecodeRecords(Bytes{'n', 'o'}).has_value());
}

// A length that promises more than there is must not make us allocate it.
TEST(Encoding, AHugePromiseIsRefusedAtOnce) {
  Bytes bytes = Encode(SomeGroup());
  for (int i = 1; i <= 4; ++i) bytes[13 + i] = 0xFF;  // length of field 2
  EXPECT_NE(DecodeGroup(bytes).error().what.find("prompt at byte 13: runs past the end"),
            std::string::npos);
}

}  // namespace
}  // namespace waggle
