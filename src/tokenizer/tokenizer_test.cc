// Behaviour of whole tokenizers that are made here: no files needed.
#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/philox.h"
#include "tokenizer/bpe.h"
#include "tokenizer/split.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

using Ids = std::vector<TokenId>;
using Json = nlohmann::ordered_json;

Tokenizer Must(Result<Tokenizer> result) {
  if (!result) {
    ADD_FAILURE() << result.error().what;
    std::abort();
  }
  return std::move(*result);
}

std::string MadeUpText(std::uint64_t seed, std::size_t words) {
  Rng rng(seed);
  std::string text;
  for (std::size_t i = 0; i < words; ++i) {
    for (std::uint32_t n = 1 + rng.Below(3); n > 0; --n) {
      text += "bdklmnst"[rng.Below(8)];
      text += "aeiou"[std::min(rng.Below(5), rng.Below(5))];
    }
    text += rng.Below(9) == 0 ? ", it's 42\n" : " ";
  }
  return text;
}

std::string RandomText(Rng& rng) {
  std::string text;
  for (std::uint32_t n = rng.Below(30); n > 0; --n) {
    switch (rng.Below(6)) {
      case 0:
        text += " \n\t\r '"[rng.Below(6)];
        break;
      case 1:
        text += static_cast<char>(33 + rng.Below(94));
        break;
      case 2:
        text += "<|end|>";
        break;
      case 3:
        unicode::Append(text, 0x300 + rng.Below(0x40));
        break;
      case 4:
        unicode::Append(text, 0x1F600 + rng.Below(80));
        break;
      default:
        unicode::Append(text, rng.Below(0xD800));
        break;
    }
  }
  return text;
}

const Tokenizer& Trained() {
  static const Tokenizer tokenizer = [] {
    const std::string documents[] = {MadeUpText(1, 2000), "<|end|>" + MadeUpText(2, 500)};
    return Must(
        TrainBpe(documents, {.vocab_size = 600, .special_tokens = {"<|end|>", "<|begin|>"}}));
  }();
  return tokenizer;
}

std::string Stream(const Tokenizer& tokenizer, const Ids& ids) {
  StreamingDecoder decoder(tokenizer);
  std::string text;
  for (const TokenId id : ids) {
    const std::string part = decoder.Push(id);
    EXPECT_TRUE(unicode::IsValid(part));
    text += part;
  }
  return text + decoder.Flush();
}

// The trained tokenizer's JSON with one change.
template <class Change>
Json Changed(Change change) {
  Json json = Json::parse(Trained().ToJson());
  change(json);
  return json;
}

TEST(TrainBpe, GivesSpecialsTheFirstIdsAndFillsTheVocabulary) {
  const Tokenizer& tokenizer = Trained();
  EXPECT_EQ(tokenizer.vocab_size(), 600u);
  EXPECT_EQ(tokenizer.Find("<|end|>"), 0);
  EXPECT_EQ(tokenizer.Find("<|begin|>"), 1);
  EXPECT_EQ(tokenizer.Find("!"), 2);
  EXPECT_TRUE(tokenizer.IsSpecial(1));
  EXPECT_FALSE(tokenizer.IsSpecial(2));
  EXPECT_FALSE(tokenizer.IsSpecial(-1));
  EXPECT_FALSE(tokenizer.IsSpecial(600));
  EXPECT_LT(tokenizer.Encode(MadeUpText(3, 300)).size() * 2, MadeUpText(3, 300).size());
}

TEST(TrainBpe, IsDeterministic) {
  const std::string documents[] = {MadeUpText(1, 2000), "<|end|>" + MadeUpText(2, 500)};
  const BpeTrainingOptions options{.vocab_size = 600, .special_tokens = {"<|end|>", "<|begin|>"}};
  EXPECT_EQ(Must(TrainBpe(documents, options)).ToJson(), Trained().ToJson());
}

TEST(TrainBpe, TiesGoToTheGreatestPairOfBytes) {
  // Each of ab, cd, xa appears once: the greatest first.
  const std::string documents[] = {"ab", "cd", "xa"};
  const auto json = Json::parse(Must(TrainBpe(documents, {.vocab_size = 258})).ToJson());
  EXPECT_EQ(json["model"]["merges"], Json::parse(R"([["x","a"],["c","d"]])"));
}

// Recounts every pair from scratch before each merge.
TEST(TrainBpe, AgreesWithTheNaiveAlgorithm) {
  const std::string text = MadeUpText(11, 120) + " aaaa aaaaa aaaaaaa bananabanana";
  const std::string documents[] = {text};
  const auto json = Json::parse(Must(TrainBpe(documents, {.vocab_size = 400})).ToJson());
  std::vector<std::vector<std::string>> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = NextPiece(SplitFamily::kGpt2, text, at);
    words.emplace_back();
    for (; at < end; ++at) words.back().push_back(text.substr(at, 1));
  }
  for (const auto& merge : json["model"]["merges"]) {
    std::map<std::pair<std::string, std::string>, int> counts;
    for (const auto& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    auto best = counts.begin();
    for (auto at = counts.begin(); at != counts.end(); ++at) {
      if (at->second >= best->second)
        best = at;  // the map is sorted: the last of equals is the greatest
    }
    ASSERT_EQ(merge[0], BytesToSpelling(best->first.first));
    ASSERT_EQ(merge[1], BytesToSpelling(best->first.second));
    for (auto& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) {
        if (word[i] != best->first.first || word[i + 1] != best->first.second) continue;
        word[i] += word[i + 1];
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  EXPECT_EQ(json["model"]["merges"].size(), 400u - 256u);
}

TEST(TrainBpe, RefusesImpossibleOptions) {
  EXPECT_FALSE(TrainBpe({}, {.vocab_size = 255}));
  EXPECT_FALSE(TrainBpe({}, {.vocab_size = std::size_t{1} << 40}));
  EXPECT_FALSE(TrainBpe({}, {.vocab_size = 300, .special_tokens = {""}}));
  EXPECT_FALSE(TrainBpe({}, {.vocab_size = 300, .special_tokens = {"x", "x"}}));
  EXPECT_FALSE(TrainBpe({}, {.vocab_size = 300, .special_tokens = {"!"}}));  // spelled like a byte
  EXPECT_FALSE(TrainBpe({}, {.vocab_size = 300, .special_tokens = {"\xFF"}}));
  EXPECT_EQ(Must(TrainBpe({}, {.vocab_size = 300})).vocab_size(), 256u);
}

TEST(Tokenizer, RandomTextRoundTrips) {
  Rng rng(9);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = RandomText(rng);
    const Ids ids = Trained().Encode(text);
    ASSERT_EQ(Trained().Decode(ids), text);
    ASSERT_EQ(Stream(Trained(), ids), text);
    std::string bytes;
    for (const TokenId id : ids) bytes += Trained().TokenBytes(id);
    ASSERT_EQ(bytes, text);
  }
}

TEST(Tokenizer, BytesThatAreNotTextKeepTheirValue) {
  const std::string raw = "ok \xFF\xC3\x28 \xE4\xBD end";
  std::string bytes;
  for (const TokenId id : Trained().Encode(raw)) bytes += Trained().TokenBytes(id);
  EXPECT_EQ(bytes, raw);
  EXPECT_EQ(Trained().Decode(Trained().Encode(raw)), unicode::Lossy(raw));
}

TEST(Tokenizer, JsonComesBackTheSame) {
  const Tokenizer again = Must(Tokenizer::FromJson(Trained().ToJson()));
  EXPECT_EQ(again.ToJson(), Trained().ToJson());
  Rng rng(10);
  for (int i = 0; i < 500; ++i) {
    const std::string text = RandomText(rng);
    ASSERT_EQ(again.Encode(text), Trained().Encode(text));
  }
}

TEST(Tokenizer, UntrustedTextHasNoControlTokens) {
  const Ids trusted = Trained().Encode("a<|end|>b"),
            untrusted = Trained().Encode("a<|end|>b", {.encode_special = false});
  EXPECT_EQ(std::count(trusted.begin(), trusted.end(), 0), 1);
  EXPECT_EQ(std::count(untrusted.begin(), untrusted.end(), 0), 0);
  EXPECT_EQ(Trained().Decode(untrusted), "a<|end|>b");
  EXPECT_EQ(Trained().Decode(trusted, /*skip_special=*/true), "ab");
}

TEST(Tokenizer, ManyThreadsAgree) {
  const std::string text = MadeUpText(21, 5000);
  const Ids expected = Trained().Encode(text);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) threads.emplace_back([&] { ids = Trained().Encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) EXPECT_EQ(ids, expected);
}

// Up to 64 symbols a word takes the short path, beyond it the heap; both must merge alike.
TEST(Tokenizer, LongWordsMergeLikeShortOnes) {
  const std::string documents[] = {"aa aaaa aaaaaaaa ab abab aab aba baba"};
  const Tokenizer tokenizer = Must(TrainBpe(documents, {.vocab_size = 270}));
  const auto json = Json::parse(tokenizer.ToJson());
  Rng rng(4);
  for (int i = 0; i < 300; ++i) {
    std::string word;
    for (std::uint32_t n = 1 + rng.Below(200); n > 0; --n) word += "aab"[rng.Below(3)];
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    for (bool merged = true; merged;) {  // by the definition
      merged = false;
      for (const auto& merge : json["model"]["merges"]) {
        for (std::size_t k = 0; k + 1 < symbols.size() && !merged; ++k) {
          if (symbols[k] != merge[0] || symbols[k + 1] != merge[1]) continue;
          symbols[k] += symbols[k + 1];
          symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(k) + 1);
          merged = true;
        }
        if (merged) break;
      }
    }
    Ids expected;
    for (const std::string& symbol : symbols) expected.push_back(*tokenizer.Find(symbol));
    ASSERT_EQ(tokenizer.Encode(word), expected) << word;
  }
}

TEST(Tokenizer, AddedTokensSwallowSpaceAndRespectWords) {
  const Tokenizer tokenizer = Must(Tokenizer::FromJson(
      Changed([](Json& json) {
        const auto add = [&](int id, const char* content, const char* flag) {
          Json token = {
              {"id", id}, {"content", content}, {"special", false}, {"normalized", false}};
          token[flag] = true;
          json["added_tokens"].push_back(token);
        };
        add(600, "<l>", "lstrip");
        add(601, "<r>", "rstrip");
        add(602, "cat", "single_word");
        add(603, "<l><r>", "normalized");
      }).dump()));
  const auto count = [&](const char* text, TokenId id) {
    const Ids ids = tokenizer.Encode(text);
    return std::count(ids.begin(), ids.end(), id);
  };
  EXPECT_EQ(tokenizer.Encode(" \n <l>"), (Ids{600}));
  EXPECT_EQ(tokenizer.Encode("<r> \u3000\n"), (Ids{601}));
  EXPECT_EQ(tokenizer.Encode("<r>  <l>"), (Ids{601, 600}));
  EXPECT_EQ(count("a cat.", 602), 1);
  EXPECT_EQ(count("concat cats _cat \u00e9cat cat\u0301", 602), 0);
  EXPECT_EQ(tokenizer.Encode("<l><r>"), (Ids{600, 601})) << "the raw pass comes first";
  EXPECT_EQ(tokenizer.vocab_size(), 604u);
}

TEST(Tokenizer, LongestAddedTokenWins) {
  const Tokenizer tokenizer = Must(Tokenizer::FromJson(
      Changed([](Json& json) {
        json["added_tokens"].push_back({{"id", 600}, {"content", "<a"}, {"special", true}});
        json["added_tokens"].push_back({{"id", 601}, {"content", "<ab>"}, {"special", true}});
      }).dump()));
  EXPECT_EQ(tokenizer.Encode("<ab><a<ab>"), (Ids{601, 600, 601}));
}

TEST(Tokenizer, TemplateSurroundsTheText) {
  const Tokenizer tokenizer =
      Must(Tokenizer::FromJson(Changed([](Json& json) {
                                 json["post_processor"] = Json::parse(
                                     R"({"type":"Sequence","processors":[{"type":"ByteLevel"},
      {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"B","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
      {"SpecialToken":{"id":"E","type_id":0}}],"pair":[],
      "special_tokens":{"B":{"id":"B","ids":[1],"tokens":["B"]},"E":{"id":"E","ids":[0],"tokens":["E"]}}}]})");
                               }).dump()));
  Ids expected = tokenizer.Encode("hello");
  expected.insert(expected.begin(), 1);
  expected.push_back(0);
  EXPECT_EQ(tokenizer.Encode("hello", {.add_special_tokens = true}), expected);
  EXPECT_EQ(tokenizer.Encode("", {.add_special_tokens = true}), (Ids{1, 0}));
  const Tokenizer again = Must(Tokenizer::FromJson(tokenizer.ToJson()));
  EXPECT_EQ(again.Encode("hello", {.add_special_tokens = true}), expected);
}

TEST(Tokenizer, IgnoreMergesTakesWholeWords) {
  const auto with = [](bool ignore) {
    return Must(Tokenizer::FromJson(Changed([&](Json& json) {
                                      json["model"]["ignore_merges"] = ignore;
                                      json["model"]["vocab"]["zqzqz"] =
                                          600;  // no merges lead to it
                                    }).dump()));
  };
  EXPECT_EQ(with(true).Encode("zqzqz"), (Ids{600}));
  EXPECT_EQ(with(false).Encode("zqzqz").size(), 5u);
}

TEST(Tokenizer, MetaspaceSchemes) {
  const auto with = [](const char* scheme, bool split) {
    Json json = {
        {"model",
         {{"type", "BPE"},
          {"vocab",
           {{"\u2581", 0}, {"a", 1}, {"b", 2}, {"\u2581a", 3}, {"<s>", 4}, {"b\u2581", 5}}},
          {"merges", {"\u2581 a", "b \u2581"}}}},
        {"added_tokens", {{{"id", 4}, {"content", "<s>"}, {"special", true}}}}};
    for (const char* section : {"pre_tokenizer", "decoder"}) {
      json[section] = {{"type", "Metaspace"},
                       {"replacement", "\u2581"},
                       {"prepend_scheme", scheme},
                       {"split", split}};
    }
    return Must(Tokenizer::FromJson(json.dump()));
  };
  EXPECT_EQ(with("always", true).Encode("a<s>a a"), (Ids{3, 4, 3, 3}));
  EXPECT_EQ(with("first", true).Encode("a<s>a a"), (Ids{3, 4, 1, 3}));
  EXPECT_EQ(with("never", true).Encode("a<s>a a"), (Ids{1, 4, 1, 3}));
  EXPECT_EQ(with("never", true).Encode("b b"), (Ids{2, 0, 2})) << "pieces begin at the mark";
  EXPECT_EQ(with("never", false).Encode("b b"), (Ids{5, 2}))
      << "one piece: the merge across it happens";
  EXPECT_EQ(with("always", true).Decode(Ids{3, 3}), "a a");
  EXPECT_EQ(with("never", true).Decode(Ids{3, 3}), " a a");
  EXPECT_EQ(with("always", true).Encode("a", {.encode_special = false}), (Ids{3}));
}

TEST(Tokenizer, ByteFallbackRuns) {
  Json vocab = {{"<unk>", 0}, {"a", 1}};
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = 2 + byte;
  const Json json = {
      {"model",
       {{"type", "BPE"},
        {"vocab", vocab},
        {"merges", Json::array()},
        {"byte_fallback", true},
        {"fuse_unk", true},
        {"unk_token", "<unk>"}}},
      {"decoder",
       {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}}};
  const Tokenizer tokenizer = Must(Tokenizer::FromJson(json.dump()));
  const Ids ids = tokenizer.Encode("a\u4f60a");
  EXPECT_EQ(ids, (Ids{1, 2 + 0xE4, 2 + 0xBD, 2 + 0xA0, 1}));
  EXPECT_EQ(tokenizer.Decode(ids), "a\u4f60a");
  EXPECT_EQ(Stream(tokenizer, ids), "a\u4f60a");
  EXPECT_EQ(tokenizer.Decode(Ids{2 + 0xE4, 2 + 0xBD, 1}), "\uFFFD\uFFFDa")
      << "one mark per byte of a bad run";
  StreamingDecoder stream(tokenizer);
  EXPECT_EQ(stream.Push(2 + 0xE4), "");
  EXPECT_EQ(stream.Push(2 + 0xBD), "");
  EXPECT_EQ(stream.Push(2 + 0xA0), "\u4f60");
  EXPECT_EQ(stream.Push(2 + 0xE4), "");
  EXPECT_EQ(stream.Flush(), "\uFFFD");
  EXPECT_EQ(stream.Flush(), "");
}

TEST(Tokenizer, UnknownCharactersFuseOrNot) {
  const auto with = [](bool fuse) {
    const Json json = {{"model",
                        {{"type", "BPE"},
                         {"vocab", {{"?", 0}, {"a", 1}}},
                         {"merges", Json::array()},
                         {"fuse_unk", fuse},
                         {"unk_token", "?"}}}};
    return Must(Tokenizer::FromJson(json.dump()));
  };
  EXPECT_EQ(with(true).Encode("axyaz"), (Ids{1, 0, 1, 0}));
  EXPECT_EQ(with(false).Encode("axyaz"), (Ids{1, 0, 0, 1, 0}));
  EXPECT_EQ(with(false).Decode(Ids{1, 1}), "a a")
      << "no decoder: the format joins tokens with spaces";
}

TEST(Tokenizer, CharactersAndSpecials) {
  const std::string specials[] = {"<pad>", "<eos>", "<unk>"};
  const Tokenizer tokenizer = Must(Tokenizer::FromCharacters(specials, "ab c\u00e9\n"));
  EXPECT_EQ(tokenizer.vocab_size(), 9u);
  EXPECT_EQ(tokenizer.Encode("ab\u00e9x<eos>"), (Ids{3, 4, 7, 2, 1}));
  EXPECT_EQ(tokenizer.Decode(Ids{3, 4, 7, 1}), "ab\u00e9<eos>");
  EXPECT_EQ(tokenizer.Decode(Ids{3, 4, 7, 1}, true), "ab\u00e9");
  EXPECT_EQ(tokenizer.Decode(Ids{-5, 3, 100}), "a");
  const Tokenizer again = Must(Tokenizer::FromJson(tokenizer.ToJson()));
  EXPECT_EQ(again.Encode("ab\u00e9x<eos> c"), tokenizer.Encode("ab\u00e9x<eos> c"));
  EXPECT_FALSE(Tokenizer::FromCharacters(specials, "aa"));
  EXPECT_FALSE(Tokenizer::FromCharacters(specials, "a\xFF"));
  EXPECT_FALSE(Tokenizer::FromCharacters({}, ""));
}

TEST(Tokenizer, LoadsFoldersAndTheirTemplates) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "waggle_tokenizer_test";
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name) << text;
  };
  write("tokenizer.json", Trained().ToJson());
  EXPECT_EQ(Must(Tokenizer::Load(folder)).chat_template(), "");
  write("tokenizer_config.json",
        R"({"chat_template":[{"name":"tool","template":"T"},{"name":"default","template":"D"}]})");
  EXPECT_EQ(Must(Tokenizer::Load(folder)).chat_template(), "D");
  write("chat_template.jinja", "J");
  EXPECT_EQ(Must(Tokenizer::Load(folder)).chat_template(), "J");
  EXPECT_EQ(Must(Tokenizer::Load(folder / "tokenizer.json")).vocab_size(), 600u);
  // Files come back as they were, white space and all; a tokenizer of our own gets a config.
  write("special_tokens_map.json", "{ }\n");
  write("tokenizer.json", Trained().ToJson() + " \n");
  const auto files = Must(Tokenizer::Load(folder)).Files();
  EXPECT_EQ(files.size(), 4u);
  EXPECT_EQ(files.at("tokenizer.json"), Trained().ToJson() + " \n");
  EXPECT_EQ(files.at("special_tokens_map.json"), "{ }\n");
  EXPECT_EQ(files.at("chat_template.jinja"), "J");
  const auto ours = Trained().Files();
  EXPECT_EQ(ours.at("tokenizer.json"), Trained().ToJson());
  EXPECT_EQ(Json::parse(ours.at("tokenizer_config.json"))["tokenizer_class"],
            "PreTrainedTokenizerFast");
  write("tokenizer.json", "{");
  const auto broken = Tokenizer::Load(folder);
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().what.find("tokenizer.json"), std::string::npos);
  std::filesystem::remove_all(folder);
  const auto missing = Tokenizer::Load(folder);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().blame, Blame::kOperator);
}

}  // namespace
}  // namespace waggle
