#include "crypto/vrf.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/hex.h"

namespace waggle {
namespace {

using Raw = std::vector<std::uint8_t>;

Raw FromText(std::string_view hex) {
  const auto bytes = FromHex(hex);
  return bytes ? Raw(bytes->begin(), bytes->end()) : Raw();
}

Ed25519Pair PairOf(std::string_view hex) {
  const Raw seed = FromText(hex);
  return Ed25519FromSeed(std::span<const std::uint8_t, 32>(seed));
}

struct Known {
  const char *seed, *alpha, *pi, *beta;
};
// Sheet gradient.md 9.1 (the first); RFC 9381 B.3 (all).
constexpr Known kKnown[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
     "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479"
     "d97"
     "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
     "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af02"
     "679"
     "8e8f81cd2e333de5cdf4f3e140fdd8ae"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
     "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a"
     "465"
     "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
     "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a"
     "848"
     "a0bef4553a41befc57663b56373a5031"},
};

TEST(Vrf, KnownAnswers) {
  for (const Known& known : kKnown) {
    const Ed25519Pair pair = PairOf(known.seed);
    const Raw alpha = FromText(known.alpha);
    const VrfProof proof = VrfProve(pair.secret, alpha);
    EXPECT_EQ(ToHex(proof), known.pi);
    const auto beta = VrfVerify(pair.public_key, alpha, proof);
    ASSERT_TRUE(beta.has_value()) << beta.error().what;
    EXPECT_EQ(ToHex(*beta), known.beta);
  }
}

TEST(Vrf, EveryFlippedBitFails) {
  const Ed25519Pair pair = PairOf(kKnown[0].seed);
  const Raw alpha = {1, 2, 3};
  const VrfProof proof = VrfProve(pair.secret, alpha);
  ASSERT_TRUE(VrfVerify(pair.public_key, alpha, proof).has_value());
  for (std::size_t bit = 0; bit < 640; ++bit) {
    VrfProof other = proof;
    other[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(VrfVerify(pair.public_key, alpha, other).has_value()) << bit;
  }
  for (std::size_t bit = 0; bit < 24; ++bit) {
    Raw other = alpha;
    other[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(VrfVerify(pair.public_key, other, proof).has_value()) << bit;
  }
  EXPECT_FALSE(VrfVerify(PairOf(kKnown[1].seed).public_key, alpha, proof).has_value());
}

// A proof has one form: s + L, a point of small order added to Gamma, and keys that are none.
TEST(Vrf, RefusesOtherFormsOfAProof) {
  const Ed25519Pair pair = PairOf(kKnown[0].seed);
  const VrfProof proof = VrfProve(pair.secret, {});
  const Raw order = FromText("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  VrfProof larger = proof;
  int carry = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    carry += larger[48 + i] + order[i];
    larger[48 + i] = static_cast<std::uint8_t>(carry);
    carry >>= 8;
  }
  EXPECT_FALSE(VrfVerify(pair.public_key, {}, larger).has_value());
  // (0, -1), of order two.
  Raw two = FromText("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
  VrfProof moved = proof;
  ASSERT_EQ(crypto_core_ed25519_add(moved.data(), moved.data(), two.data()), 0);
  EXPECT_FALSE(VrfVerify(pair.public_key, {}, moved).has_value());
  Ed25519Public small{};
  std::copy(two.begin(), two.end(), small.begin());
  EXPECT_FALSE(VrfVerify(small, {}, proof).has_value());
  EXPECT_FALSE(VrfVerify(Ed25519Public{}, {}, proof).has_value());
}

// Many messages: the tries go past the first (half of all hashes are no points), and no two outputs
// are alike.
TEST(Vrf, ManyMessages) {
  const Ed25519Pair pair = PairOf(kKnown[1].seed);
  std::set<std::string> outputs;
  for (int i = 0; i < 200; ++i) {
    const Raw alpha = {static_cast<std::uint8_t>(i), 7};
    const auto beta = VrfVerify(pair.public_key, alpha, VrfProve(pair.secret, alpha));
    ASSERT_TRUE(beta.has_value());
    outputs.insert(ToHex(*beta));
  }
  EXPECT_EQ(outputs.size(), 200u);
}

}  // namespace
}  // namespace waggle
