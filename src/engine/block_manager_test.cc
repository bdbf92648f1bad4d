#include "engine/block_manager.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/philox.h"

namespace waggle {
namespace {

Digest256 HashOf(std::uint32_t n) {
  const std::vector<TokenId> ids(64, static_cast<TokenId>(n));
  return BlockManager::PageHash({}, 1, ids);
}

TEST(BlockManager, GivesEveryPageOnceAndTakesItBack) {
  BlockManager blocks(3, true);
  std::set<std::uint32_t> pages;
  for (int i = 0; i < 3; ++i) pages.insert(*blocks.Allocate());
  EXPECT_EQ(pages, (std::set<std::uint32_t>{0, 1, 2}));
  EXPECT_FALSE(blocks.Allocate());
  EXPECT_EQ(blocks.used(), 3u);
  blocks.Share(1);
  blocks.Release(1);
  EXPECT_FALSE(blocks.Allocate());
  blocks.Release(1);
  EXPECT_EQ(blocks.used(), 2u);
  EXPECT_EQ(blocks.Allocate(), 1u);
}

TEST(BlockManager, HashesChainOverWeightsAndIds) {
  const std::vector<TokenId> a(64, 1);
  std::vector<TokenId> b(64, 1);
  b[63] = 2;
  const Digest256 first = BlockManager::PageHash({}, 1, a);
  EXPECT_EQ(first, BlockManager::PageHash({}, 1, a));
  EXPECT_NE(first, BlockManager::PageHash({}, 1, b));
  EXPECT_NE(first, BlockManager::PageHash({}, 2, a));
  EXPECT_NE(first, BlockManager::PageHash(first, 1, a));
}

TEST(BlockManager, CachedPagesGoLeastRecentlyUsedFirst) {
  BlockManager blocks(3, true);
  for (std::uint32_t i = 0; i < 3; ++i) blocks.Publish(*blocks.Allocate(), HashOf(i));
  for (const std::uint32_t page : {1u, 0u, 2u}) blocks.Release(page);
  EXPECT_EQ(blocks.used(), 0u);
  EXPECT_EQ(blocks.available(), 3u);
  EXPECT_EQ(blocks.Find(HashOf(1)), 1u);  // used again: now the most recent
  blocks.Release(1);
  EXPECT_EQ(blocks.Allocate(), 0u);
  EXPECT_FALSE(blocks.Find(HashOf(0)));
  EXPECT_EQ(blocks.Allocate(), 2u);
  EXPECT_EQ(blocks.Find(HashOf(1)), 1u);
  EXPECT_FALSE(blocks.Allocate());
}

TEST(BlockManager, PagesInUseAreFoundAndNeverEvicted) {
  BlockManager blocks(2, true);
  const std::uint32_t page = *blocks.Allocate();
  blocks.Publish(page, HashOf(9));
  EXPECT_EQ(blocks.Find(HashOf(9)), page);
  EXPECT_EQ(blocks.users(page), 2u);
  blocks.Allocate();
  blocks.Release(page);
  EXPECT_FALSE(blocks.Allocate());
}

TEST(BlockManager, WithoutCacheNothingIsFound) {
  BlockManager blocks(2, false);
  blocks.Publish(*blocks.Allocate(), HashOf(1));
  EXPECT_FALSE(blocks.Find(HashOf(1)));
}

// Against a model that says the same with a map of users and contents.
TEST(BlockManager, RandomUseKeepsItsBooks) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    const std::size_t total = 1 + rng.Below(12);
    BlockManager blocks(total, seed % 4 != 0);
    std::map<std::uint32_t, std::uint32_t> users;
    const auto any = [&] {
      return std::next(users.begin(), rng.Below(static_cast<std::uint32_t>(users.size())))->first;
    };
    for (int i = 0; i < 2000; ++i) {
      const std::uint32_t what = rng.Below(5);
      if (what == 0) {
        const auto page = blocks.Allocate();
        ASSERT_EQ(page.has_value(), users.size() < total);
        if (page) {
          ASSERT_FALSE(users.contains(*page));
          users[*page] = 1;
        }
      } else if (what == 1 && !users.empty()) {
        const std::uint32_t page = any();
        blocks.Release(page);
        if (--users[page] == 0) users.erase(page);
      } else if (what == 2 && !users.empty()) {
        const std::uint32_t page = any();
        blocks.Share(page);
        ++users[page];
      } else if (what == 3 && !users.empty()) {
        blocks.Publish(any(), HashOf(rng.Below(6)));
      } else if (what == 4) {
        const auto page = blocks.Find(HashOf(rng.Below(6)));
        if (page) ++users[*page];
        ASSERT_TRUE(!page || seed % 4 != 0);
      }
      ASSERT_EQ(blocks.used(), users.size());
      ASSERT_EQ(blocks.available(), total - users.size());
      for (const auto& [page, count] : users) ASSERT_EQ(blocks.users(page), count);
    }
  }
}

}  // namespace
}  // namespace waggle
