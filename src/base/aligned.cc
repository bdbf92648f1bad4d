#include "base/aligned.h"

#include <sys/mman.h>

#include <cstdint>

namespace waggle {

void* AllocateBlock(std::size_t bytes) {
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  void* block = ::operator new(bytes, kBlockAlignment);
  // Only whole huge pages inside of the block: its neighbours on the heap are not ours to advise
  // on.
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  const std::uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t end = (begin + bytes) / kHugePage * kHugePage;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
  return block;
}

}  // namespace waggle
