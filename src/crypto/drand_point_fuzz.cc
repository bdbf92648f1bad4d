// Arbitrary bytes as points of BLS12-381: refused, or written the same again, so that a point has
// one form.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "crypto/bls12_381.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> bytes(data, size);
  if (const auto point = waggle::bls::DecodeG1(bytes))
    waggle::Check(std::ranges::equal(waggle::bls::EncodeG1(*point), bytes), "one form in G1");
  if (const auto point = waggle::bls::DecodeG2(bytes))
    waggle::Check(std::ranges::equal(waggle::bls::EncodeG2(*point), bytes), "one form in G2");
  return 0;
}
