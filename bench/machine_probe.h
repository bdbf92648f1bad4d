// What this machine can do at most: a register-only FMA loop, a read-only loop, and a fair way to
// compare several contestants on a machine whose speed wanders.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own AVX-512 header
#endif
#include <immintrin.h>
#endif

namespace waggle::bench {

// The processor as the system names it.
inline std::string MachineName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unnamed processor";
}

inline double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor seconds of the calling thread: what single-threaded contestants are timed by, so that
// other programs' turns on the core do not count.
inline double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Seconds per call of each contestant in each round: [contestant][round]. Rounds are interleaved,
// so that a slow moment of the machine hits all alike. Other programs, and other machines on the
// same processor, only ever slow a contestant down: compare by the best round of each.
inline std::vector<std::vector<double>> Race(const std::vector<std::function<void()>>& contestants,
                                             int rounds, double seconds_per_turn,
                                             double (*clock)() = ThreadSeconds) {
  std::vector<std::vector<double>> times(contestants.size());
  std::vector<int> repeats(contestants.size());
  for (std::size_t c = 0; c < contestants.size(); ++c) {
    contestants[c]();  // warm-up: code, caches, lazily made buffers
    const double begin = clock();
    contestants[c]();
    const double one = std::max(clock() - begin, 1e-9);
    repeats[c] = std::max(1, static_cast<int>(seconds_per_turn / one));
  }
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < contestants.size(); ++i) {
      const std::size_t c = (i + static_cast<std::size_t>(round)) % contestants.size();
      const double begin = clock();
      for (int r = 0; r < repeats[c]; ++r) contestants[c]();
      times[c].push_back((clock() - begin) / repeats[c]);
    }
  }
  return times;
}

inline double Best(const std::vector<double>& times) {
  return *std::min_element(times.begin(), times.end());
}

// How many times as fast as `slow` the contestant `fast` is.
inline double Speed(const std::vector<double>& slow, const std::vector<double>& fast) {
  return Best(slow) / Best(fast);
}

#if defined(__x86_64__)

inline bool HasAvx512() { return __builtin_cpu_supports("avx512f"); }

__attribute__((target("avx512f"))) inline float FmaLoop512(int steps) {
  __m512 acc[24];
  for (int i = 0; i < 24; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) acc[i] = _mm512_fmadd_ps(a, acc[i], b);
  }
  float sum = 0;
  for (int i = 0; i < 24; ++i) sum += _mm_cvtss_f32(_mm512_castps512_ps128(acc[i]));
  return sum;
}

__attribute__((target("avx2,fma"))) inline float FmaLoop256(int steps) {
  __m256 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm256_fmadd_ps(a, acc[i], b);
  }
  float sum = 0;
  for (int i = 0; i < 12; ++i) sum += _mm_cvtss_f32(_mm256_castps256_ps128(acc[i]));
  return sum;
}

// GFLOP/s of fused multiply-adds without memory, one thread, the widest vectors of this CPU.
inline double FmaPeakGflops() {
  constexpr int kSteps = 200000;
  [[maybe_unused]] static volatile float sink;
  double best = 0;
  for (int round = 0; round < 7; ++round) {
    const double begin = ThreadSeconds();
    const bool wide = HasAvx512();
    sink = wide ? FmaLoop512(kSteps) : FmaLoop256(kSteps);
    const double flops = 2.0 * kSteps * (wide ? 24 * 16 : 12 * 8);
    best = std::max(best, flops / (ThreadSeconds() - begin) * 1e-9);
  }
  return best;
}

// Reads `bytes` (a multiple of 1024) once; four streams at a time, as a GEMV over four panels does.
__attribute__((target("avx2"))) inline std::uint64_t ReadAll(const void* data, std::size_t bytes,
                                                             bool prefetch) {
  const std::size_t quarter = bytes / 4;
  const char* p = static_cast<const char*>(data);
  __m256i sum = _mm256_setzero_si256();
  for (std::size_t i = 0; i < quarter; i += 256) {
    for (std::size_t stream = 0; stream < 4; ++stream) {
      const char* at = p + stream * quarter + i;
#pragma GCC unroll 8
      for (std::size_t v = 0; v < 256; v += 32) {
        if (prefetch && v % 64 == 0) _mm_prefetch(at + v + 2048, _MM_HINT_T0);
        sum = _mm256_or_si256(sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + v)));
      }
    }
  }
  return static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 0));
}

#else

inline bool HasAvx512() { return false; }
inline double FmaPeakGflops() { return 0; }
inline std::uint64_t ReadAll(const void* data, std::size_t bytes, bool) {
  const std::uint64_t* p = static_cast<const std::uint64_t*>(data);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes / 8; ++i) sum |= p[i];
  return sum;
}

#endif

}  // namespace waggle::bench
