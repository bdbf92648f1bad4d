// An accusation that convinces whoever was not there: one file with everything signed that it rests
// on. What it does not hold are public inputs, named by their hashes: the policies that it speaks
// of, the run's description where that is large, the trainer's state before a step.
//
// Who is accused of what, by which part of the file:
//   a worker     group: a batch that it signed, the path to a group in it, and the group
//                twice: two different batches that it signed for one window
//   a trainer    step: a step that it signed, and the batch; with a policy: that it published, and
//                that is not what the step leads to
//   a validator  verdict: what it signed about `group`, which is not what the examination finds
//   an orchestrator  canary: what it said when it showed the batch of `group` as a canary, which is
//                not what the examination finds
//                receipt: that it accepted a group, and signed windows that leave it out
// audit/evidence_check.h decides.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ledger/entries.h"
#include "proofs/claims.h"
#include "rollout/encoding.h"

namespace waggle {

inline constexpr std::uint16_t kEvidenceVersion = 1;
inline constexpr std::string_view kEvidenceMagic = "WGLEVID1";
inline constexpr std::size_t kEvidenceBytesMax = std::size_t{96} << 20;
inline constexpr std::size_t kEvidencePoliciesMax = 4096;  // as many as a response has spans
inline constexpr std::size_t kReceiptBytesMax = std::size_t{1} << 14;
inline constexpr std::size_t kEvidenceWindowsMax = 1024;
inline constexpr std::size_t kEvidenceDescriptionMax = std::size_t{1} << 20;  // larger: by hash

// A batch as its worker signed it, for one ledger.
struct SignedBatch {
  LedgerId ledger;
  BatchClaim claim;
  Signature signature{};
  bool Holds() const;  // the signature is that of claim.worker
  bool operator==(const SignedBatch&) const = default;
};

struct GroupProof {
  SignedBatch batch;
  MerklePath path;
  Lease lease;  // as the run derives it
  Group group;
  bool operator==(const GroupProof&) const = default;
};

struct TwiceProof {
  SignedBatch first, second;
  bool operator==(const TwiceProof&) const = default;
};

struct StepProof {
  Signed<StepClaim> step;
  Bytes records;  // EncodeRecords of the batch
  bool operator==(const StepProof&) const = default;
};

// "This batch was a canary": CanaryReveal as its orchestrator sent it to the ledger of the batch.
struct CanaryProof {
  Bytes reveal;  // LedgerRequest, in the ledger's encoding
  bool operator==(const CanaryProof&) const = default;
};

// A receipt for an accepted group, and every window that the group can stand in.
struct ShownWindow {
  Signed<WindowClaim> window;
  std::vector<Hash256> groups;  // in its order
  bool operator==(const ShownWindow&) const = default;
};
struct ReceiptProof {
  Bytes receipt;  // OutcomeRecord in its envelope (protocol/envelope.h)
  std::vector<ShownWindow> windows;
  bool operator==(const ReceiptProof&) const = default;
};

// A step, and every window that a group of its batch can stand in: where batches form by arrival,
// the order of acceptance says which groups are its own. No window needs to be shown for it.
struct OrderedWindow {
  Signed<WindowClaim> window;
  std::vector<LeaseId> leases;  // in its order
  bool operator==(const OrderedWindow&) const = default;
};
struct OrderProof {
  Signed<StepClaim> step;
  std::vector<LeaseId> leases;  // of its batch, in order
  std::vector<OrderedWindow> windows;
  bool operator==(const OrderProof&) const = default;
};

struct Evidence {
  Hash256 run{};
  Hash256 description_hash{};
  Bytes description;    // or empty: to be had by its hash
  NodeId orchestrator;  // who signed the policies
  NodeId accused;
  RejectReason reason = RejectReason::kMalformed;
  std::uint32_t rollout = 0, token = 0;
  std::string text;  // for people; proves nothing
  std::optional<GroupProof> group;
  std::optional<TwiceProof> twice;
  std::optional<StepProof> step;
  std::optional<Signed<AuditClaim>> verdict;
  std::vector<Signed<PolicyClaim>> policies;  // of every version that the group names
  NodeId accuser;
  Signature signature{};  // the accuser's, over everything else
  std::optional<CanaryProof> canary;
  std::optional<ReceiptProof> receipt;
  std::optional<OrderProof> order;
  bool operator==(const Evidence&) const = default;
};

// Sets accuser and signature; gives the file's bytes.
Bytes SealEvidence(Evidence evidence, const Signer& accuser);
// Form and the accuser's signature; Blame::kPeer names the field.
Result<Evidence> OpenEvidence(std::span<const std::uint8_t> bytes);
// What a ledger and a receipt name.
Digest256 EvidenceHash(std::span<const std::uint8_t> bytes);

}  // namespace waggle
