// Where the weights of a model come from. A model is packed tensor by tensor and row by row, so
// that a checkpoint on disk never has to stand in memory as fp32 beside the packed copy.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "model/parameters.h"

namespace waggle {

struct TensorInfo {
  std::vector<std::size_t> shape;
  std::size_t elements = 0;
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual std::optional<TensorInfo> Find(const std::string& name) const = 0;
  // Elements [first, first + count) of a tensor that Find knows, widened to fp32 (exact). A source
  // may give back the memory behind them: reading in ascending order is what it is made for.
  virtual void Read(const std::string& name, std::size_t first, std::size_t count,
                    float* out) const = 0;
};

// Tensors that are in memory already. Borrows them.
class ParametersSource : public TensorSource {
 public:
  explicit ParametersSource(const Parameters& parameters) : parameters_(parameters) {}
  std::optional<TensorInfo> Find(const std::string& name) const override {
    const auto at = parameters_.find(name);
    if (at == parameters_.end()) return {};
    return TensorInfo{at->second.shape, at->second.size()};
  }
  void Read(const std::string& name, std::size_t first, std::size_t count,
            float* out) const override {
    std::copy_n(parameters_.at(name).data.data() + first, count, out);
  }

 private:
  const Parameters& parameters_;
};

}  // namespace waggle
