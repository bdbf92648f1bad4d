// A node's key on disk: a few lines of text, for this user's eyes only (mode 600), whole or absent.
//
//   waggle-key 1
//   address wgl1...
//   seed <64 hex digits>                                              as it is, or
//   sealed ops=3 memory_kib=262144 salt=<hex> nonce=<hex> box=<hex>   under a passphrase
//
// Sealed: XSalsa20-Poly1305 (libsodium's secretbox) of the seed, under Argon2id of the passphrase.
// Not safe for two writers of one path at once; reading may happen from any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "crypto/identity.h"

namespace waggle {

// What a passphrase costs somebody who guesses: passes and memory of Argon2id. The defaults take
// about a second.
struct SealingCost {
  std::uint32_t passes = 3;
  std::uint32_t memory_kib = 256 << 10;
};
inline constexpr SealingCost kSealingCostMax{.passes = 16, .memory_kib = 2u << 20};

struct KeyFileOptions {
  std::string_view passphrase;  // empty: not sealed
  SealingCost cost;
  bool replace = false;
};

// The folder must exist. An existing file, without `replace`: Blame::kOperator.
Status WriteKeyFile(const std::filesystem::path& path, const KeyPair& key,
                    const KeyFileOptions& options);

// What can be told without the passphrase.
struct KeyFileInfo {
  NodeId id;
  bool sealed = false;
};

// Both refuse, with Blame::kOperator: a file that others may read or write (the text gives the
// command that repairs it), a missing, cut or changed file, a missing or wrong passphrase, an
// address that the secret does not have.
Result<KeyFileInfo> ReadKeyFileInfo(const std::filesystem::path& path);
Result<KeyPair> ReadKeyFile(const std::filesystem::path& path, std::string_view passphrase);

}  // namespace waggle
