#include "model/llama2c.h"

#include <cstring>

#include "base/files.h"

namespace waggle {
namespace {

constexpr std::size_t kHeaderInts = 7;

class FloatCursor {
 public:
  explicit FloatCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}
  void Read(float* out, std::size_t n) {
    std::memcpy(out, bytes_.data() + at_, n * sizeof(float));
    at_ += n * sizeof(float);
  }
  void Skip(std::size_t n) { at_ += n * sizeof(float); }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

// Inside each head: new row j < dh/2 is old row 2j, new row dh/2 + j is old row 2j + 1.
void PermuteRows(Tensor& tensor, std::size_t heads, std::size_t head_dim) {
  const std::size_t columns = tensor.shape[1];
  AlignedVector<float> permuted(tensor.data.size());
  for (std::size_t h = 0; h < heads; ++h) {
    for (std::size_t j = 0; j < head_dim; ++j) {
      const std::size_t old_row = j < head_dim / 2 ? 2 * j : 2 * (j - head_dim / 2) + 1;
      std::memcpy(permuted.data() + (h * head_dim + j) * columns,
                  tensor.data.data() + (h * head_dim + old_row) * columns, columns * sizeof(float));
    }
  }
  tensor.data = std::move(permuted);
}

Result<ModelConfig> ParseHeader(std::span<const std::byte> bytes, bool& tied) {
  if (bytes.size() < kHeaderInts * 4)
    return Fail(Blame::kOperator, "llama2.c file: {} bytes, too short for its header",
                bytes.size());
  std::int32_t h[kHeaderInts];
  std::memcpy(h, bytes.data(), sizeof h);
  static constexpr const char* kNames[] = {"dim",        "hidden_dim", "n_layers", "n_heads",
                                           "n_kv_heads", "vocab_size", "seq_len"};
  static constexpr std::int32_t kMax[] = {1 << 16, 1 << 18, 1024, 1024, 1024, 1 << 22, 1 << 24};
  tied = h[5] > 0;
  if (h[5] < 0 && h[5] > -(1 << 23)) h[5] = -h[5];
  for (std::size_t i = 0; i < kHeaderInts; ++i) {
    if (h[i] < 1 || h[i] > kMax[i])
      return Fail(Blame::kOperator, "llama2.c file: field {} at offset {} is {}", kNames[i], 4 * i,
                  h[i]);
  }
  if (h[0] % h[3] != 0)
    return Fail(Blame::kOperator, "llama2.c file: dim {} is no multiple of {} heads", h[0], h[3]);
  ModelConfig c;
  c.hidden = h[0], c.intermediate = h[1], c.layers = h[2], c.heads = h[3], c.kv_heads = h[4],
  c.vocab = h[5], c.max_positions = h[6];
  c.head_dim = c.hidden / c.heads;
  c.norm_eps = 1e-5f;
  c.tied_head = tied;
  c.bos_id = 1;
  c.eos = {2};
  WG_TRY(Validate(c));
  return c;
}

}  // namespace

Result<LoadedModel> ParseLlama2c(std::span<const std::byte> bytes) {
  bool tied = false;
  LoadedModel loaded;
  WG_ASSIGN(loaded.config, ParseHeader(bytes, tied));
  const ModelConfig& c = loaded.config;
  struct Kind {
    const char* name;
    std::vector<std::size_t> shape;
    std::size_t heads = 0;  // rows to permute
  };
  const std::vector<Kind> kinds = {{"input_layernorm", {c.hidden}},
                                   {"self_attn.q_proj", {c.q_width(), c.hidden}, c.heads},
                                   {"self_attn.k_proj", {c.kv_width(), c.hidden}, c.kv_heads},
                                   {"self_attn.v_proj", {c.kv_width(), c.hidden}},
                                   {"self_attn.o_proj", {c.hidden, c.q_width()}},
                                   {"post_attention_layernorm", {c.hidden}},
                                   {"mlp.gate_proj", {c.intermediate, c.hidden}},
                                   {"mlp.down_proj", {c.hidden, c.intermediate}},
                                   {"mlp.up_proj", {c.intermediate, c.hidden}}};
  const auto count = [](const std::vector<std::size_t>& shape) {
    std::size_t n = 1;
    for (const std::size_t extent : shape) n *= extent;
    return n;
  };
  std::size_t floats = c.vocab * c.hidden + c.hidden + c.max_positions * c.head_dim +
                       (tied ? 0 : c.vocab * c.hidden);
  for (const Kind& kind : kinds) floats += c.layers * count(kind.shape);
  if (bytes.size() != kHeaderInts * 4 + floats * 4) {
    return Fail(Blame::kOperator, "llama2.c file: {} bytes, its header asks for {}", bytes.size(),
                kHeaderInts * 4 + floats * 4);
  }
  FloatCursor cursor(bytes.subspan(kHeaderInts * 4));
  const auto read = [&](const std::string& name, const std::vector<std::size_t>& shape) -> Tensor& {
    Tensor& tensor = loaded.parameters[name];
    tensor.shape = shape;
    tensor.data.resize(count(shape));
    cursor.Read(tensor.data.data(), tensor.data.size());
    return tensor;
  };
  read("model.embed_tokens.weight", {c.vocab, c.hidden});
  for (const Kind& kind : kinds) {
    for (std::size_t layer = 0; layer < c.layers; ++layer) {
      Tensor& tensor = read(fmt::format("model.layers.{}.{}.weight", layer, kind.name), kind.shape);
      if (kind.heads > 0) PermuteRows(tensor, kind.heads, c.head_dim);
    }
  }
  read("model.norm.weight", {c.hidden});
  cursor.Skip(c.max_positions * c.head_dim);  // cosine and sine tables
  if (!tied) read("lm_head.weight", {c.vocab, c.hidden});
  return loaded;
}

Result<LoadedModel> LoadLlama2c(const std::filesystem::path& file) {
  WG_ASSIGN(const MappedFile map, MappedFile::Open(file));
  auto loaded = ParseLlama2c(map.bytes());
  if (!loaded) return Fail(loaded.error().blame, "{}: {}", file.string(), loaded.error().what);
  return loaded;
}

}  // namespace waggle
