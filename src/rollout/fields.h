// The fields of the protocol's nouns, said once for both directions (base/wire.h). For encoders of
// messages that carry them; everybody else includes rollout/encoding.h.
#pragma once

#include "base/wire.h"
#include "rollout/limits.h"
#include "rollout/rollout.h"
#include "rollout/verdict.h"

namespace waggle {

inline bool IsKnown(FinishReason reason) { return reason <= FinishReason::kAborted; }
inline bool IsKnown(RejectReason reason) {
  return reason >= RejectReason::kMalformed && reason <= RejectReason::kDroppedGroup;
}

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, VersionSpan>
void Fields(T& x, V&& v) {
  v(1, "first_token", x.first_token);
  v(2, "version", x.version);
  v(3, "kept_kv", x.kept_kv);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SamplingConfig>
void Fields(T& x, V&& v) {
  v(1, "temperature", x.temperature);
  v(2, "top_p", x.top_p);
  v(3, "min_p", x.min_p);
  v(4, "top_k", x.top_k);
  v(5, "tokens_max", x.tokens_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Lease>
void Fields(T& x, V&& v) {
  v(1, "id", x.id);
  v.Text(2, "environment", x.environment, kWire.name_bytes_max);
  v(3, "task_seed", x.task_seed);
  v(4, "group_size", x.group_size);
  v(5, "version", x.version);
  v(6, "key_low", x.key[0]);
  v(7, "key_high", x.key[1]);
  v(8, "sampling", x.sampling);
  v(9, "evaluation", x.evaluation);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Rollout>
void Fields(T& x, V&& v) {
  v.Numbers(1, "tokens", x.tokens, kWire.response_tokens_max);
  v.Numbers(2, "logps", x.logps, kWire.response_tokens_max);
  v.Numbers(3, "loss_mask", x.loss_mask, kWire.response_tokens_max);
  v.Structs(4, "spans", x.spans, kWire.spans_max);
  v(5, "finish", x.finish);
  v(6, "reward", x.reward);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Group>
void Fields(T& x, V&& v) {
  v(1, "lease", x.lease);
  v.Numbers(2, "prompt", x.prompt, kWire.prompt_tokens_max);
  v.Structs(3, "rollouts", x.rollouts, kWire.group_size_max);
  v.BlobsIfAny(4, "fingerprints", x.fingerprints, kWire.group_size_max,
               FingerprintBytesMax(kWire.response_tokens_max));
}

}  // namespace waggle
