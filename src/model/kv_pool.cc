#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "model/model.h"

namespace waggle {

KvPool::KvPool(const ModelConfig& config, KvFormat format, std::size_t pages)
    : layers_(config.layers),
      layer_bytes_(KvPageBytes(config.kv_heads, config.head_dim, format)),
      pages_(pages),
      format_(format) {
  // calloc hands out zero pages that the kernel maps at first touch, so unused pages cost no
  // memory.
  constexpr std::size_t kAlignment = 128;
  memory_.reset(std::calloc(pages_ * bytes_per_page() + kAlignment, 1));
  Check(memory_ != nullptr, "memory for the KV pool");
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
  base_ = static_cast<std::byte*>(memory_.get()) + (kAlignment - address % kAlignment);
}

void KvPool::Copy(std::uint32_t from, std::uint32_t to) {
  Check(from < pages_ && to < pages_ && from != to, "pages of this pool");
  std::memcpy(Page(to, 0), Page(from, 0), bytes_per_page());
}

}  // namespace waggle
