#include "crypto/identity.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "crypto/bech32.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

std::span<const std::uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
KeyPair SomeKey(std::uint8_t fill = 7) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(fill);
  return KeyPair::FromSeed(seed);
}

TEST(Identity, AddressesReadBack) {
  const NodeId id = SomeKey().id();
  const std::string text = ToText(id);
  EXPECT_EQ(text, "wgl1af9xcclzn3fq40h42pa3xtk9lx25wa4wh6l8hyjzrm4xj9zx6gkqd75d42");
  EXPECT_EQ(text.size(), 62u);
  EXPECT_EQ(ParseNodeId(text).value(), id);
  std::string shouted = text;
  for (char& c : shouted) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_EQ(ParseNodeId(" " + shouted + "\n").value(), id);
}

TEST(Identity, AddressesThatAreNone) {
  EXPECT_NE(ParseNodeId("hello").error().what.find("wgl1"), std::string::npos);
  const std::string no_key = Bech32mText("wgl", std::array<std::uint8_t, 32>{});
  EXPECT_NE(ParseNodeId(no_key).error().what.find("no public key"), std::string::npos);
  EXPECT_EQ(ParseNodeId(no_key).error().blame, Blame::kOperator);
}

// What is signed, spelled out: any library can check it.
TEST(Identity, SignaturesAreOverTheDomainAndTheMessage) {
  const KeyPair key = SomeKey();
  const Signature signature = key.Sign("WGL-TEST-1", AsBytes("hello"));
  const Digest256 digest = Sha256(AsBytes("\x0aWGL-TEST-1hello"));
  EXPECT_TRUE(Ed25519Verify(key.id().value, digest, signature));
  EXPECT_TRUE(Verify(key.id(), "WGL-TEST-1", AsBytes("hello"), signature));
  EXPECT_EQ(ToHex(signature), ToHex(key.Sign("WGL-TEST-1", AsBytes("hello"))));  // no randomness
}

TEST(Identity, ASignatureHasOnePurposeOneSignerAndOneMessage) {
  const KeyPair key = SomeKey();
  const Signature signature = key.Sign("WGL-TEST-1", AsBytes("hello"));
  EXPECT_FALSE(Verify(key.id(), "WGL-TEST-2", AsBytes("hello"), signature));
  EXPECT_FALSE(Verify(key.id(), "WGL-TEST-1", AsBytes("hellp"), signature));
  EXPECT_FALSE(Verify(SomeKey(8).id(), "WGL-TEST-1", AsBytes("hello"), signature));
  // A character cannot wander from the message into the domain.
  EXPECT_FALSE(Verify(key.id(), "WGL-TEST-1h", AsBytes("ello"), signature));
}

TEST(Identity, GeneratedKeysDiffer) {
  EXPECT_NE(KeyPair::Generate().id(), KeyPair::Generate().id());
}

TEST(Identity, ABackupLineBringsTheKeyBack) {
  const KeyPair key = SomeKey();
  const SecretText line = BackupLine(key);
  const std::string text(View(line));
  EXPECT_EQ(text.substr(0, 17), "wglkey1 qurs wpc8");
  EXPECT_EQ(text.size(), 65u + 15u);
  EXPECT_EQ(FromBackupLine(text).value().id(), key.id());
  EXPECT_EQ(FromBackupLine("\n" + text + "  \r\n").value().id(), key.id());
}

TEST(Identity, ABadBackupLineIsRefusedAndNeverQuoted) {
  const SecretText line = BackupLine(SomeKey());
  const std::string text(View(line));
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ') continue;
    std::string changed = text;
    changed[i] = changed[i] == 'q' ? 'p' : 'q';
    const auto key = FromBackupLine(changed);
    ASSERT_FALSE(key.has_value()) << i;
    EXPECT_EQ(key.error().what.find(text.substr(8, 4)), std::string::npos);
  }
  EXPECT_NE(FromBackupLine(text.substr(0, 40)).error().what.find("cut off"), std::string::npos);
  EXPECT_FALSE(FromBackupLine(std::string(100000, ' ')).has_value());
  EXPECT_FALSE(FromBackupLine(ToText(SomeKey().id())).has_value());  // an address is no secret
}

}  // namespace
}  // namespace waggle
