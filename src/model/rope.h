// Tables of rotary position embedding: arithmetic sheet 2.6, scaling rules 6.3.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "base/aligned.h"
#include "model/config.h"

namespace waggle {

// f_i for i < head_dim / 2: each formula in fp64, rounded to fp32 once per step of the sheet.
std::vector<float> RopeFrequencies(const ModelConfig& config);
// Factor on cos and sin: 1 unless the scaling rule says otherwise.
float RopeAttentionFactor(const ModelConfig& config);

// cos and sin of positions [0, positions): row-major (positions, head_dim / 2).
struct RopeTable {
  std::size_t positions = 0;
  AlignedVector<float> cos, sin;
};

// Tables that grow with the longest position asked for: a 128K-context model must not pay for 128K
// rows to answer one line. Thread-safe; a table once handed out never changes.
class RopeTables {
 public:
  explicit RopeTables(const ModelConfig& config);
  std::shared_ptr<const RopeTable> Covering(std::size_t positions) const;
  std::size_t bytes() const;

 private:
  std::vector<float> frequencies_;
  float attention_factor_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const RopeTable> table_;  // guarded by mutex_
};

}  // namespace waggle
