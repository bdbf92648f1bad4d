// Known pieces: from an independent regular-expression engine run on the three patterns.
#include "tokenizer/split.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/philox.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

constexpr std::array kFamilies = {SplitFamily::kGpt2, SplitFamily::kLlama3, SplitFamily::kQwen2};

std::string Pieces(SplitFamily family, std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = NextPiece(family, text, at);
    if (end <= at || end > text.size()) return "no progress";
    if (at > 0) out += '|';
    out += text.substr(at, end - at);
    at = end;
  }
  return out;
}

struct Row {
  const char* text;
  std::array<const char*, 3> pieces;  // GPT-2, Llama 3, Qwen2
};
// clang-format off
const Row kRows[] = {
    {"Hello world",
     {"Hello| world",
      "Hello| world",
      "Hello| world"}},
    {"don't you'LL '\305\277o I'Ve",
     {"don|'t| you|'|LL| '|\305\277o| I|'|Ve",
      "don|'t| you|'LL| '|\305\277o| I|'Ve",
      "don|'t| you|'LL| '|\305\277o| I|'Ve"}},
    {"  two  spaces \n\n next\t\tx ",
     {" | two| | spaces| \n\n| next|\t|\t|x| ",
      " | two| | spaces| \n\n| next|\t|\tx| ",
      " | two| | spaces| \n\n| next|\t|\tx| "}},
    {"12345 67 8",
     {"12345| 67| 8",
      "123|45| |67| |8",
      "1|2|3|4|5| |6|7| |8"}},
    {"x=1234;y+=5",
     {"x|=|1234|;|y|+=|5",
      "x|=|123|4|;y|+=|5",
      "x|=|1|2|3|4|;y|+=|5"}},
    {"a\r\nb\r\n \r\n  c",
     {"a|\r|\n|b|\r\n \r\n | c",
      "a|\r\n|b|\r\n \r\n| | c",
      "a|\r\n|b|\r\n \r\n| | c"}},
    {"...!?\n\n  end",
     {"...!?|\n\n | end",
      "...!?\n\n| | end",
      "...!?\n\n| | end"}},
    {"  \n",
     {"  \n",
      "  \n",
      "  \n"}},
    {"\302\240nbsp\343\200\200wide \302\205next",
     {"\302\240|nbsp|\343\200\200|wide| |\302\205|next",
      "\302\240nbsp|\343\200\200wide| |\302\205next",
      "\302\240nbsp|\343\200\200wide| |\302\205next"}},
    {"\303\251a\314\201 \316\251mega \346\227\245\346\234\254\350\252\236 \355\225\234\352\265\255",
     {"\303\251a|\314\201| \316\251mega| \346\227\245\346\234\254\350\252\236| \355\225\234\352\265\255",
      "\303\251a|\314\201| \316\251mega| \346\227\245\346\234\254\350\252\236| \355\225\234\352\265\255",
      "\303\251a|\314\201| \316\251mega| \346\227\245\346\234\254\350\252\236| \355\225\234\352\265\255"}},
    {"\302\275\302\262 \342\205\247 \331\243\331\244\331\245\331\246 \343\200\207",
     {"\302\275\302\262| \342\205\247| \331\243\331\244\331\245\331\246| \343\200\207",
      "\302\275\302\262| |\342\205\247| |\331\243\331\244\331\245|\331\246| |\343\200\207",
      "\302\275|\302\262| |\342\205\247| |\331\243|\331\244|\331\245|\331\246| |\343\200\207"}},
    {"\360\237\221\251\342\200\215\360\237\221\247 \360\237\217\275ok",
     {"\360\237\221\251\342\200\215\360\237\221\247| \360\237\217\275|ok",
      "\360\237\221\251\342\200\215\360\237\221\247| \360\237\217\275|ok",
      "\360\237\221\251\342\200\215\360\237\221\247| \360\237\217\275|ok"}},
    {"'s't're",
     {"'s|'t|'re",
      "'s|'t|'re",
      "'s|'t|'re"}},
    {"''s x'",
     {"''|s| x|'",
      "''|s| x|'",
      "''|s| x|'"}},
    {"a'",
     {"a|'",
      "a|'",
      "a|'"}},
    {"_under_score 9_9",
     {"_|under|_|score| 9|_|9",
      "_under|_score| |9|_|9",
      "_under|_score| |9|_|9"}},
    {" \342\200\213zero",
     {" \342\200\213|zero",
      " \342\200\213|zero",
      " \342\200\213|zero"}},
    {"\n\n\nx",
     {"\n\n|\n|x",
      "\n\n\n|x",
      "\n\n\n|x"}},
    {"foo(bar)\r\r baz",
     {"foo|(|bar|)|\r\r| baz",
      "foo|(bar|)\r\r| baz",
      "foo|(bar|)\r\r| baz"}},
    {"I'm'd 'RE",
     {"I|'m|'d| '|RE",
      "I|'m|'d| '|RE",
      "I|'m|'d| '|RE"}},
};
// clang-format on

TEST(Split, KnownPieces) {
  for (const Row& row : kRows) {
    for (std::size_t f = 0; f < kFamilies.size(); ++f) {
      EXPECT_EQ(Pieces(kFamilies[f], row.text), row.pieces[f])
          << "family " << f << ", text: " << row.text;
    }
  }
}

TEST(Split, CaseFoldingTakesTheLongS) {
  EXPECT_EQ(Pieces(SplitFamily::kLlama3, "a'\305\277b"), "a|'\305\277|b");
  EXPECT_EQ(Pieces(SplitFamily::kGpt2, "a'\305\277b"), "a|'|\305\277b");
}

TEST(Split, BytesThatAreNotUtf8ArePunctuation) {
  EXPECT_EQ(Pieces(SplitFamily::kGpt2, "a\xFF\xC3 b"), "a|\xFF\xC3| b");
  EXPECT_EQ(Pieces(SplitFamily::kQwen2, "\xE4\xBD"), "\xE4\xBD");
}

TEST(Split, RegexesNameTheirFamilies) {
  for (const SplitFamily family : kFamilies)
    EXPECT_EQ(FamilyOfRegex(RegexOfFamily(family)), family);
  EXPECT_FALSE(FamilyOfRegex(R"(\w+)"));
}

TEST(Split, RandomBytesAreCoveredExactly) {
  Rng rng(5);
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::uint32_t n = rng.Below(40); n > 0; --n) {
      const std::uint32_t kind = rng.Below(4);
      if (kind == 0) text += static_cast<char>(rng.Below(256));
      if (kind == 1) text += " \n\r'sS1a"[rng.Below(8)];
      if (kind >= 2) unicode::Append(text, rng.Below(0xD800));
    }
    for (const SplitFamily family : kFamilies) {
      std::string joined;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = NextPiece(family, text, at);
        ASSERT_GT(end, at);
        joined += text.substr(at, end - at);
        at = end;
      }
      ASSERT_EQ(joined, text);
    }
  }
}

TEST(Split, DigitRuns) {
  EXPECT_EQ(DigitsRun("ab12", 0, false), 2u);
  EXPECT_EQ(DigitsRun("ab12", 2, true), 4u);
  EXPECT_EQ(DigitsRun("ab12", 2, false), 2u);
  EXPECT_EQ(DigitsRun("\303\251\342\205\247", 0, false), 2u) << "U+2167 is a number";
}

}  // namespace
}  // namespace waggle
