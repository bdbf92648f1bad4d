#include "crypto/ed25519.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace waggle {
namespace {

std::vector<std::uint8_t> FromHexBytes(std::string_view hex) {
  const std::string raw = FromHex(hex).value();
  return {raw.begin(), raw.end()};
}
template <std::size_t N>
std::array<std::uint8_t, N> ArrayOf(std::string_view hex) {
  const auto bytes = FromHexBytes(hex);
  std::array<std::uint8_t, N> array{};
  EXPECT_EQ(bytes.size(), N);
  std::copy_n(bytes.begin(), std::min(N, bytes.size()), array.begin());
  return array;
}

struct Known {
  const char *seed, *public_key, *message, *signature;
};
// RFC 8032, section 7.1: tests 1, 2, 3 and SHA(abc).
constexpr Known kKnown[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b"
     "46bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11"
     "d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc"
     "6594a7c15e9716ed28dc027beceea1ec40a"},
    {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3fee"
     "bbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e"
     "0303dca179c138ac17ad9bef1177331a704"}};

TEST(Ed25519, KnownAnswersOfRfc8032) {
  for (const Known& known : kKnown) {
    const Ed25519Pair pair = Ed25519FromSeed(ArrayOf<32>(known.seed));
    EXPECT_EQ(ToHex(pair.public_key), known.public_key);
    const auto message = FromHexBytes(known.message);
    const Ed25519Signature signature = Ed25519Sign(pair.secret, message);
    EXPECT_EQ(ToHex(signature), known.signature);
    EXPECT_TRUE(Ed25519Verify(pair.public_key, message, signature));
    EXPECT_TRUE(IsEd25519Public(pair.public_key));
  }
}

TEST(Ed25519, EveryFlippedBitIsRefused) {
  const auto key = ArrayOf<32>(kKnown[2].public_key);
  const auto signature = ArrayOf<64>(kKnown[2].signature);
  const auto message = FromHexBytes(kKnown[2].message);
  for (std::size_t bit = 0; bit < 512; ++bit) {
    auto changed = signature;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    EXPECT_FALSE(Ed25519Verify(key, message, changed)) << bit;
  }
  for (std::size_t bit = 0; bit < 256; ++bit) {
    auto changed = key;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    EXPECT_FALSE(Ed25519Verify(changed, message, signature)) << bit;
  }
}

// s + L is the same scalar: an implementation that accepts it gives every signature a twin.
TEST(Ed25519, ASecondSignatureCannotBeMadeFromTheFirst) {
  const auto order =
      ArrayOf<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  auto signature = ArrayOf<64>(kKnown[1].signature);
  unsigned carry = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    carry += unsigned{signature[32 + i]} + order[i];
    signature[32 + i] = static_cast<std::uint8_t>(carry);
    carry >>= 8;
  }
  EXPECT_FALSE(Ed25519Verify(ArrayOf<32>(kKnown[1].public_key), FromHexBytes("72"), signature));
}

TEST(Ed25519, PointsThatAreNoKeys) {
  EXPECT_FALSE(IsEd25519Public(ArrayOf<32>(std::string(64, '0'))));         // order 4
  EXPECT_FALSE(IsEd25519Public(ArrayOf<32>("01" + std::string(62, '0'))));  // the identity
  EXPECT_FALSE(IsEd25519Public(ArrayOf<32>("02" + std::string(62, '0'))));  // not on the curve
  EXPECT_FALSE(IsEd25519Public(ArrayOf<32>(std::string(64, 'f'))));         // not canonical
}

}  // namespace
}  // namespace waggle
