// A node's TLS certificate: self-signed, P-256, known to others by its pin alone. Names, dates and
// authorities in it mean nothing; whoever holds the key is the node.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "crypto/hash.h"

namespace waggle {

// SHA-256 of the DER SubjectPublicKeyInfo: it survives a new certificate over the same key.
using Pin = Digest256;

// Value type. `key_pem` is a secret.
struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
  Pin pin{};
};

// A new key from the operating system's randomness. Blame::kMachine.
Result<Certificate> MakeCertificate();

// Reads the pair, or makes it if neither file is there. The key file has mode 600; one that others
// can read or write is refused, as is half a pair or a key of another certificate:
// Blame::kOperator. Not for two processes at once in one folder: the later one fails.
Result<Certificate> LoadOrMakeCertificate(const std::filesystem::path& certificate_file,
                                          const std::filesystem::path& key_file);

// Of the first certificate in `pem`, 64 KiB at most. Blame::kPeer if there is none.
Result<Pin> PinOfCertificate(std::string_view pem);

}  // namespace waggle
