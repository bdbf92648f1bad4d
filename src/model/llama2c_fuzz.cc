// Any bytes as a llama2.c checkpoint: refused with a reason, or tensors of the shapes that the
// header names.
#include "base/check.h"
#include "model/llama2c.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const auto loaded = ParseLlama2c({reinterpret_cast<const std::byte*>(data), size});
  if (!loaded) {
    Check(!loaded.error().what.empty(), "an error says what is wrong");
    return 0;
  }
  for (const TensorSpec& spec : TensorSpecs(loaded->config)) {
    const auto found = loaded->parameters.find(spec.name);
    Check(found != loaded->parameters.end(), "every tensor of the model is there");
    Check(found->second.shape == spec.shape, "in its shape");
  }
  return 0;
}
