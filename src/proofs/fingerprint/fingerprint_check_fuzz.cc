// Arbitrary bytes as what a worker posts and opens: every fingerprint refuses them (blame peer) or
// measures them. The first two bytes say which fingerprint, and where the opening begins.
#include "base/check.h"
#include "proofs/fingerprint/fingerprint.h"

namespace {

waggle::RolloutView SmallView() {
  waggle::RolloutView view{.response = 3, .width = 8};
  view.layers = {0, 1};
  view.states.assign(2, std::vector<float>(24, 0.5f));
  for (int i = 0; i < 24; ++i) view.hidden.push_back(static_cast<float>(i * 7 % 11) - 5.0f);
  view.ids = {1, 2, 3, 4, 5};
  view.prompt = 2;
  view.tokens.resize(3);
  view.tokens_max = 3;
  return view;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  static const auto fingerprints = AllFingerprints();
  static const RolloutView view = SmallView();
  if (size < 2) return 0;
  const std::span<const std::uint8_t> input(data + 2, size - 2);
  const Fingerprint& f = *fingerprints[data[0] % fingerprints.size()];
  const std::size_t cut = std::min<std::size_t>(data[1], input.size());
  const std::vector<float> logps(3, 0.0f);
  const auto units = f.Measure({}, input.first(cut), input.subspan(cut), {}, logps, view);
  Check(units || units.error().blame == Blame::kPeer, "bytes are their sender's fault");
  return 0;
}
