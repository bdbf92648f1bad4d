#include "crypto/secret.h"

#include <sodium.h>

#include <new>

#include "crypto/ed25519.h"

namespace waggle {

void* AllocateSecret(std::size_t bytes) {
  StartSodium();
  void* memory = sodium_malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void FreeSecret(void* memory) noexcept { sodium_free(memory); }

void Wipe(std::span<char> memory) { sodium_memzero(memory.data(), memory.size()); }

}  // namespace waggle
