// config.json: what real files say is read, what cannot be right is refused by field, and what we
// write says the same to us and, field by field, to Transformers.
#include "model/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace waggle {
namespace {

using Json = nlohmann::json;

Json Base(const std::string& architecture = "LlamaForCausalLM") {
  Json json = {{"architectures", {architecture}},
               {"vocab_size", 100},
               {"hidden_size", 64},
               {"intermediate_size", 96},
               {"num_hidden_layers", 4},
               {"num_attention_heads", 4},
               {"num_key_value_heads", 2},
               {"max_position_embeddings", 4096}};
  if (architecture == "MixtralForCausalLM") json["num_local_experts"] = 8;
  if (architecture == "Qwen3MoeForCausalLM") {
    json["num_experts"] = 8;
    json["moe_intermediate_size"] = 32;
  }
  return json;
}

ModelConfig Read(const Json& json) {
  auto config = ParseModelConfig(json.dump());
  if (!config) throw std::runtime_error(config.error().what);
  return *config;
}
Json Written(const ModelConfig& config) { return Json::parse(WriteModelConfig(config, "float32")); }
std::string Refusal(const std::string& text) {
  const auto config = ParseModelConfig(text);
  return config ? "accepted" : config.error().what;
}

TEST(Config, EveryWrongFieldIsNamed) {
  const std::pair<const char*, std::vector<Json>> wrong[] = {
      {"vocab_size", {0, -1, 1.5, "100", nullptr, std::uint64_t{1} << 40, Json::array()}},
      {"hidden_size", {0, -64, 1e300, std::uint64_t{1} << 60}},
      {"intermediate_size", {0, std::uint64_t{1} << 60}},
      {"num_hidden_layers", {0, -1, 4.0, 1'000'000'000, UINT64_MAX}},
      {"num_attention_heads", {0, 100'000}},
      {"num_key_value_heads", {0, -2, "2"}},
      {"head_dim", {0, 100'000, -16}},
      {"max_position_embeddings", {0, std::uint64_t{1} << 40}},
      {"rms_norm_eps", {-1e-6, 2.0, "1e-6"}},
      {"rope_theta", {0, -1, 1e300, "x"}},
      {"tie_word_embeddings", {1, "true"}},
      {"hidden_act", {"gelu", 1}},
      {"attention_bias", {"no"}},
      {"eos_token_id", {100, -1, "2", Json{1, 100}, Json{1, 2.5}}},
      {"rope_scaling", {"linear", 3, Json::array()}},
  };
  for (const auto& [field, values] : wrong) {
    for (const Json& value : values) {
      Json json = Base();
      json[field] = value;
      EXPECT_NE(Refusal(json.dump()).find(field), std::string::npos)
          << field << " = " << value << ": " << Refusal(json.dump());
    }
  }
}

TEST(Config, ShapesThatCannotBeAreRefused) {
  const auto refused = [](const char* field, Json value, const char* words) {
    Json json = Base();
    json[field] = std::move(value);
    EXPECT_NE(Refusal(json.dump()).find(words), std::string::npos) << Refusal(json.dump());
  };
  refused("num_key_value_heads", 3, "4 heads are no multiple of 3");
  refused("num_key_value_heads", 8, "4 heads are no multiple of 8");
  refused("head_dim", 15, "head_dim 15");
  refused("architectures", Json::array({"GPT2LMHeadModel"}), "'GPT2LMHeadModel' is not supported");
  refused("architectures", Json::array(), "architectures");
  Json experts = Base("Qwen3MoeForCausalLM");
  experts["num_hidden_layers"] = 1024;
  experts["num_experts"] = 1024;
  EXPECT_NE(Refusal(experts.dump()).find("experts"), std::string::npos)
      << "a million experts are refused before their names are made";
}

TEST(Config, TextsThatAreNoConfig) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{}"),
        std::string("{\"architectures\":[1]}"), std::string("\xFF\xFE{}"),
        std::string("{\"vocab_size\":NaN}"), std::string("{\"x\":1e400}"),
        "{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
        "{\"x\":\"" + std::string(2 << 20, 'x') + "\"}"}) {
    EXPECT_NE(Refusal(text).find("config.json"), std::string::npos) << Refusal(text);
  }
  const std::string whole = Base().dump();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(Refusal(whole.substr(0, n)), "accepted") << n;
  }
}

TEST(Config, RopeScalingOfEveryKind) {
  Json json = Base();
  const auto with = [&](Json scaling) {
    json["rope_scaling"] = std::move(scaling);
    return json;
  };
  EXPECT_EQ(Read(with(nullptr)).rope_scaling, RopeScaling::kNone);
  EXPECT_EQ(Read(with({{"type", "default"}})).rope_scaling, RopeScaling::kNone);
  EXPECT_EQ(Read(with({{"type", "linear"}, {"factor", 4.0}})).rope_factor, 4.0) << "the old name";
  const ModelConfig llama3 = Read(with({{"rope_type", "llama3"},
                                        {"factor", 32.0},
                                        {"low_freq_factor", 1.0},
                                        {"high_freq_factor", 4.0},
                                        {"original_max_position_embeddings", 8192}}));
  EXPECT_EQ(llama3.rope_scaling, RopeScaling::kLlama3);
  EXPECT_EQ(llama3.rope_original_positions, 8192);
  const ModelConfig yarn = Read(with({{"rope_type", "yarn"}, {"factor", 4.0}}));
  EXPECT_EQ(yarn.rope_original_positions, 4096) << "max_position_embeddings where not given";
  const auto refused = [&](Json scaling, const char* words) {
    const std::string what = Refusal(with(std::move(scaling)).dump());
    EXPECT_NE(what.find("rope_scaling"), std::string::npos) << what;
    EXPECT_NE(what.find(words), std::string::npos) << what;
  };
  refused({{"rope_type", "dynamic"}, {"factor", 2.0}}, "'dynamic' is not supported");
  refused({{"rope_type", "longrope"}}, "'longrope' is not supported");
  refused({{"rope_type", 3}}, "rope_type");
  refused({{"rope_type", "linear"}}, "factor is missing");
  refused({{"rope_type", "linear"}, {"factor", "x"}}, "factor");
  refused({{"rope_type", "default"}, {"rope_theta", -1}}, "rope_theta");
  refused({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4.0}}, "high_freq_factor");
  refused({{"rope_type", "yarn"}, {"factor", 8.0}, {"mscale", 0.7}}, "mscale");
  refused({{"rope_type", "yarn"}, {"factor", 8.0}, {"truncate", false}}, "truncate");
  refused({{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}, "partial_rotary_factor");
}

TEST(Config, NewFilesPutRopeIntoOneField) {
  Json json = Base();
  json["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 5e5},
                             {"factor", 8.0},           {"low_freq_factor", 1.0},
                             {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  EXPECT_EQ(Read(json).rope_theta, 5e5);
  EXPECT_EQ(Read(json).rope_scaling, RopeScaling::kLlama3);
}

// What each family's reader in Transformers assumes without a field decides what we must write.
TEST(Config, WindowsAsEachFamilyMeansThem) {
  Json mistral = Base("MistralForCausalLM");
  EXPECT_EQ(Read(mistral).Window(0), 4096u) << "its default";
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(Read(mistral).Window(0), 0u);
  EXPECT_TRUE(Written(Read(mistral))["sliding_window"].is_null()) << "else it reads as 4096";
  EXPECT_TRUE(Written(Read(mistral)).contains("sliding_window"));
  mistral["sliding_window"] = 128;
  EXPECT_EQ(Read(mistral).Window(3), 128u);

  Json llama = Base();
  llama["sliding_window"] = 128;
  EXPECT_EQ(Read(llama).Window(0), 0u) << "Llama has no windows whatever the file says";

  Json qwen = Base("Qwen2ForCausalLM");
  qwen["sliding_window"] = 128;
  EXPECT_EQ(Read(qwen).Window(3), 0u) << "use_sliding_window is false by default";
  EXPECT_EQ(Written(Read(qwen))["use_sliding_window"], false);
  qwen["use_sliding_window"] = true;
  qwen["max_window_layers"] = 3;
  EXPECT_EQ(Read(qwen).Window(2), 0u);
  EXPECT_EQ(Read(qwen).Window(3), 128u);
  EXPECT_EQ(Written(Read(qwen))["max_window_layers"], 3);
  qwen["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention",
                         "full_attention"};
  EXPECT_EQ(Read(qwen).window, (std::vector<std::size_t>{128, 0, 128, 0}));
  EXPECT_EQ(Written(Read(qwen))["layer_types"], qwen["layer_types"]);
  qwen["layer_types"][1] = "linear_attention";
  EXPECT_NE(Refusal(qwen.dump()).find("layer_types"), std::string::npos);
}

TEST(Config, EveryFamilySaysTheSameAfterWriting) {
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM", "MixtralForCausalLM", "SmolLM3ForCausalLM"}) {
    Json json = Base(architecture);
    json["rms_norm_eps"] = 1e-6;
    json["rope_theta"] = 1000000.0;
    json["bos_token_id"] = 1;
    json["eos_token_id"] = {2, 7};
    json["pad_token_id"] = 0;
    json["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"attention_factor", 1.2}};
    const ModelConfig config = Read(json);
    EXPECT_TRUE(CheckWritable(config).has_value()) << CheckWritable(config).error().what;
    const Json written = Written(config);
    EXPECT_EQ(Written(Read(written)), written) << architecture;
    for (const auto& [field, value] : json.items()) {
      if (field == "rope_scaling") continue;
      EXPECT_EQ(written[field], value) << architecture << " " << field;
    }
    for (const auto& [field, value] : json["rope_scaling"].items()) {
      EXPECT_EQ(written["rope_scaling"][field], value) << architecture << " " << field;
    }
    for (const char* field : {"model_type", "head_dim", "torch_dtype", "hidden_act"}) {
      EXPECT_TRUE(written.contains(field)) << architecture << " " << field;
    }
  }
}

TEST(Config, DefaultsOfTheFamilies) {
  EXPECT_TRUE(Read(Base("Qwen2ForCausalLM")).qkv_bias);
  EXPECT_FALSE(Read(Base("Qwen2ForCausalLM")).o_bias);
  EXPECT_TRUE(Read(Base("Qwen3ForCausalLM")).qk_norm);
  EXPECT_FALSE(Read(Base()).tied_head);
  const ModelConfig smollm3 = Read(Base("SmolLM3ForCausalLM"));
  EXPECT_TRUE(smollm3.tied_head) << "left out of its files where it has its default";
  EXPECT_EQ(smollm3.rope_theta, 2e6);
  EXPECT_TRUE(smollm3.HasRope(0));
  EXPECT_FALSE(smollm3.HasRope(3));
  EXPECT_TRUE(Read(Base("MixtralForCausalLM")).norm_topk);
  Json sparse = Base("Qwen3MoeForCausalLM");
  sparse["decoder_sparse_step"] = 2;
  sparse["mlp_only_layers"] = {3};
  const ModelConfig moe = Read(sparse);
  EXPECT_FALSE(moe.norm_topk);
  EXPECT_EQ(moe.sparse_layer, (std::vector<bool>{false, true, false, false}));
  EXPECT_EQ(Written(moe)["mlp_only_layers"], Json({0, 2, 3}));
  sparse["mlp_only_layers"] = {4};
  EXPECT_NE(Refusal(sparse.dump()).find("mlp_only_layers"), std::string::npos);
}

TEST(Config, ShapesThatTheirFamilyCannotSayAreNotWritten) {
  ModelConfig config = Read(Base());
  EXPECT_TRUE(CheckWritable(config).has_value());
  config.window.assign(config.layers, 64);
  EXPECT_NE(CheckWritable(config).error().what.find("window"), std::string::npos);
  config = Read(Base());
  config.qkv_bias = true;
  EXPECT_NE(CheckWritable(config).error().what.find("bias"), std::string::npos);
  config = Read(Base());
  config.qk_norm = true;
  EXPECT_FALSE(CheckWritable(config).has_value());
}

}  // namespace
}  // namespace waggle
