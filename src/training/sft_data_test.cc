#include "training/sft_data.h"

#include <fstream>
#include <map>

#include "training/test_policy.h"

namespace waggle {
namespace {

SftReadOptions Bytes() {
  SftReadOptions options;
  options.encode = [](std::string_view text) {
    std::vector<TokenId> tokens;
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  };
  options.begin = {1};
  options.eos = 2;
  options.tokens_max = 8;
  return options;
}

using Mask = std::vector<std::uint8_t>;

TEST(SftDataTest, LinesBecomeTokensAndMasks) {
  const auto samples =
      ParseSftJsonl("{\"text\": \"ab\"}\n\n  \r\n{\"prompt\":\"a\",\"completion\":\"bc\"}\n", "f",
                    Bytes())
          .value();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].tokens, (std::vector<TokenId>{1, 'a', 'b', 2}));
  EXPECT_EQ(samples[0].loss_mask, (Mask{0, 1, 1, 1}));
  EXPECT_EQ(samples[1].tokens, (std::vector<TokenId>{1, 'a', 'b', 'c', 2}));
  EXPECT_EQ(samples[1].loss_mask, (Mask{0, 0, 1, 1, 1}));
}

TEST(SftDataTest, LongTextsAreCut) {
  const auto samples = ParseSftJsonl("{\"text\": \"abcdefghij\"}", "f", Bytes()).value();
  EXPECT_EQ(samples[0].tokens.size(), 8u);
  EXPECT_EQ(samples[0].tokens.back(), 'g');
  EXPECT_EQ(samples[0].loss_mask.size(), 8u);
}

TEST(SftDataTest, ChatsAreRenderedByTheCaller) {
  const char* line =
      R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]})";
  EXPECT_FALSE(ParseSftJsonl(line, "f", Bytes()));
  SftReadOptions options = Bytes();
  options.render = [](const std::vector<ChatTurn>& turns) -> Result<std::vector<ChatPiece>> {
    std::vector<ChatPiece> pieces;
    for (const ChatTurn& turn : turns) {
      pieces.push_back({"<", false});
      pieces.push_back({turn.content + ">", turn.role == "assistant"});
    }
    return pieces;
  };
  const auto samples = ParseSftJsonl(line, "f", options).value();
  EXPECT_EQ(samples[0].tokens, (std::vector<TokenId>{'<', 'x', '>', '<', 'y', '>'}));
  EXPECT_EQ(samples[0].loss_mask, (Mask{0, 0, 0, 0, 1, 1}));
}

TEST(SftDataTest, BadLinesAreNamed) {
  for (const char* line : {"{", "[]", "7", "{\"text\": 5}", "{\"prompt\": \"a\"}", "{}",
                           "{\"messages\": 3}", "\xff\xfe", "{\"text\":\"a\"} x"}) {
    const auto samples =
        ParseSftJsonl(std::string("{\"text\":\"ok\"}\n") + line, "data.jsonl", Bytes());
    ASSERT_FALSE(samples) << line;
    EXPECT_EQ(samples.error().blame, Blame::kOperator);
    EXPECT_TRUE(samples.error().what.starts_with("data.jsonl:2: ")) << samples.error().what;
  }
  EXPECT_FALSE(ParseSftJsonl("\n\n", "f", Bytes()));
  EXPECT_FALSE(ReadSftJsonl("/nowhere/at/all.jsonl", Bytes()));
  // Deep nesting must not exhaust the stack.
  EXPECT_FALSE(ParseSftJsonl(std::string(100000, '['), "f", Bytes()));
}

TEST(SftDataTest, PlainTextIsCutIntoDocumentsAndWindows) {
  TempFolder folder;
  std::ofstream(folder.path() / "t.txt") << "abc\n\nabcdefghij";
  const auto samples = ReadSftText(folder.path() / "t.txt", "\n\n", Bytes()).value();
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].tokens, (std::vector<TokenId>{1, 'a', 'b', 'c', 2}));
  EXPECT_EQ(samples[1].tokens, (std::vector<TokenId>{1, 'a', 'b', 'c', 'd', 'e', 'f', 'g'}));
  EXPECT_EQ(samples[2].tokens, (std::vector<TokenId>{1, 'h', 'i', 'j', 2}));
  EXPECT_EQ(ReadSftText(folder.path() / "t.txt", "", Bytes()).value().size(), 3u);
}

TEST(SftBatcherTest, EveryPassSeesEveryTextOnceInANewOrder) {
  const auto samples = CountingSamples(20, 5);
  SftBatcher batcher(samples, 17, 7);
  std::vector<std::vector<TokenId>> passes[3];
  for (auto& pass : passes) {
    const std::uint64_t number = batcher.cursor().pass;
    while (batcher.cursor().pass == number) {
      std::size_t tokens = 0;
      for (const SftSample& sample : batcher.Next()) {
        pass.push_back(sample.tokens);
        tokens += sample.tokens.size();
      }
      EXPECT_LE(tokens, 17u);
    }
    EXPECT_EQ(pass.size(), 20u);
  }
  EXPECT_NE(passes[0], passes[1]);
  for (auto& pass : passes) std::sort(pass.begin(), pass.end());
  EXPECT_EQ(passes[0], passes[1]);
  EXPECT_EQ(passes[1], passes[2]);
}

TEST(SftBatcherTest, ACursorGoesOnWhereItStood) {
  const auto samples = CountingSamples(11, 4);
  SftBatcher straight(samples, 10, 3);
  for (int i = 0; i < 9; ++i) {
    SftBatcher resumed(samples, 10, 3);
    resumed.Seek(ParseCursor(ToText(straight.cursor())).value());
    for (int k = 0; k < 5; ++k) {
      SftBatcher copy(samples, 10, 3);
      copy.Seek(resumed.cursor());
      const auto a = resumed.Next(), b = copy.Next();
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t s = 0; s < a.size(); ++s) EXPECT_EQ(a[s].tokens, b[s].tokens);
    }
    straight.Next();
  }
  for (const char* text : {"", "1", "1:", ":1", "a:b", "1:2:3", "-1:0"})
    EXPECT_FALSE(ParseCursor(text)) << text;
  EXPECT_EQ(SftBatcher(samples, 1, 3).Next().size(),
            1u);  // a text longer than the budget goes alone
}

}  // namespace
}  // namespace waggle
