// Models that others made, against reference outputs in float64: logits, log-probs and greedy
// continuations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

constexpr double kLogitTolerance = 2e-4;

struct Asset {
  const char* name;
  const char* weights;  // file, or empty for the folder
};

class Assets : public ::testing::TestWithParam<Asset> {
 protected:
  void SetUp() override {
    const std::filesystem::path folder =
        std::filesystem::path(std::getenv("WAGGLE_ASSETS")) / "models" / GetParam().name;
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
    std::ifstream file(folder / "reference.json");
    reference_ = nlohmann::json::parse(file);
    auto loaded = LoadModel(*GetParam().weights == 0 ? folder : folder / GetParam().weights);
    ASSERT_TRUE(loaded) << loaded.error().what;
    config_ = loaded->config;
    parameters_ = std::move(loaded->parameters);
    model_ = MakeModel(config_, parameters_, BestOps());
  }

  std::vector<float> Logits(std::span<const TokenId> ids) {
    return AllLogits(*model_, pool_, ForwardInChunks(*model_, pool_, ids, 0));
  }

  void ExpectTop8(const nlohmann::json& top, std::span<const float> logits) {
    for (const auto& entry : top) {
      EXPECT_NEAR(logits[entry[0].get<std::size_t>()], entry[1].get<double>(), kLogitTolerance);
    }
  }

  // `ids` and their greedy continuation, `length` tokens in all.
  std::vector<TokenId> Greedy(std::vector<TokenId> ids, std::size_t length) {
    const std::size_t d = config_.hidden;
    KvPool kv(config_, KvFormat::kF32, 8);
    const std::vector<std::uint32_t> pages{7, 6, 5, 4, 3, 2, 1, 0};
    std::vector<float> hidden(ids.size() * d), logits(config_.vocab);
    for (std::size_t done = 0; ids.size() < length;) {
      const SequenceChunk chunk{std::span<const TokenId>(ids).subspan(done), done, pages};
      model_->Forward(pool_, kv, std::span(&chunk, 1), hidden.data());
      const float* last = hidden.data() + (ids.size() - done - 1) * d;
      model_->Logits(pool_, last, 1, logits.data());
      done = ids.size();
      ids.push_back(
          static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    }
    return ids;
  }

  nlohmann::json reference_;
  ModelConfig config_;
  Parameters parameters_;
  std::shared_ptr<const Model> model_;
  ThreadPool pool_{2};
};

TEST_P(Assets, LogitsAndGreedyTokens) {
  std::size_t checked = 0;
  for (const auto& prompt : reference_.value("prompts", nlohmann::json::array())) {
    const auto ids = prompt.at("ids").get<std::vector<TokenId>>();
    const std::vector<float> logits = Logits(ids);
    const std::span<const float> last = std::span(logits).last(config_.vocab);
    ExpectTop8(prompt.at("last_logits_top8"), last);
    double sum = 0;
    for (const float z : last) sum += static_cast<double>(z);
    EXPECT_NEAR(sum, prompt.at("last_logits_sum").get<double>(),
                1e-5 * 5 * static_cast<double>(config_.vocab));
    const auto greedy = prompt.at("greedy_ids").get<std::vector<TokenId>>();
    EXPECT_EQ(Greedy(ids, greedy.size()), greedy);
    ++checked;
  }
  for (const auto& sequence : reference_.value("sequences", nlohmann::json::array())) {
    const auto ids = sequence.at("ids").get<std::vector<TokenId>>();
    const std::vector<float> logits = Logits(ids);
    ExpectTop8(sequence.at("last_logits_top8"), std::span(logits).last(config_.vocab));
    double sum = 0;
    for (const float z : logits) sum += static_cast<double>(z);
    EXPECT_NEAR(sum, sequence.at("all_logits_sum").get<double>(),
                2e-6 * static_cast<double>(logits.size()));
    Problem p = MakeProblem({ids.size()}, 1.0f, config_.vocab);
    p.batch.tokens = ids;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) p.targets.target[i] = ids[i + 1];
    const TokenScores scores = ScoreBatch(*model_, pool_, p.batch, p.targets);
    const auto expected = sequence.value("token_logprobs_first8", std::vector<double>());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(scores.logp[i], expected[i], kLogitTolerance) << i;
    ++checked;
  }
  EXPECT_GE(checked, 3u);
}

// Exported and read again, whole and in shards: the same bits.
TEST_P(Assets, ExportReadsBack) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) /
                                       fmt::format("waggle_export_{}", GetParam().name);
  for (const std::size_t shard_bytes : {std::size_t{1} << 30, std::size_t{1} << 18}) {
    const Status saved = SaveModel(folder, config_, parameters_, WeightFormat::kF32, shard_bytes);
    ASSERT_TRUE(saved) << saved.error().what;
    const auto again = LoadModel(folder);
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(FnvOf(again->parameters), FnvOf(parameters_));
    EXPECT_EQ(WriteModelConfig(again->config, "float32"), WriteModelConfig(config_, "float32"));
    EXPECT_EQ(again->config.eos, config_.eos);
  }
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Models, Assets,
                         ::testing::Values(Asset{"stories260K", "stories260K.bin"},
                                           Asset{"babyllama-tok105", "model5000.bin"},
                                           Asset{"verl-digit-completion", ""},
                                           Asset{"llama-2m-fresh", ""}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace waggle
