#include "kernels/kat.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/hex.h"
#include "base/philox.h"

namespace waggle {

bool KatReport::Passed() const {
  return std::all_of(answers.begin(), answers.end(),
                     [](const KnownAnswer& a) { return a.passed(); });
}

float KatRandom(std::uint32_t stream, std::uint64_t index) {
  const PhiloxCounter words = Philox(
      {static_cast<std::uint32_t>(index >> 2), static_cast<std::uint32_t>(index >> 34), stream, 0},
      {0x57616767u, 0x6C650001u});
  return (static_cast<float>(words[index & 3] >> 9) + 0.5f) * 0x1p-23f - 0.5f;
}

std::vector<float> KatArray(std::uint32_t stream, std::size_t n, float scale) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = KatRandom(stream, i) * scale;
  return values;
}

void KatRecorder::Mix(std::uint64_t value) {
  const std::array<std::uint64_t, 1> words = {value};
  report_.digest = Fnv1a64(std::as_bytes(std::span(words)), report_.digest);
}

void KatRecorder::Bits(std::string_view name, std::uint32_t expected, float got) {
  Integer(name, expected, std::bit_cast<std::uint32_t>(got));
}

void KatRecorder::Integer(std::string_view name, std::uint64_t expected, std::uint64_t got) {
  report_.answers.push_back({std::string(name), expected, got});
  Mix(got);
}

void KatRecorder::Array(std::string_view name, std::uint64_t expected_fnv,
                        const std::vector<float>& got) {
  Integer(name, expected_fnv, Fnv1a64(std::as_bytes(std::span(got))));
}

void KatRecorder::Unpublished(const std::vector<float>& got) {
  Mix(Fnv1a64(std::as_bytes(std::span(got))));
}

KatReport RunKnownAnswers(const Ops& ops, ThreadPool& pool) {
  KatRecorder record;
  RunFunctionAnswers(record);
  RunForwardAnswers(ops, pool, record);
  RunSamplingAnswers(ops, pool, record);
  RunBackwardAnswers(ops, pool, record);
  return record.Finish();
}

}  // namespace waggle
