// What nodes sign so that others can hold them to it: policies, steps, verdicts; beside the batches
// of work that the ledger knows (ledger/entries.h). Each is signed by itself, in a domain of its
// own, so that it is evidence without the conversation it was said in
// (docs/adr/0019-audits-and-evidence.md).
//
// Numbers of fields are for ever (base/wire.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/wire.h"
#include "crypto/identity.h"
#include "crypto/merkle.h"
#include "rollout/rollout.h"
#include "rollout/verdict.h"

namespace waggle {

// The orchestrator: this version of the run's policy has these weights.
struct PolicyClaim {
  static constexpr std::string_view kDomain = "WGL-POLICY-1";
  Hash256 run{};
  PolicyVersion version;
  Hash256 root{};         // of its image (policy/image.h)
  Hash256 description{};  // SHA-256 of the run's description
  bool operator==(const PolicyClaim&) const = default;
};

// A trainer: this batch took the state before to the state after.
struct StepClaim {
  static constexpr std::string_view kDomain = "WGL-STEP-1";
  Hash256 run{};
  PolicyVersion version;      // that the step began from
  Hash256 before{}, after{};  // Trainer::StateHash
  Hash256 batch{};            // SHA-256 of EncodeRecords of the groups, in batch order
  Hash256 previous{};         // digest of the claim of the step before; zeros: the first
  // LeasesHash of the batch, where batches form by arrival (docs/adr/0018).
  std::optional<Hash256> leases;
  bool operator==(const StepClaim&) const = default;
};

// A trainer: these groups were accepted since the step before, and this step could choose from them
// and from what earlier windows left. Every accepted group of a training lease stands in one
// window, so a receipt for a group that is in none shows what was dropped.
struct WindowOrder {        // where batches form by arrival
  std::uint64_t first = 0;  // place of its first group among all accepted ones of the run
  Hash256 leases{};         // LeasesHash of its groups, in their order
  bool operator==(const WindowOrder&) const = default;
};
struct WindowClaim {
  static constexpr std::string_view kDomain = "WGL-WINDOW-1";
  Hash256 run{};
  PolicyVersion version;    // of the step
  Hash256 root{};           // BatchRoot of the groups, in the order of acceptance; zeros: none
  std::uint32_t items = 0;  // of them
  std::optional<WindowOrder> order;
  bool operator==(const WindowClaim&) const = default;
};

// A validator: what the examination of one drawn group found.
struct AuditClaim {
  static constexpr std::string_view kDomain = "WGL-AUDIT-1";
  Hash256 run{};
  std::uint64_t epoch = 0;
  Hash256 batch{};          // root of the worker's claim
  std::uint32_t index = 0;  // in the batch
  Hash256 group{};          // GroupHash
  Hash256 beacon{};         // that drew it
  bool accepted = false;
  std::optional<RejectReason> reason;    // present exactly when not accepted
  std::uint32_t rollout = 0, token = 0;  // where; zeros when accepted
  // Hash of the residual stream where the beacon wants to see it (ActivationHash); zeros where the
  // group fell before anything was computed.
  Hash256 activation{};
  bool operator==(const AuditClaim&) const = default;
};

template <class T>
struct Signed {
  T claim;
  Signature signature{};
  bool operator==(const Signed&) const = default;
};

inline constexpr std::size_t kClaimBytesMax = 1024;

// SHA-256 of "WGL-LEASES-1" and the ids (u64 LE).
Hash256 LeasesHash(std::span<const LeaseId> leases);

Bytes EncodeClaim(const PolicyClaim& claim);
Bytes EncodeClaim(const StepClaim& claim);
Bytes EncodeClaim(const WindowClaim& claim);
Bytes EncodeClaim(const AuditClaim& claim);

template <class T>
Signed<T> SignClaim(const T& claim, const Signer& key) {
  return {claim, key.Sign(T::kDomain, EncodeClaim(claim))};
}
template <class T>
bool ClaimHolds(const Signed<T>& said, const NodeId& signer) {
  return Verify(signer, T::kDomain, EncodeClaim(said.claim), said.signature);
}
template <class T>
Digest256 ClaimDigest(const T& claim) {
  return Sha256(EncodeClaim(claim));
}

// What receipts name: SHA-256 of the group's encoding.
Hash256 GroupHash(const Group& group);
// Merkle root over groups by their hashes. REQUIRES at least one.
Digest256 BatchLeaf(const Hash256& group);
Digest256 BatchRoot(std::span<const Hash256> groups);
MerklePath BatchPath(std::span<const Hash256> groups, std::uint32_t index);

// SHA-256("WGL-ACT-1" | layer u32 | position u32 | the row's floats, little endian).
Hash256 ActivationHash(std::uint32_t layer, std::uint32_t position, std::span<const float> row);

}  // namespace waggle
