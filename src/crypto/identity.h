// Who a node is: an Ed25519 key pair, and nothing else. The address is the public key, so there is
// no registry to ask and nothing to look up before a signature can be checked.
//
// Signatures are over  SHA-256( u8 length of domain | domain | message ):  a signature made for one
// purpose is none for another, and evidence about a long message needs only its hash. Domains are
// constants of the program, "WGL-<WHAT>-<VERSION>".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/strong.h"
#include "crypto/ed25519.h"
#include "crypto/secret.h"

namespace waggle {

using NodeId = Strong<Ed25519Public, struct NodeIdTag>;
using Signature = Ed25519Signature;

inline constexpr std::string_view kAddressPrefix = "wgl";    // of an address: wgl1...
inline constexpr std::string_view kBackupPrefix = "wglkey";  // of a secret on paper: wglkey1...

// The text form of a node's address, 62 characters of bech32m.
std::string ToText(const NodeId& id);
// Spaces around it and upper case are fine. Refused, with Blame::kOperator and the reason: text
// that is no address, cut off or mistyped, and bytes that are no public key.
Result<NodeId> ParseNodeId(std::string_view text);

// Signs as one node, and checks what others signed. A seam: a simulated network of thousands has a
// signer that costs little (sim/cheap_signer.h). Everybody else has a KeyPair. Const, any thread.
class Signer {
 public:
  virtual ~Signer() = default;
  virtual const NodeId& id() const = 0;
  virtual Signature Sign(std::string_view domain, std::span<const std::uint8_t> message) const = 0;
  virtual bool Holds(const NodeId& signer, std::string_view domain,
                     std::span<const std::uint8_t> message, const Signature& signature) const = 0;
};

// A resource: owns the secret, movable, not copyable. Signing is const and may run on any thread.
class KeyPair final : public Signer {
 public:
  static KeyPair Generate();  // from the system's randomness
  static KeyPair FromSeed(std::span<const std::uint8_t, 32> seed);

  KeyPair(KeyPair&&) = default;
  KeyPair& operator=(KeyPair&&) = default;

  const NodeId& id() const override { return id_; }
  Signature Sign(std::string_view domain, std::span<const std::uint8_t> message) const override;
  bool Holds(const NodeId& signer, std::string_view domain, std::span<const std::uint8_t> message,
             const Signature& signature) const override;  // Verify()

  // The secret from which all else follows; for key files and backups only.
  std::span<const std::uint8_t, 32> seed() const;

 private:
  explicit KeyPair(Ed25519Pair pair) : secret_(std::move(pair.secret)), id_{pair.public_key} {}

  SecretBytes secret_;
  NodeId id_;
};

bool Verify(const NodeId& signer, std::string_view domain, std::span<const std::uint8_t> message,
            const Signature& signature);

// A secret as one line for paper: bech32m, in groups of four. The text is as secret as the key.
SecretText BackupLine(const KeyPair& key);
// White space anywhere is ignored. Errors never quote the line.
Result<KeyPair> FromBackupLine(std::string_view line);

}  // namespace waggle
