// Memory for secrets: locked (not swapped out where the system allows it), between guard pages,
// wiped when it is given back. Always on the heap, so nothing stays behind in a small-buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace waggle {

void* AllocateSecret(std::size_t bytes);  // throws std::bad_alloc
void FreeSecret(void* memory) noexcept;   // wipes first

template <class T>
struct SecretAllocator {
  using value_type = T;
  SecretAllocator() = default;
  template <class U>
  SecretAllocator(const SecretAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(AllocateSecret(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) noexcept { FreeSecret(p); }
  template <class U>
  bool operator==(const SecretAllocator<U>&) const {
    return true;
  }
};

using SecretBytes = std::vector<std::uint8_t, SecretAllocator<std::uint8_t>>;
using SecretText = std::vector<char, SecretAllocator<char>>;

inline std::string_view View(const SecretText& text) { return {text.data(), text.size()}; }

// For a secret that passed through other memory.
void Wipe(std::span<char> memory);

}  // namespace waggle
