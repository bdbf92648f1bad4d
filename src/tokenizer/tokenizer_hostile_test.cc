// Files that are wrong on purpose: one clear error that names the field, never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "tokenizer/tokenizer.h"

namespace waggle {
namespace {

using ::testing::HasSubstr;
using Ids = std::vector<TokenId>;
using Json = nlohmann::ordered_json;

Json Small() {
  return Json::parse(R"({"version":"1.0","truncation":{"max_length":1},"padding":null,
    "added_tokens":[{"id":3,"content":"<s>","special":true,"normalized":false}],
    "normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
    "post_processor":null,"decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})");
}

TEST(HostileJson, TheBaseCaseIsFine) {
  const auto tokenizer = Tokenizer::FromJson(Small().dump());
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  EXPECT_EQ(tokenizer->Encode("abab<s>b"), (Ids{2, 2, 3, 1}))
      << "the stored truncation must not cut";
}

struct Row {
  const char* pointer;  // JSON pointer of what is replaced or added
  const char* value;
  const char* error;  // part of the message
};
const Row kRows[] = {
    {"/model/type", R"("Unigram")", "model.type"},
    {"/model/type", "7", "model"},
    {"/model/dropout", "0.1", "model.dropout"},
    {"/model/continuing_subword_prefix", R"("##")", "model.continuing_subword_prefix"},
    {"/model/end_of_word_suffix", R"("</w>")", "model.end_of_word_suffix"},
    {"/model/byte_fallback", R"("yes")", "byte_fallback"},
    {"/model/unk_token", R"("<unk>")", "model.unk_token"},
    {"/model/vocab", "[]", "model.vocab"},
    {"/model/vocab", "{}", "model.merges[0]"},
    {"/model/vocab/a", "-1", "model.vocab['a']"},
    {"/model/vocab/a", "2000000000", "model.vocab['a']"},
    {"/model/vocab/a", "99999999999999999999", "model.vocab['a']"},
    {"/model/vocab/a", "1.5", "model.vocab['a']"},
    {"/model/vocab/a", "1", "belongs to"},
    {"/model/merges", "{}", "model.merges"},
    {"/model/merges/0", R"("ab")", "entry 0"},
    {"/model/merges/0", R"("a b c")", "entry 0"},
    {"/model/merges/0", R"(["a"])", "entry 0"},
    {"/model/merges/0", R"(["a",1])", "entry 0"},
    {"/model/merges/0", R"("a x")", "model.merges[0]"},
    {"/model/merges/0", R"("b a")", "'ba' is not in the vocabulary"},
    {"/model/merges/0", R"(" ab")", "model.merges[0]"},
    {"/model/merges/1", R"("a b")", "appears twice"},
    {"/added_tokens", "5", "added_tokens"},
    {"/added_tokens/0/id", "-3", "added_tokens[0].id"},
    {"/added_tokens/0/id", "1", "contradicts model.vocab"},
    {"/added_tokens/0/id", "1073741824", "added_tokens[0].id"},
    {"/added_tokens/0/content", R"("")", "added_tokens[0].content"},
    {"/added_tokens/0/content", R"("a")", "contradicts model.vocab"},
    {"/added_tokens/0/lstrip", "0", "lstrip"},
    {"/added_tokens/1", R"({"id":3,"content":"<t>"})", "belongs to"},
    {"/added_tokens/1", R"({"id":4,"content":"<s>"})", "appears twice"},
    {"/normalizer/type", R"("NFKC")", "normalizer"},
    {"/normalizer", R"({"type":"Replace","pattern":{"Regex":"x+"},"content":""})", "normalizer"},
    {"/normalizer", R"({"type":"Replace","pattern":{"String":""},"content":"x"})", "normalizer"},
    {"/normalizer", R"({"type":"Sequence","normalizers":[{"type":"Sequence","normalizers":7}]})",
     "normalizer.normalizers[0]"},
    {"/pre_tokenizer/type", R"("BertPreTokenizer")", "pre_tokenizer"},
    {"/pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"\\w+"},"behavior":"Isolated"})",
     "pattern"},
    {"/pre_tokenizer", R"({"type":"Split","pattern":{"String":" "},"behavior":"Isolated"})",
     "pattern"},
    {"/pre_tokenizer",
     R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})",
     "pre_tokenizer.pretokenizers[1]"},
    {"/pre_tokenizer", R"({"type":"Metaspace","replacement":"xy"})", "replacement"},
    {"/pre_tokenizer", R"({"type":"Metaspace","replacement":"_","prepend_scheme":"often"})",
     "prepend_scheme"},
    {"/decoder/type", R"("WordPiece")", "decoder"},
    {"/decoder", R"({"type":"Strip","content":"","start":1,"stop":0})", "decoder"},
    {"/decoder", R"({"type":"Strip","content":" ","start":-1,"stop":0})", "start"},
    {"/post_processor", R"({"type":"BertProcessing"})", "post_processor"},
    {"/post_processor", R"({"type":"TemplateProcessing","single":[]})", "post_processor"},
    {"/post_processor",
     R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{}})",
     "special_tokens"},
    {"/post_processor",
     R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],
        "special_tokens":{"x":{"ids":[77]}}})",
     "post_processor"},
};

TEST(HostileJson, EachWrongFieldIsNamed) {
  for (const Row& row : kRows) {
    Json json = Small();
    json[Json::json_pointer(row.pointer)] = Json::parse(row.value);
    const auto tokenizer = Tokenizer::FromJson(json.dump());
    ASSERT_FALSE(tokenizer) << row.pointer << " = " << row.value;
    EXPECT_THAT(tokenizer.error().what, HasSubstr(row.error)) << row.pointer << " = " << row.value;
    EXPECT_EQ(tokenizer.error().blame, Blame::kPeer);
  }
}

TEST(HostileJson, DuplicateKeysAreRefused) {
  const auto tokenizer =
      Tokenizer::FromJson(R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"a":2},"merges":[]}})");
  ASSERT_FALSE(tokenizer);
  EXPECT_THAT(tokenizer.error().what, HasSubstr("'a' appears twice"));
}

TEST(HostileJson, BrokenTexts) {
  for (const std::string& text :
       {std::string(), std::string("null"), std::string("[1]"), std::string("{\"model\":"),
        std::string("\xFF\xFE"), std::string(100000, '['), std::string("{\"a\":\"\xC3\"}"),
        std::string(1000, '\0')}) {
    const auto tokenizer = Tokenizer::FromJson(text);
    ASSERT_FALSE(tokenizer);
    EXPECT_THAT(tokenizer.error().what, HasSubstr("tokenizer.json"));
  }
}

TEST(HostileJson, EveryPrefixIsRefused) {
  const std::string text = Small().dump();
  for (std::size_t i = 0; i < text.size(); ++i)
    EXPECT_FALSE(Tokenizer::FromJson(text.substr(0, i)));
}

TEST(HostileJson, ReplacementsCannotMultiplyWithoutEnd) {
  Json steps = Json::array();
  for (int i = 0; i < 12; ++i) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaa"}});
  }
  for (const char* section : {"normalizer", "decoder"}) {
    Json json = Small();
    json[section] = {{"type", "Sequence"}, {std::string(section) + "s", steps}};
    const auto tokenizer = Tokenizer::FromJson(json.dump());
    ASSERT_FALSE(tokenizer);
    EXPECT_THAT(tokenizer.error().what, HasSubstr(section));
  }
}

TEST(HostileJson, ManyStepsAreRefused) {
  Json inner = Json::array(), outer = Json::array();
  for (int i = 0; i < 30; ++i) inner.push_back({{"type", "Digits"}});
  for (int i = 0; i < 30; ++i) outer.push_back({{"type", "Sequence"}, {"pretokenizers", inner}});
  Json json = Small();
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", outer}};
  EXPECT_FALSE(Tokenizer::FromJson(json.dump()));
}

// --- SentencePiece and llama2.c files, written by hand ---

std::string Varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string Field(unsigned number, std::uint64_t value) {
  return Varint(number << 3) + Varint(value);
}
std::string Field(unsigned number, const std::string& bytes) {
  return Varint((number << 3) | 2) + Varint(bytes.size()) + bytes;
}
std::string Little(std::uint32_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}
std::string Score(float value) { return Little(std::bit_cast<std::uint32_t>(value)); }
std::string PieceField(const std::string& text, float score, unsigned type) {
  return Field(
      1, Field(1, text) + Varint((2 << 3) | 5) + Score(score) + Field(3, std::uint64_t{type}));
}

std::string SmallModel(unsigned model_type = 2,
                       const std::string& normalizer = Field(3, std::uint64_t{0})) {
  return PieceField("<unk>", 0, 2) + PieceField("<s>", 0, 3) + PieceField("a", -3, 1) +
         PieceField("b", -4, 1) + PieceField("ab", -1, 1) + PieceField("bb", -2, 1) +
         Field(2, Field(3, std::uint64_t{model_type})) + Field(3, normalizer);
}

Result<Tokenizer> LoadBytes(const char* extension, const std::string& bytes) {
  const auto path =
      std::filesystem::path(::testing::TempDir()) / (std::string("waggle_hostile") + extension);
  std::ofstream(path, std::ios::binary) << bytes;
  auto result = Tokenizer::Load(path);
  std::filesystem::remove(path);
  return result;
}

TEST(SentencePiece, HighestScoreMergesFirst) {
  const auto tokenizer = LoadBytes(".model", SmallModel());
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  EXPECT_EQ(tokenizer->Encode("abb"), (Ids{4, 3}));
  EXPECT_EQ(tokenizer->Encode("bbb"), (Ids{5, 3})) << "leftmost of equals";
  EXPECT_EQ(tokenizer->Encode("xya", {.add_special_tokens = true}), (Ids{1, 0, 2}))
      << "unknowns fuse";
}

TEST(SentencePiece, WrongFilesAreRefused) {
  const auto expect = [](const std::string& bytes, const char* error) {
    const auto tokenizer = LoadBytes(".model", bytes);
    ASSERT_FALSE(tokenizer) << error;
    EXPECT_THAT(tokenizer.error().what, HasSubstr(error));
  };
  expect("", "trainer_spec");
  expect(SmallModel(1), "model_type");
  expect(SmallModel(2, Field(2, std::string("charsmap"))), "precompiled_charsmap");
  expect(SmallModel(2, Field(5, std::uint64_t{0})), "escape_whitespaces");
  expect(SmallModel() + PieceField("ab", -7, 1), "appears twice");
  expect(SmallModel() + PieceField("", -7, 1), "pieces[6]");
  expect(SmallModel() + PieceField("\xFF", -7, 1), "pieces[6]");
  expect(SmallModel() + PieceField("q", -7, 9), "pieces[6].type");
  expect(SmallModel() + PieceField("q", std::bit_cast<float>(0x7FC00000u), 1), "score");
  expect(SmallModel() + Field(2, Field(41, std::uint64_t{1} << 40)), "out of range");
  expect(SmallModel() + Varint((9 << 3) | 2) + Varint(std::uint64_t{1} << 62), "broken field");
  expect(SmallModel() + Varint((9 << 3) | 3), "broken field");
  expect(std::string(100, '\xFF'), "broken field");
}

std::string Llama2cToken(const std::string& text, float score) {
  return Score(score) + Little(static_cast<std::uint32_t>(text.size())) + text;
}

TEST(Llama2c, ReadsAndRefuses) {
  const std::string good = Little(4) + Llama2cToken("<unk>", 0) + Llama2cToken("\n<s>\n", 0) +
                           Llama2cToken("\n</s>\n", 0) + Llama2cToken(" ", -1) +
                           Llama2cToken("a", -2) + Llama2cToken(" a", -3);
  const auto tokenizer = LoadBytes(".bin", good);
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  EXPECT_EQ(tokenizer->Encode("a a", {.add_special_tokens = true}), (Ids{1, 5, 5}));
  EXPECT_EQ(tokenizer->Decode(Ids{1, 5, 5}, true), "a a");
  EXPECT_FALSE(LoadBytes(".bin", ""));
  EXPECT_FALSE(LoadBytes(".bin", good + Score(1)));
  EXPECT_FALSE(LoadBytes(".bin", good + Score(1) + Little(0x7FFFFFFF)));
  EXPECT_FALSE(LoadBytes(".bin", good + Score(1) + Little(0xFFFFFFFF)));
  EXPECT_FALSE(LoadBytes(".bin", good + Llama2cToken("a", -9)));
  EXPECT_FALSE(LoadBytes(".bin", good + Llama2cToken("\xFF", -9)));
}

TEST(SentencePiece, RandomDamageNeverCrashes) {
  Rng rng(77);
  const std::string model = SmallModel();
  for (int i = 0; i < 400; ++i) {
    std::string bytes = model;
    for (int k = 0; k < 3; ++k)
      bytes[rng.Below(static_cast<std::uint32_t>(bytes.size()))] =
          static_cast<char>(rng.Below(256));
    if (const auto tokenizer = LoadBytes(".model", bytes))
      (void)tokenizer->Decode(tokenizer->Encode("abba bb x"));
  }
}

}  // namespace
}  // namespace waggle
