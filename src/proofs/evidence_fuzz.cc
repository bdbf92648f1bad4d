// Evidence comes from strangers: no crash, one value has one sequence of bytes.
#include <cstddef>

#include "base/check.h"
#include "proofs/evidence.h"

// The signature of the accuser stops most mutations, so the body is read a second time under a
// signature that holds.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  static const KeyPair key = KeyPair::FromSeed(std::array<std::uint8_t, 32>{1});
  const std::span<const std::uint8_t> bytes(data, size);
  const auto evidence = OpenEvidence(bytes);
  if (!evidence) return 0;
  const Bytes again = SealEvidence(*evidence, key);
  const auto same = OpenEvidence(again);
  Check(same.has_value(), "what we seal opens");
  Check(same->group == evidence->group && same->twice == evidence->twice &&
            same->step == evidence->step && same->verdict == evidence->verdict &&
            same->policies == evidence->policies && same->canary == evidence->canary &&
            same->receipt == evidence->receipt,
        "one value, one encoding");
  return 0;
}
