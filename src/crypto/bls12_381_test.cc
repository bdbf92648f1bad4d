#include "crypto/bls12_381.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "base/hex.h"

namespace waggle::bls {
namespace {

constexpr std::string_view kTag = "waggle test";

Fp Any() {
  std::array<std::uint8_t, 64> bytes{};
  for (auto& byte : bytes) byte = *rc::gen::arbitrary<std::uint8_t>();
  return Fp::Reduce(bytes);
}

RC_GTEST_PROP(Fields, Laws, ()) {
  const Fp2 a{Any(), Any()}, b{Any(), Any()}, c{Any(), Any()}, one = Fp2::Of(1);
  RC_ASSERT(a * (b + c) == a * b + a * c);
  RC_ASSERT((a * b) * c == a * (b * c));
  RC_ASSERT(a.Square() == a * a);
  RC_ASSERT(a - a == Fp2() && -a + a == Fp2());
  RC_ASSERT(a.IsZero() || a * a.Inverse() == one);
  RC_ASSERT(a.TimesXi() == a * Fp2({Fp::Of(1), Fp::Of(1)}));
  RC_ASSERT(a.Square().Root().has_value());
  const auto root = a.Square().Root();
  RC_ASSERT(*root == a || *root == -a);
  RC_ASSERT(a.IsZero() || a.IsLarger() != (-a).IsLarger());
  RC_ASSERT(Fp::Decode(a.a.Encode()) == a.a);
}

TEST(Fields, Edges) {
  EXPECT_EQ(Fp().Inverse(), Fp());
  EXPECT_TRUE((Fp::Of(5) - Fp::Of(5)).IsZero());
  EXPECT_TRUE((-Fp()).IsZero());
  EXPECT_FALSE((-Fp::Of(1)).Root().has_value());  // -1 is no square, as p = 3 modulo 4
  EXPECT_TRUE((-Fp2::Of(1)).Root().has_value());
  std::array<std::uint8_t, 48> all_ones;
  all_ones.fill(0xff);
  EXPECT_FALSE(Fp::Decode(all_ones).has_value());
  EXPECT_EQ(ToHex((-Fp::Of(1)).Encode()),
            "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feff"
            "ffffffaaaa");
}

TEST(Points, GeneratorsAreEncodedAsTheyAreKnown) {
  EXPECT_EQ(ToHex(EncodeG1(GeneratorG1())),
            "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af0"
            "0adb22c6bb");
  EXPECT_EQ(DecodeG1(EncodeG1(GeneratorG1())).value(), GeneratorG1());
  EXPECT_EQ(DecodeG2(EncodeG2(GeneratorG2())).value(), GeneratorG2());
}

// e(a P, b Q) = e(ab P, Q) = e(P, ab Q), and nothing else is equal.
TEST(Pairing, IsBilinear) {
  for (std::uint64_t i = 1; i <= 12; ++i) {
    const std::uint64_t a = i * 0x9e3779b1 % 0x7fffffff, b = i * 0x85ebca6b % 0x7fffffff;
    const std::array<std::uint64_t, 1> sa = {a}, sb = {b}, sab = {a * b}, off = {a * b + 1};
    const auto seed = static_cast<std::uint8_t>(i);
    const G1 p = HashToG1(std::span(&seed, 1), kTag);
    const G2 q = HashToG2(std::span(&seed, 1), kTag);
    EXPECT_TRUE(PairingsEqual(Times(p, sa), Times(q, sb), Times(p, sab), q));
    EXPECT_TRUE(PairingsEqual(p, Times(q, sab), Times(p, sab), q));
    EXPECT_FALSE(PairingsEqual(Times(p, sa), Times(q, sb), Times(p, off), q));
    EXPECT_TRUE(PairingsEqual({}, q, p, {}));
    EXPECT_FALSE(PairingsEqual({}, q, p, q));
  }
}

TEST(Hashing, LandsInTheGroups) {
  for (std::uint8_t i = 0; i < 8; ++i) {
    const G1 p = HashToG1(std::span(&i, 1), kTag);
    const G2 q = HashToG2(std::span(&i, 1), kTag);
    EXPECT_EQ(DecodeG1(EncodeG1(p)).value(), p);
    EXPECT_EQ(DecodeG2(EncodeG2(q)).value(), q);
    EXPECT_NE(p, HashToG1(std::span(&i, 1), "another tag"));
  }
}

// RFC 9380 J.9.1 and J.10.1: the empty message.
TEST(Hashing, KnownAnswers) {
  const G1 p = HashToG1({}, "QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_");
  EXPECT_EQ(
      ToHex(p.x.Encode()),
      "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b"
      "759e79a1");
  EXPECT_EQ(
      ToHex(p.y.Encode()),
      "08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0"
      "c9c6a265");
  const G2 q = HashToG2({}, "QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_");
  EXPECT_EQ(
      ToHex(q.x.a.Encode()),
      "0141ebfbdca40eb85b87142e130ab689c673cf60f1a3e98d69335266f30d9b8d4ac44c1038e9dcdd5393faf5"
      "c41fb78a");
  EXPECT_EQ(
      ToHex(q.y.a.Encode()),
      "0503921d7f6a12805e72940b963c0cf3471c7b2a524950ca195d11062ee75ec076daf2d4bc358c4b190c0c98"
      "064fdd92");
}

}  // namespace
}  // namespace waggle::bls
