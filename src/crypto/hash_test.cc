#include "crypto/hash.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <string>
#include <vector>

#include "base/hex.h"
#include "base/philox.h"
#include "crypto/sha256_blocks.h"

namespace waggle {
namespace {

std::string HashOf(const std::string& text) {
  return ToHex(Sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
}

// FIPS 180-4 examples.
TEST(Sha256Test, KnownAnswers) {
  EXPECT_EQ(HashOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HashOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HashOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HashOf(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

std::vector<std::uint8_t> RandomBytes(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::uint8_t> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(rng.NextU32());
  return bytes;
}

// Whatever runs the blocks here, it is libsodium's hash: every length, alignment and cut.
TEST(Sha256Test, EqualsLibsodium) {
  const auto bytes = RandomBytes(4096, 1);
  Rng rng(2);
  for (std::size_t size = 0; size < 700; ++size) {
    const std::size_t skip = rng.Below(64);
    const auto part = std::span(bytes).subspan(skip, size);
    Digest256 expected;
    crypto_hash_sha256(expected.data(), part.data(), part.size());
    ASSERT_EQ(Sha256(part), expected)
        << size << " bytes, processor has SHA instructions: " << (Sha256Blocks() != nullptr);
    Sha256Hasher cut;
    for (std::size_t at = 0; at < size;) {
      const std::size_t step = std::min<std::size_t>(1 + rng.Below(300), size - at);
      cut.Update(part.subspan(at, step));
      at += step;
    }
    ASSERT_EQ(cut.Finish(), expected) << size;
  }
}

TEST(Sha256Test, ACopyBranches) {
  const auto bytes = RandomBytes(1000, 3);
  Sha256Hasher one;
  one.Update(std::span(bytes).first(300));
  Sha256Hasher two = one;
  one.Update(std::span(bytes).subspan(300));
  EXPECT_EQ(one.Finish(), Sha256(bytes));
  EXPECT_EQ(two.Finish(), Sha256(std::span(bytes).first(300)));
}

}  // namespace
}  // namespace waggle
