// The sampler as a sampler: the distribution it draws from, the sets it keeps, ties.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/kat.h"
#include "kernels/truncation.h"

namespace waggle {
namespace {

SampleParams At(std::uint32_t position) {
  SampleParams params;
  params.key = {11, 12};
  params.position = position;
  return params;
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const std::vector<float> z = {0.3f, -1.0f, 2.0f, 0.0f, 1.1f, -0.4f, 0.9f, 1.5f};
  constexpr int kDraws = 100000;
  std::vector<double> p;
  for (const float x : z) p.push_back(std::exp(static_cast<double>(x) / 0.8));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (const Ops* ops : AvailableOps()) {
    std::vector<int> counts(z.size());
    std::vector<float> scratch(z.size());
    for (int i = 0; i < kDraws; ++i) {
      SampleParams params = At(static_cast<std::uint32_t>(i % 1000));
      params.temperature = 0.8f;
      params.sample = static_cast<std::uint32_t>(i / 1000);
      ++counts[static_cast<std::size_t>(
          ops->Sample(z.data(), z.size(), params, scratch.data()).token)];
    }
    double chi_square = 0;
    for (std::size_t i = 0; i < z.size(); ++i) {
      const double expected = kDraws * p[i] / total;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    EXPECT_LT(chi_square, 24.3) << ops->name;  // 7 degrees of freedom, 0.1 %
  }
}

// The kept set by the textbook, in fp64.
std::vector<char> NaiveKept(const std::vector<float>& z, const SampleParams& params) {
  std::vector<std::size_t> ids(z.size());
  std::iota(ids.begin(), ids.end(), std::size_t{0});
  const auto y = [&](std::size_t i) {
    return static_cast<double>(z[i]) / static_cast<double>(params.temperature);
  };
  std::sort(ids.begin(), ids.end(), [&](std::size_t a, std::size_t b) { return y(a) > y(b); });
  const double max = y(ids[0]);
  std::size_t n = ids.size();
  if (params.min_p > 0) {
    n = static_cast<std::size_t>(std::count_if(ids.begin(), ids.end(), [&](std::size_t i) {
      return std::exp(y(i) - max) >= static_cast<double>(params.min_p);
    }));
  }
  if (params.top_k > 0) n = std::min<std::size_t>(n, params.top_k);
  if (params.top_p < 1.0f) {
    double total = 0, sum = 0;
    for (std::size_t i = 0; i < n; ++i) total += std::exp(y(ids[i]) - max);
    for (std::size_t i = 0; i < n; ++i) {
      sum += std::exp(y(ids[i]) - max) / total;
      if (sum >= static_cast<double>(params.top_p)) {
        n = i + 1;
        break;
      }
    }
  }
  std::vector<char> kept(z.size());
  for (std::size_t i = 0; i < n; ++i) kept[ids[i]] = 1;
  return kept;
}

TEST(Sampler, KeepsTheSetsOfTheTextbook) {
  // Well separated logits in shuffled order, so that rounding cannot move a border.
  std::vector<float> z(700);
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = static_cast<float>((i * 337) % 700) * 0.0137f;
  for (const float min_p : {0.0f, 0.013f, 0.3f}) {
    for (const std::uint32_t top_k : {0u, 1u, 17u, 690u, 5000u}) {
      for (const float top_p : {1.0f, 0.93f, 0.4f, 0.001f}) {
        SampleParams params = At(0);
        params.temperature = 0.9f, params.min_p = min_p, params.top_k = top_k, params.top_p = top_p;
        std::vector<float> y = z;
        for (float& x : y) x *= 1.0f / params.temperature;
        const std::vector<char> kept =
            KeptSet(y.data(), y.size(), params, *std::max_element(y.begin(), y.end()));
        EXPECT_EQ(kept, NaiveKept(z, params)) << min_p << " " << top_k << " " << top_p;
      }
    }
  }
}

TEST(Sampler, DrawsOnlyKeptTokensAndTheirLogProbsSumToOne) {
  const std::vector<float> z = KatArray(6, 300, 9);
  SampleParams params = At(0);
  params.top_k = 4;
  const std::vector<char> kept =
      KeptSet(z.data(), z.size(), params, *std::max_element(z.begin(), z.end()));
  std::vector<double> logp(z.size(), -1e9);
  std::vector<float> scratch(z.size());
  for (std::uint32_t position = 0; position < 400; ++position) {
    params.position = position;
    const SampleResult r = BestOps().Sample(z.data(), z.size(), params, scratch.data());
    const std::size_t id = static_cast<std::size_t>(r.token);
    ASSERT_TRUE(kept[id]);
    EXPECT_GT(r.kept_logp, r.logp);
    EXPECT_GE(r.score, r.runner_up);
    logp[id] = static_cast<double>(r.kept_logp);
  }
  double total = 0;
  for (const double x : logp) total += std::exp(x);
  EXPECT_NEAR(total, 1.0, 1e-5) << "all four tokens were drawn";
}

TEST(Sampler, TiesGoToTheLowestId) {
  std::vector<float> z(600, 1.0f), scratch(600);
  z[599] = z[300] = z[41] = 5.0f;
  for (const Ops* ops : AvailableOps()) {
    SampleParams params = At(3);
    params.temperature = 0.0f;
    const SampleResult greedy = ops->Sample(z.data(), z.size(), params, scratch.data());
    EXPECT_EQ(greedy.token, 41) << ops->name;
    EXPECT_EQ(greedy.score, 5.0f);
    EXPECT_EQ(greedy.runner_up, 5.0f);
    params.temperature = 1.0f, params.top_k = 2;
    const std::vector<char> kept = KeptSet(z.data(), z.size(), params, 5.0f);
    EXPECT_TRUE(kept[41] && kept[300] && !kept[599]);
  }
}

TEST(Sampler, KeptLogProbEqualsThePolicyOneWithoutTruncation) {
  const std::vector<float> z = KatArray(6, 300, 9);
  std::vector<float> scratch(z.size());
  SampleParams params = At(1);
  params.top_k = 300;
  const SampleResult r = BestOps().Sample(z.data(), z.size(), params, scratch.data());
  EXPECT_EQ(r.logp, r.kept_logp);
}

}  // namespace
}  // namespace waggle
