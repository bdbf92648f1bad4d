// Tables per instruction set, and the choice among those this CPU can run.
#include <array>
#include <cstring>
#include <vector>

#include "hwy/targets.h"
#include "kernels/canonical/gemm.h"
#include "kernels/canonical/targets.h"

namespace waggle {
namespace {

using canonical::Target;

// A table starts as the scalar definition; every canonical file replaces what it implements.
Ops MakeTable(const char* name, Target target) {
  Ops ops = ReferenceOps();
  ops.name = name;
  canonical::FillElementwise(target, ops);
  canonical::FillNorm(target, ops);
  canonical::FillLogits(target, ops);
  canonical::FillSample(target, ops);
  canonical::FillAttention(target, ops);
  canonical::FillAttentionBackward(target, ops);
  for (const GemmEntry& entry : GemmEntries()) {
    if (std::strcmp(entry.target, name) != 0) continue;
    ops.Gemm = entry.gemm;
    ops.OuterAccumulate = entry.outer;
  }
  return ops;
}

struct Tables {
  std::vector<Ops> made;
  std::vector<const Ops*> available;

  Tables() {
    made.reserve(4);
    const auto add = [this](const char* name, Target target) {
      made.push_back(MakeTable(name, target));
    };
    [[maybe_unused]] const auto supported = hwy::SupportedTargets();
#if HWY_ARCH_X86_64
    // The VNNI table differs in its integer matrix product only.
    if (supported & HWY_AVX3_DL) add("avx512-vnni", Target::kAvx512);
    if (supported & HWY_AVX3) add("avx512", Target::kAvx512);
    if (supported & HWY_AVX2) add("avx2", Target::kAvx2);
#elif HWY_ARCH_ARM_A64
    if (supported & HWY_NEON) add("neon", Target::kNeon);
#endif
    for (const Ops& ops : made) available.push_back(&ops);
    available.push_back(&ReferenceOps());
  }
};

}  // namespace

std::span<const Ops* const> AvailableOps() {
  static const Tables tables;
  return tables.available;
}

const Ops& BestOps() { return *AvailableOps().front(); }

const Ops* FindOps(const char* name) {
  for (const Ops* ops : AvailableOps()) {
    if (std::strcmp(ops->name, name) == 0) return ops;
  }
  return nullptr;
}

}  // namespace waggle
