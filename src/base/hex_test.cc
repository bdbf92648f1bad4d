#include "base/hex.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

namespace waggle {
namespace {

TEST(Hex, BytesBothWays) {
  std::string raw;
  for (int i = 0; i < 256; ++i) raw += static_cast<char>(i);
  const std::string hex = ToHex({reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size()});
  EXPECT_EQ(hex.substr(0, 8), "00010203");
  EXPECT_EQ(hex.substr(504), "fcfdfeff");
  EXPECT_EQ(FromHex(hex).value(), raw);
  EXPECT_EQ(ToHex({}), "");
  EXPECT_EQ(FromHex("").value(), "");
}

TEST(Hex, RefusesWhatIsNotHex) {
  for (const char* bad : {"0", "0g", "abc", "zz", "0x", " 00", "00 "})
    EXPECT_FALSE(FromHex(bad)) << bad;
}

TEST(Hex, FloatsInTheFormOfPrintfA) {
  EXPECT_EQ(HexFloat(1.0f), "0x1p+0");
  EXPECT_EQ(HexFloat(-0.0f), "-0x0p+0");
  EXPECT_EQ(HexFloat(0.1f), "0x1.99999ap-4");
  EXPECT_EQ(HexDouble(0.1), "0x1.999999999999ap-4");
  EXPECT_EQ(HexFloat(std::numeric_limits<float>::max()), "0x1.fffffep+127");
}

TEST(Hex, EveryFloatComesBackBitForBit) {
  std::uint32_t bits = 1;
  for (int i = 0; i < 20000; ++i) {
    bits = bits * 1664525u + 1013904223u;
    const float value = std::bit_cast<float>(i < 64 ? static_cast<std::uint32_t>(i)
                                                    : bits);  // the smallest subnormals first
    if (value != value) continue;
    const auto back = ParseHexFloat(HexFloat(value));
    ASSERT_TRUE(back) << HexFloat(value);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(*back), std::bit_cast<std::uint32_t>(value))
        << HexFloat(value);
    const double wide = static_cast<double>(value) * 1.1;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(ParseHexDouble(HexDouble(wide)).value()),
              std::bit_cast<std::uint64_t>(wide));
  }
}

TEST(Hex, RefusesWhatIsNoHexFloat) {
  for (const char* bad : {"", "0x", "0x1p", "x", "0x1p+0 ", " 0x1p+0", "0x1p+0z", "--0x1p+0"}) {
    EXPECT_FALSE(ParseHexFloat(bad)) << bad;
    EXPECT_FALSE(ParseHexDouble(bad)) << bad;
  }
}

TEST(Hex, Fnv1a64KnownAnswers) {
  const auto hash = [](std::string_view text) {
    return Fnv1a64(std::as_bytes(std::span(text.data(), text.size())));
  };
  EXPECT_EQ(hash(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(hash("a"), 0xaf63dc4c8601ec8cull);  // from the authors' test vectors
  EXPECT_EQ(hash("foobar"), 0x85944171f73967e8ull);
}

}  // namespace
}  // namespace waggle
