// The nouns of the protocol: what orchestrator, workers, trainer and (later) validators pass to one
// another. Plain values: copy, compare, encode (rollout/encoding.h). Limits are in
// rollout/limits.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/philox.h"
#include "base/strong.h"

namespace waggle {

using Hash256 = std::array<std::uint8_t, 32>;
using LeaseId = Strong<std::uint64_t, struct LeaseIdTag>;
std::string LeaseName(LeaseId lease);  // in logs and records: hexadecimal digits, no leading zeros

enum class FinishReason : std::uint8_t { kStop = 0, kLength = 1, kAborted = 2 };

// Tokens [first, next span's first) of a response were sampled under `version`. kept_kv: it read
// keys and values that earlier versions wrote; else everything before was computed anew under it.
struct VersionSpan {
  std::uint32_t first_token = 0;
  PolicyVersion version;
  bool kept_kv = false;
  auto operator<=>(const VersionSpan&) const = default;
};

struct SamplingConfig {
  float temperature = 1.0f;
  float top_p = 1.0f;
  float min_p = 0.0f;
  std::uint32_t top_k = 0;
  std::uint32_t tokens_max = 64;  // response budget
  bool operator==(const SamplingConfig&) const = default;
};

// A promise of work: sample `group_size` rollouts of the task with this seed, under this version,
// with this key. The key is derived from run data (SamplingKey), never chosen by a worker.
struct Lease {
  LeaseId id;
  std::string environment;
  std::uint64_t task_seed = 0;
  std::uint32_t group_size = 1;
  PolicyVersion version;
  PhiloxKey key{};
  SamplingConfig sampling;
  bool evaluation = false;  // held-out: scored, never trained on
  bool operator==(const Lease&) const = default;
};

// One sampled response. logps are those of the sampling policy at the sampling temperature, no
// truncation.
struct Rollout {
  std::vector<TokenId> tokens;          // response, EOS included if it was sampled
  std::vector<float> logps;             // same length
  std::vector<std::uint8_t> loss_mask;  // 1: the policy sampled it; 0: environment or tool text
  std::vector<VersionSpan> spans;
  FinishReason finish = FinishReason::kStop;
  float reward = 0;  // claimed by the worker; admission recomputes it
  bool operator==(const Rollout&) const = default;
};

// The G rollouts of one lease.
struct Group {
  LeaseId lease;
  std::vector<TokenId> prompt;
  std::vector<Rollout> rollouts;
  // Runs of a fingerprint tier: what the worker posts about each rollout
  // (proofs/fingerprint/tier.h); it does not claim that its log-probs replay. Else none.
  std::vector<std::vector<std::uint8_t>> fingerprints = {};
  bool operator==(const Group&) const = default;
};

// SHA-256("WGL-SAMPLE-1" || run || prompt || epoch as u64 LE), first 8 bytes, low word first.
PhiloxKey SamplingKey(const Hash256& run, const Hash256& prompt, std::uint64_t epoch);

}  // namespace waggle
