#include "channel/source_book.h"

#include <gtest/gtest.h>

#include <set>

namespace waggle {
namespace {

const std::vector<std::string> kThree = {"http://a", "https://b/x/", "http://c"};

SourceBook Book(std::uint64_t seed = 1) {
  SourceBook book(seed);
  book.Tell(kThree);
  return book;
}

TEST(SourceBook, OnlyHttpAndNoDoubles) {
  SourceBook book(1);
  book.Tell({"http://a/", "magnet:?xt=urn:btih:00", "ftp://x", "http://a", "file:///etc/passwd"});
  ASSERT_EQ(book.size(), 1u);
  EXPECT_EQ(book.url(0), "http://a");
  EXPECT_FALSE(SourceBook(1).Pick(0));
}

// Nodes begin at different mirrors, and one node uses all of them.
TEST(SourceBook, LoadSpreads) {
  std::set<std::size_t> first, of_one;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SourceBook book = Book(seed);
    first.insert(*book.Pick(0));
  }
  SourceBook book = Book();
  for (int i = 0; i < 60; ++i) of_one.insert(*book.Pick(0));
  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(of_one.size(), 3u);
}

TEST(SourceBook, TheFastAreAskedMoreAndTheSlowAreStillTried) {
  SourceBook book = Book();
  for (int i = 0; i < 20; ++i) {
    book.Served(0, 1 << 20, 10);
    book.Served(1, 1 << 20, 1'000);
    book.Served(2, 1 << 20, 100);
  }
  std::vector<int> asked(3);
  for (int i = 0; i < 5'000; ++i) ++asked[*book.Pick(0)];
  EXPECT_GT(asked[0], 4 * asked[2]);
  EXPECT_GT(asked[2], 4 * asked[1]);
  EXPECT_GT(asked[1], 0);
}

// prime.md 5: a failure is not a measurement of speed, retries end, and what heals is tried again.
TEST(SourceBook, TheDeadRestTwiceAsLongEachTime) {
  SourceBook book(1);
  book.Tell({"http://a"});
  std::int64_t now = 0, rests = 0;
  for (int failure = 0; failure < 12; ++failure) {
    ASSERT_TRUE(book.Pick(now));
    book.Failed(0, now);
    EXPECT_FALSE(book.Pick(now));
    const std::int64_t rest = std::min<std::int64_t>(120'000, 1'000ll << failure);
    EXPECT_FALSE(book.Pick(now + rest - 1));
    now += rest;
    rests += rest;
  }
  EXPECT_GT(rests, 8 * 60'000);
  ASSERT_TRUE(book.Pick(now));
  book.Served(0, 1 << 20, 10);
  book.Failed(0, now);
  EXPECT_TRUE(book.Pick(now + 1'000));  // it was well: the rest is short again
}

TEST(SourceBook, ALiarIsNeverAskedAgain) {
  SourceBook book = Book();
  book.Lied(1);
  for (std::int64_t now = 0; now < 1'000'000; now += 1'000) EXPECT_NE(book.Pick(now), 1u);
  book.Tell({"http://a"});
  book.Tell(kThree);  // told anew, under the same name
  for (int i = 0; i < 200; ++i) EXPECT_NE(book.Pick(0), 1u);
  EXPECT_TRUE(book.dropped(1));
}

TEST(SourceBook, WhoIsBehindIsWaitedForAWhile) {
  SourceBook book(1);
  book.Tell({"http://a"});
  EXPECT_FALSE(book.BehindFor(0));
  book.Behind(0, 0);
  EXPECT_FALSE(book.Pick(0));
  EXPECT_EQ(book.BehindFor(0), 30);
  EXPECT_TRUE(book.Pick(30));
  book.StillBehind(30);
  EXPECT_FALSE(book.BehindFor(30));
  EXPECT_FALSE(book.Pick(1'029));
  EXPECT_TRUE(book.Pick(1'030));
}

TEST(SourceBook, WhatIsNoLongerToldIsNoLongerAsked) {
  SourceBook book = Book();
  book.Tell({"http://c"});
  for (int i = 0; i < 50; ++i) EXPECT_EQ(book.Pick(0), 2u);
}

}  // namespace
}  // namespace waggle
