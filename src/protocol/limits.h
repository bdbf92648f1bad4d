// Every limit of the protocol between nodes, in one place; docs/protocol.md repeats them for people
// and a test compares. Those of leases and groups are in rollout/limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ledger/entries.h"
#include "rollout/limits.h"

namespace waggle {

inline constexpr std::uint16_t kProtocolVersion = 1;

struct ProtocolLimits {
  std::size_t envelope_bytes_max = std::size_t{32} << 20;       // anything that arrives
  std::size_t group_bytes_max = (std::size_t{32} << 20) - 512;  // payload of a GroupSubmission
  std::size_t grant_bytes_max = std::size_t{64} << 10;          // payload of a LeaseGrant
  std::size_t payload_bytes_max = std::size_t{8} << 10;         // payload of any other message
  std::size_t ledger_bytes_max = std::size_t{2} << 20;  // payload of LedgerEntries, BatchProposal
  std::size_t entries_max = 64;                         // in one LedgerEntries
  std::size_t batch_leases_max = std::size_t{1} << 17;  // in one BatchProposal
  std::size_t manifests_max = std::size_t{1} << 12;     // in one PolicyShown
  std::size_t leases_max = 64;                          // in one LeaseGrant, or one LeaseReturn
  std::size_t text_bytes_max = 200;                     // any sentence for people
  std::size_t software_bytes_max = 64;                  // "waggle 0.1.0"
  std::size_t environments_max = 64;                    // that a worker offers
  std::size_t kinds_max = 8;                            // of work that a node offers
  std::size_t sources_max = 8;                          // places of a policy
  std::size_t source_bytes_max = 300;                   // one of them
  std::uint32_t duration_ms_max = 24u * 3600 * 1000;    // any stated duration
};
inline constexpr ProtocolLimits kProtocol{};

// Bytes of an envelope around its payload: eight field heads and the fixed fields.
inline constexpr std::size_t kEnvelopeFrameBytes = 8 * 5 + 2 + 1 + 32 + 32 + 16 + 8 + 64;
static_assert(kProtocol.group_bytes_max + kEnvelopeFrameBytes <= kProtocol.envelope_bytes_max);
static_assert(kProtocol.grant_bytes_max < kProtocol.group_bytes_max);
static_assert(kProtocol.environments_max * (kWire.name_bytes_max + 4) <
              kProtocol.payload_bytes_max);
static_assert(kProtocol.sources_max * (kProtocol.source_bytes_max + 4) <
              kProtocol.payload_bytes_max);
static_assert(kProtocol.batch_leases_max * 8 + 1024 < kProtocol.ledger_bytes_max);
static_assert(kProtocol.batch_leases_max * (8 + 8 + 32) + 1024 < kProtocol.group_bytes_max);
static_assert(kProtocol.manifests_max * 32 + 1024 < kProtocol.ledger_bytes_max);
static_assert(kProtocol.entries_max * (kEntryBytesMax + 4 + 64) < kProtocol.ledger_bytes_max);
// A lease is at most 250 bytes with its frame.
static_assert(kProtocol.leases_max * 250 < kProtocol.grant_bytes_max);

// Whether every group of a run fits one message: 9 bytes a token, and room for spans and frames.
// A run that does not pass is not opened to others.
constexpr bool GroupsFitOneMessage(std::size_t group_size, std::size_t tokens_max,
                                   std::size_t prompt_tokens_max, bool fingerprints = false) {
  constexpr std::size_t kSpanBytes = 32, kSpans = 64, kFrame = 64;
  constexpr std::size_t kAudit = 4096;  // what an AuditItem has around the group
  if (group_size > kWire.group_size_max || tokens_max > kWire.response_tokens_max ||
      prompt_tokens_max > kWire.prompt_tokens_max)
    return false;
  const std::size_t rollout = tokens_max * 9 + kSpans * kSpanBytes + kFrame +
                              (fingerprints ? FingerprintBytesMax(tokens_max) : 0);
  return group_size * rollout + prompt_tokens_max * 4 + kFrame + kAudit <=
         kProtocol.group_bytes_max;
}

}  // namespace waggle
