// Checksums over all code points come from Python's unicodedata 14.0.0.
#include "tokenizer/unicode.h"

#include <gtest/gtest.h>

#include "base/philox.h"
#include "tokenizer/unicode_tables.h"

namespace waggle::unicode {
namespace {

struct Fnv {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  void Add(std::string_view bytes) {
    for (const char byte : bytes)
      hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ull;
  }
};

template <class Visit>
void ForEachScalar(Visit visit) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c >= 0xE000) visit(c);
  }
}

std::string Utf8(char32_t c) {
  std::string out;
  Append(out, c);
  return out;
}

TEST(Unicode, ClassesOfAllCodePoints) {
  Fnv fnv;
  ForEachScalar([&](char32_t c) { fnv.Add(std::string(1, static_cast<char>(ClassOf(c)))); });
  EXPECT_EQ(fnv.hash, 0x5668b4c2e00d43e8ull);
  EXPECT_STREQ(kVersion, "14.0.0");
}

TEST(Unicode, NfcOfAllCodePoints) {
  Fnv fnv;
  ForEachScalar([&](char32_t c) { fnv.Add(Nfc(Utf8(c))); });
  EXPECT_EQ(fnv.hash, 0x23fc43766d7c2eb9ull);
}

TEST(Unicode, NfcKnownAnswers) {
  EXPECT_EQ(Nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(Nfc("\u212b"), "\u00c5");                // Angstrom sign
  EXPECT_EQ(Nfc("\u1e9b\u0323"), "\u1e9b\u0323");    // the standard's own example
  EXPECT_EQ(Nfc("q\u0307\u0323"), "q\u0323\u0307");  // reordered, nothing composes
  EXPECT_EQ(Nfc("\u0915\u093c"), "\u0915\u093c");    // composition exclusion
  EXPECT_EQ(Nfc("\u1112\u1161\u11ab"), "\ud55c");    // Hangul
  EXPECT_EQ(Nfc("\uac00\u11a7"), "\uac00\u11a7");    // U+11A7 is no trailing consonant
  EXPECT_EQ(Nfc("a\u0328\u0301\u0327"), "\u0105\u0327\u0301");
  EXPECT_EQ(Nfc("\uf900"), "\u8c48");            // compatibility ideograph
  EXPECT_EQ(Nfc("e\xFF\u0301"), "e\xFF\u0301");  // a bad byte keeps them apart
  EXPECT_EQ(Nfc(""), "");
}

TEST(Unicode, NfcIsIdempotent) {
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (std::uint32_t n = rng.Below(12); n > 0; --n) {
      Append(text, rng.Below(3) == 0 ? 0x300 + rng.Below(0x70) : rng.Below(0xD800));
    }
    const std::string once = Nfc(text);
    ASSERT_EQ(Nfc(once), once);
    ASSERT_TRUE(IsValid(once));
  }
}

TEST(Unicode, DecodesAndRefusesUtf8) {
  ForEachScalar([](char32_t c) {
    const std::string bytes = Utf8(c);
    const Char seen = Decode(bytes, 0);
    if (seen.code_point != c || seen.length != bytes.size())
      ADD_FAILURE() << std::hex << static_cast<unsigned>(c);
  });
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE4\xBD", "\xFF"}) {
    EXPECT_EQ(Decode(bad, 0).code_point, kInvalid);
    EXPECT_EQ(Decode(bad, 0).length, 1u);
    EXPECT_FALSE(IsValid(bad));
  }
}

TEST(Unicode, LossyReplacesMaximalParts) {
  EXPECT_EQ(Lossy("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(Lossy("\xE4\xBDz"), "\uFFFDz");
  EXPECT_EQ(Lossy("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(Lossy("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Lossy("\u4f60"), "\u4f60");
}

TEST(Unicode, CompletePrefixStopsBeforeAnOpenCharacter) {
  EXPECT_EQ(CompletePrefix("ab"), 2u);
  EXPECT_EQ(CompletePrefix("ab\xE4\xBD"), 2u);
  EXPECT_EQ(CompletePrefix("ab\xE4\xBD\xA0"), 5u);
  EXPECT_EQ(CompletePrefix("\xF0\x9F\x98"), 0u);
  EXPECT_EQ(CompletePrefix("\xFF"), 1u);      // nothing can complete it
  EXPECT_EQ(CompletePrefix("\xE0\x80"), 2u);  // nor this
  EXPECT_EQ(CompletePrefix("\x80\x80\x80"), 3u);
  EXPECT_EQ(CompletePrefix(""), 0u);
}

}  // namespace
}  // namespace waggle::unicode
