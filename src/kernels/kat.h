// Known answers of canonical arithmetic, one operation at a time (engine sheet 2.13). A node runs
// them on the table it is going to use and publishes the digest: equal digests mean equal
// arithmetic. Takes well under a second.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"

namespace waggle {

struct KnownAnswer {
  std::string name;                     // "attention.backward dK"
  std::uint64_t expected = 0, got = 0;  // float bits, an integer, or FNV-1a-64 of an array's bytes
  bool passed() const { return expected == got; }
};

struct KatReport {
  std::vector<KnownAnswer> answers;
  std::uint64_t digest =
      0;  // FNV-1a-64 over all results, and over arrays that have no published answer
  bool Passed() const;
};

// The digest of profile ca1. It changes only when the suite itself grows.
inline constexpr std::uint64_t kKatDigest = 0xdf6083f429c749dcull;

KatReport RunKnownAnswers(const Ops& ops, ThreadPool& pool);

// Test data of the answers: uniform in (-0.5, 0.5), a function of (stream, index) alone.
float KatRandom(std::uint32_t stream, std::uint64_t index);
// scale * KatRandom(stream, 0..n), one rounding each.
std::vector<float> KatArray(std::uint32_t stream, std::size_t n, float scale = 1.0f);

// What the parts of the suite write to.
class KatRecorder {
 public:
  void Bits(std::string_view name, std::uint32_t expected, float got);
  void Integer(std::string_view name, std::uint64_t expected, std::uint64_t got);
  void Array(std::string_view name, std::uint64_t expected_fnv, const std::vector<float>& got);
  void Unpublished(const std::vector<float>& got);  // digest only
  KatReport Finish() { return std::move(report_); }

 private:
  void Mix(std::uint64_t value);
  KatReport report_{{}, 0xcbf29ce484222325ull};
};
void RunFunctionAnswers(KatRecorder& record);                                    // kat_functions.cc
void RunForwardAnswers(const Ops& ops, ThreadPool& pool, KatRecorder& record);   // kat_forward.cc
void RunSamplingAnswers(const Ops& ops, ThreadPool& pool, KatRecorder& record);  // kat_sampling.cc
void RunBackwardAnswers(const Ops& ops, ThreadPool& pool, KatRecorder& record);  // kat_backward.cc

}  // namespace waggle
