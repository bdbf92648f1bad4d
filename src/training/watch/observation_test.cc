#include "training/watch/observation.h"

#include <gtest/gtest.h>

#include <string>

#include "base/philox.h"

namespace waggle {
namespace {

TEST(Observation, RepeatedShare) {
  EXPECT_EQ(RepeatedShare(std::vector<std::int32_t>{1, 1, 1}), 0);
  EXPECT_EQ(RepeatedShare(std::vector<std::int32_t>{1, 2, 3, 4, 5}), 0);
  EXPECT_FLOAT_EQ(RepeatedShare(std::vector<std::int32_t>(13, 7)), .9f);
  EXPECT_FLOAT_EQ(RepeatedShare(std::vector<std::int32_t>{1, 2, 3, 4, 1, 2, 3, 4}), .2f);
}

// Against zlib at level 9, whose blocks choose their codes: ours may not say more than it does, and
// for what matters here it must say about the same. (python3: len(s)/(len(zlib.compress(s, 9)) -
// 6))
TEST(Observation, CompressRatio) {
  EXPECT_FALSE(CompressRatio(std::string(63, 'a')).has_value());
  std::string noise;
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) noise += static_cast<char>('0' + rng.Below(10));
  EXPECT_LT(*CompressRatio(noise), 2.2f);
  std::string phrase;
  while (phrase.size() < 1000) phrase += "The answer is therefore correct. ";
  EXPECT_GT(*CompressRatio(phrase), 15.0f);
  EXPECT_GT(*CompressRatio(std::string(1000, 'a')), 60.0f);
  EXPECT_NEAR(
      *CompressRatio("A policy that is rewarded for what a grader sees will sooner or later write "
                     "for the grader, and not for the reader."),
      1.3f, .3f);
  EXPECT_TRUE(CompressRatio(std::string(100'000, 'x')).has_value());
}

}  // namespace
}  // namespace waggle
