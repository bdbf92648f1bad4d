#include "model/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace waggle {
namespace {

using Json = nlohmann::json;

// Shapes above these are refused before anything is allocated.
constexpr std::size_t kLayersMax = 1024, kWidthMax = 1u << 17, kVocabMax = 1u << 22,
                      kHeadsMax = 1024, kExpertsMax = 1024;
constexpr std::size_t kExpertsOfAllLayersMax = 1u << 17;
constexpr std::size_t kPositionsMax = std::size_t{1} << 24;
constexpr std::size_t kConfigBytesMax = 1 << 20;
constexpr int kDepthMax = 16;

// Reads fields of one JSON object and remembers the first thing that was wrong.
class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}

  bool Names(const char* key) const { return object_.contains(key); }
  bool Has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }

  std::size_t Size(const char* key, std::size_t low, std::size_t high,
                   std::optional<std::size_t> otherwise = {}) {
    if (!Has(key)) {
      if (!otherwise) Refuse("field {} is missing", key);
      return otherwise.value_or(low);
    }
    const Json& value = object_[key];
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < low ||
        value.get<std::uint64_t>() > high) {
      Refuse("field {} = {} is not an integer between {} and {}", key, Short(value), low, high);
      return low;
    }
    return value.get<std::size_t>();
  }
  double Number(const char* key, double low, double high, double otherwise) {
    if (!Has(key)) return otherwise;
    const Json& value = object_[key];
    if (!value.is_number() || !(value.get<double>() >= low) || !(value.get<double>() <= high)) {
      Refuse("field {} = {} is not a number between {} and {}", key, Short(value), low, high);
      return otherwise;
    }
    return value.get<double>();
  }
  bool Flag(const char* key, bool otherwise) {
    if (!Has(key)) return otherwise;
    if (!object_[key].is_boolean()) Refuse("field {} is not true or false", key);
    return object_[key].is_boolean() && object_[key].get<bool>();
  }
  std::string Text(const char* key, const std::string& otherwise) {
    if (!Has(key)) return otherwise;
    if (!object_[key].is_string()) Refuse("field {} is not a text", key);
    return object_[key].is_string() ? object_[key].get<std::string>() : otherwise;
  }
  const Json& Raw(const char* key) const { return object_[key]; }

  template <class... Args>
  void Refuse(fmt::format_string<Args...> format, Args&&... args) {
    if (refusal_.empty()) refusal_ = fmt::format(format, std::forward<Args>(args)...);
  }
  Status Done() const {
    if (refusal_.empty()) return {};
    return Fail(Blame::kOperator, "config.json: {}", refusal_);
  }
  const std::string& refusal() const { return refusal_; }
  static std::string Short(const Json& value) {
    return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
  }

 private:
  const Json& object_;
  std::string refusal_;
};

struct Family {
  const char* architecture;
  bool qkv_bias, qk_norm, takes_bias_flag, experts;
};
// Sheet 6.2. SmolLM and SmolLM2 are LlamaForCausalLM.
constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", false, false, true, false},
    {"MistralForCausalLM", false, false, false, false},
    {"Qwen2ForCausalLM", true, false, false, false},
    {"Qwen3ForCausalLM", false, true, true, false},
    {"Qwen3MoeForCausalLM", false, true, true, true},
    {"MixtralForCausalLM", false, false, false, true},
    {"SmolLM3ForCausalLM", false, false, true, false},
};

const Family* FindFamily(const std::string& architecture) {
  for (const Family& family : kFamilies) {
    if (architecture == family.architecture) return &family;
  }
  return nullptr;
}

std::string FamilyNames() {
  std::string names;
  for (const Family& family : kFamilies)
    names += (names.empty() ? "" : ", ") + std::string(family.architecture);
  return names;
}

// Fields of the scaling types; one that Transformers cannot do without is required here too, and
// one that changes its result but not ours is refused.
void ReadScaledRope(Reader& reader, ModelConfig& config) {
  if (!reader.Has("factor")) return reader.Refuse("field factor is missing");
  config.rope_factor = reader.Number("factor", 1e-3, 1e6, 1.0);
  config.rope_low = reader.Number("low_freq_factor", 1e-3, 1e6, 1.0);
  config.rope_high = reader.Number("high_freq_factor", 1e-3, 1e6, 4.0);
  config.rope_original_positions = static_cast<double>(
      reader.Size("original_max_position_embeddings", 1, kPositionsMax, config.max_positions));
  config.rope_beta_fast = reader.Number("beta_fast", 1e-3, 1e6, 32.0);
  config.rope_beta_slow = reader.Number("beta_slow", 1e-3, 1e6, 1.0);
  config.rope_attention_factor = reader.Number("attention_factor", 0.0, 1e3, 0.0);
  const bool yarn = config.rope_scaling == RopeScaling::kYarn;
  for (const char* key : {"mscale", "mscale_all_dim"}) {
    if (yarn && reader.Has(key)) reader.Refuse("field {} is not supported", key);
  }
  if (yarn && !reader.Flag("truncate", true))
    reader.Refuse("field truncate = false is not supported");
}

void ReadRopeScaling(const Json& scaling, ModelConfig& config, Reader& outer) {
  if (!scaling.is_object()) return outer.Refuse("rope_scaling is not an object");
  Reader reader(scaling);
  const std::string type = reader.Text("rope_type", reader.Text("type", "default"));
  if (type == "linear")
    config.rope_scaling = RopeScaling::kLinear;
  else if (type == "llama3")
    config.rope_scaling = RopeScaling::kLlama3;
  else if (type == "yarn")
    config.rope_scaling = RopeScaling::kYarn;
  else if (type != "default") {
    return outer.Refuse(
        "rope_scaling type '{}' is not supported: default, linear, llama3 or yarn (types that "
        "depend on the "
        "current length have no canonical result)",
        type);
  }
  config.rope_theta = reader.Number("rope_theta", 1.0, 1e12, config.rope_theta);
  if (reader.Number("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0)
    reader.Refuse(
        "field partial_rotary_factor is not 1: heads that turn in part are not supported");
  if (type != "default") ReadScaledRope(reader, config);
  if (!reader.refusal().empty()) outer.Refuse("rope_scaling: {}", reader.refusal());
}

void ReadIds(Reader& reader, ModelConfig& config) {
  const auto id = [&](const char* key) -> std::int32_t {
    return reader.Has(key) ? static_cast<std::int32_t>(reader.Size(key, 0, kVocabMax)) : -1;
  };
  config.bos_id = reader.Has("bos_token_id") && reader.Raw("bos_token_id").is_number()
                      ? id("bos_token_id")
                      : -1;
  config.pad_id = reader.Has("pad_token_id") && reader.Raw("pad_token_id").is_number_unsigned()
                      ? id("pad_token_id")
                      : -1;
  if (!reader.Has("eos_token_id")) return;
  const Json& eos = reader.Raw("eos_token_id");
  for (const Json& item : eos.is_array() ? eos : Json::array({eos})) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() >= config.vocab) {
      return reader.Refuse("field eos_token_id holds {}, which is no id below {}",
                           Reader::Short(item), config.vocab);
    }
    config.eos.push_back(item.get<std::int32_t>());
  }
}

// Which layers see a window only. Llama ignores the field, Mistral without it has one of 4096, Qwen
// and SmolLM3 use theirs only where use_sliding_window says so; layer_types wins over all.
void ReadWindow(Reader& reader, ModelConfig& config) {
  const bool mistral = config.architecture == "MistralForCausalLM";
  const bool qwen = config.architecture.starts_with("Qwen");
  const bool smollm3 = config.architecture == "SmolLM3ForCausalLM";
  if (config.architecture == "LlamaForCausalLM") return;
  const std::size_t absent = mistral && !reader.Names("sliding_window") ? 4096 : 0;
  const std::size_t window = reader.Size("sliding_window", 1, kPositionsMax, absent);
  if ((qwen || smollm3) && !reader.Flag("use_sliding_window", false)) return;
  if (window == 0) return;
  const std::size_t full_below =
      qwen ? reader.Size("max_window_layers", 0, kLayersMax, config.layers) : 0;
  const bool listed = reader.Has("layer_types");
  if (smollm3 && !listed) return reader.Refuse("field layer_types is missing: which layers slide?");
  config.window.assign(config.layers, window);
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    if (qwen && layer < full_below) config.window[layer] = 0;
    if (!listed) continue;
    const Json& types = reader.Raw("layer_types");
    if (!types.is_array() || types.size() != config.layers || !types[layer].is_string()) {
      return reader.Refuse("field layer_types is no list of {} texts", config.layers);
    }
    const bool slides = types[layer] == "sliding_attention";
    if (!slides && types[layer] != "full_attention") {
      return reader.Refuse("field layer_types holds {}: sliding_attention or full_attention",
                           Reader::Short(types[layer]));
    }
    config.window[layer] = slides ? window : 0;
  }
}

void ReadExperts(Reader& reader, ModelConfig& config) {
  const bool mixtral = config.architecture == "MixtralForCausalLM";
  config.experts = reader.Size(mixtral ? "num_local_experts" : "num_experts", 1, kExpertsMax);
  config.experts_per_token =
      reader.Size("num_experts_per_tok", 1, std::max<std::size_t>(1, config.experts), 2);
  config.expert_intermediate =
      mixtral ? config.intermediate : reader.Size("moe_intermediate_size", 1, kWidthMax);
  config.norm_topk = mixtral || reader.Flag("norm_topk_prob", false);
  const std::size_t every = reader.Size("decoder_sparse_step", 1, kLayersMax, 1);
  config.sparse_layer.resize(config.layers);
  for (std::size_t layer = 0; layer < config.layers; ++layer)
    config.sparse_layer[layer] = (layer + 1) % every == 0;
  if (!reader.Has("mlp_only_layers")) return;
  if (!reader.Raw("mlp_only_layers").is_array())
    return reader.Refuse("field mlp_only_layers is not a list");
  for (const Json& item : reader.Raw("mlp_only_layers")) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() >= config.layers)
      return reader.Refuse("field mlp_only_layers holds {}", Reader::Short(item));
    config.sparse_layer[item.get<std::size_t>()] = false;
  }
}

void ReadNoRope(Reader& reader, ModelConfig& config) {
  if (config.architecture != "SmolLM3ForCausalLM") return;
  const std::size_t every = reader.Size("no_rope_layer_interval", 1, kLayersMax, 4);
  config.no_rope.resize(config.layers);
  for (std::size_t layer = 0; layer < config.layers; ++layer)
    config.no_rope[layer] = (layer + 1) % every == 0;
  if (!reader.Has("no_rope_layers")) return;
  const Json& flags = reader.Raw("no_rope_layers");
  if (!flags.is_array() || flags.size() != config.layers)
    return reader.Refuse("field no_rope_layers is no list of {} numbers", config.layers);
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    if (!flags[layer].is_number_integer())
      return reader.Refuse("field no_rope_layers holds {}", Reader::Short(flags[layer]));
    config.no_rope[layer] = flags[layer] == 0;
  }
}

void ReadShape(Reader& reader, ModelConfig& config) {
  config.vocab = reader.Size("vocab_size", 1, kVocabMax);
  config.hidden = reader.Size("hidden_size", 1, kWidthMax);
  config.intermediate = reader.Size("intermediate_size", 1, kWidthMax);
  config.layers = reader.Size("num_hidden_layers", 1, kLayersMax);
  config.heads = reader.Size("num_attention_heads", 1, kHeadsMax);
  config.kv_heads = reader.Size("num_key_value_heads", 1, kHeadsMax, config.heads);
  config.head_dim =
      reader.Size("head_dim", 1, 1024, config.heads > 0 ? config.hidden / config.heads : 1);
  config.max_positions = reader.Size("max_position_embeddings", 1, kPositionsMax, 2048);
  config.norm_eps = static_cast<float>(reader.Number("rms_norm_eps", 0.0, 1.0, 1e-6));
  // Transformers leaves a field out where it has the family's default.
  config.tied_head =
      reader.Flag("tie_word_embeddings", config.architecture == "SmolLM3ForCausalLM");
  if (const std::string act = reader.Text("hidden_act", "silu"); act != "silu")
    reader.Refuse("field hidden_act = '{}' is not supported: silu", act);
}

}  // namespace

bool ModelConfig::IsSparse(std::size_t layer) const {
  return experts > 0 && (sparse_layer.empty() || sparse_layer[layer]);
}

Result<ModelConfig> ParseModelConfig(std::string_view text) {
  if (text.size() > kConfigBytesMax)
    return Fail(Blame::kOperator, "config.json has {} bytes, the limit is {}", text.size(),
                kConfigBytesMax);
  bool too_deep = false;
  const auto watch_depth = [&](int depth, Json::parse_event_t, Json&) {
    return !(too_deep |= depth > kDepthMax);
  };
  const Json json = Json::parse(text, watch_depth, /*allow_exceptions=*/false);
  if (json.is_discarded() || too_deep || !json.is_object())
    return Fail(Blame::kOperator, "config.json is not a JSON object");
  if (!json.contains("architectures") || !json["architectures"].is_array() ||
      json["architectures"].empty() || !json["architectures"][0].is_string()) {
    return Fail(Blame::kOperator, "config.json: field architectures is missing");
  }
  ModelConfig config;
  config.architecture = json["architectures"][0].get<std::string>();
  const Family* family = FindFamily(config.architecture);
  if (family == nullptr)
    return Fail(Blame::kOperator, "config.json: architecture '{}' is not supported: {}",
                config.architecture.substr(0, 80), FamilyNames());
  Reader reader(json);
  ReadShape(reader, config);
  WG_TRY(reader.Done());
  config.rope_theta = reader.Number("rope_theta", 1.0, 1e12,
                                    config.architecture == "SmolLM3ForCausalLM" ? 2e6 : 10000.0);
  if (reader.Has("rope_scaling")) ReadRopeScaling(reader.Raw("rope_scaling"), config, reader);
  if (reader.Has("rope_parameters")) ReadRopeScaling(reader.Raw("rope_parameters"), config, reader);
  config.qkv_bias = family->qkv_bias;
  config.qk_norm = family->qk_norm;
  if (family->takes_bias_flag)
    config.qkv_bias = config.o_bias = reader.Flag("attention_bias", false);
  if (family->takes_bias_flag) config.mlp_bias = reader.Flag("mlp_bias", false);
  ReadIds(reader, config);
  ReadWindow(reader, config);
  ReadNoRope(reader, config);
  if (family->experts) ReadExperts(reader, config);
  WG_TRY(reader.Done());
  WG_TRY(Validate(config));
  return config;
}

Status Validate(const ModelConfig& c) {
  const auto refuse = [](const std::string& what) {
    return Fail(Blame::kOperator, "model shape: {}", what);
  };
  if (FindFamily(c.architecture) == nullptr)
    return refuse("unknown architecture " + c.architecture);
  if (c.vocab == 0 || c.hidden == 0 || c.intermediate == 0 || c.layers == 0)
    return refuse("a size is 0");
  if (c.heads == 0 || c.kv_heads == 0 || c.heads % c.kv_heads != 0) {
    return refuse(
        fmt::format("{} heads are no multiple of {} key/value heads", c.heads, c.kv_heads));
  }
  if (c.head_dim == 0 || c.head_dim % 2 != 0)
    return refuse(fmt::format("head_dim {} is not even", c.head_dim));
  if (c.value_head && c.tied_head) return refuse("a critic has no head that could be tied");
  if (!c.window.empty() && c.window.size() != c.layers) return refuse("one window per layer");
  if (c.rope_scaling == RopeScaling::kLlama3 && !(c.rope_high > c.rope_low))
    return refuse(fmt::format("rope_scaling: high_freq_factor {} is not above low_freq_factor {}",
                              c.rope_high, c.rope_low));
  if (c.rope_scaling == RopeScaling::kYarn && !(c.rope_theta > 1.0))
    return refuse("rope_scaling: yarn needs a rope_theta above 1");
  // Their names alone would fill a memory.
  if (c.layers * c.experts > kExpertsOfAllLayersMax)
    return refuse(fmt::format("{} layers of {} experts", c.layers, c.experts));
  if (c.experts > 0 && c.experts_per_token > c.experts)
    return refuse("more experts per token than experts");
  for (const std::int32_t id : c.eos) {
    if (id < 0 || static_cast<std::size_t>(id) >= c.vocab)
      return refuse(fmt::format("eos id {} is outside the vocabulary of {}", id, c.vocab));
  }
  return {};
}

namespace {

nlohmann::ordered_json RopeScalingJson(const ModelConfig& c) {
  nlohmann::ordered_json scaling = {
      {"rope_type", c.rope_scaling == RopeScaling::kLinear   ? "linear"
                    : c.rope_scaling == RopeScaling::kLlama3 ? "llama3"
                                                             : "yarn"},
      {"factor", c.rope_factor}};
  if (c.rope_scaling != RopeScaling::kLinear && c.rope_original_positions >= 1)
    scaling["original_max_position_embeddings"] =
        static_cast<std::uint64_t>(c.rope_original_positions);
  if (c.rope_scaling == RopeScaling::kLlama3) {
    scaling["low_freq_factor"] = c.rope_low;
    scaling["high_freq_factor"] = c.rope_high;
  }
  if (c.rope_scaling == RopeScaling::kYarn) {
    scaling["beta_fast"] = c.rope_beta_fast;
    scaling["beta_slow"] = c.rope_beta_slow;
    if (c.rope_attention_factor != 0) scaling["attention_factor"] = c.rope_attention_factor;
  }
  return scaling;
}

const char* ModelTypeOf(const std::string& architecture) {
  if (architecture == "MistralForCausalLM") return "mistral";
  if (architecture == "Qwen2ForCausalLM") return "qwen2";
  if (architecture == "Qwen3ForCausalLM") return "qwen3";
  if (architecture == "Qwen3MoeForCausalLM") return "qwen3_moe";
  if (architecture == "MixtralForCausalLM") return "mixtral";
  if (architecture == "SmolLM3ForCausalLM") return "smollm3";
  return "llama";
}

// What Transformers assumes without a field is not always "no window", so the field is always
// there.
void WriteWindow(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (c.architecture == "LlamaForCausalLM") return;
  std::size_t window = 0, full_below = 0;
  nlohmann::ordered_json types = nlohmann::ordered_json::array();
  for (const std::size_t w : c.window) {
    if (w == 0 && window == 0) ++full_below;
    window = std::max(window, w);
    types.push_back(w > 0 ? "sliding_attention" : "full_attention");
  }
  json["sliding_window"] = nullptr;
  if (window > 0) json["sliding_window"] = window;
  if (window > 0) json["layer_types"] = types;
  const bool qwen = c.architecture.starts_with("Qwen");
  if (qwen || c.architecture == "SmolLM3ForCausalLM") json["use_sliding_window"] = window > 0;
  if (qwen) json["max_window_layers"] = window > 0 ? full_below : c.layers;
}

void WriteExperts(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (c.experts == 0) return;
  json[c.architecture == "MixtralForCausalLM" ? "num_local_experts" : "num_experts"] = c.experts;
  json["num_experts_per_tok"] = c.experts_per_token;
  json["norm_topk_prob"] = c.norm_topk;
  if (c.architecture == "MixtralForCausalLM") return;
  json["moe_intermediate_size"] = c.expert_intermediate;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = nlohmann::ordered_json::array();
  for (std::size_t layer = 0; layer < c.layers; ++layer) {
    if (!c.IsSparse(layer)) json["mlp_only_layers"].push_back(layer);
  }
}

}  // namespace

std::string WriteModelConfig(const ModelConfig& c, std::string_view dtype) {
  nlohmann::ordered_json json = {{"architectures", {c.architecture}},
                                 {"model_type", ModelTypeOf(c.architecture)},
                                 {"vocab_size", c.vocab},
                                 {"hidden_size", c.hidden},
                                 {"intermediate_size", c.intermediate},
                                 {"num_hidden_layers", c.layers},
                                 {"num_attention_heads", c.heads},
                                 {"num_key_value_heads", c.kv_heads},
                                 {"head_dim", c.head_dim},
                                 {"hidden_act", "silu"},
                                 {"max_position_embeddings", c.max_positions},
                                 {"rms_norm_eps", std::stod(fmt::format("{}", c.norm_eps))},
                                 {"rope_theta", c.rope_theta},
                                 {"attention_bias", c.o_bias},
                                 {"mlp_bias", c.mlp_bias},
                                 {"tie_word_embeddings", c.tied_head},
                                 {"torch_dtype", dtype}};
  if (c.rope_scaling != RopeScaling::kNone) json["rope_scaling"] = RopeScalingJson(c);
  if (c.bos_id >= 0) json["bos_token_id"] = c.bos_id;
  if (c.pad_id >= 0) json["pad_token_id"] = c.pad_id;
  if (c.eos.size() == 1) json["eos_token_id"] = c.eos[0];
  if (c.eos.size() > 1) json["eos_token_id"] = c.eos;
  WriteWindow(c, json);
  WriteExperts(c, json);
  if (!c.no_rope.empty()) {
    json["no_rope_layers"] = nlohmann::ordered_json::array();
    for (const bool skip : c.no_rope) json["no_rope_layers"].push_back(skip ? 0 : 1);
  }
  return json.dump(2) + "\n";
}

Status CheckWritable(const ModelConfig& c) {
  const auto refuse = [&](std::string_view what) {
    return Fail(Blame::kOperator, "model shape: a config.json of {} cannot say: {}", c.architecture,
                what);
  };
  WG_TRY(Validate(c));
  if (c.value_head) return refuse("that it is a critic");
  WG_ASSIGN(const ModelConfig back, ParseModelConfig(WriteModelConfig(c, "float32")));
  if (back.qkv_bias != c.qkv_bias || back.o_bias != c.o_bias || back.mlp_bias != c.mlp_bias)
    return refuse("which linear layers have a bias");
  if (back.qk_norm != c.qk_norm) return refuse("whether queries and keys are normalised");
  if (back.experts != c.experts) return refuse("how many experts there are");
  if (c.experts > 0 && back.norm_topk != c.norm_topk) return refuse("norm_topk_prob");
  if (c.experts > 0 && back.expert_intermediate != c.expert_intermediate)
    return refuse("the width of an expert");
  for (std::size_t layer = 0; layer < c.layers; ++layer) {
    if (back.Window(layer) != c.Window(layer)) return refuse("the windows of its layers");
    if (back.HasRope(layer) != c.HasRope(layer)) return refuse("layers without RoPE");
    if (back.IsSparse(layer) != c.IsSparse(layer)) return refuse("which layers have experts");
  }
  return {};
}

}  // namespace waggle
