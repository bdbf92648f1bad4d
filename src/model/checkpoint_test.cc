// Model folders: what is written reads back bit for bit, whole or in shards; a folder that cannot
// be right is refused with the file, the tensor and the reason; a model read from disk row by row
// is the model made from memory.
#include "model/checkpoint.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/math.h"
#include "model/test_models.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using namespace testing_models;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / fmt::format("waggle_checkpoint_{}", info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Text(const fs::path& name) const {
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Put(const fs::path& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string Refusal() const {
    const auto loaded = LoadModel(folder_);
    return loaded ? "accepted" : loaded.error().what;
  }
  void ExpectRefused(const std::vector<std::string>& words) const {
    const std::string what = Refusal();
    for (const std::string& word : words) EXPECT_NE(what.find(word), std::string::npos) << what;
  }
  // A small model in three shards: each has room for a third and one more of the largest tensors.
  Json SaveSharded() {
    const Status saved =
        SaveModel(folder_, config_, parameters_, WeightFormat::kF32, ParameterBytes() / 3 + 24576);
    EXPECT_TRUE(saved) << saved.error().what;
    return Json::parse(Text(kIndex));
  }
  std::size_t ParameterBytes() const {
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : parameters_) bytes += tensor.size() * sizeof(float);
    return bytes;
  }

  static constexpr const char* kIndex = "model.safetensors.index.json";
  fs::path folder_;
  ModelConfig config_ = AnswerConfig(false);
  Parameters parameters_ = AnswerParameters(config_);
};

void ExpectSameBits(const Parameters& a, const Parameters& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_EQ(tensor.shape, b.at(name).shape) << name;
    EXPECT_EQ(std::memcmp(tensor.data.data(), b.at(name).data.data(), tensor.size() * 4), 0)
        << name;
  }
}

// One valid value of every tensor, for a shape of each family.
ModelConfig FamilyConfig(const std::string& architecture) {
  Json json = {
      {"architectures", {architecture}}, {"vocab_size", 40},       {"hidden_size", 32},
      {"intermediate_size", 48},         {"num_hidden_layers", 4}, {"num_attention_heads", 4},
      {"num_key_value_heads", 2},        {"head_dim", 16},         {"eos_token_id", {2, 3}},
      {"tie_word_embeddings", false}};
  if (architecture == "MixtralForCausalLM") json["num_local_experts"] = 3;
  if (architecture == "Qwen3MoeForCausalLM") {
    json["num_experts"] = 3;
    json["moe_intermediate_size"] = 24;
    json["mlp_only_layers"] = {1};
  }
  return ParseModelConfig(json.dump()).value();
}

TEST_F(CheckpointTest, EveryFamilyRoundTripsWholeAndInShards) {
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM", "MixtralForCausalLM", "SmolLM3ForCausalLM"}) {
    const ModelConfig config = FamilyConfig(architecture);
    const Parameters parameters = RandomParameters(config, 5);
    for (const std::size_t shard_bytes : {std::size_t{1} << 30, std::size_t{40'000}}) {
      ASSERT_TRUE(SaveModel(folder_, config, parameters, WeightFormat::kF32, shard_bytes));
      EXPECT_EQ(fs::exists(folder_ / kIndex), shard_bytes == 40'000);
      const auto loaded = LoadModel(folder_);
      ASSERT_TRUE(loaded) << loaded.error().what;
      ExpectSameBits(loaded->parameters, parameters);
      EXPECT_EQ(WriteModelConfig(loaded->config, "float32"), WriteModelConfig(config, "float32"));
      EXPECT_EQ(loaded->config.eos, config.eos);
    }
  }
}

TEST_F(CheckpointTest, Bf16RoundsOnceAndStays) {
  ASSERT_TRUE(SaveModel(folder_, config_, parameters_, WeightFormat::kBf16));
  const auto once = LoadModel(folder_);
  ASSERT_TRUE(once);
  for (const auto& [name, tensor] : parameters_) {
    for (std::size_t i = 0; i < tensor.size(); ++i)
      ASSERT_EQ(once->parameters.at(name).data[i], FloatFromBf16(Bf16FromFloat(tensor.data[i])));
  }
  const std::string file = Text("model.safetensors");
  ASSERT_TRUE(SaveModel(folder_, once->config, once->parameters, WeightFormat::kBf16));
  EXPECT_EQ(Text("model.safetensors"), file);
  EXPECT_EQ(Json::parse(Text("config.json"))["torch_dtype"], "bfloat16");
}

TEST_F(CheckpointTest, F16IsWidenedExactly) {
  const std::pair<std::uint16_t, float> cases[] = {
      {0x0000, 0.0f},     {0x3C00, 1.0f},          {0xC000, -2.0f},    {0x7BFF, 65504.0f},
      {0x0001, 0x1p-24f}, {0x83FF, -0x1.ff8p-15f}, {0x0400, 0x1p-14f}, {0x3555, 0x1.554p-2f}};
  std::string header = R"({"x":{"dtype":"F16","shape":[8],"data_offsets":[0,16]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header;
  for (const auto& [half, value] : cases) {
    file += static_cast<char>(half & 0xFF);
    file += static_cast<char>(half >> 8);
  }
  Put("x.safetensors", file);
  const auto read = ReadSafetensors(folder_ / "x.safetensors", nullptr);
  ASSERT_TRUE(read) << read.error().what;
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(read->at("x").data[i], cases[i].second) << i;
}

TEST_F(CheckpointTest, AModelFromDiskIsTheModelFromMemory) {
  for (const char* architecture : {"Qwen2ForCausalLM", "Qwen3MoeForCausalLM"}) {
    const ModelConfig config = FamilyConfig(architecture);
    ASSERT_TRUE(SaveModel(folder_, config, RandomParameters(config, 3), WeightFormat::kBf16, 4000));
    const auto checkpoint = Checkpoint::Open(folder_);
    ASSERT_TRUE(checkpoint) << checkpoint.error().what;
    const Parameters parameters = checkpoint->ReadAll();
    const std::vector<TokenId> ids = {1, 5, 9, 30, 2, 7};
    ThreadPool pool(1);
    for (const WeightFormat format :
         {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
      const NumericsConfig numerics{.weights = format};
      const auto disk = Model::Create(config, numerics, *checkpoint, nullptr, BestOps());
      ASSERT_TRUE(disk) << disk.error().what;
      const auto memory = MakeModel(config, parameters, BestOps(), numerics);
      EXPECT_EQ((*disk)->bytes(), memory->bytes());
      EXPECT_EQ(Fnv(ForwardInChunks(**disk, pool, ids, 0)),
                Fnv(ForwardInChunks(*memory, pool, ids, 0)))
          << architecture << " " << ToString(format);
    }
  }
}

TEST_F(CheckpointTest, FusedExpertsAreSplit) {
  const ModelConfig config = FamilyConfig("Qwen3MoeForCausalLM");
  const Parameters parameters = RandomParameters(config, 4);
  Parameters fused = parameters;
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    if (!config.IsSparse(layer)) continue;
    const std::string prefix = LayerPrefix(layer) + "mlp.experts.";
    Tensor gate_up{.shape = {3, 48, 32}}, down{.shape = {3, 32, 24}};
    for (int e = 0; e < 3; ++e) {
      const auto take = [&](const char* name, Tensor& into) {
        const auto at = fused.find(fmt::format("{}{}.{}.weight", prefix, e, name));
        into.data.insert(into.data.end(), at->second.data.begin(), at->second.data.end());
        fused.erase(at);
      };
      take("gate_proj", gate_up);
      take("up_proj", gate_up);
      take("down_proj", down);
    }
    fused.emplace(prefix + "gate_up_proj", std::move(gate_up));
    fused.emplace(prefix + "down_proj", std::move(down));
  }
  ASSERT_TRUE(SaveModel(folder_, config, fused, WeightFormat::kF32));
  const auto loaded = LoadModel(folder_);
  ASSERT_TRUE(loaded) << loaded.error().what;
  ExpectSameBits(loaded->parameters, parameters);
}

TEST_F(CheckpointTest, GenerationConfigIsKeptAndItsEndTokensCount) {
  ASSERT_TRUE(SaveModel(folder_, config_, parameters_, WeightFormat::kF32));
  Put("generation_config.json",
      R"({"do_sample":true,"temperature":0.6,"top_k":20,"eos_token_id":[5,6],"pad_token_id":1})");
  const auto loaded = LoadModel(folder_);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->config.eos, (std::vector<std::int32_t>{5, 6}));
  ASSERT_TRUE(SaveModel(folder_, loaded->config, loaded->parameters, WeightFormat::kF32));
  EXPECT_EQ(Json::parse(Text("generation_config.json")),
            Json::parse(R"({"do_sample":true,"eos_token_id":[5,6],"pad_token_id":1,)"
                        R"("temperature":0.6,"top_k":20})"));
  EXPECT_EQ(Json::parse(Text("config.json"))["eos_token_id"], Json({5, 6}));
  for (const char* broken : {"[]", "{", R"({"eos_token_id":64})", R"({"eos_token_id":[1,"x"]})"}) {
    Put("generation_config.json", broken);
    ExpectRefused({"generation_config.json"});
  }
}

TEST_F(CheckpointTest, MissingAndMisshapenTensorsAreNamed) {
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  Parameters wrong = parameters_;
  wrong.erase(name);
  ASSERT_TRUE(SaveModel(folder_, config_, wrong, WeightFormat::kF32));
  ExpectRefused({"tensor " + name + " is missing"});
  wrong.emplace(name, ZeroTensor({64, 96}));
  ASSERT_TRUE(SaveModel(folder_, config_, wrong, WeightFormat::kF32));
  ExpectRefused({name, "[64, 96]", "[96, 64]"});
  // A shape that asks for terabytes, over a file of a few bytes.
  Json json = Json::parse(Text("config.json"));
  json["num_hidden_layers"] = 1024;
  json["hidden_size"] = json["intermediate_size"] = 131072;
  json["vocab_size"] = 4194304;
  Put("config.json", json.dump());
  ExpectRefused({"model.embed_tokens.weight", "[4194304, 131072]"});
}

TEST_F(CheckpointTest, OtherTensorsAreLeftOut) {
  Parameters more = parameters_;
  more.emplace("model.layers.0.self_attn.rotary_emb.inv_freq", ZeroTensor({8}));
  more.emplace("lm_head.weight", ZeroTensor({64, 64}));  // the model is tied
  ASSERT_TRUE(SaveModel(folder_, config_, more, WeightFormat::kF32));
  const auto loaded = LoadModel(folder_);
  ASSERT_TRUE(loaded) << loaded.error().what;
  ExpectSameBits(loaded->parameters, parameters_);
}

TEST_F(CheckpointTest, AnIndexThatLiesIsRefused) {
  const Json index = SaveSharded();
  ASSERT_EQ(Refusal(), "accepted");
  const std::string first = index["weight_map"].begin().key();
  const auto with = [&](const std::string& shard) {
    Json changed = index;
    changed["weight_map"][first] = shard;
    Put(kIndex, changed.dump());
  };
  for (const char* path :
       {"../model.safetensors", "/etc/passwd", "..", ".", "", "a/b.safetensors"}) {
    with(path);
    ExpectRefused({kIndex, first, "not a file name"});
  }
  with("model-00009-of-00003.safetensors");
  ExpectRefused({"model-00009-of-00003.safetensors"});
  with("model-00002-of-00003.safetensors");
  ExpectRefused({"model-00001-of-00003.safetensors", first, "the index says it is in"});
  Json more = index;
  more["weight_map"]["model.layers.7.x"] = "model-00001-of-00003.safetensors";
  Put(kIndex, more.dump());
  ExpectRefused({kIndex, "model.layers.7.x is not in model-00001-of-00003.safetensors"});
  for (const char* text : {"", "[]", "{}", R"({"weight_map":3})", R"({"weight_map":{"a":3}})"}) {
    Put(kIndex, text);
    ExpectRefused({kIndex, "weight_map"});
  }
}

TEST_F(CheckpointTest, ShardsMayBeLinksButNotFolders) {
  SaveSharded();
  const fs::path shard = folder_ / "model-00002-of-00003.safetensors", blob = folder_ / "blob";
  fs::rename(shard, blob);
  ExpectRefused({"model-00002-of-00003.safetensors"});
  fs::create_symlink(blob, shard);  // as caches of downloads are laid out
  EXPECT_EQ(Refusal(), "accepted");
  fs::remove(shard);
  fs::create_symlink(folder_, shard);
  ExpectRefused({"model-00002-of-00003.safetensors", "not a regular file"});
  fs::remove(shard);
  fs::create_symlink(folder_ / "nothing", shard);
  ExpectRefused({"model-00002-of-00003.safetensors"});
}

TEST_F(CheckpointTest, ACutFileIsRefusedAtEveryLength) {
  ASSERT_TRUE(SaveModel(folder_, config_, parameters_, WeightFormat::kBf16));
  const std::string whole = Text("model.safetensors");
  for (std::size_t n = 0; n < whole.size(); n += n < 64 ? 1 : 4093) {
    Put("model.safetensors", whole.substr(0, n));
    ExpectRefused({"model.safetensors", "safetensors: "});
  }
  Put("model.safetensors", whole + "x");
  ExpectRefused({"1 bytes of data at offset"});
}

TEST_F(CheckpointTest, OtherNumbersThanFloatsAreRefused) {
  const std::string header = R"({"x":{"dtype":"I8","shape":[8],"data_offsets":[0,8]}})";
  Put("x.safetensors", std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') +
                           header + "12345678");
  const auto read = ReadSafetensors(folder_ / "x.safetensors", nullptr);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().what.find("tensor x has dtype I8"), std::string::npos);
}

TEST_F(CheckpointTest, AShapeThatItsFamilyCannotSayIsNotSaved) {
  config_.window.assign(config_.layers, 64);
  const Status saved = SaveModel(folder_, config_, parameters_, WeightFormat::kF32);
  ASSERT_FALSE(saved);
  EXPECT_FALSE(fs::exists(folder_ / "config.json"));
}

}  // namespace
}  // namespace waggle
