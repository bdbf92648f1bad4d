// Drawing a token by a Gumbel race (sheet 2.9).
#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/math.h"
#include "kernels/reductions.h"
#include "kernels/reference/reference.h"
#include "kernels/truncation.h"

namespace waggle::reference {
namespace {

struct Race {
  TokenId token = 0;
  float score = std::numeric_limits<float>::lowest();
  float runner_up = std::numeric_limits<float>::lowest();

  // Ids ascend, so on a tie the lower id stays.
  void Enter(std::size_t id, float value, bool first) {
    if (first || value > score) {
      runner_up = first ? runner_up : score;
      score = value;
      token = static_cast<TokenId>(id);
    } else {
      runner_up = std::max(runner_up, value);
    }
  }
};

float GumbelScore(float y, std::size_t id, const SampleParams& params) {
  const PhiloxCounter words =
      Philox({static_cast<std::uint32_t>(id >> 2), params.position, params.sample, 1}, params.key);
  // + 0.0f: one zero, so that the order of comparison never shows.
  return (y - CaLog(CaNegLog1m(UniformFromWord(words[id & 3])))) + 0.0f;
}

}  // namespace

SampleResult Sample(const float* z, std::size_t vocab, const SampleParams& params, float* scratch) {
  const bool greedy = params.temperature == 0.0f;
  const float inv_temperature = greedy ? 1.0f : 1.0f / params.temperature;
  float* y = scratch;
  for (std::size_t i = 0; i < vocab; ++i) y[i] = z[i] * inv_temperature;
  const bool truncated = !greedy && IsTruncated(params, vocab);
  const RowStats all = KeptStats(y, vocab, nullptr);
  std::vector<char> kept;
  if (truncated) kept = KeptSet(y, vocab, params, all.max);

  Race race;
  bool first = true;
  for (std::size_t i = 0; i < vocab; ++i) {
    if (truncated && !kept[i]) continue;
    race.Enter(i, greedy ? z[i] + 0.0f : GumbelScore(y[i], i, params), first);
    first = false;
  }
  SampleResult result;
  result.token = race.token;
  result.score = race.score;
  result.runner_up = race.runner_up;
  const float chosen = y[race.token];
  result.logp = (chosen - all.max) - all.log_sum;
  result.kept_logp = result.logp;
  if (truncated) {
    const RowStats set = KeptStats(y, vocab, kept.data());
    result.kept_logp = (chosen - set.max) - set.log_sum;
  }
  return result;
}

}  // namespace waggle::reference
