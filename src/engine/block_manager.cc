#include "engine/block_manager.h"

#include <array>

#include "base/check.h"

namespace waggle {

BlockManager::BlockManager(std::size_t pages, bool prefix_cache)
    : prefix_cache_(prefix_cache), pages_(pages) {
  for (std::size_t page = pages; page-- > 0;) free_.push_back(static_cast<std::uint32_t>(page));
}

std::optional<std::uint32_t> BlockManager::Allocate() {
  std::uint32_t page = 0;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (!unused_cached_.empty()) {
    page = unused_cached_.front();
    unused_cached_.pop_front();
    by_hash_.erase(*pages_[page].hash);
    pages_[page].hash.reset();
  } else {
    return std::nullopt;
  }
  Check(pages_[page].users == 0 && !pages_[page].hash, "an allocated page belongs to nobody");
  pages_[page].users = 1;
  ++used_;
  return page;
}

void BlockManager::Share(std::uint32_t page) {
  Page& entry = pages_[page];
  if (entry.users++ > 0) return;
  Check(entry.hash.has_value(), "an unused page can be shared only out of the cache");
  unused_cached_.erase(entry.unused_at);
  ++used_;
}

void BlockManager::Release(std::uint32_t page) {
  Page& entry = pages_[page];
  Check(entry.users > 0, "a page is released by one of its users");
  if (--entry.users > 0) return;
  --used_;
  if (entry.hash) {
    entry.unused_at = unused_cached_.insert(unused_cached_.end(), page);
  } else {
    free_.push_back(page);
  }
}

Digest256 BlockManager::PageHash(const Digest256& previous, std::uint64_t weights,
                                 std::span<const TokenId> ids) {
  std::array<std::uint8_t, 8> weights_bytes{};
  for (int i = 0; i < 8; ++i) weights_bytes[i] = static_cast<std::uint8_t>(weights >> (8 * i));
  Sha256Hasher hasher;
  hasher.Update(std::span<const std::uint8_t>(previous))
      .Update(std::span<const std::uint8_t>(weights_bytes))
      .Update(std::as_bytes(ids));
  return hasher.Finish();
}

void BlockManager::Publish(std::uint32_t page, const Digest256& hash) {
  if (!prefix_cache_ || pages_[page].hash || !by_hash_.emplace(hash, page).second) return;
  pages_[page].hash = hash;
}

std::optional<std::uint32_t> BlockManager::Find(const Digest256& hash) {
  if (!prefix_cache_) return std::nullopt;
  const auto found = by_hash_.find(hash);
  if (found == by_hash_.end()) return std::nullopt;
  Share(found->second);
  return found->second;
}

}  // namespace waggle
