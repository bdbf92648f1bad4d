// A trained model that others made, through the engine: the text that llama2.c's own test demands,
// greedy ids and mean negative log-likelihoods of float64 references.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/test_engine.h"
#include "model/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace waggle {
namespace {

using namespace testing_engine;

constexpr double kNllTolerance = 1e-5;

struct Asset {
  const char* name;
  const char* weights;
  const char* tokenizer;
};
void PrintTo(const Asset& asset, std::ostream* out) { *out << asset.name; }

class EngineAssets : public ::testing::TestWithParam<Asset> {
 protected:
  void SetUp() override {
    const std::filesystem::path root = std::getenv("WAGGLE_ASSETS");
    const auto folder = root / "models" / GetParam().name;
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
    std::ifstream file(folder / "reference.json");
    reference_ = nlohmann::json::parse(file);
    auto loaded = LoadModel(folder / GetParam().weights);
    ASSERT_TRUE(loaded) << loaded.error().what;
    model_ = MakeModel(loaded->config, loaded->parameters, BestOps());
    auto tokenizer = Tokenizer::Load(folder / GetParam().tokenizer);
    ASSERT_TRUE(tokenizer) << tokenizer.error().what;
    tokenizer_ = std::make_unique<Tokenizer>(std::move(*tokenizer));
    stories_ = root / "text" / "cs336" / "tinystories_sample.txt";
  }

  // Prompts and their greedy continuations, all in one engine whose pool is too small for them.
  std::vector<std::vector<TokenId>> Greedy(const std::vector<std::vector<TokenId>>& prompts,
                                           const std::vector<std::size_t>& lengths) {
    Engine engine(model_, {}, {.kv_pages = 5, .step_tokens = 30}, pool_);
    std::vector<Ask> asks;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const auto budget = static_cast<std::uint32_t>(lengths[i] - prompts[i].size());
      asks.push_back({prompts[i], 1, TestOptions(budget, 0.0f)});
    }
    const auto sampled = RunAll(engine, asks);
    std::vector<std::vector<TokenId>> all = prompts;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      all[i].insert(all[i].end(), sampled[i].tokens.begin(), sampled[i].tokens.end());
    }
    return all;
  }

  nlohmann::json reference_;
  std::shared_ptr<const Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::filesystem::path stories_;
  ThreadPool pool_{2};
};

TEST_P(EngineAssets, GreedyIdsOfAllPromptsTogether) {
  std::vector<std::vector<TokenId>> prompts, expected;
  std::vector<std::size_t> lengths;
  for (const auto& prompt : reference_.at("prompts")) {
    prompts.push_back(prompt.at("ids").get<std::vector<TokenId>>());
    expected.push_back(prompt.at("greedy_ids").get<std::vector<TokenId>>());
    lengths.push_back(expected.back().size());
    EXPECT_EQ(
        tokenizer_->Encode(prompt.at("text").get<std::string>(), {.add_special_tokens = true}),
        prompts.back());
  }
  EXPECT_EQ(prompts.size(), 4u);
  EXPECT_EQ(Greedy(prompts, lengths), expected);
}

TEST_P(EngineAssets, TheTextThatLlama2cDemands) {
  if (!reference_.contains("third_party_greedy")) GTEST_SKIP() << "no such answer for this model";
  const std::string expected = reference_["third_party_greedy"].at("text");
  const auto ids = Greedy({{1}}, {201}).at(0);  // BOS and 200 steps
  EXPECT_EQ(tokenizer_->Decode(std::span(ids).subspan(1)), expected);
  StreamingDecoder decoder(*tokenizer_);
  std::string streamed;
  for (const TokenId id : std::span(ids).subspan(1)) streamed += decoder.Push(id);
  EXPECT_EQ(streamed + decoder.Flush(), expected);
}

TEST_P(EngineAssets, LikelihoodOfStories) {
  std::ifstream file(stories_, std::ios::binary);
  ASSERT_TRUE(file) << stories_;
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  constexpr std::string_view kBorder = "<|endoftext|>";
  std::vector<std::string> stories;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(kBorder, at), text.size());
    const auto first = text.find_first_not_of(" \n", at);
    if (first < end) {
      const auto last = text.find_last_not_of(" \n", end - 1);
      stories.push_back(text.substr(first, last - first + 1));
    }
    at = end + kBorder.size();
  }
  const auto& references = reference_.at("story_nll");
  ASSERT_EQ(stories.size(), references.size());
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < stories.size(); ++i) {
    const auto characters = std::count_if(stories[i].begin(), stories[i].end(),
                                          [](char c) { return (c & 0xC0) != 0x80; });
    EXPECT_EQ(characters, references[i].at("chars").get<std::ptrdiff_t>());
    auto ids = tokenizer_->Encode(stories[i], {.add_special_tokens = true});
    const auto tokens = references[i].at("tokens").get<std::size_t>();
    ids.resize(std::min(ids.size(), model_->config().max_positions));
    EXPECT_EQ(ids.size(), tokens);
    const auto logps = ScoreTokens(*model_, pool_, ids, 1.0f, 100);
    ASSERT_TRUE(logps) << logps.error().what;
    double story = 0;
    for (const float logp : *logps) story -= static_cast<double>(logp);
    const double n = static_cast<double>(ids.size() - 1);
    EXPECT_NEAR(story / n, references[i].at("mean_nll").get<double>(), kNllTolerance);
    const auto first16 = references[i].at("first16").get<std::vector<double>>();
    for (std::size_t k = 0; k < first16.size(); ++k)
      EXPECT_NEAR(-(*logps)[k + 1], first16[k], 2e-4);
    sum += story, count += n;
  }
  EXPECT_NEAR(sum / count, reference_.at("mean_nll_all").get<double>(), kNllTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineAssets,
                         ::testing::Values(Asset{"stories260K", "stories260K.bin", "tok512.model"},
                                           Asset{"babyllama-tok105", "model5000.bin",
                                                 "tok105.model"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace waggle
