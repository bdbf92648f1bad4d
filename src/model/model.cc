#include "model/model.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/math.h"
#include "model/model_impl.h"

namespace waggle {
namespace {

std::string ShapeText(const std::vector<std::size_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

// Finds tensors by name, checks shapes and packs them.
class Builder {
 public:
  Builder(const TensorSource& source, const LoraParameters* lora, const NumericsConfig& numerics)
      : source_(source), lora_(lora), bf16_(numerics.weights == WeightFormat::kBf16) {}

  bool bf16() const { return bf16_; }

  Status Expect(const TensorSource& from, const std::string& name,
                const std::vector<std::size_t>& shape) const {
    const std::optional<TensorInfo> info = from.Find(name);
    if (!info) return Fail(Blame::kOperator, "the model has no tensor {}", name);
    if (info->shape != shape) {
      return Fail(Blame::kOperator, "tensor {} has shape {}, the configuration asks for {}", name,
                  ShapeText(info->shape), ShapeText(shape));
    }
    std::size_t n = 1;
    for (const std::size_t extent : shape) n *= extent;
    if (info->elements != n) {
      return Fail(Blame::kOperator, "tensor {} holds {} numbers, its shape {} asks for {}", name,
                  info->elements, ShapeText(shape), n);
    }
    return {};
  }

  // Calls row(r, values) for every row of a matrix in order.
  template <class Row>
  Status Rows(const std::string& name, std::size_t rows, std::size_t columns, Row row) const {
    WG_TRY(Expect(source_, name, {rows, columns}));
    AlignedVector<float> values(columns);
    for (std::size_t r = 0; r < rows; ++r) {
      source_.Read(name, r * columns, columns, values.data());
      row(r, values);
    }
    return {};
  }

  // A norm or a bias, rounded where working weights are bf16.
  Status Vector(AlignedVector<float>& out, const std::string& name, std::size_t n) const {
    WG_TRY(Expect(source_, name, {n}));
    out.resize(n);
    source_.Read(name, 0, n, out.data());
    if (bf16_) {
      for (float& value : out) value = RoundToBf16(value);
    }
    return {};
  }

  // Embedding, head and router: never integers.
  Status Plain(Linear& linear, const std::string& name, std::size_t out, std::size_t in) const {
    linear.name = name;
    return Pack(linear.w, source_, name + ".weight", out, in,
                bf16_ ? WeightFormat::kBf16 : WeightFormat::kF32);
  }

  Status Adapted(Linear& linear, const std::string& name, std::size_t out, std::size_t in,
                 bool bias, WeightFormat format) {
    linear.name = name;
    WG_TRY(Pack(linear.w, source_, name + ".weight", out, in, format));
    if (bias) WG_TRY(Vector(linear.bias, name + ".bias", out));
    if (lora_ == nullptr || !lora_->tensors.contains(name + ".lora_A.weight")) {
      linear.adapter.reset();
      return {};
    }
    const std::size_t rank = lora_->config.rank;
    const ParametersSource adapters(lora_->tensors);
    if (!linear.adapter) linear.adapter.emplace();
    WG_TRY(
        Pack(linear.adapter->a, adapters, name + ".lora_A.weight", rank, in, WeightFormat::kF32));
    WG_TRY(
        Pack(linear.adapter->b, adapters, name + ".lora_B.weight", out, rank, WeightFormat::kF32));
    linear.adapter->scale = LoraScale(lora_->config);
    adapters_ += 1;
    return {};
  }

  Status AllAdaptersUsed() const {
    if (lora_ == nullptr || lora_->tensors.size() == 2 * adapters_) return {};
    return Fail(Blame::kOperator,
                "{} adapter tensors fit {} linear layers of this model (two per layer expected)",
                lora_->tensors.size(), adapters_);
  }

 private:
  Status Pack(PackedMatrix& packed, const TensorSource& from, const std::string& name,
              std::size_t out, std::size_t in, WeightFormat format) const {
    WG_TRY(Expect(from, name, {out, in}));
    const auto fill = [&](std::size_t row, float* values) {
      from.Read(name, row * in, in, values);
    };
    packed = PackedMatrix::PackRows(out, in, format, fill, std::move(packed));
    return {};
  }

  const TensorSource& source_;
  const LoraParameters* lora_;
  bool bf16_;
  std::size_t adapters_ = 0;
};

Status BuildMoe(Builder& builder, const ModelConfig& c, WeightFormat format,
                const std::string& prefix, Moe& moe) {
  const ExpertNames names = NamesOfExperts(c);
  moe.per_token = c.experts_per_token;
  moe.norm_topk = c.norm_topk;
  moe.experts.resize(c.experts);
  WG_TRY(builder.Plain(moe.router, prefix + names.router, c.experts, c.hidden));
  for (std::size_t e = 0; e < c.experts; ++e) {
    const std::string expert = prefix + names.experts + std::to_string(e) + ".";
    Expert& x = moe.experts[e];
    WG_TRY(builder.Adapted(x.gate, expert + names.gate, c.expert_intermediate, c.hidden, false,
                           format));
    WG_TRY(
        builder.Adapted(x.up, expert + names.up, c.expert_intermediate, c.hidden, false, format));
    WG_TRY(builder.Adapted(x.down, expert + names.down, c.hidden, c.expert_intermediate, false,
                           format));
  }
  return {};
}

Status BuildLayer(Builder& builder, const ModelConfig& c, WeightFormat format, std::size_t index,
                  Layer& layer) {
  const std::string prefix = LayerPrefix(index), attention = prefix + "self_attn.";
  layer.window = c.Window(index);
  layer.rope = c.HasRope(index);
  WG_TRY(builder.Vector(layer.input_norm, prefix + "input_layernorm.weight", c.hidden));
  WG_TRY(builder.Vector(layer.post_norm, prefix + "post_attention_layernorm.weight", c.hidden));
  WG_TRY(builder.Adapted(layer.q, attention + "q_proj", c.q_width(), c.hidden, c.qkv_bias, format));
  WG_TRY(
      builder.Adapted(layer.k, attention + "k_proj", c.kv_width(), c.hidden, c.qkv_bias, format));
  WG_TRY(
      builder.Adapted(layer.v, attention + "v_proj", c.kv_width(), c.hidden, c.qkv_bias, format));
  WG_TRY(builder.Adapted(layer.o, attention + "o_proj", c.hidden, c.q_width(), c.o_bias, format));
  if (c.qk_norm) {
    WG_TRY(builder.Vector(layer.q_norm, attention + "q_norm.weight", c.head_dim));
    WG_TRY(builder.Vector(layer.k_norm, attention + "k_norm.weight", c.head_dim));
  }
  if (c.IsSparse(index)) {
    if (layer.moe == nullptr) layer.moe = std::make_unique<Moe>();
    return BuildMoe(builder, c, format, prefix, *layer.moe);
  }
  const std::string mlp = prefix + "mlp.";
  WG_TRY(
      builder.Adapted(layer.gate, mlp + "gate_proj", c.intermediate, c.hidden, c.mlp_bias, format));
  WG_TRY(builder.Adapted(layer.up, mlp + "up_proj", c.intermediate, c.hidden, c.mlp_bias, format));
  return builder.Adapted(layer.down, mlp + "down_proj", c.hidden, c.intermediate, c.mlp_bias,
                         format);
}

Status BuildEmbedding(const Builder& builder, Model::Impl& impl) {
  const ModelConfig& c = impl.config;
  const std::string name = "model.embed_tokens";
  if (c.tied_head) return builder.Plain(impl.head, name, c.vocab, c.hidden);
  if (c.value_head) {
    WG_TRY(builder.Plain(impl.head, "score", 1, c.hidden));
  } else {
    WG_TRY(builder.Plain(impl.head, "lm_head", c.vocab, c.hidden));
  }
  const std::size_t n = c.vocab * c.hidden;
  impl.embedding_bf16.clear();
  impl.embedding_f32.clear();
  if (builder.bf16()) {
    impl.embedding_bf16.reserve(n);
  } else {
    impl.embedding_f32.reserve(n);
  }
  return builder.Rows(name + ".weight", c.vocab, c.hidden, [&](std::size_t, const auto& row) {
    for (const float value : row) {
      if (builder.bf16()) {
        impl.embedding_bf16.push_back(Bf16FromFloat(value));
      } else {
        impl.embedding_f32.push_back(value);
      }
    }
  });
}

// What per-layer lists and experts must satisfy before a layer is built from them.
Status CheckLayerLists(const ModelConfig& c) {
  const auto fits = [&](std::size_t size) { return size == 0 || size == c.layers; };
  if (!fits(c.window.size()) || !fits(c.no_rope.size()) || !fits(c.sparse_layer.size())) {
    return Fail(Blame::kOperator, "a per-layer option has not one entry for each of {} layers",
                c.layers);
  }
  if (c.experts == 0) return {};
  if (c.experts_per_token == 0 || c.experts_per_token > c.experts || c.expert_intermediate == 0) {
    return Fail(Blame::kOperator, "{} of {} experts of width {} per token", c.experts_per_token,
                c.experts, c.expert_intermediate);
  }
  return {};
}

// Fills `impl`, whose matrices may hold older weights of the same shape.
Status Build(Model::Impl& impl, const TensorSource& source, const LoraParameters* lora) {
  const ModelConfig& config = impl.config;
  Builder builder(source, lora, impl.numerics);
  WG_TRY(BuildEmbedding(builder, impl));
  WG_TRY(builder.Vector(impl.final_norm, "model.norm.weight", config.hidden));
  for (std::size_t l = 0; l < config.layers; ++l) {
    WG_TRY(BuildLayer(builder, config, impl.numerics.weights, l, impl.layers[l]));
  }
  return builder.AllAdaptersUsed();
}

}  // namespace

std::size_t Linear::bytes() const {
  std::size_t total =
      w.bytes() + w_t.bytes() + a_t.bytes() + b_t.bytes() + bias.size() * sizeof(float);
  if (adapter) total += adapter->a.bytes() + adapter->b.bytes();
  return total;
}

void PackTransposes(const Linear& linear) {
  linear.w_t = linear.w.Transposed(std::move(linear.w_t));
  if (!linear.adapter) return;
  linear.a_t = linear.adapter->a.Transposed(std::move(linear.a_t));
  linear.b_t = linear.adapter->b.Transposed(std::move(linear.b_t));
}

template <class Visit>
static void ForEachLinear(const Model::Impl& impl, Visit visit) {
  visit(impl.head);
  for (const Layer& layer : impl.layers) {
    for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o}) visit(*linear);
    if (layer.moe == nullptr) {
      for (const Linear* linear : {&layer.gate, &layer.up, &layer.down}) visit(*linear);
      continue;
    }
    visit(layer.moe->router);
    for (const Expert& expert : layer.moe->experts) {
      for (const Linear* linear : {&expert.gate, &expert.up, &expert.down}) visit(*linear);
    }
  }
}

Model::Impl::Impl(const ModelConfig& config, const NumericsConfig& numerics, const Ops& ops)
    : config(config), numerics(numerics), ops(ops), layers(config.layers), rope(config) {}

void Model::Impl::EmbedRow(TokenId id, float* out) const {
  Check(id >= 0 && static_cast<std::size_t>(id) < config.vocab, "token ids lie in the vocabulary");
  const std::size_t d = config.hidden, n = static_cast<std::size_t>(id);
  if (!embedding_f32.empty()) {
    std::memcpy(out, embedding_f32.data() + n * d, d * sizeof(float));
  } else if (!embedding_bf16.empty()) {
    for (std::size_t k = 0; k < d; ++k) out[k] = FloatFromBf16(embedding_bf16[n * d + k]);
  } else {  // tied: the row is read back from the head's panels
    head.w.ReadRow(n, out);
  }
}

void Model::Impl::PrepareBackward(ThreadPool& pool) const {
  const std::lock_guard lock(transposes_mutex);
  if (transposed) return;
  std::vector<const Linear*> linears;
  ForEachLinear(*this, [&](const Linear& linear) { linears.push_back(&linear); });
  pool.Run(linears.size(), [&](std::size_t i) { PackTransposes(*linears[i]); });
  transposed = true;
}

std::unique_ptr<Workspace> Model::Impl::TakeWorkspace() const {
  {
    std::lock_guard lock(workspaces_mutex);
    if (!workspaces.empty()) {
      std::unique_ptr<Workspace> workspace = std::move(workspaces.back());
      workspaces.pop_back();
      return workspace;
    }
  }
  return std::make_unique<Workspace>();
}

void Model::Impl::ReturnWorkspace(std::unique_ptr<Workspace> workspace) const {
  std::lock_guard lock(workspaces_mutex);
  workspaces.push_back(std::move(workspace));
}

Result<std::shared_ptr<const Model>> Model::Create(const ModelConfig& config,
                                                   const NumericsConfig& numerics,
                                                   const Parameters& parameters,
                                                   const LoraParameters* lora, const Ops& ops) {
  return Create(config, numerics, ParametersSource(parameters), lora, ops);
}

Result<std::shared_ptr<const Model>> Model::Create(const ModelConfig& config,
                                                   const NumericsConfig& numerics,
                                                   const TensorSource& source,
                                                   const LoraParameters* lora, const Ops& ops) {
  WG_TRY(Validate(config));
  WG_TRY(CheckLayerLists(config));
  if (numerics.kshards == 0) return Fail(Blame::kOperator, "kshards is 0, the least is 1");
  if (lora != nullptr && lora->config.rank == 0)
    return Fail(Blame::kOperator, "an adapter of rank 0");
  auto impl = std::make_unique<Impl>(config, numerics, ops);
  WG_TRY(Build(*impl, source, lora));
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

Result<std::shared_ptr<const Model>> Model::Renew(std::shared_ptr<const Model> old,
                                                  const Parameters& parameters,
                                                  const LoraParameters* lora) {
  // Two holders at least, or one and it is us: nobody can come in between.
  if (old.use_count() > 1)
    return Create(old->config(), old->numerics(), parameters, lora, old->ops());
  std::unique_ptr<Impl> impl = std::move(std::const_pointer_cast<Model>(old)->impl_);
  impl->transposed = false;
  WG_TRY(Build(*impl, ParametersSource(parameters), lora));
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

const ModelConfig& Model::config() const { return impl_->config; }
const NumericsConfig& Model::numerics() const { return impl_->numerics; }
const Ops& Model::ops() const { return impl_->ops; }

std::size_t Model::bytes() const {
  std::size_t total = impl_->rope.bytes() + impl_->embedding_f32.size() * sizeof(float) +
                      impl_->embedding_bf16.size() * sizeof(std::uint16_t);
  ForEachLinear(*impl_, [&](const Linear& linear) { total += linear.bytes(); });
  for (const Layer& layer : impl_->layers) {
    total += (layer.input_norm.size() + layer.post_norm.size() + layer.q_norm.size() +
              layer.k_norm.size()) *
             sizeof(float);
  }
  return total + impl_->final_norm.size() * sizeof(float);
}

}  // namespace waggle
