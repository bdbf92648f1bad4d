// What the matrix drivers share: checked argument ranges, uninitialised scratch, one instruction
// set's kernels.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "kernels/canonical/ci8.h"
#include "kernels/canonical/gemm_tiles.h"
#include "kernels/ops.h"

namespace waggle::canonical {

// 128-byte aligned memory that nobody clears. Elements are trivial types.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t count)
      : data_(static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{128}))) {}
  T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{128}); }
  };
  std::unique_ptr<T, Free> data_;
};

// GemmArgs with its defaults filled in and its contract checked.
struct GemmShape {
  std::size_t n = 0;            // features, starting at the first one of `panel`
  std::size_t panel = 0, panels = 0;
  std::size_t k_begin = 0, k = 0;
};
GemmShape CheckedShape(const GemmArgs& args);

// Splits `total` rows into the fewest tiles of at most `rows_max`, as even as possible.
inline std::size_t TileRows(std::size_t total, std::size_t rows_max) {
  const std::size_t tiles = (total + rows_max - 1) / rows_max;
  return (total + tiles - 1) / tiles;
}

void GemmD1(ThreadPool& pool, const GemmArgs& args, const TileKernels& kernels);
void GemmCi8(ThreadPool& pool, const GemmArgs& args, const Ci8Kernels& kernels);
void OuterD1(ThreadPool& pool, const OuterArgs& args, const TileKernels& kernels);

}  // namespace waggle::canonical
