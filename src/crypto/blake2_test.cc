#include "crypto/blake2.h"

#include <gtest/gtest.h>

#include <array>

#include "base/hex.h"

namespace waggle {
namespace {

TEST(Blake2b, KnownAnswers) {
  EXPECT_EQ(ToHex(Blake2b256({})),
            "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(ToHex(Blake2b256(std::array<std::uint8_t, 3>{'a', 'b', 'c'})),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

}  // namespace
}  // namespace waggle
