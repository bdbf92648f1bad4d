// What watching looks at in one rollout, as numbers: no text, no tokens, no clock. Everything is
// f32, so that what a checkpoint stores is what decided.
//
// Source: sheet markets.md 6.2.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/wire.h"

namespace waggle {

// What a judge said about a rollout, where rewards come from one.
struct JudgeSign {
  float score = 0;
  bool own_style = false;           // the response bears the judge's own manner
  std::optional<bool> order_flips;  // asked twice with the order swapped: did it change its mind
  bool operator==(const JudgeSign&) const = default;
};

struct Observation {
  std::uint64_t task = 0, worker = 0, answer = 0;  // answer: a hash of the text
  std::optional<float> proxy;                      // the reward that would train; unset: unscorable
  std::optional<float> held_out;                   // what hidden tests or a strict grader say
  bool solved = false;                             // the shown task
  bool canary = false, grader_contact = false;
  std::uint32_t tokens = 0;
  float repeated = 0;             // share of repeated 4-grams, RepeatedShare
  std::optional<float> compress;  // raw / deflated, CompressRatio
  std::optional<float> entropy;   // nats per token
  std::optional<float> kl;        // k3 per token against the start of the run
  std::optional<JudgeSign> judge;
  std::vector<float> members;  // scores of an ensemble's members
  bool operator==(const Observation&) const = default;
};
inline constexpr std::size_t kMembersMax = 64;

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, JudgeSign>
void Fields(T& x, V&& v) {
  v(1, "score", x.score);
  v(2, "own_style", x.own_style);
  v(3, "order_flips", x.order_flips);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Observation>
void Fields(T& x, V&& v) {
  v(1, "task", x.task);
  v(2, "worker", x.worker);
  v(3, "answer", x.answer);
  v(4, "proxy", x.proxy);
  v(5, "held_out", x.held_out);
  v(6, "solved", x.solved);
  v(7, "canary", x.canary);
  v(8, "grader_contact", x.grader_contact);
  v(9, "tokens", x.tokens);
  v(10, "repeated", x.repeated);
  v(11, "compress", x.compress);
  v(12, "entropy", x.entropy);
  v(13, "kl", x.kl);
  v(14, "judge", x.judge);
  v.Numbers(15, "members", x.members, kMembersMax);
}

// 1 - distinct / all 4-grams; 0 below four tokens.
float RepeatedShare(std::span<const std::int32_t> tokens);

// Bytes of the text over bytes of one DEFLATE block with fixed codes (RFC 1951) and greedy longest
// matches: ours, so that it is the same everywhere. Nothing for texts below kCompressBytesMin,
// which say nothing; only the first kCompressBytesMax are looked at.
std::optional<float> CompressRatio(std::string_view text);
inline constexpr std::size_t kCompressBytesMin = 64, kCompressBytesMax = 1 << 14;

}  // namespace waggle
