// waggle-kat [--threads N] [--isa NAME]: the known answers of canonical arithmetic, one line per
// kernel table. It links base/ and kernels/ only, so that a compiler, a flag or a foreign processor
// can be checked without building the rest (tools/arithmetic_matrix.sh, tools/avx512/).
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/float_env.h"
#include "kernels/kat.h"

int main(int argc, char** argv) {
  unsigned threads = 1;
  const char* isa = nullptr;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--threads") == 0)
      threads = static_cast<unsigned>(std::atoi(argv[i + 1]));
    if (std::strcmp(argv[i], "--isa") == 0) isa = argv[i + 1];
  }
  if (threads < 1 || threads > 256) {
    std::fprintf(stderr, "waggle-kat: --threads wants 1 to 256\n");
    return 2;
  }
  if (isa != nullptr && waggle::FindOps(isa) == nullptr) {
    std::fprintf(stderr, "waggle-kat: this processor has no table %s\n", isa);
    return 2;
  }
  waggle::CheckFloatEnvironment();
  waggle::ThreadPool pool(threads);
  bool right = true;
  for (const waggle::Ops* ops : waggle::AvailableOps()) {
    if (isa != nullptr && std::strcmp(isa, ops->name) != 0) continue;
    const waggle::KatReport report = waggle::RunKnownAnswers(*ops, pool);
    for (const waggle::KnownAnswer& answer : report.answers) {
      if (answer.passed()) continue;
      std::fprintf(stderr, "%s: %s is %llx, not %llx\n", ops->name, answer.name.c_str(),
                   static_cast<unsigned long long>(answer.got),
                   static_cast<unsigned long long>(answer.expected));
    }
    right &= report.Passed() && report.digest == waggle::kKatDigest;
    std::printf("%-12s %u %016llx\n", ops->name, threads,
                static_cast<unsigned long long>(report.digest));
  }
  return right ? 0 : 1;
}
