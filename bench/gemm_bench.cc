// Matrix kernels beside OpenBLAS and oneDNN, one core, interleaved rounds; two-thread scaling,
// decode bandwidth, weight gradients, the exact integer profile.
//
//   gemm_bench [--quick] [--only gemm|threads|decode|batch|order|outer|ci8] [--target NAME]
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/canonical/gemm.h"
#include "machine_probe.h"
#include "order_probe.h"

#ifdef WAGGLE_HAVE_OPENBLAS
#include <cblas.h>
#endif
#ifdef WAGGLE_HAVE_DNNL
#include <dnnl.hpp>
#endif

namespace waggle::bench {
namespace {

struct Options {
  bool quick = false;
  std::string only;
  std::string target;
  bool Wants(const char* part) const { return only.empty() || only == part; }
};

AlignedVector<float> Random(std::size_t count) {
  AlignedVector<float> values(count);
  std::uint32_t state = 12345;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
  }
  return values;
}

struct Shape {
  const char* name;
  std::size_t n, k;
};
constexpr Shape kShapes[] = {
    {"0.5B q,o", 896, 896},    {"0.5B k,v", 128, 896},      {"0.5B gate,up", 4864, 896},
    {"0.5B down", 896, 4864},  {"0.5B head/8", 18992, 896}, {"15M q,k,v,o", 288, 288},
    {"15M gate,up", 768, 288}, {"15M down", 288, 768},      {"15M head", 32000, 288},
};

// y = x * W^T in our packed form.
struct Ours {
  const GemmEntry& entry;
  ThreadPool& pool;
  GemmArgs args;
  void operator()() const { entry.gemm(pool, args); }
};

GemmArgs MakeArgs(const PackedMatrix& w, const float* x, float* y, std::size_t m) {
  GemmArgs args;
  args.w = &w;
  args.x = x;
  args.ldx = w.k();
  args.y = y;
  args.ldy = w.n();
  args.m = m;
  return args;
}

#ifdef WAGGLE_HAVE_OPENBLAS
std::function<void()> OpenBlas(const float* w, const Shape& s, const float* x, float* y,
                               std::size_t m) {
  const int rows = static_cast<int>(m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
  if (m == 1) {  // what a caller would do
    return [=] { cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, 1, w, k, x, 1, 0, y, 1); };
  }
  return [=] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, n, k, 1, x, k, w, k, 0, y, n);
  };
}
#endif

#ifdef WAGGLE_HAVE_DNNL
// Weights reordered once into the layout the library asks for, as we pack ours once.
std::function<void()> OneDnn(const float* w, const Shape& s, float* x, float* y, std::size_t m) {
  using dnnl::memory;
  using Tag = memory::format_tag;
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  static dnnl::stream stream(engine);
  const memory::dim rows = static_cast<memory::dim>(m), n = static_cast<memory::dim>(s.n),
                    k = static_cast<memory::dim>(s.k);
  const memory::desc x_desc({rows, k}, memory::data_type::f32, Tag::ab);
  const memory::desc y_desc({rows, n}, memory::data_type::f32, Tag::ab);
  const memory::desc w_plain({k, n}, memory::data_type::f32, Tag::ba);
  const memory::desc w_any({k, n}, memory::data_type::f32, Tag::any);
  const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(x_desc, w_any, y_desc), engine);
  memory from(w_plain, engine, const_cast<float*>(w));
  memory packed(plan.weights_desc(), engine);
  dnnl::reorder(from, packed).execute(stream, from, packed);
  stream.wait();
  const dnnl::matmul matmul(plan);
  const memory x_memory(x_desc, engine, x), y_memory(y_desc, engine, y);
  return [=] {
    matmul.execute(
        stream, {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, y_memory}});
    stream.wait();
  };
}
#endif

struct Totals {
  double log_ratio = 0;
  int count = 0;
};

void GemmRow(const Options& options, const GemmEntry& entry, ThreadPool& pool, const Shape& s,
             std::size_t m, const AlignedVector<float>& w, const PackedMatrix& packed,
             Totals& totals) {
  AlignedVector<float> x = Random(m * s.k), y(m * s.n);
  std::vector<std::function<void()>> contestants{
      Ours{entry, pool, MakeArgs(packed, x.data(), y.data(), m)}};
  std::vector<const char*> names{"ours"};
#ifdef WAGGLE_HAVE_OPENBLAS
  contestants.push_back(OpenBlas(w.data(), s, x.data(), y.data(), m));
  names.push_back("openblas");
#endif
#ifdef WAGGLE_HAVE_DNNL
  contestants.push_back(OneDnn(w.data(), s, x.data(), y.data(), m));
  names.push_back("onednn");
#endif
  const auto times = Race(contestants, options.quick ? 7 : 21, options.quick ? 2e-3 : 3e-3);
  const double flops = 2.0 * static_cast<double>(m * s.n * s.k);
  std::string line = fmt::format("{:<14} {:>5}", s.name, m);
  for (const auto& t : times) line += fmt::format(" {:>9.1f}", flops / Best(t) * 1e-9);
  double worst = 1e9;
  for (std::size_t c = 1; c < times.size(); ++c) {
    const double ratio = Speed(times[c], times[0]);
    line += fmt::format(" {:>9.2f}", ratio);
    worst = std::min(worst, ratio);
  }
  if (times.size() > 1) {
    totals.log_ratio += std::log(worst);
    ++totals.count;
  }
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void GemmTable(const Options& options, const GemmEntry& entry) {
  std::string head = fmt::format("{:<14} {:>5} {:>9}", "GFLOP/s, fp32", "M", "ours");
  std::string ratios;
#ifdef WAGGLE_HAVE_OPENBLAS
  head += fmt::format(" {:>9}", "openblas");
  ratios += fmt::format(" {:>9}", "/openblas");
#endif
#ifdef WAGGLE_HAVE_DNNL
  head += fmt::format(" {:>9}", "onednn");
  ratios += fmt::format(" {:>9}", "/onednn");
#endif
  fmt::print("\n{}{}\n", head, ratios);
  ThreadPool pool(1);
  Totals totals;
  for (const Shape& s : kShapes) {
    const AlignedVector<float> w = Random(s.n * s.k);
    const PackedMatrix packed = PackedMatrix::Pack(w.data(), s.n, s.k, s.k, WeightFormat::kF32);
    for (std::size_t m : {1, 4, 16, 64, 256, 1024}) {
      if (options.quick && (m == 256 || (m == 1024 && s.n > 10000))) continue;
      GemmRow(options, entry, pool, s, m, w, packed, totals);
    }
  }
  if (totals.count > 0) {
    fmt::print("geometric mean of ours / faster library: {:.3f} over {} shapes (target 0.95)\n",
               std::exp(totals.log_ratio / totals.count), totals.count);
  } else {
    fmt::print("no yardstick library was found when this was built: no ratios\n");
  }
}

void Threads(const Options& options, const GemmEntry& entry) {
  fmt::print("\ntwo threads / one, fp32 (target 1.9 on two idle cores)\n");
  ThreadPool one(1), two(2);
  for (const Shape& s : {kShapes[0], kShapes[2], kShapes[3], kShapes[5], kShapes[6]}) {
    const AlignedVector<float> w = Random(s.n * s.k);
    const PackedMatrix packed = PackedMatrix::Pack(w.data(), s.n, s.k, s.k, WeightFormat::kF32);
    for (std::size_t m : {64, 256, 1024}) {
      AlignedVector<float> x = Random(m * s.k), y(m * s.n);
      const GemmArgs args = MakeArgs(packed, x.data(), y.data(), m);
      const auto times = Race({Ours{entry, one, args}, Ours{entry, two, args}},
                              options.quick ? 5 : 15, 4e-3, Seconds);
      fmt::print("{:<14} {:>5} {:>9.2f}\n", s.name, m, Speed(times[0], times[1]));
      std::fflush(stdout);
    }
  }
}

// One row over weights that do not fit any cache: the speed of reading them.
void Decode(const Options& options, const GemmEntry& entry) {
  fmt::print(
      "\ndecode, one row, one thread: GB/s of weights, and part of a read loop over as many "
      "bytes (target 90 %)\n");
  ThreadPool pool(1);
  const std::size_t n = options.quick ? 32768 : 65536, k = 896;
  const AlignedVector<float> w = Random(n * k);
  AlignedVector<float> x = Random(16 * k), y(16 * n);
  for (WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
    const PackedMatrix packed = PackedMatrix::Pack(w.data(), n, k, k, format);
    const std::size_t per_weight = format == WeightFormat::kF32    ? 4
                                   : format == WeightFormat::kBf16 ? 2
                                                                   : 1;
    const std::size_t bytes = n * k * per_weight;  // without scales: a few per cent of int8
    // The read loop runs over the very same memory.
    const void* data = packed.PanelData(0);
    [[maybe_unused]] static volatile std::uint64_t sink;
    for (std::size_t m : {1, 4, 16}) {
      const auto times = Race(
          {Ours{entry, pool, MakeArgs(packed, x.data(), y.data(), m)},
           [&] { sink = ReadAll(data, bytes, false); }, [&] { sink = ReadAll(data, bytes, true); }},
          options.quick ? 7 : 15, 1e-3);
      const double part = std::min(Speed(times[1], times[0]), Speed(times[2], times[0]));
      fmt::print(
          "{:<5} M {:>2} {:>8.1f} GB/s, read loop {:>6.1f}, with prefetch {:>6.1f}: {:>5.1f} %\n",
          ToString(format), m, static_cast<double>(bytes) / Best(times[0]) * 1e-9,
          static_cast<double>(bytes) / Best(times[1]) * 1e-9,
          static_cast<double>(bytes) / Best(times[2]) * 1e-9, 100 * part);
      std::fflush(stdout);
    }
  }
}

void Batch64(const Options& options, const GemmEntry& entry, double peak) {
  fmt::print("\nGFLOP/s by batch, one thread (part of the FMA loop; part of M = 1024)\n");
  ThreadPool pool(1);
  for (const Shape& s : {kShapes[0], kShapes[2], kShapes[3]}) {
    const AlignedVector<float> w = Random(s.n * s.k);
    for (WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8}) {
      const PackedMatrix packed = PackedMatrix::Pack(w.data(), s.n, s.k, s.k, format);
      AlignedVector<float> x = Random(1024 * s.k), y(1024 * s.n);
      const std::vector<std::size_t> batches{16, 32, 64, 1024};
      std::vector<std::function<void()>> runs;
      for (std::size_t m : batches) {
        runs.push_back(Ours{entry, pool, MakeArgs(packed, x.data(), y.data(), m)});
      }
      const auto times = Race(runs, options.quick ? 5 : 21, 2e-3);
      std::string line = fmt::format("{:<14} {:<5}", s.name, ToString(format));
      for (std::size_t i = 0; i < batches.size(); ++i) {
        const double rate = 2e-9 * static_cast<double>(batches[i] * s.n * s.k) / Best(times[i]);
        const double relative =
            Speed(times.back(), times[i]) * static_cast<double>(batches[i]) / 1024;
        line += fmt::format("  M {:>4} {:>6.1f} ({:>2.0f} %, {:.2f})", batches[i], rate,
                            100 * rate / peak, relative);
      }
      fmt::print("{}\n", line);
      std::fflush(stdout);
    }
  }
}

void Outer(const Options& options, const GemmEntry& entry, double peak) {
  fmt::print("\nweight gradients, 1024 tokens, one thread: GFLOP/s (part of the FMA loop)\n");
  ThreadPool pool(1);
  constexpr std::size_t kTokens = 1024;
  for (const Shape& s : {kShapes[0], kShapes[1], kShapes[2], kShapes[3], kShapes[5], kShapes[6]}) {
    const AlignedVector<float> a = Random(kTokens * s.n), b = Random(kTokens * s.k);
    AlignedVector<float> grad(s.n * s.k);
    for (std::uint32_t sample : {20u, 100u, 256u}) {
      std::vector<std::uint32_t> blocks{0};
      while (blocks.back() < kTokens) {
        blocks.push_back(std::min<std::uint32_t>(kTokens, blocks.back() + sample));
      }
      OuterArgs args;
      args.grad = grad.data();
      args.ldg = args.ldb = args.k = s.k;
      args.a = a.data();
      args.lda = args.n = s.n;
      args.b = b.data();
      args.blocks = blocks;
      const auto times = Race({[&] { entry.outer(pool, args); }}, options.quick ? 5 : 21, 2e-3);
      const double rate = 2e-9 * static_cast<double>(kTokens * s.n * s.k) / Best(times[0]);
      fmt::print("{:<14} samples of {:>3}: {:>6.1f} ({:>2.0f} %)\n", s.name, sample, rate,
                 100 * rate / peak);
      std::fflush(stdout);
    }
  }
}

void Ci8(const Options& options, const GemmEntry& entry) {
  fmt::print("\nexact integer profile, one thread: GOP/s, and speed relative to fp32\n");
  ThreadPool pool(1);
  for (const Shape& s : {kShapes[0], kShapes[2], kShapes[3]}) {
    const AlignedVector<float> w = Random(s.n * s.k);
    const PackedMatrix codes = PackedMatrix::Pack(w.data(), s.n, s.k, s.k, WeightFormat::kCi8);
    const PackedMatrix floats = PackedMatrix::Pack(w.data(), s.n, s.k, s.k, WeightFormat::kF32);
    for (std::size_t m : {1, 16, 64, 1024}) {
      AlignedVector<float> x = Random(m * s.k), y(m * s.n);
      const auto times = Race({Ours{entry, pool, MakeArgs(codes, x.data(), y.data(), m)},
                               Ours{entry, pool, MakeArgs(floats, x.data(), y.data(), m)}},
                              options.quick ? 5 : 21, 2e-3);
      fmt::print("{:<14} {:>5} {:>8.1f} {:>6.2f}\n", s.name, m,
                 2e-9 * static_cast<double>(m * s.n * s.k) / Best(times[0]),
                 Speed(times[1], times[0]));
      std::fflush(stdout);
    }
  }
}

// Both libraries read these when they are loaded, before main: set them, then start over.
void StartOverWithOneThread(char** argv) {
  if (std::getenv("WAGGLE_BENCH_READY") != nullptr) return;
  setenv("WAGGLE_BENCH_READY", "1", 1);
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  setenv("OMP_NUM_THREADS", "1", 1);
  // Plain detection may choose AVX2 kernels on a CPU that has AVX-512.
  if (HasAvx512()) setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 0);
  // A slower kernel than the CPU could run, left over from another program, is no yardstick.
  if (!HasAvx512()) unsetenv("OPENBLAS_CORETYPE");
  execv("/proc/self/exe", argv);
}

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--quick") {
      options.quick = true;
    } else if (arg == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else if (arg == "--target" && i + 1 < argc) {
      options.target = argv[++i];
    } else {
      fmt::print(stderr,
                 "gemm_bench [--quick] [--only gemm|threads|decode|batch|order|outer|ci8] "
                 "[--target avx512-vnni|avx512|avx2|neon]\n");
      return std::nullopt;
    }
  }
  return options;
}

int Main(int argc, char** argv) {
  StartOverWithOneThread(argv);
  const std::optional<Options> options = Parse(argc, argv);
  if (!options) return 2;
  const GemmEntry* entry = nullptr;
  for (const GemmEntry& e : GemmEntries()) {
    if (entry == nullptr && (options->target.empty() || options->target == e.target)) entry = &e;
  }
  if (entry == nullptr) {
    fmt::print(stderr, "this CPU cannot run that target\n");
    return 2;
  }
  const double peak = FmaPeakGflops();
  fmt::print("{}, {} cores; instruction set {}, register FMA loop {:.1f} GFLOP/s on one core\n",
             MachineName(), std::thread::hardware_concurrency(), entry->target, peak);
#ifdef WAGGLE_HAVE_OPENBLAS
  fmt::print("OpenBLAS runs its {} kernels\n", openblas_get_corename());
#endif
#ifndef WAGGLE_HAVE_OPENBLAS
  fmt::print("built without OpenBLAS: no such column\n");
#endif
#ifndef WAGGLE_HAVE_DNNL
  fmt::print("built without oneDNN: no such column\n");
#endif
  if (options->Wants("gemm")) GemmTable(*options, *entry);
  if (options->Wants("threads")) Threads(*options, *entry);
  if (options->Wants("decode")) Decode(*options, *entry);
  if (options->Wants("batch")) Batch64(*options, *entry, peak);
  if (options->Wants("order")) OrderTable(options->quick);
  if (options->Wants("outer")) Outer(*options, *entry, peak);
  if (options->Wants("ci8")) Ci8(*options, *entry);
  return 0;
}

}  // namespace
}  // namespace waggle::bench

int main(int argc, char** argv) { return waggle::bench::Main(argc, argv); }
