// The Gumbel race on vectors. Ids that cannot come in first or second are skipped before any random
// word is made: -log(-log u) <= 22.2 for every u we use, and rounding is monotone, so skipping
// never changes a result.
#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/canonical/targets.h"
#include "kernels/truncation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/sample.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/logits-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {

constexpr float kGumbelMax = 22.2f;
constexpr float kLowest = std::numeric_limits<float>::lowest();

using DU64 = hn::ScalableTag<std::uint64_t>;
using VU64 = hn::Vec<DU64>;
constexpr std::size_t kIdsPerStep = 2 * kLanes;  // kLanes / 2 Philox blocks of four words

// Winner by (score descending, id ascending), second-best score; entries may come in any order.
struct Race {
  TokenId token = 0;
  float score = kLowest, runner_up = kLowest;
  bool empty = true;

  HWY_INLINE void Enter(std::size_t id, float value) {
    const TokenId token_id = static_cast<TokenId>(id);
    if (empty || value > score || (value == score && token_id < token)) {
      if (!empty) runner_up = score;
      score = value, token = token_id, empty = false;
    } else if (value > runner_up) {
      runner_up = value;
    }
  }
};

// Words of ids [first, first + 2 * kLanes), first a multiple of 4: low and high half in id order.
// Each counter word sits in the low half of a 64-bit lane; MulEven multiplies exactly those halves.
HWY_INLINE void PhiloxV(std::size_t first, const SampleParams& params, VU& low, VU& high) {
  const DU64 d;
  const DU du;
  constexpr std::size_t kBlocks = kLanes / 2;
  // Even lanes take blocks 0.., odd lanes the upper half: so the interleaves below come out in id
  // order.
  alignas(64) std::uint64_t block[kBlocks];
  for (std::size_t i = 0; i < kBlocks; ++i) {
    block[i] = first / 4 + i / 2 + (i % 2) * (kBlocks / 2);
  }
  VU64 c0 = hn::Load(d, block), c1 = hn::Set(d, params.position);
  VU64 c2 = hn::Set(d, params.sample), c3 = hn::Set(d, 1);
  const VU m0 = hn::Set(du, 0xD2511F53u), m1 = hn::Set(du, 0xCD9E8D57u);
  std::uint32_t k0 = params.key[0], k1 = params.key[1];
  for (int round = 0; round < 10; ++round) {
    const VU64 p0 = hn::MulEven(hn::BitCast(du, c0), m0);
    const VU64 p1 = hn::MulEven(hn::BitCast(du, c2), m1);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, k0));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, k1));
    c1 = p1;
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const VU64 mask = hn::Set(d, 0xFFFFFFFFu);
  const VU64 first_two = hn::Or(hn::And(c0, mask), hn::ShiftLeft<32>(c1));
  const VU64 last_two = hn::Or(hn::And(c2, mask), hn::ShiftLeft<32>(c3));
  low = hn::BitCast(du, hn::InterleaveLower(d, first_two, last_two));
  high = hn::BitCast(du, hn::InterleaveUpper(d, first_two, last_two));
}

HWY_INLINE VF GumbelScoreV(VF y, VU words) {
  const VF w = hn::ConvertTo(DF(), hn::BitCast(DI(), hn::ShiftRight<1>(words)));
  const VF v = hn::Min(hn::MulAdd(w, Splat(0x1p-31f), Splat(0x1p-32f)), Splat(0x1.fffffep-1f));
  return hn::Add(hn::Sub(y, LogV(NegLog1mV(v))), hn::Zero(DF()));
}

HWY_INLINE bool CanMatter(VF y, const Race& race) {
  return !hn::AllTrue(DF(), hn::Lt(hn::Add(y, Splat(kGumbelMax)), Splat(race.runner_up)));
}

// Ids [begin, end) of y enter the race; kept (if not null) says which may.
void RaceIds(const float* y, std::size_t begin, std::size_t end, const char* kept,
             const SampleParams& params, Race& race) {
  const DF d;
  alignas(64) float ys[kIdsPerStep], scores[kIdsPerStep];
  for (std::size_t i = begin; i < end; i += kIdsPerStep) {
    const std::size_t n = std::min(kIdsPerStep, end - i);
    const float* from = y + i;
    if (n < kIdsPerStep) {
      std::fill_n(ys, kIdsPerStep, kLowest);
      std::copy_n(from, n, ys);
      from = ys;
    }
    const VF y0 = hn::LoadU(d, from), y1 = hn::LoadU(d, from + kLanes);
    if (!CanMatter(hn::Max(y0, y1), race)) continue;
    VU w0, w1;
    PhiloxV(i, params, w0, w1);
    const VF s0 = GumbelScoreV(y0, w0), s1 = GumbelScoreV(y1, w1);
    if (!race.empty && hn::AllTrue(d, hn::Lt(hn::Max(s0, s1), Splat(race.runner_up)))) continue;
    hn::Store(s0, d, scores);
    hn::Store(s1, d, scores + kLanes);
    for (std::size_t j = 0; j < n; ++j) {
      if (scores[j] < race.runner_up && !race.empty) continue;
      if (!kept || kept[i + j]) race.Enter(i + j, scores[j]);
    }
  }
}

// The chunk with the largest logit goes first, so that most others can be skipped.
Race RunRace(const float* y, std::size_t vocab, const char* kept, const std::vector<float>& m,
             const SampleParams& params) {
  Race race;
  const std::size_t best =
      static_cast<std::size_t>(std::max_element(m.begin(), m.end()) - m.begin());
  const auto run = [&](std::size_t c) {
    RaceIds(y, c * kChunk, std::min(vocab, (c + 1) * kChunk), kept, params, race);
  };
  run(best);
  for (std::size_t c = 0; c < m.size(); ++c) {
    if (c != best && !(m[c] + kGumbelMax < race.runner_up)) run(c);
  }
  return race;
}

Race Greedy(const float* z, std::size_t vocab) {
  const DF d;
  Race race;
  std::size_t i = 0;
  for (; i + kLanes <= vocab; i += kLanes) {
    if (!race.empty && hn::AllTrue(d, hn::Lt(hn::LoadU(d, z + i), Splat(race.runner_up)))) continue;
    for (std::size_t j = 0; j < kLanes; ++j) race.Enter(i + j, z[i + j] + 0.0f);
  }
  for (; i < vocab; ++i) race.Enter(i, z[i] + 0.0f);
  return race;
}

SampleResult Sample(const float* z, std::size_t vocab, const SampleParams& params, float* scratch) {
  const DF d;
  const bool greedy = params.temperature == 0.0f;
  const float inv_temperature = greedy ? 1.0f : 1.0f / params.temperature;
  float* y = scratch;
  std::size_t i = 0;
  for (; i + kLanes <= vocab; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, z + i), Splat(inv_temperature)), d, y + i);
  }
  for (; i < vocab; ++i) y[i] = z[i] * inv_temperature;

  const std::size_t chunks = (vocab + kChunk - 1) / kChunk;
  std::vector<float> m(chunks), l(chunks);
  for (std::size_t c = 0; c < chunks; ++c) {
    const std::size_t n = std::min(kChunk, vocab - c * kChunk);
    m[c] = ScaledMax(y + c * kChunk, n, 1.0f);
    ChunkSums<false>(y + c * kChunk, n, 1.0f, m[c], &l[c], nullptr);
  }
  const RowStats all = FinishRow(m.data(), l.data(), nullptr, chunks);
  const bool truncated = !greedy && IsTruncated(params, vocab);
  std::vector<char> kept;
  if (truncated) kept = KeptSet(y, vocab, params, all.max);

  const Race race =
      greedy ? Greedy(z, vocab) : RunRace(y, vocab, truncated ? kept.data() : nullptr, m, params);
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

void Fill(Ops& ops) { ops.Sample = Sample; }

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET

#if HWY_ONCE
#define WG_FILL FillSample
#include "kernels/canonical/fill-inl.h"
#endif
