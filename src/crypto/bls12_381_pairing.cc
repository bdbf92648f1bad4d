#include <array>
#include <utility>

#include "crypto/bls12_381.h"

namespace waggle::bls {
namespace {

constexpr std::uint64_t kMinusZ = 0xd201000000010000;  // the curve's parameter z is negative
constexpr int kMinusZTop = 63;

// An element of Fp12 = Fp2[w]/(w^6 - (1 + i)) by its coefficients: the sheet's field, since there
// i = w^6 - 1.
struct Fp12 {
  std::array<Fp2, 6> c{};

  static Fp12 One() { return {{Fp2::Of(1)}}; }
  bool operator==(const Fp12&) const = default;

  Fp12 operator*(const Fp12& o) const {
    std::array<Fp2, 11> product{};
    for (std::size_t i = 0; i < 6; ++i)
      for (std::size_t j = 0; j < 6; ++j) product[i + j] = product[i + j] + c[i] * o.c[j];
    return Folded(product);
  }
  Fp12 Square() const {
    std::array<Fp2, 11> product{};
    for (std::size_t i = 0; i < 6; ++i) {
      product[2 * i] = product[2 * i] + c[i].Square();
      for (std::size_t j = i + 1; j < 6; ++j) {
        const Fp2 cross = c[i] * c[j];
        product[i + j] = product[i + j] + cross + cross;
      }
    }
    return Folded(product);
  }
  // w -> -w, which is the power p^6; the inverse of everything after the easy part below.
  Fp12 Conjugate() const { return {{c[0], -c[1], c[2], -c[3], c[4], -c[5]}}; }

  static Fp12 Folded(const std::array<Fp2, 11>& product) {
    Fp12 out;
    for (std::size_t k = 0; k < 6; ++k)
      out.c[k] = k < 5 ? product[k] + product[k + 6].TimesXi() : product[k];
    return out;
  }
};

// f conj(f) has even powers only: a number of Fp2[v]/(v^3 - (1 + i)), v = w^2, inverted by its
// norm.
Fp12 Inverse(const Fp12& f) {
  const Fp12 norm = f * f.Conjugate();
  const Fp2 &a = norm.c[0], &b = norm.c[2], &c = norm.c[4];
  const Fp2 ta = a.Square() - (b * c).TimesXi(), tb = c.Square().TimesXi() - a * b,
            tc = b.Square() - a * c;
  const Fp2 inverse = (a * ta + (c * tb + b * tc).TimesXi()).Inverse();
  return f.Conjugate() * Fp12{{ta * inverse, Fp2(), tb * inverse, Fp2(), tc * inverse, Fp2()}};
}

// The power p: conjugate the coefficients, and w^p = w (1 + i)^((p-1)/6).
Fp12 Frobenius(const Fp12& f) {
  static const std::array<Fp2, 6> powers = [] {
    Limbs exponent{};  // (p - 1)/6
    Wide rest = 0;
    for (std::size_t i = 6; i-- > 0;) {
      rest = (rest << 64) | (i == 0 ? kPrime[0] - 1 : kPrime[i]);
      exponent[i] = static_cast<std::uint64_t>(rest / 6);
      rest %= 6;
    }
    const Fp2 one = Fp2::Of(1), step = one.TimesXi().Power(exponent);
    std::array<Fp2, 6> out{one};
    for (std::size_t k = 1; k < 6; ++k) out[k] = out[k - 1] * step;
    return out;
  }();
  Fp12 out;
  for (std::size_t k = 0; k < 6; ++k) out.c[k] = f.c[k].Conjugate() * powers[k];
  return out;
}

// f^-z, then f^z for f whose inverse is its conjugate.
Fp12 PowerMinusZ(const Fp12& f) {
  Fp12 out = f;
  for (int bit = kMinusZTop; bit-- > 0;) {
    out = out.Square();
    if ((kMinusZ >> bit) & 1) out = out * f;
  }
  return out;
}
Fp12 PowerZ(const Fp12& f) { return PowerMinusZ(f).Conjugate(); }

// Whether f^((p^12 - 1)/r) = 1. The last step takes three times the exponent (a third of it has no
// short form): 3 (p^4 - p^2 + 1)/r = (z - 1)^2 (z + p) (z^2 + p^2 - 1) + 3, and 3 does not divide
// r.
bool PowersToOne(const Fp12& f) {
  Fp12 e = f.Conjugate() * Inverse(f);                              // p^6 - 1
  e = Frobenius(Frobenius(e)) * e;                                  // p^2 + 1
  Fp12 t = PowerZ(e) * e.Conjugate();                               // z - 1
  t = PowerZ(t) * t.Conjugate();                                    // once more
  t = PowerZ(t) * Frobenius(t);                                     // z + p
  t = PowerZ(PowerZ(t)) * Frobenius(Frobenius(t)) * t.Conjugate();  // z^2 + p^2 - 1
  return t * e.Square() * e == Fp12::One();
}

// One side of the product: P, Q and the running multiple of Q.
struct Pair {
  G1 p;
  G2 q, t;

  // The line through T with this slope (of the twist), at P, times w^3, which the final power takes
  // to 1. Then T becomes the line's third point with our curve, mirrored.
  Fp12 Step(const Fp2& slope, const Fp2& other_x) {
    Fp12 line;
    line.c[0] = t.y - slope * t.x;
    line.c[2] = slope * p.x;
    line.c[3] = {-p.y, Fp()};
    const Fp2 x = slope.Square() - t.x - other_x;
    t.y = slope * (t.x - x) - t.y;
    t.x = x;
    return line;
  }
  Fp12 Double() {
    const Fp2 square = t.x.Square();
    return Step((square + square + square) * (t.y + t.y).Inverse(), t.x);
  }
  Fp12 Add() { return Step((t.y - q.y) * (t.x - q.x).Inverse(), q.x); }
};

}  // namespace

bool PairingsEqual(const G1& a, const G2& b, const G1& c, const G2& d) {
  // e(a, b) e(-c, d) = 1. Neither slope is ever undefined: the multiples of a point of order r,
  // from 2 to -z, are neither infinity nor the point again.
  std::array<Pair, 2> pairs = {Pair{a, b, b}, Pair{{c.x, -c.y, c.infinity}, d, d}};
  const auto factor = [](const Pair& pair) { return !pair.p.infinity && !pair.q.infinity; };
  Fp12 f = Fp12::One();
  for (int bit = kMinusZTop; bit-- > 0;) {
    f = f.Square();
    for (Pair& pair : pairs)
      if (factor(pair)) f = f * pair.Double();
    for (Pair& pair : pairs)
      if (factor(pair) && ((kMinusZ >> bit) & 1)) f = f * pair.Add();
  }
  return PowersToOne(f);
}

}  // namespace waggle::bls
