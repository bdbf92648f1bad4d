// The table of compiled matrix kernels that this CPU can run.
#include <array>

#include "kernels/canonical/gemm.h"
#include "kernels/canonical/gemm_driver.h"

namespace waggle {
namespace {

using canonical::Ci8Kernels;
using canonical::TileKernels;

// A plain function per instruction set: the seam's tables hold no state.
template <const TileKernels* (*Tiles)(), const Ci8Kernels* (*Ci8)()>
struct Variant {
  static void Gemm(ThreadPool& pool, const GemmArgs& args) {
    if (args.w->format() == WeightFormat::kCi8) {
      canonical::GemmCi8(pool, args, *Ci8());
    } else {
      canonical::GemmD1(pool, args, *Tiles());
    }
  }
  static void Outer(ThreadPool& pool, const OuterArgs& args) {
    canonical::OuterD1(pool, args, *Tiles());
  }
  static bool Runs() { return Tiles() != nullptr && Ci8() != nullptr; }
  static GemmEntry Entry() { return {Ci8()->target, Gemm, Outer}; }
};

using Avx512Vnni = Variant<canonical::Avx512Tiles, canonical::Avx512VnniCi8>;
using Avx512 = Variant<canonical::Avx512Tiles, canonical::Avx512Ci8>;
using Avx2 = Variant<canonical::Avx2Tiles, canonical::Avx2Ci8>;
using Neon = Variant<canonical::NeonTiles, canonical::NeonCi8>;

struct Table {
  std::array<GemmEntry, 4> entries{};
  std::size_t count = 0;
  template <class V>
  void Add() {
    if (V::Runs()) entries[count++] = V::Entry();
  }
};

}  // namespace

std::span<const GemmEntry> GemmEntries() {
  static const Table table = [] {
    Table found;
    found.Add<Avx512Vnni>();
    found.Add<Avx512>();
    found.Add<Avx2>();
    found.Add<Neon>();
    return found;
  }();
  return {table.entries.data(), table.count};
}

}  // namespace waggle
