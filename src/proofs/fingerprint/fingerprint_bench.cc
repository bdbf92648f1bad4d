// What fingerprints cost: microseconds per token to make and to compare, on one thread, and bytes
// per token, for states of a given width. No model runs: the validator's prefill comes on top of it
// and costs more.
//
//   fingerprint_bench [--quick]
#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/clock.h"
#include "proofs/fingerprint/fingerprint.h"
#include "proofs/fingerprint/test_vectors.h"
#include "proofs/fingerprint/toploc.h"

namespace waggle {
namespace {

using testing_vectors::Filled;
using testing_vectors::GaussianRow;

RolloutView MakeView(std::size_t tokens, std::size_t width, std::size_t boundaries) {
  Rng rng(1);
  RolloutView view{.response = tokens, .width = width};
  view.hidden = GaussianRow(tokens * width, 3, rng);
  for (std::size_t l = 0; l < boundaries; ++l) {
    view.layers.push_back(static_cast<std::uint16_t>(l * 8));
    view.states.push_back(view.hidden);
  }
  view.prompt = 1;
  view.ids.assign(tokens + 1, 7);
  view.tokens.assign(tokens, TokenView{.logp = -1});
  view.tokens_max = static_cast<std::uint32_t>(tokens);
  return view;
}

// Best of `rounds`, in microseconds.
template <class Work>
double Best(int rounds, const Work& work) {
  double best = 1e300;
  for (int r = 0; r < rounds; ++r) {
    const std::int64_t begun = SystemClock().MonotonicNs();
    work();
    best = std::min(best, 1e-3 * static_cast<double>(SystemClock().MonotonicNs() - begun));
  }
  return best;
}

void Table(std::size_t tokens, std::size_t width, std::size_t boundaries, int rounds) {
  const RolloutView view = MakeView(tokens, width, boundaries);
  const FingerprintScope scope{Filled(1), Filled(2), Filled(3)};
  const Digest256 challenge = Filled(4);
  fmt::print("\n{} tokens, width {}, {} boundaries\n{:<20}{:>10} {:>10} {:>10} {:>10} {:>10}\n",
             tokens, width, boundaries, "", "commit us", "open us", "check us", "posted B",
             "opened B");
  const std::vector<float> logps = LogpsOf(view);
  for (const auto& f : StateFingerprints()) {
    const Bytes commitment = f->Commit(scope, view).value();
    const Bytes opening = f->Open(scope, view, challenge).value();
    const double n = static_cast<double>(tokens);
    const double commit = Best(rounds, [&] { f->Commit(scope, view).value(); });
    const double open = Best(rounds, [&] { f->Open(scope, view, challenge).value(); });
    const double check = Best(
        rounds, [&] { f->Measure(scope, commitment, opening, challenge, logps, view).value(); });
    fmt::print("{:<20}{:>10.2f} {:>10.2f} {:>10.2f} {:>10.1f} {:>10.1f}\n", f->info().name,
               commit / n, open / n, check / n, static_cast<double>(commitment.size()) / n,
               static_cast<double>(opening.size()) / n);
  }
}

void Interpolation(int rounds) {
  Rng rng(2);
  const auto words = Bf16Words(GaussianRow(32 * 4096, 3, rng));
  const auto indices = LargestWords(words, kToplocPoints).value();
  const ToplocProof proof = ProveToploc(words).value();
  fmt::print(
      "TOPLOC, one chunk of 32 x 4096: find the largest 128 {:.0f} us, whole proof {:.0f} us, "
      "compare {:.0f} us\n",
      Best(rounds, [&] { LargestWords(words, kToplocPoints).value(); }),
      Best(rounds, [&] { ProveToploc(words).value(); }),
      Best(rounds, [&] { CompareToploc(proof, words, ToplocProfile::kPlus).value(); }));
  std::vector<std::uint16_t> few;
  for (const std::uint32_t i : indices) few.push_back(words[i]);
  fmt::print("interpolation of 128 points over GF(65497): {:.0f} us\n",
             Best(rounds, [&] { ProveToploc(few).value(); }));
}

}  // namespace
}  // namespace waggle

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  const int rounds = quick ? 3 : 20;
  waggle::Interpolation(rounds);
  waggle::Table(256, 64, 6, rounds);
  waggle::Table(256, 1024, 5, rounds);
  if (!quick) waggle::Table(256, 4096, 5, rounds);
  return 0;
}
