// Hidden states that nobody computed: Gaussian rows of any width and gain, and noise on them.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/hex.h"
#include "base/philox.h"
#include "crypto/hash.h"
#include "kernels/math.h"

namespace waggle::testing_vectors {

inline double Gaussian(Rng& rng) {
  const double u = 1.0 - rng.Unit() * (1.0 - 1e-12);
  return std::sqrt(-2.0 * Log64(u)) * SinCos64(6.283185307179586 * rng.Unit()).cos;
}

inline std::vector<float> GaussianRow(std::size_t width, double gain, Rng& rng) {
  std::vector<float> h(width);
  for (float& x : h) x = static_cast<float>(gain * Gaussian(rng));
  return h;
}

// Every element times 1 + noise * normal.
inline std::vector<float> Shaken(const std::vector<float>& h, double noise, Rng& rng) {
  std::vector<float> out(h.size());
  std::transform(h.begin(), h.end(), out.begin(), [&](float x) {
    return static_cast<float>(static_cast<double>(x) * (1.0 + noise * Gaussian(rng)));
  });
  return out;
}

inline Digest256 DigestFromHex(const std::string& hex) {
  const std::string raw = FromHex(hex).value();
  Digest256 digest{};
  std::copy(raw.begin(), raw.end(), digest.begin());
  return digest;
}

inline Digest256 Filled(std::uint8_t byte) {
  Digest256 digest{};
  digest.fill(byte);
  return digest;
}

// R of the sheet's known answers: 31 zero bytes, then 01.
inline Digest256 SheetRandomness() {
  Digest256 r{};
  r[31] = 1;
  return r;
}

}  // namespace waggle::testing_vectors
