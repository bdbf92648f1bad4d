// Known answers of real tokenizers (README of the assets, 1.3, 1.4 and 2).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tokenizer/tokenizer.h"

namespace waggle {
namespace {

using Ids = std::vector<TokenId>;
namespace fs = std::filesystem;

fs::path Assets() { return std::getenv("WAGGLE_ASSETS"); }

std::string Read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Tokenizer LoadOrDie(const fs::path& path) {
  auto tokenizer = Tokenizer::Load(Assets() / path);
  if (!tokenizer) {
    ADD_FAILURE() << tokenizer.error().what;
    std::abort();
  }
  return std::move(*tokenizer);
}

struct Case {
  std::string text;
  Ids ids;
};

// 47 texts of llama.cpp's vocabulary tests: texts by separator, ids by line.
std::vector<Case> GgmlCases(const std::string& name) {
  const std::string input = Read(Assets() / "tokenizers/kat" / (name + ".inp"));
  std::istringstream output(Read(Assets() / "tokenizers/kat" / (name + ".out")));
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<Case> cases;
  for (std::size_t at = 0; at <= input.size();) {
    const std::size_t end = std::min(input.find(separator, at), input.size());
    Case one{input.substr(at, end - at), {}};
    std::string line;
    std::getline(output, line);  // the last text and its line are empty
    std::istringstream numbers(line);
    for (TokenId id; numbers >> id;) one.ids.push_back(id);
    cases.push_back(std::move(one));
    at = end + separator.size();
  }
  return cases;
}

std::vector<Case> JsonlCases(const std::string& name) {
  std::istringstream lines(Read(Assets() / "tokenizers/kat" / name));
  std::vector<Case> cases;
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    cases.push_back({row["text"], row["ids"].get<Ids>()});
  }
  return cases;
}

// input,output,...: quoted fields may hold commas, line ends and doubled quotes.
std::vector<Case> CsvCases(const std::string& name) {
  const std::string text = Read(Assets() / "tokenizers/kat" / name);
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = rows.back().back();
    if (text[i] == '"') {
      if (quoted && i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = !quoted;
      }
    } else if (quoted || (text[i] != ',' && text[i] != '\n' && text[i] != '\r')) {
      field += text[i];
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text[i] == '\n') {
      rows.emplace_back(1);
    }
  }
  std::vector<Case> cases;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() >= 2)
      cases.push_back({rows[i][0], nlohmann::json::parse(rows[i][1]).get<Ids>()});
  }
  return cases;
}

void ExpectAll(const Tokenizer& tokenizer, const std::vector<Case>& cases, std::size_t count) {
  EXPECT_EQ(cases.size(), count);
  for (const Case& one : cases)
    EXPECT_EQ(tokenizer.Encode(one.text), one.ids) << "text: " << one.text;
}

// The file we write means the same as the file we read.
void ExpectSameAfterJson(const Tokenizer& tokenizer, const std::vector<Case>& cases) {
  const std::string json = tokenizer.ToJson();
  const auto again = Tokenizer::FromJson(json);
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(again->ToJson(), json);
  EXPECT_EQ(again->vocab_size(), tokenizer.vocab_size());
  for (const Case& one : cases) {
    for (const bool special : {false, true}) {
      const EncodeOptions options{.add_special_tokens = special, .encode_special = special};
      const Ids ids = tokenizer.Encode(one.text, options);
      EXPECT_EQ(again->Encode(one.text, options), ids);
      EXPECT_EQ(again->Decode(ids), tokenizer.Decode(ids));
    }
  }
}

void ExpectRoundTrip(const Tokenizer& tokenizer, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const Ids ids = tokenizer.Encode(one.text);
    EXPECT_EQ(tokenizer.Decode(ids), one.text);
    StreamingDecoder stream(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) streamed += stream.Push(id);
    EXPECT_EQ(streamed + stream.Flush(), one.text);
  }
}

TEST(TokenizerAssets, Gpt2) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/gpt2");
  const auto cases = GgmlCases("gpt-2");
  ExpectAll(tokenizer, cases, 47);
  ExpectRoundTrip(tokenizer, cases);
  ExpectSameAfterJson(tokenizer, cases);
}

TEST(TokenizerAssets, Gpt2StoredTruncationCutsNothing) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/gpt2");
  std::string text;
  for (int i = 0; i < 500; ++i) text += " word";
  EXPECT_EQ(tokenizer.Encode(text).size(), 500u);
  EXPECT_EQ(tokenizer.vocab_size(), 50257u);
}

TEST(TokenizerAssets, Qwen2) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/qwen/tokenizer.json");
  const auto cases = GgmlCases("qwen2");
  ExpectAll(tokenizer, cases, 47);
  ExpectRoundTrip(tokenizer, cases);
  ExpectSameAfterJson(tokenizer, cases);
}

TEST(TokenizerAssets, Qwen3ChatsWithSpecialTokens) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/qwen");
  const auto cases = JsonlCases("qwen3_chat_ids.jsonl");
  ExpectAll(tokenizer, cases, 9);
  ExpectRoundTrip(tokenizer, cases);
  const TokenId start = 151644;
  EXPECT_EQ(tokenizer.Find("<|im_start|>"), start);
  EXPECT_TRUE(tokenizer.IsSpecial(start));
  for (const Case& one : cases) {
    const Ids plain = tokenizer.Encode(one.text, {.encode_special = false});
    for (const TokenId id : plain) EXPECT_LT(id, 151643);
    EXPECT_EQ(tokenizer.Decode(plain), one.text);
  }
}

TEST(TokenizerAssets, Phi3) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/phi-3-mini");
  const auto cases = GgmlCases("phi-3");
  ExpectAll(tokenizer, cases, 47);
  ExpectRoundTrip(tokenizer, cases);
  ExpectSameAfterJson(tokenizer, cases);
}

TEST(TokenizerAssets, Phi3AddedTokensSwallowSpaceOnTheRight) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/phi-3-mini");
  const Ids tight = tokenizer.Encode("<|user|>Hi<|end|>");
  EXPECT_EQ(tokenizer.Encode("<|user|> \n Hi<|end|>\n"), tight);
  EXPECT_EQ(tight.front(), 32010);
  EXPECT_EQ(tight.back(), 32007);
  const Ids plain = tokenizer.Encode("</s><|end|>", {.encode_special = false});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 2), 0);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 32007), 0);
}

TEST(TokenizerAssets, Smollm2) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/smollm2");
  std::vector<Case> cases;
  for (const auto& row : nlohmann::json::parse(Read(Assets() / "tokenizers/kat/smollm2.json"))) {
    cases.push_back({row["text"], row["ids"].get<Ids>()});
  }
  ExpectAll(tokenizer, cases, 7);
  ExpectRoundTrip(tokenizer, GgmlCases("gpt-2"));
  ExpectSameAfterJson(tokenizer, GgmlCases("gpt-2"));
  EXPECT_EQ(tokenizer.chat_template(), Read(Assets() / "tokenizers/smollm2/chat_template.jinja"));
}

TEST(TokenizerAssets, Cl100kOnDolma2) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/dolma2");
  const auto cases = CsvCases("cl100k_base_encodings.csv");
  ExpectAll(tokenizer, cases, 423);
  ExpectRoundTrip(tokenizer, cases);
  ExpectSameAfterJson(tokenizer, cases);
}

TEST(TokenizerAssets, Minimind) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/minimind-6400");
  const auto cases = JsonlCases("minimind-6400.jsonl");
  ExpectAll(tokenizer, cases, 47);
  ExpectRoundTrip(tokenizer, cases);
  ExpectSameAfterJson(tokenizer, cases);
  EXPECT_NE(tokenizer.chat_template().find("<|im_start|>"), std::string::npos);
}

TEST(TokenizerAssets, Tinystories2k) {
  const Tokenizer tokenizer = LoadOrDie("tokenizers/tinystories-2k");
  const auto cases = JsonlCases("tinystories-2k.jsonl");
  ExpectAll(tokenizer, cases, 47);
  ExpectSameAfterJson(tokenizer, cases);
  Ids with_bos = tokenizer.Encode("Once", {.add_special_tokens = true});
  EXPECT_EQ(with_bos.front(), 0);
  with_bos.erase(with_bos.begin());
  EXPECT_EQ(with_bos, tokenizer.Encode("Once"));
}

// Prompts of reference.json: BOS in front.
std::vector<Case> ModelPrompts(const fs::path& model) {
  std::vector<Case> cases;
  const auto reference = nlohmann::json::parse(Read(Assets() / model / "reference.json"));
  for (const auto& prompt : reference["prompts"])
    cases.push_back({prompt["text"], prompt["ids"].get<Ids>()});
  return cases;
}

void ExpectPrompts(const Tokenizer& tokenizer, const std::vector<Case>& cases) {
  EXPECT_FALSE(cases.empty());
  for (const Case& one : cases) {
    const Ids ids = tokenizer.Encode(one.text, {.add_special_tokens = true});
    EXPECT_EQ(ids, one.ids) << one.text;
    EXPECT_EQ(tokenizer.Decode(ids, /*skip_special=*/true), one.text);
  }
  ExpectSameAfterJson(tokenizer, cases);
}

TEST(TokenizerAssets, Stories260KFromAllItsFiles) {
  const auto cases = ModelPrompts("models/stories260K");
  const Tokenizer model = LoadOrDie("models/stories260K/tok512.model");
  const Tokenizer bin = LoadOrDie("models/stories260K/tok512.bin");
  ExpectPrompts(model, cases);
  ExpectPrompts(bin, cases);
  ExpectPrompts(LoadOrDie("models/stories260K"), cases);
  const std::string text =
      Read(Assets() / "text/cs336/tinystories_sample.txt") + "\u4f60 caf\u00e9 x\t\n";
  EXPECT_EQ(model.Encode(text), bin.Encode(text));
  EXPECT_EQ(model.Decode(model.Encode(text)), text);
  // The model file asks for "remove extra whitespaces", which llama2.c does not know.
  EXPECT_EQ(model.Encode(" a  b "), bin.Encode("a b"));
  EXPECT_EQ(bin.Decode(bin.Encode(" a  b ")), " a  b ");
}

// The 200 greedy steps that llama2.c's own test demands.
TEST(TokenizerAssets, Stories260KGreedyTextDecodes) {
  const Tokenizer tokenizer = LoadOrDie("models/stories260K/tok512.bin");
  const auto reference =
      nlohmann::json::parse(Read(Assets() / "models/stories260K/reference.json"));
  const std::string wanted = reference["third_party_greedy"]["text"];
  for (const auto& prompt : reference["prompts"]) {
    const Ids ids = prompt["greedy_ids"].get<Ids>();
    const std::string text = tokenizer.Decode(ids, true);
    if (prompt["text"] == "Once upon a time") {
      EXPECT_EQ(wanted.substr(0, text.size()), text);
    }
  }
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(wanted)), wanted);
}

TEST(TokenizerAssets, BabyllamaCharacters) {
  const Tokenizer tokenizer = LoadOrDie("models/babyllama-tok105");
  ExpectPrompts(tokenizer, ModelPrompts("models/babyllama-tok105"));
  EXPECT_EQ(tokenizer.vocab_size(), 105u);
  EXPECT_EQ(tokenizer.Encode("e\ne"), (Ids{3, 4, 0, 4}));
  EXPECT_EQ(tokenizer.Encode("  e   e "), (Ids{3, 4, 3, 4}))
      << "SentencePiece removes extra white space";
}

TEST(TokenizerAssets, VerlDigitCompletion) {
  const Tokenizer tokenizer = LoadOrDie("models/verl-digit-completion");
  EXPECT_EQ(tokenizer.vocab_size(), 16u);
  EXPECT_EQ(tokenizer.Encode("8,3:9,4"), (Ids{12, 14, 7, 15, 13, 14, 8}));
  EXPECT_EQ(tokenizer.Find("S"), 0);
  EXPECT_EQ(tokenizer.Find("E"), 1);
  EXPECT_EQ(tokenizer.Find("P"), 2);
  EXPECT_EQ(tokenizer.Find("U"), 3);
  EXPECT_EQ(tokenizer.Encode("7x S"), (Ids{11, 3, 3, 0}));
  EXPECT_EQ(tokenizer.Encode("S", {.encode_special = false}), (Ids{3}));
  EXPECT_EQ(tokenizer.Decode(Ids{11, 14, 6, 1}, /*skip_special=*/true), "7,2");
  EXPECT_FALSE(tokenizer.chat_template().empty());
}

TEST(TokenizerAssets, TrainedBpeIsTheReferenceOne) {
  const fs::path folder = Assets() / "text/cs336";
  const std::vector<std::string> corpus = {Read(folder / "corpus.en")};
  const auto trained = TrainBpe(corpus, {.vocab_size = 500, .special_tokens = {"<|endoftext|>"}});
  ASSERT_TRUE(trained) << trained.error().what;
  const auto json = nlohmann::json::parse(trained->ToJson());
  const auto reference = nlohmann::json::parse(Read(folder / "train-bpe-reference-vocab.json"));
  EXPECT_EQ(json["model"]["vocab"].size(), reference.size());
  for (const auto& [token, id] : reference.items())
    EXPECT_EQ(trained->Find(token), id.get<TokenId>()) << token;
  std::istringstream merges(Read(folder / "train-bpe-reference-merges.txt"));
  std::size_t i = 0;
  for (std::string line; std::getline(merges, line); ++i) {
    ASSERT_LT(i, json["model"]["merges"].size());
    const auto& merge = json["model"]["merges"][i];
    EXPECT_EQ(merge[0].get<std::string>() + " " + merge[1].get<std::string>(), line)
        << "merge " << i;
  }
  EXPECT_EQ(i, json["model"]["merges"].size());
}

TEST(TokenizerAssets, BigTextRoundTrips) {
  const std::string text = Read(Assets() / "text/tinyshakespeare.txt");
  for (const char* name : {"tokenizers/gpt2", "tokenizers/qwen", "tokenizers/phi-3-mini"}) {
    const Tokenizer tokenizer = LoadOrDie(name);
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text) << name;
  }
}

}  // namespace
}  // namespace waggle
