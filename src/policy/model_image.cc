#include "policy/model_image.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/math.h"
#include "model/safetensors.h"
#include "policy/patch_words.h"

namespace waggle {
namespace {

WireDtype DtypeOf(WeightFormat format) {
  return format == WeightFormat::kBf16 ? WireDtype::kBf16 : WireDtype::kF32;
}

Dtype StoredDtype(WireDtype dtype) {
  switch (dtype) {
    case WireDtype::kBf16:
      return Dtype::kBf16;
    case WireDtype::kF16:
      return Dtype::kF16;
    case WireDtype::kF32:
      return Dtype::kF32;
  }
  return Dtype::kOther;
}

std::vector<std::uint64_t> ShapeOf(const std::vector<std::size_t>& shape) {
  return {shape.begin(), shape.end()};
}

RawBits BitsOf(const Tensor& tensor, WireDtype dtype) {
  RawBits bits(tensor.size() * BytesOf(dtype));
  if (dtype == WireDtype::kF32) {
    std::memcpy(bits.data(), tensor.data.data(), bits.size());
    return bits;
  }
  for (std::size_t i = 0; i < tensor.size(); ++i)
    StoreWord(bits.data(), i, Bf16FromFloat(tensor.data[i]));
  return bits;
}

using Named = std::pair<const std::string*, const Tensor*>;

std::shared_ptr<const ImageTensor> TensorOf(const Named& named, WireDtype dtype,
                                            const PolicyImage* previous) {
  const auto& [name, tensor] = named;
  TensorForm form{dtype, ShapeOf(tensor->shape)};
  RawBits bits = BitsOf(*tensor, dtype);
  if (previous != nullptr) {
    const auto before = previous->tensors().find(*name);
    if (before != previous->tensors().end() && before->second->form == form &&
        std::memcmp(before->second->bits.data(), bits.data(), bits.size()) == 0)
      return before->second;
  }
  return MakeImageTensor(*name, std::move(form), std::move(bits));
}

}  // namespace

ImageForm FormOf(const ModelConfig& model, WeightFormat format, const LoraConfig* lora) {
  ImageForm form;
  for (const TensorSpec& spec : TensorSpecs(model))
    form[spec.name] = {DtypeOf(format), ShapeOf(spec.shape)};
  if (lora == nullptr) return form;
  for (const std::string& layer : AdaptedLayers(model, *lora)) {
    const auto shape = form.at(layer + ".weight").shape;
    form[layer + ".lora_A.weight"] = {WireDtype::kF32, {lora->rank, shape[1]}};
    form[layer + ".lora_B.weight"] = {WireDtype::kF32, {shape[0], lora->rank}};
  }
  return form;
}

PolicyImage ImageOf(const Parameters& parameters, WeightFormat format, const LoraParameters* lora,
                    ThreadPool& pool, const PolicyImage* previous) {
  std::vector<Named> named;
  for (const auto& [name, tensor] : parameters) named.emplace_back(&name, &tensor);
  const std::size_t base = named.size();
  if (lora != nullptr)
    for (const auto& [name, tensor] : lora->tensors) named.emplace_back(&name, &tensor);
  std::vector<std::shared_ptr<const ImageTensor>> made(named.size());
  pool.Run(named.size(), [&](std::size_t i) {
    made[i] = TensorOf(named[i], i < base ? DtypeOf(format) : WireDtype::kF32, previous);
  });
  PolicyImage::Tensors tensors;
  for (std::size_t i = 0; i < named.size(); ++i)
    Check(tensors.emplace(*named[i].first, std::move(made[i])).second, "tensor names differ");
  return PolicyImage(std::move(tensors));
}

std::optional<TensorInfo> ImageSource::Find(const std::string& name) const {
  const auto at = image_.tensors().find(name);
  if (at == image_.tensors().end()) return {};
  const TensorForm& form = at->second->form;
  return TensorInfo{{form.shape.begin(), form.shape.end()}, form.elements()};
}

void ImageSource::Read(const std::string& name, std::size_t first, std::size_t count,
                       float* out) const {
  const ImageTensor& tensor = *image_.tensors().find(name)->second;
  const std::size_t width = BytesOf(tensor.form.dtype);
  WidenToF32(StoredDtype(tensor.form.dtype),
             reinterpret_cast<const std::byte*>(tensor.bits.data()) + first * width, count, out);
}

Result<LoraParameters> LoraOf(const PolicyImage& image, const ModelConfig& model,
                              const LoraConfig& config) {
  const ImageForm wanted = FormOf(model, WeightFormat::kF32, &config);
  const ImageSource source(image);
  LoraParameters lora{.config = config, .tensors = {}};
  for (const auto& [name, form] : wanted) {
    if (!IsAdapterTensor(name)) continue;
    const auto at = image.tensors().find(name);
    if (at == image.tensors().end() || at->second->form != form)
      return Fail(Blame::kOperator, "the policy has no adapter {} of form {}", name,
                  ToString(form));
    Tensor tensor = ZeroTensor({form.shape.begin(), form.shape.end()});
    source.Read(name, 0, tensor.size(), tensor.data.data());
    lora.tensors.emplace(name, std::move(tensor));
  }
  return lora;
}

}  // namespace waggle
