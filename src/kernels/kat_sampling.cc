// Known answers of log-probabilities, their backward, and sampling, all on the same 1000 logits at
// T = 0.7.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/kat.h"
#include "kernels/math.h"
#include "kernels/truncation.h"

namespace waggle {
namespace {

constexpr std::size_t kVocab = 1000;
constexpr float kTemperature = 0.7f;

void CheckLogProbs(const Ops& ops, ThreadPool& pool, const std::vector<float>& z,
                   KatRecorder& record) {
  const float inverse = 1.0f / kTemperature;
  float m[4], l[4], s[4];
  ChunkStatsArgs chunks;
  chunks.z = z.data(), chunks.ldz = kVocab, chunks.rows = 1, chunks.columns = kVocab;
  chunks.inv_temperature = inverse, chunks.m = m, chunks.l = l, chunks.s = s, chunks.ldc = 4;
  ops.ChunkStats(pool, chunks);
  const RowStats stats = ops.FinishStats(m, l, s, 4);
  record.Bits("logits M", 0x416482c0, stats.max);
  record.Bits("logits L", 0x41eef48e, stats.sum);
  record.Bits("logits logL", 0x405965be, stats.log_sum);
  record.Bits("logits H", 0x408cbd8d, stats.entropy);
  const float y = z[7] * inverse;
  record.Bits("logp[7]", 0xc107defa, (y - stats.max) - stats.log_sum);

  std::vector<float> dz = z;
  const TokenId target = 7;
  const float u = -0.75f, u_entropy = 0.01f;
  LogProbBackwardArgs backward;
  backward.z = dz.data(), backward.ldz = kVocab, backward.rows = 1, backward.columns = kVocab;
  backward.inv_temperature = inverse, backward.stats = &stats, backward.targets = &target;
  backward.u = &u, backward.u_entropy = &u_entropy;
  ops.LogProbBackward(pool, backward);
  record.Bits("dz[0]", 0x3c93497b, dz[0]);
  record.Bits("dz[7]", 0xbf891cfa, dz[7]);
  record.Bits("dz[818]", 0x3c8e312f, dz[818]);
  record.Array("dz", 0x73792e5571060450ull, dz);
  dz = z;
  backward.u_entropy = nullptr;
  ops.LogProbBackward(pool, backward);
  record.Unpublished(dz);
}

SampleParams Params(std::uint32_t position) {
  SampleParams params;
  params.temperature = kTemperature;
  params.key = {0x11111111u, 0x22222222u};
  params.sample = 3;
  params.position = position;
  return params;
}

void CheckDraws(const Ops& ops, const std::vector<float>& z, KatRecorder& record) {
  std::vector<float> scratch(kVocab), rest;
  const auto draw = [&](const SampleParams& params) {
    const SampleResult r = ops.Sample(z.data(), kVocab, params, scratch.data());
    rest.insert(rest.end(), {r.logp, r.kept_logp, r.score, r.runner_up});
    return static_cast<std::uint64_t>(r.token);
  };
  constexpr std::uint32_t kPlain[] = {457, 61, 212, 142, 818, 724};
  for (std::uint32_t pos = 0; pos < 6; ++pos) {
    record.Integer(fmt::format("sample at {}", pos), kPlain[pos], draw(Params(pos)));
  }
  constexpr std::uint32_t kTruncated[] = {635, 61, 212, 142, 818, 724, 277, 8};
  for (std::uint32_t pos = 0; pos < 8; ++pos) {
    SampleParams params = Params(pos);
    params.min_p = 0.05f, params.top_k = 50, params.top_p = 0.9f;
    record.Integer(fmt::format("truncated sample at {}", pos), kTruncated[pos], draw(params));
  }
  SampleParams greedy = Params(0);
  greedy.temperature = 0.0f;
  const auto best = std::max_element(z.begin(), z.end()) - z.begin();
  record.Integer("argmax", static_cast<std::uint64_t>(best), draw(greedy));
  record.Unpublished(rest);
}

void CheckKeptSets(const std::vector<float>& z, KatRecorder& record) {
  std::vector<float> y(kVocab);
  for (std::size_t i = 0; i < kVocab; ++i) y[i] = z[i] * (1.0f / kTemperature);
  const float max = *std::max_element(y.begin(), y.end());
  SampleParams params = Params(0);
  const auto count = [](const std::vector<char>& kept) {
    return static_cast<std::uint64_t>(std::count(kept.begin(), kept.end(), 1));
  };
  params.min_p = 0.05f;
  record.Integer("min_p keeps", 88, count(KeptSet(y.data(), kVocab, params, max)));
  params.top_k = 50;
  const std::vector<char> fifty = KeptSet(y.data(), kVocab, params, max);
  record.Bits("L of the top 50", 0x41c16d8a, KeptStats(y.data(), kVocab, fifty.data()).sum);
  params.top_p = 0.9f;
  const std::vector<char> kept = KeptSet(y.data(), kVocab, params, max);
  const RowStats stats = KeptStats(y.data(), kVocab, kept.data());
  record.Integer("min_p, top_k, top_p keep", 39, count(kept));
  record.Integer("the last kept id stays", 1, static_cast<std::uint64_t>(kept[42]));
  record.Bits("kept L", 0x41af5a8e, stats.sum);
  record.Bits("kept logL", 0x4045975e, stats.log_sum);
  record.Bits("kept logp of the best", 0xc045975e, (max - stats.max) - stats.log_sum);
  record.Bits("kept logp[42]", 0xc08fda69, (y[42] - stats.max) - stats.log_sum);
}

}  // namespace

void RunSamplingAnswers(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  const std::vector<float> z = KatArray(6, kVocab, 20);
  CheckLogProbs(ops, pool, z, record);
  CheckDraws(ops, z, record);
  CheckKeptSets(z, record);
}

}  // namespace waggle
