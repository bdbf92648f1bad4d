#include "crypto/identity.h"

#include <sodium.h>

#include <algorithm>

#include "base/check.h"
#include "crypto/bech32.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

constexpr std::size_t kDomainBytesMax = 32;
constexpr std::size_t kLineCharactersMax = 256;  // a backup line with its spaces

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

Digest256 SignedDigest(std::string_view domain, std::span<const std::uint8_t> message) {
  Check(!domain.empty() && domain.size() <= kDomainBytesMax, "a signature has a purpose");
  const std::uint8_t length = static_cast<std::uint8_t>(domain.size());
  return Sha256Hasher()
      .Update(std::span(&length, 1))
      .Update(std::as_bytes(std::span(domain)))
      .Update(message)
      .Finish();
}

}  // namespace

std::string ToText(const NodeId& id) { return Bech32mText(kAddressPrefix, id.value); }

Result<NodeId> ParseNodeId(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  NodeId id;
  if (const Status read = Bech32mDecode(text, kAddressPrefix, id.value); !read)
    return Fail(Blame::kOperator, "not the address of a node: {}", read.error().what);
  if (!IsEd25519Public(id.value))
    return Fail(Blame::kOperator, "not the address of a node: these bytes are no public key");
  return id;
}

KeyPair KeyPair::Generate() {
  SecretBytes seed(crypto_sign_SEEDBYTES);
  randombytes_buf(seed.data(), seed.size());
  return FromSeed(std::span(seed).first<32>());
}

KeyPair KeyPair::FromSeed(std::span<const std::uint8_t, 32> seed) {
  return KeyPair(Ed25519FromSeed(seed));
}

Signature KeyPair::Sign(std::string_view domain, std::span<const std::uint8_t> message) const {
  return Ed25519Sign(secret_, SignedDigest(domain, message));
}

std::span<const std::uint8_t, 32> KeyPair::seed() const {
  Check(!secret_.empty(), "a key that was moved away is not asked");
  return std::span(secret_).first<32>();
}

bool KeyPair::Holds(const NodeId& signer, std::string_view domain,
                    std::span<const std::uint8_t> message, const Signature& signature) const {
  return Verify(signer, domain, message, signature);
}

bool Verify(const NodeId& signer, std::string_view domain, std::span<const std::uint8_t> message,
            const Signature& signature) {
  return Ed25519Verify(signer.value, SignedDigest(domain, message), signature);
}

SecretText BackupLine(const KeyPair& key) {
  SecretText text(Bech32mLength(kBackupPrefix, key.seed().size()));
  Bech32mEncode(kBackupPrefix, key.seed(), text);
  SecretText line;
  line.reserve(text.size() * 5 / 4 + 1);
  const std::size_t head = kBackupPrefix.size() + 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i >= head && (i - head) % 4 == 0) line.push_back(' ');
    line.push_back(text[i]);
  }
  return line;
}

Result<KeyPair> FromBackupLine(std::string_view line) {
  if (line.size() > kLineCharactersMax)
    return Fail(Blame::kOperator, "not a backup line: longer than {} characters",
                kLineCharactersMax);
  SecretText text;
  text.reserve(line.size() + 1);
  std::copy_if(line.begin(), line.end(), std::back_inserter(text),
               [](char c) { return !IsSpace(c); });
  SecretBytes seed(crypto_sign_SEEDBYTES);
  if (const Status read = Bech32mDecode(View(text), kBackupPrefix, seed); !read)
    return Fail(Blame::kOperator, "not a backup line: {}", read.error().what);
  return KeyPair::FromSeed(std::span(seed).first<32>());
}

}  // namespace waggle
