#include "proofs/claims.h"

#include <bit>

#include "proofs/claim_fields.h"
#include "rollout/encoding.h"

namespace waggle {

Bytes EncodeClaim(const PolicyClaim& claim) { return WireEncode(claim, kClaimBytesMax); }
Bytes EncodeClaim(const StepClaim& claim) { return WireEncode(claim, kClaimBytesMax); }
Bytes EncodeClaim(const WindowClaim& claim) { return WireEncode(claim, kClaimBytesMax); }
Bytes EncodeClaim(const AuditClaim& claim) { return WireEncode(claim, kClaimBytesMax); }

Hash256 GroupHash(const Group& group) { return Sha256(Encode(group)); }

Hash256 LeasesHash(std::span<const LeaseId> leases) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::string_view kLabel = "WGL-LEASES-1";
  Sha256Hasher hasher;
  hasher.Update(std::as_bytes(std::span(kLabel)));
  for (const LeaseId lease : leases) hasher.Update(std::as_bytes(std::span(&lease.value, 1)));
  return hasher.Finish();
}

Digest256 BatchLeaf(const Hash256& group) { return MerkleLeaf(group); }

namespace {

std::vector<Digest256> Leaves(std::span<const Hash256> groups) {
  std::vector<Digest256> leaves;
  for (const Hash256& group : groups) leaves.push_back(BatchLeaf(group));
  return leaves;
}

}  // namespace

Digest256 BatchRoot(std::span<const Hash256> groups) { return MerkleRoot(Leaves(groups)); }

MerklePath BatchPath(std::span<const Hash256> groups, std::uint32_t index) {
  return MerkleProve(Leaves(groups), index);
}

Hash256 ActivationHash(std::uint32_t layer, std::uint32_t position, std::span<const float> row) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::string_view kLabel = "WGL-ACT-1";
  return Sha256Hasher()
      .Update(std::as_bytes(std::span(kLabel)))
      .Update(std::as_bytes(std::span(&layer, 1)))
      .Update(std::as_bytes(std::span(&position, 1)))
      .Update(std::as_bytes(row))
      .Finish();
}

}  // namespace waggle
