// What the matrix drivers share: checked argument ranges, uninitialised scratch, one instruction
// set's kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "kernels/canonical/ci8.h"
#include "kernels/canonical/gemm_tiles.h"
#include "kernels/ops.h"

namespace waggle::canonical {

// Aligned memory that nobody clears, for trivial element types; nothing at all for a count of 0.
// Plain malloc and a shift: glibc's aligned allocation does not reuse its small free blocks.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t count) {
    if (count == 0) return;
    block_.reset(::operator new(count * sizeof(T) + kAlignment));
    const auto address = reinterpret_cast<std::uintptr_t>(block_.get());
    data_ = reinterpret_cast<T*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }
  T* get() const { return data_; }

 private:
  static constexpr std::size_t kAlignment = 128;
  struct Free {
    void operator()(void* p) const { ::operator delete(p); }
  };
  std::unique_ptr<void, Free> block_;
  T* data_ = nullptr;
};

// GemmArgs with its defaults filled in and its contract checked.
struct GemmShape {
  std::size_t n = 0;  // features, starting at the first one of `panel`
  std::size_t panel = 0, panels = 0;
  std::size_t k_begin = 0, k = 0;
};
GemmShape CheckedShape(const GemmArgs& args);

// No k at all: the total is +0 (or what y held), plus the bias.
void EmptySum(const GemmArgs& args, const GemmShape& shape);

// The fewest tiles of at most `rows_max` rows; tile t of n covers rows [rows*t/n, rows*(t+1)/n).
inline std::size_t TileCount(std::size_t rows, std::size_t rows_max) {
  return (rows + rows_max - 1) / rows_max;
}

void GemmD1(ThreadPool& pool, const GemmArgs& args, const TileKernels& kernels);
void GemmCi8(ThreadPool& pool, const GemmArgs& args, const Ci8Kernels& kernels);
void OuterD1(ThreadPool& pool, const OuterArgs& args, const TileKernels& kernels);

}  // namespace waggle::canonical
