// AlignedVector<T>: std::vector whose data starts on a 128-byte boundary (two cache lines, any SIMD
// width), on huge pages where it is large.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace waggle {

inline constexpr std::align_val_t kBlockAlignment{128};

// Uninitialised. Blocks of many pages ask for huge ones: streaming through a matrix costs a page
// walk every 4 KiB otherwise, a tenth of the memory's speed, and rows that are far apart miss in
// the translation cache one by one. A refusal costs nothing but that. Throws std::bad_alloc.
void* AllocateBlock(std::size_t bytes);
inline void FreeBlock(void* block) { ::operator delete(block, kBlockAlignment); }

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(AllocateBlock(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) { FreeBlock(p); }
  template <class U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace waggle
