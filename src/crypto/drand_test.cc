#include "crypto/drand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/hex.h"
#include "crypto/bls12_381.h"

namespace waggle {
namespace {

using Raw = std::vector<std::uint8_t>;

Raw FromText(std::string_view hex) {
  const auto bytes = FromHex(hex);
  return bytes ? Raw(bytes->begin(), bytes->end()) : Raw();
}

constexpr const char* kSignature1000 =
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e"
    "39";
constexpr const char* kSignature123 =
    "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc"
    "92";
constexpr const char* kDefaultSeed =
    "176f93498eac9ca337150b46d21dd58673ea4e3581185f869672e59fa4cb390a";
constexpr const char* kDefault1 =
    "8d61d9100567de44682506aea1a7a6fa6e5491cd27a0a0ed349ef6910ac5ac20ff7bc3e09d7c046566c9f7f3c6f3b1"
    "01"
    "04990e7cb424998203d8f7de586fb7fa5f60045417a432684f85093b06ca91c769f0e7ca19268375e659c2a2352b46"
    "55";
constexpr const char* kDefault2 =
    "aa18facd2d51b616511d542de6f9af8a3b920121401dad1434ed1db4a565f10e04fad8d9b2b4e3e0094364374caafe"
    "9b"
    "10478bf75650124831509c638b5a36a7a232ec70289f8751a2adb47fc32eb70b57dc81c39d48cbcac9fec46cdfc316"
    "63";

std::array<std::uint8_t, 8> Number(std::uint64_t round) {
  std::array<std::uint8_t, 8> out{};
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(round >> (56 - 8 * i));
  return out;
}

// Sheet grail.md K1.
TEST(Drand, RoundThousand) {
  const Digest256 message = Sha256(Number(1000));
  EXPECT_EQ(ToHex(message), "f652498d092acd949bad74e40683bf3824fb817980504a0c7e6722cfc5a9c0a3");
  EXPECT_EQ(
      ToHex(bls::EncodeG1(bls::HashToG1(message, "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"))),
      "8f5a32d53837b00fbc0ee31ce9966435a41c5188a80ce9934d3c80588b6ad6f643ebda1b83ef89e44da9ced6205c"
      "decf");
  const auto randomness = VerifyDrandRound(DrandQuicknet(), 1000, FromText(kSignature1000));
  ASSERT_TRUE(randomness.has_value()) << randomness.error().what;
  EXPECT_EQ(ToHex(*randomness), "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd");
  for (const std::uint64_t round : {999, 1001, 0, 1000 * 256}) {
    const auto other = VerifyDrandRound(DrandQuicknet(), round, FromText(kSignature1000));
    ASSERT_FALSE(other.has_value()) << round;
    EXPECT_EQ(other.error().blame, Blame::kPeer);
  }
}

TEST(Drand, RoundTimes) {
  const DrandNetwork& network = DrandQuicknet();
  EXPECT_EQ(DrandRoundAt(network, 1692803366), 0u);
  EXPECT_EQ(DrandRoundAt(network, 1692803367), 1u);
  EXPECT_EQ(DrandRoundAt(network, 1692803369), 1u);
  EXPECT_EQ(DrandRoundAt(network, 1692803370), 2u);
  EXPECT_EQ(DrandRoundAt(network, 1692806364), 1000u);
  EXPECT_EQ(DrandTimeOf(network, 1000), 1692806364);
  EXPECT_EQ(DrandRoundAt(DrandDefault(), DrandTimeOf(DrandDefault(), 77)), 77u);
}

// A chain's hash is that of its period, genesis, key and genesis seed: one wrong digit in any of
// our constants would show.
TEST(Drand, ConstantsHashToTheChain) {
  const auto hash = [](const DrandNetwork& network, const char* seed, std::string_view id) {
    Raw bytes = {0, 0, 0, static_cast<std::uint8_t>(network.period)};
    for (const std::uint8_t byte : Number(static_cast<std::uint64_t>(network.genesis)))
      bytes.push_back(byte);
    for (const Raw& part : {network.public_key, FromText(seed), Raw(id.begin(), id.end())})
      bytes.insert(bytes.end(), part.begin(), part.end());
    return Sha256(bytes);
  };
  EXPECT_EQ(hash(DrandDefault(), kDefaultSeed, ""), DrandDefault().chain_hash);
  EXPECT_EQ(hash(DrandQuicknet(),
                 "f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e", "quicknet"),
            DrandQuicknet().chain_hash);
  EXPECT_EQ(FindDrandNetwork("quicknet"), &DrandQuicknet());
  EXPECT_EQ(FindDrandNetwork(ToHex(DrandDefault().chain_hash)), &DrandDefault());
  EXPECT_EQ(FindDrandNetwork("fastnet"), nullptr);
}

TEST(Drand, AnotherRoundOfQuicknet) {
  const auto randomness = VerifyDrandRound(DrandQuicknet(), 123, FromText(kSignature123));
  ASSERT_TRUE(randomness.has_value()) << randomness.error().what;
  EXPECT_EQ(ToHex(*randomness), "fb8f7bc29bf24db51871ec8c79f3a1e4bd0557bc0dfcee9ed1d924e69d1c60dc");
  EXPECT_FALSE(VerifyDrandRound(DrandQuicknet(), 1000, FromText(kSignature123)).has_value());
}

TEST(Drand, EveryFlippedBitFails) {
  std::set<std::string> reasons;
  for (std::size_t bit = 0; bit < 384; ++bit) {
    Raw signature = FromText(kSignature1000);
    signature[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> (bit % 8));
    const auto randomness = VerifyDrandRound(DrandQuicknet(), 1000, signature);
    ASSERT_FALSE(randomness.has_value()) << bit;
    reasons.insert(randomness.error().what);
  }
  // Not compressed, infinity, past the prime, off the curve, outside the group; the sign's bit
  // alone gives a point that is none of those.
  EXPECT_EQ(reasons.size(), 6u);
}

TEST(Drand, RefusesWhatIsNoPoint) {
  const auto refused = [](Raw signature) {
    const auto randomness = VerifyDrandRound(DrandQuicknet(), 1000, signature);
    return randomness ? "" : randomness.error().what;
  };
  Raw infinity(48, 0);
  infinity[0] = 0xc0;
  EXPECT_THAT(refused(infinity), ::testing::HasSubstr("infinity"));
  Raw prime = FromText(
      "9a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffff"
      "aaab");
  EXPECT_THAT(refused(prime), ::testing::HasSubstr("past the prime"));
  EXPECT_THAT(refused(Raw(48, 0)), ::testing::HasSubstr("compressed"));
  // x = 0 is on the curve (y = 2), but its order is 3 and not r; x = 1 is not on the curve.
  Raw small(48, 0);
  small[0] = 0x80;
  EXPECT_THAT(refused(small), ::testing::HasSubstr("outside the group"));
  small[47] = 1;
  EXPECT_THAT(refused(small), ::testing::HasSubstr("not on the curve"));
  for (const std::size_t length : {0, 47, 49, 96})
    EXPECT_THAT(refused(Raw(length, 0x80)), ::testing::HasSubstr("bytes"));
  EXPECT_FALSE(
      VerifyDrandRound(DrandQuicknet(), 1000, FromText(kSignature1000), FromText(kDefaultSeed))
          .has_value());
}

TEST(Drand, TheChainedNetwork) {
  const auto first =
      VerifyDrandRound(DrandDefault(), 1, FromText(kDefault1), FromText(kDefaultSeed));
  ASSERT_TRUE(first.has_value()) << first.error().what;
  EXPECT_EQ(ToHex(*first), "101297f1ca7dc44ef6088d94ad5fb7ba03455dc33d53ddb412bbc4564ed986ec");
  EXPECT_TRUE(VerifyDrandRound(DrandDefault(), 2, FromText(kDefault2), FromText(kDefault1)));
  EXPECT_FALSE(VerifyDrandRound(DrandDefault(), 2, FromText(kDefault2), FromText(kDefault2)));
  EXPECT_FALSE(VerifyDrandRound(DrandDefault(), 2, FromText(kDefault2)));
  EXPECT_FALSE(VerifyDrandRound(DrandDefault(), 3, FromText(kDefault2), FromText(kDefault1)));
  for (std::size_t bit = 0; bit < 768; bit += 37) {
    Raw signature = FromText(kDefault1);
    signature[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> (bit % 8));
    EXPECT_FALSE(VerifyDrandRound(DrandDefault(), 1, signature, FromText(kDefaultSeed))) << bit;
  }
}

}  // namespace
}  // namespace waggle
