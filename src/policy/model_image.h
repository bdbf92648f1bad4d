// Between the policy as a model's tensors and as the bits that travel. Pure functions.
#pragma once

#include "kernels/packed_matrix.h"
#include "model/lora.h"
#include "model/tensor_source.h"
#include "policy/image.h"

namespace waggle {

// The form of a policy whose working weights are `format`: all tensors bf16 if kBf16, else f32
// (int8 and ci8 are functions of the f32 weights, so those travel). Adapters are always f32 and
// stand beside the base weights, under the names of LoraParameters; null: none.
ImageForm FormOf(const ModelConfig& model, WeightFormat format, const LoraConfig* lora);

// Masters as working weights: bf16 rounds to nearest even, as Model::Create does; with stochastic
// rounding, pass what Model::Create was given. Tensors whose bits equal those of `previous` are
// shared with it and not hashed again: when adapters are trained, the base costs a comparison.
PolicyImage ImageOf(const Parameters& parameters, WeightFormat format, const LoraParameters* lora,
                    ThreadPool& pool, const PolicyImage* previous = nullptr);

// An image as a model reads it. Borrows the image. Widening to fp32 is exact.
class ImageSource : public TensorSource {
 public:
  explicit ImageSource(const PolicyImage& image) : image_(image) {}
  std::optional<TensorInfo> Find(const std::string& name) const override;
  void Read(const std::string& name, std::size_t first, std::size_t count,
            float* out) const override;

 private:
  const PolicyImage& image_;
};

// The adapters of an image. Blame::kOperator if `config` asks for one that it does not have.
Result<LoraParameters> LoraOf(const PolicyImage& image, const ModelConfig& model,
                              const LoraConfig& config);

}  // namespace waggle
