// Stand-in signatures for crowds of thousands: a keyed hash of signer and message. Whoever holds
// the secret, and in a simulation everybody does, can sign as anybody; what it keeps of a signature
// is that changed bytes, another domain or another signer do not check out.
#pragma once

#include "crypto/identity.h"

namespace waggle {

class CheapSigner final : public Signer {
 public:
  // Different numbers are different nodes.
  explicit CheapSigner(std::uint64_t number);

  const NodeId& id() const override { return id_; }
  Signature Sign(std::string_view domain, std::span<const std::uint8_t> message) const override;
  bool Holds(const NodeId& signer, std::string_view domain, std::span<const std::uint8_t> message,
             const Signature& signature) const override;

 private:
  NodeId id_;
};

// 64 bits that depend on every byte: for digests of traces, not for strangers.
std::uint64_t QuickHash(std::uint64_t state, std::span<const std::uint8_t> bytes);

}  // namespace waggle
