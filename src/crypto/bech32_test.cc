#include "crypto/bech32.h"

#include <gtest/gtest.h>

#include "base/philox.h"

namespace waggle {
namespace {

using Bytes = std::vector<std::uint8_t>;

// The 5-bit values of a text's data part, as bytes; only for lengths that fill whole bytes.
Bytes DataOf(std::string_view data) {
  Bytes bytes(Base32Bytes(data.size()));
  EXPECT_TRUE(Base32Decode(data, bytes));
  return bytes;
}

TEST(Bech32m, KnownAnswersOfBip350) {
  EXPECT_EQ(Bech32mText("a", {}), "a1lqfn3a");
  Bytes descending;  // the values 31, 30, ... 0 of "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"
  for (int block = 3; block >= 0; --block) {
    std::uint64_t bits = 0;
    for (int i = 7; i >= 0; --i) bits = bits << 5 | static_cast<std::uint64_t>(8 * block + i);
    for (int i = 4; i >= 0; --i) descending.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
  }
  EXPECT_EQ(Bech32mText("abcdef", descending), "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx");
  EXPECT_EQ(Bech32mText("split", DataOf("checkupstagehandshakeupstreamerranterredcaperred")),
            "split1checkupstagehandshakeupstreamerranterredcaperredlc445v");
  Bytes back(20);
  ASSERT_TRUE(Bech32mDecode("ABCDEF1L7AUM6ECHK45NJ3S0WDVT2FG8X9YRZPQZD3RYX", "abcdef", back));
  EXPECT_EQ(back, descending);
  EXPECT_TRUE(Bech32mDecode("A1LQFN3A", "a", {}));
  EXPECT_FALSE(Bech32mDecode("a12uel5l", "a", {}));  // bech32 of BIP-173, without the m
}

TEST(Bech32m, ReadsBackAnyLength) {
  Rng rng(/*seed=*/3);
  for (std::size_t n = 0; n < 100; ++n) {
    Bytes bytes(n);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(rng.NextU32());
    const std::string text = Bech32mText("wgl", bytes);
    ASSERT_EQ(text.size(), Bech32mLength("wgl", n));
    Bytes back(n);
    ASSERT_TRUE(Bech32mDecode(text, "wgl", back)) << text;
    EXPECT_EQ(back, bytes);
  }
}

TEST(Bech32m, AnyFourWrongCharactersAreFound) {
  constexpr std::string_view kAlphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
  const std::string text = Bech32mText("wgl", Bytes(32, 0x5a));
  Rng rng(/*seed=*/4);
  Bytes out(32);
  for (int i = 0; i < 200000; ++i) {
    std::string changed = text;
    for (std::uint32_t errors = 1 + rng.Below(4); errors > 0; --errors)
      changed[4 + rng.Below(static_cast<std::uint32_t>(text.size() - 4))] =
          kAlphabet[rng.Below(32)];
    if (changed == text) continue;
    ASSERT_FALSE(Bech32mDecode(changed, "wgl", out)) << changed;
  }
}

TEST(Bech32m, SaysWhatIsWrong) {
  Bytes out(32);
  const std::string text = Bech32mText("wgl", out);
  const auto why = [&](const std::string& bad) {
    const Status status = Bech32mDecode(bad, "wgl", out);
    return status ? std::string("accepted") : status.error().what;
  };
  EXPECT_NE(why("xyz1" + text.substr(4)).find("does not begin with wgl1"), std::string::npos);
  EXPECT_NE(why("").find("cut off"), std::string::npos);
  for (std::size_t n = 0; n < text.size(); ++n)
    EXPECT_NE(why(text.substr(0, n)).find("cut off"), std::string::npos) << n;
  EXPECT_NE(why(text + "q").find("too long"), std::string::npos);
  std::string bad = text;
  bad[10] = 'b';
  EXPECT_NE(why(bad).find("character 11"), std::string::npos);
  bad[10] = 'Q';
  EXPECT_NE(why(bad).find("mixed"), std::string::npos);
  bad[10] = 'p';
  EXPECT_NE(why(bad).find("mistyped"), std::string::npos);
}

TEST(Base32, OneValueOneText) {
  Bytes one(1);
  EXPECT_TRUE(Base32Decode("qq", one));
  EXPECT_FALSE(Base32Decode("qp", one));  // padding that is not zero
  EXPECT_FALSE(Base32Decode("QQ", one));
  EXPECT_FALSE(Base32Decode("qi", one));
  Bytes none;
  EXPECT_FALSE(Base32Decode("q", none));  // five bits are no byte
}

}  // namespace
}  // namespace waggle
