// Which page of the KV pool belongs to whom: reference counts, a free list, and a prefix cache of
// full pages by content hash. Pages are numbers; nothing here touches keys or values. A cached page
// that nobody uses stays until its memory is needed, least recently used first.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/strong.h"
#include "crypto/hash.h"

namespace waggle {

class BlockManager {
 public:
  BlockManager(std::size_t pages, bool prefix_cache);

  // One page with reference count 1, or nothing when all are in use.
  std::optional<std::uint32_t> Allocate();
  void Share(std::uint32_t page);    // one more user
  void Release(std::uint32_t page);  // one less; at zero it is cached (if it has a hash) or free

  // Chain hash of a full page: SHA-256(previous || weights || 64 ids); `weights` is a number that
  // no other weights had.
  static Digest256 PageHash(const Digest256& previous, std::uint64_t weights,
                            std::span<const TokenId> ids);
  // Makes a full page findable. Keeps an equal page that is there already.
  void Publish(std::uint32_t page, const Digest256& hash);
  // The page with this content, shared with the caller, or nothing.
  std::optional<std::uint32_t> Find(const Digest256& hash);

  std::size_t total() const { return pages_.size(); }
  std::size_t used() const { return used_; }  // with at least one user
  std::size_t available() const { return free_.size() + unused_cached_.size(); }
  std::uint32_t users(std::uint32_t page) const { return pages_[page].users; }

 private:
  struct Page {
    std::uint32_t users = 0;
    std::optional<Digest256> hash;
    std::list<std::uint32_t>::iterator unused_at;  // valid while users == 0 and hash is set
  };

  const bool prefix_cache_;
  std::vector<Page> pages_;
  std::vector<std::uint32_t> free_;
  std::list<std::uint32_t> unused_cached_;  // least recently used first
  std::map<Digest256, std::uint32_t> by_hash_;
  std::size_t used_ = 0;
};

}  // namespace waggle
