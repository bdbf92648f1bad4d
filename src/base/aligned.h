// AlignedVector<T>: std::vector whose data starts on a 128-byte boundary (two cache lines, any SIMD
// width).
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace waggle {

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{128}));
  }
  void deallocate(T* p, std::size_t) {
    ::operator delete(p, std::align_val_t{128});  // unsized: clang 14 offers no other unasked
  }
  template <class U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace waggle
