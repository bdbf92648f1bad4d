#include "crypto/keccak.h"

#include <gtest/gtest.h>

#include <string_view>

#include "base/hex.h"

namespace waggle {
namespace {

std::span<const std::uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Sheet markets.md 10.
TEST(Keccak, KnownAnswers) {
  EXPECT_EQ(ToHex(Keccak256({})),
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
  EXPECT_EQ(ToHex(Keccak256(Bytes("abc"))),
            "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
}

// FIPS 202.
TEST(Shake, KnownAnswer) {
  EXPECT_EQ(ToHex(Shake256({}, 32)),
            "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f");
}

// Sheet grail.md K15: challenged positions of a commitment of 32 bytes 0x11 under a drand beacon.
TEST(Shake, ChallengedPositions) {
  const auto label = Bytes("open2||");
  std::vector<std::uint8_t> seed(label.begin(), label.end());
  const auto beacon = FromHex("fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd");
  ASSERT_TRUE(beacon.has_value());
  for (const char byte : *beacon) seed.push_back(static_cast<std::uint8_t>(byte));
  seed.insert(seed.end(), 32, 0x11);
  const std::vector<std::uint32_t> expected = {76, 40, 10, 29, 45, 31, 77, 59, 81, 37, 55,
                                               36, 74, 72, 12, 23, 6,  44, 19, 71, 34, 33,
                                               15, 97, 5,  96, 68, 57, 90, 92, 20, 89};
  EXPECT_EQ(ShakeStream(seed).Distinct(100, 32), expected);
}

TEST(Shake, StreamsGrowAndEnd) {
  ShakeStream stream(Bytes("waggle"));
  ShakeStream again(Bytes("waggle"));
  std::vector<std::uint32_t> first, second;
  for (int i = 0; i < 1000; ++i) first.push_back(stream.Word());
  for (int i = 0; i < 1000; ++i) second.push_back(again.Word());
  EXPECT_EQ(first, second);
  EXPECT_EQ(ShakeStream(Bytes("x")).Distinct(3, 10).size(), 3u);
  EXPECT_EQ(ShakeStream(Bytes("x")).Below(1), 0u);
}

}  // namespace
}  // namespace waggle
