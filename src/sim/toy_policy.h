// A policy so small that thousands of nodes are cheap, and yet with everything that can go wrong
// with one: a table of whole numbers says how often a token follows a character of the prompt.
// Sampling and training are pure functions, so one wrong group or one wrong weight changes all that
// comes after it.
//
// The task is to copy a text (environments/sequences.h): the character in turn, then the end.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/wire.h"
#include "crypto/hash.h"
#include "engine/engine.h"
#include "rollout/rollout.h"
#include "training/algorithm.h"

namespace waggle {

struct ToyPolicy {
  std::size_t vocab = 0;
  TokenId end = 0;
  std::vector<std::uint32_t> table;  // [character of the prompt, or `end`][token]
  std::uint64_t salt = 0;            // of every race; hangs on every group that was trained on

  bool operator==(const ToyPolicy&) const = default;
};

ToyPolicy FirstToyPolicy(std::size_t vocab, TokenId end, std::uint64_t seed);
Hash256 RootOf(const ToyPolicy& policy);

struct ToySample {
  std::vector<TokenId> tokens;
  std::vector<float> logps;  // no real logarithm, but as exact: a function of the weights
  FinishReason finish = FinishReason::kStop;
  bool operator==(const ToySample&) const = default;
};
ToySample Sample(const ToyPolicy& policy, std::span<const TokenId> prompt,
                 const SamplingConfig& config, const PhiloxKey& key, std::uint32_t sample);
// Whether this rollout has the log-probs that the policy gives to its tokens.
bool LogpsHold(const ToyPolicy& policy, std::span<const TokenId> prompt, const Rollout& rollout);

// The whole group of a lease, as an honest volunteer with these weights hands it in.
Group SampleGroup(const ToyPolicy& policy, PolicyVersion version, const Lease& lease,
                  const std::vector<TokenId>& prompt);

// One step on these groups, in this order.
ToyPolicy Train(const ToyPolicy& policy, const std::vector<ScoredGroup>& groups);

// A version as it travels: a manifest that names the version before (none: a snapshot), what comes
// of it, and the payload; all three by hash.
struct ToyBlob {
  std::optional<Hash256> base;  // root
  Hash256 root{};
  Bytes payload;
  bool operator==(const ToyBlob&) const = default;
};
ToyBlob SnapshotOf(const ToyPolicy& policy);
ToyBlob DeltaOf(const ToyPolicy& from, const ToyPolicy& to);
Hash256 ManifestOf(const ToyBlob& blob);
// What `blob` makes of `held` (null: nothing held). Refuses what does not have the root it names.
// check_root false: a planted bug.
Result<ToyPolicy> Apply(const ToyBlob& blob, const ToyPolicy* held, bool check_root = true);

}  // namespace waggle
