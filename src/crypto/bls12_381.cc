#include "crypto/bls12_381.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "crypto/hash.h"

namespace waggle::bls {
namespace {

// Order of the groups: z^4 - z^2 + 1.
constexpr std::array<std::uint64_t, 4> kOrder = {0xffffffff00000001, 0x53bda402fffe5bfe,
                                                 0x3339d80809a1d805, 0x73eda753299d7d48};

Fp CurveB(const Fp*) { return Fp::Of(4); }
Fp2 CurveB(const Fp2*) { return Fp2::Of(4).TimesXi(); }

template <class F>
F Cube(const F& x) {
  return x.Square() * x;
}
template <class F>
F Twice(const F& x) {
  return x + x;
}

// (x/z^2, y/z^3); z = 0 is infinity.
template <class F>
struct Jacobian {
  F x, y, z;

  static Jacobian From(const Point<F>& p) {
    return p.infinity ? Jacobian{} : Jacobian{p.x, p.y, F::Of(1)};
  }
  Point<F> Affine() const {
    if (z.IsZero()) return {};
    const F inverse = z.Inverse(), square = inverse.Square();
    return {x * square, y * square * inverse, false};
  }
  Jacobian Double() const {
    const F a = x.Square(), b = y.Square(), c = b.Square();
    const F d = Twice((x + b).Square() - a - c), e = Twice(a) + a;
    const F x3 = e.Square() - Twice(d);
    return {x3, e * (d - x3) - Twice(Twice(Twice(c))), Twice(y * z)};
  }
  Jacobian operator+(const Jacobian& o) const {
    if (z.IsZero()) return o;
    if (o.z.IsZero()) return *this;
    const F zz = z.Square(), ozz = o.z.Square();
    const F u = x * ozz, h = o.x * zz - u;
    const F s = y * ozz * o.z, r = o.y * zz * z - s;
    if (h.IsZero()) return r.IsZero() ? Double() : Jacobian{};
    const F hh = h.Square(), hhh = hh * h, v = u * hh;
    const F x3 = r.Square() - hhh - Twice(v);
    return {x3, r * (v - x3) - s * hhh, z * o.z * h};
  }
};

template <class F>
Jacobian<F> Multiply(const Jacobian<F>& point, std::span<const std::uint64_t> scalar) {
  Jacobian<F> sum{};
  for (std::size_t bit = scalar.size() * 64; bit-- > 0;) {
    sum = sum.Double();
    if ((scalar[bit / 64] >> (bit % 64)) & 1) sum = sum + point;
  }
  return sum;
}

template <class F>
bool InSubgroup(const Point<F>& point) {
  return Multiply(Jacobian<F>::From(point), kOrder).z.IsZero();
}

// The flags off the first byte, and the rest of the bytes.
template <std::size_t kBytes>
Result<std::array<std::uint8_t, kBytes>> WithoutFlags(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != kBytes)
    return Fail(Blame::kPeer, "a point of {} bytes, not {}", bytes.size(), kBytes);
  if ((bytes[0] & 0x80) == 0) return Fail(Blame::kPeer, "a point that is not compressed");
  if ((bytes[0] & 0x40) != 0) return Fail(Blame::kPeer, "the point at infinity");
  std::array<std::uint8_t, kBytes> out{};
  std::copy(bytes.begin(), bytes.end(), out.begin());
  out[0] &= 0x1f;
  return out;
}

template <class F>
Result<Point<F>> FromX(const F& x, bool larger) {
  const auto root = (Cube(x) + CurveB(static_cast<const F*>(nullptr))).Root();
  if (!root) return Fail(Blame::kPeer, "a point that is not on the curve");
  const Point<F> point{x, root->IsLarger() == larger ? *root : -*root, false};
  if (!InSubgroup(point)) return Fail(Blame::kPeer, "a point outside the group of order r");
  return point;
}

// expand_message_xmd of RFC 9380 with SHA-256.
std::vector<std::uint8_t> Expand(std::span<const std::uint8_t> message, std::string_view tag,
                                 std::size_t length) {
  Check(tag.size() <= 255 && length <= 255 * 32, "a domain tag and a length that XMD can take");
  std::vector<std::uint8_t> domain(tag.begin(), tag.end());
  domain.push_back(static_cast<std::uint8_t>(tag.size()));
  const std::array<std::uint8_t, 64> zeros{};
  const std::array<std::uint8_t, 3> head = {static_cast<std::uint8_t>(length >> 8),
                                            static_cast<std::uint8_t>(length), 0};
  const Digest256 first =
      Sha256Hasher().Update(zeros).Update(message).Update(head).Update(domain).Finish();
  std::vector<std::uint8_t> out;
  Digest256 block{};
  for (std::uint8_t j = 1; out.size() < length; ++j) {
    for (std::size_t i = 0; i < block.size(); ++i) block[i] ^= first[i];
    const std::array<std::uint8_t, 1> number = {j};
    block = Sha256Hasher().Update(block).Update(number).Update(domain).Finish();
    out.insert(out.end(), block.begin(), block.end());
  }
  out.resize(length);
  return out;
}

// The curve E': y^2 = x^3 + A x + B on which SSWU works, and the isogeny from it to ours: the
// coefficients of its kernel polynomial h from the lowest, the leading 1 left out. Its degree is
// odd, 2 deg h + 1.
template <class F>
struct Simplified {
  F a, b, z;
  std::vector<F> kernel;
  std::vector<std::uint64_t> cofactor;  // clears the cofactor (h_eff of RFC 9380)
  bool mirrored = false;                // the RFC's isogeny is the negative of Kohel's
};

const Simplified<Fp>& SimplifiedOf(const Fp*) {
  static const Simplified<Fp> curve = {
      Fp::Constant("144698a3b8e9433d693a02c96d4982b0ea985383ee66a8d8e8981aefd881ac98936f8da0e0f97f5"
                   "cf428082d584c1d"),
      Fp::Constant("12e2908d11688030018b12e8753eee3b2016c1f0f24f4070a0b9c14fcef35ef55a23215a316ceaa"
                   "5d1cc48e98e172be0"),
      Fp::Of(11),
      {Fp::Constant("133341fb0962a34cb0504a9c4fada0a5090d38679b4c040d5d1c3afb023a3409fcc0815fea66d8"
                    "b02bbef9c8b5a66e07"),
       Fp::Constant("0264908af037bcede00d054cf5d4775e83eb6cf63c76b969f8ed174fb59fcff78d201f46f6cfc4"
                    "ed6552e59ce75177b0"),
       Fp::Constant("1335c502c1f54c49aceea65e87fd7203ba0f626f305fc0cfd606a5dae9f3c8e81a4b3b69600129"
                    "fabd307c69bf319d39"),
       Fp::Constant("094440f65f408a6e930e16e3e92dd17bf60d6e9679a8d3d58593de55ac23703042d609537eb354"
                    "9aac234d896ca82944"),
       Fp::Constant("04afe09d5cf4956a23b6b71f59d2b3407b415a774b7be81bbb6fa99cbc798e0ac98ba725a5bc32"
                    "8016b1c268b4766e85")},
      {0xd201000000010001}};  // 1 - z
  return curve;
}

const Simplified<Fp2>& SimplifiedOf(const Fp2*) {
  static const Simplified<Fp2> curve = {
      {Fp(), Fp::Of(240)},
      {Fp::Of(1012), Fp::Of(1012)},
      {-Fp::Of(2), -Fp::Of(1)},
      {{Fp::Of(6), -Fp::Of(6)}},
      // (3 z^2 - 3) times the cofactor of G2
      {0xe8020005aaa95551, 0x59894c0adebbf6b4, 0xe954cbc06689f6a3, 0x2ec0ec69d7477c1a,
       0x6d82bf015d1212b0, 0x329c2f178731db95, 0x9986ff031508ffe1, 0x88e2a8e9145ad768,
       0x584c6a0ea91b3528, 0x0bc69f08f2ee75b3},
      /*mirrored=*/true};
  return curve;
}

// h and its first three derivatives at x.
template <class F>
std::array<F, 4> Derivatives(const std::vector<F>& kernel, const F& x) {
  std::array<F, 4> d{F::Of(1)};  // of Taylor: divided by factorials
  for (std::size_t i = kernel.size(); i-- > 0;) {
    for (std::size_t k = 3; k > 0; --k) d[k] = d[k] * x + d[k - 1];
    d[0] = d[0] * x + kernel[i];
  }
  return {d[0], d[1], Twice(d[2]), d[3] * F::Of(6)};
}

// Sheet grail.md 1.2, step (3): X = F/(l h)^2, Y = y (F' h - 2 F h')/(l h)^3, where the degree l is
// 11 for G1 and 3 for G2.
template <class F>
Jacobian<F> Isogeny(const Simplified<F>& curve, const F& x, const F& y) {
  const auto [h, h1, h2, h3] = Derivatives(curve.kernel, x);
  const F two = F::Of(2), four = F::Of(4);
  const F degree = F::Of(2 * curve.kernel.size() + 1);
  const F g = Cube(x) + curve.a * x + curve.b, g1 = F::Of(3) * x.Square() + curve.a,
          g2 = F::Of(6) * x;
  const F hh = h.Square(), inner = h1.Square() - h * h2;
  const F line = degree * x + two * curve.kernel.back();
  const F f = four * g * inner - two * g1 * h * h1 + line * hh;
  const F f1 = four * g1 * inner + four * g * (h1 * h2 - h * h3) - two * g2 * h * h1 -
               two * g1 * (h1.Square() + h * h2) + degree * hh + two * line * h * h1;
  const F y3 = y * (f1 * h - two * f * h1);
  return {f, curve.mirrored ? -y3 : y3, degree * h};  // h = 0: infinity
}

template <class F>
Jacobian<F> MapToCurve(const F& u) {
  const Simplified<F>& curve = SimplifiedOf(static_cast<const F*>(nullptr));
  const F zuu = curve.z * u.Square(), t = zuu.Square() + zuu;
  F x = t.IsZero() ? curve.b * (curve.z * curve.a).Inverse()
                   : -(curve.b * curve.a.Inverse()) * (F::Of(1) + t.Inverse());
  const auto g = [&curve](const F& at) { return Cube(at) + curve.a * at + curve.b; };
  auto root = g(x).Root();
  if (!root) {
    x = zuu * x;
    root = g(x).Root();
  }
  Check(root.has_value(), "one of SSWU's two candidates is on the curve");
  return Isogeny(curve, x, root->IsOdd() == u.IsOdd() ? *root : -*root);
}

template <class F>
Point<F> Hash(std::span<const F, 2> u) {
  const Simplified<F>& curve = SimplifiedOf(static_cast<const F*>(nullptr));
  return Multiply(MapToCurve(u[0]) + MapToCurve(u[1]), curve.cofactor).Affine();
}

}  // namespace

Result<G1> DecodeG1(std::span<const std::uint8_t> bytes) {
  WG_ASSIGN(const auto plain, WithoutFlags<kG1Bytes>(bytes));
  const auto x = Fp::Decode(plain);
  if (!x) return Fail(Blame::kPeer, "a coordinate past the prime of the field");
  return FromX(*x, (bytes[0] & 0x20) != 0);
}

Result<G2> DecodeG2(std::span<const std::uint8_t> bytes) {
  WG_ASSIGN(const auto plain, WithoutFlags<kG2Bytes>(bytes));
  const std::span<const std::uint8_t, kG2Bytes> both(plain);
  const auto imaginary = Fp::Decode(both.first<48>()), real = Fp::Decode(both.last<48>());
  if (!imaginary || !real) return Fail(Blame::kPeer, "a coordinate past the prime of the field");
  return FromX(Fp2{*real, *imaginary}, (bytes[0] & 0x20) != 0);
}

std::array<std::uint8_t, kG1Bytes> EncodeG1(const G1& point) {
  Check(!point.infinity, "infinity is never written");
  std::array<std::uint8_t, kG1Bytes> out = point.x.Encode();
  out[0] |= point.y.IsLarger() ? 0xa0 : 0x80;
  return out;
}

std::array<std::uint8_t, kG2Bytes> EncodeG2(const G2& point) {
  Check(!point.infinity, "infinity is never written");
  std::array<std::uint8_t, kG2Bytes> out{};
  std::ranges::copy(point.x.b.Encode(), out.begin());
  std::ranges::copy(point.x.a.Encode(), out.begin() + 48);
  out[0] |= point.y.IsLarger() ? 0xa0 : 0x80;
  return out;
}

const G1& GeneratorG1() {
  static const G1 point = {
      Fp::Constant("17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1ae"
                   "ffb3af00adb22c6bb"),
      Fp::Constant("08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae"
                   "40caa232946c5e7e1"),
      false};
  return point;
}

const G2& GeneratorG2() {
  static const G2 point = {
      {Fp::Constant("024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bb"
                    "efd48056c8c121bdb8"),
       Fp::Constant("13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d"
                    "57e5ac7d055d042b7e")},
      {Fp::Constant("0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca2"
                    "89e193548608b82801"),
       Fp::Constant("0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1d"
                    "a1aaa9075ff05f79be")},
      false};
  return point;
}

G1 HashToG1(std::span<const std::uint8_t> message, std::string_view tag) {
  const std::vector<std::uint8_t> bytes = Expand(message, tag, 128);
  const std::span<const std::uint8_t, 128> all(bytes);
  const std::array<Fp, 2> u = {Fp::Reduce(all.first<64>()), Fp::Reduce(all.last<64>())};
  return Hash<Fp>(u);
}

G2 HashToG2(std::span<const std::uint8_t> message, std::string_view tag) {
  const std::vector<std::uint8_t> bytes = Expand(message, tag, 256);
  const std::span<const std::uint8_t, 256> all(bytes);
  const std::array<Fp2, 2> u = {
      Fp2{Fp::Reduce(all.subspan<0, 64>()), Fp::Reduce(all.subspan<64, 64>())},
      Fp2{Fp::Reduce(all.subspan<128, 64>()), Fp::Reduce(all.subspan<192, 64>())}};
  return Hash<Fp2>(u);
}

G1 Times(const G1& point, std::span<const std::uint64_t> scalar) {
  return Multiply(Jacobian<Fp>::From(point), scalar).Affine();
}
G2 Times(const G2& point, std::span<const std::uint64_t> scalar) {
  return Multiply(Jacobian<Fp2>::From(point), scalar).Affine();
}

}  // namespace waggle::bls
