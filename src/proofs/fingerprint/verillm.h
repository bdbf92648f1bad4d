// VeriLLM as Waggle has it (sheet gradient.md 4.2-4.6): a Merkle tree over hidden states at layer
// boundaries and over sampled tokens, opened at positions that nobody knew before; equal engines
// compare hashes, others statistics. Pure functions; the VRF behind a challenge is its own affair.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/strong.h"
#include "base/wire.h"
#include "crypto/merkle.h"

namespace waggle {

// Who a leaf belongs to: no leaf of one rollout passes in another.
struct VerillmScope {
  Digest256 run{}, rollout{};
};

inline constexpr std::uint16_t kTokenLayer = 0xFFFF;  // where the token leaf sorts
inline constexpr std::size_t kVerillmLayersMax = 1024;

// H(0x00 | "wg-hs1" | run | rollout | u32 t | u16 l | u8 dtype | values), little endian, dtype 0:
// f32.
Digest256 VerillmStateLeaf(const VerillmScope& scope, std::uint32_t t, std::uint16_t layer,
                           std::span<const float> values);
// H(0x00 | "wg-tk1" | run | rollout | u32 t | u32 token | bits of log-prob u32 | u64 counter).
Digest256 VerillmTokenLeaf(const VerillmScope& scope, std::uint32_t t, TokenId token, float logp,
                           std::uint64_t counter);

// Boundaries that are committed of a model: 0, stride, 2 stride, .., and the last. Stride 8, or 1
// for models of 8 layers and fewer.
std::vector<std::uint16_t> VerillmLayers(std::size_t layers);

// States of one rollout: per boundary (in the order of `layers`) rows of `width`, one per token,
// and the tokens themselves. Borrowed.
struct VerillmStates {
  std::vector<std::uint16_t> layers;
  std::vector<std::span<const float>> states;  // (tokens, width) each
  std::size_t width = 0;
  std::span<const TokenId> tokens;  // prompt and response
  std::span<const float> logps;     // one per token, 0 in the prompt
};
// Leaves in the order (t, l), the token leaf last of each t. The counter of a token is its
// position.
std::vector<Digest256> VerillmLeaves(const VerillmScope& scope, const VerillmStates& states);
// Where the leaf (t, l) stands; l = kTokenLayer for the token. REQUIRES l among the layers.
std::uint32_t VerillmLeafIndex(std::span<const std::uint16_t> layers, std::uint32_t t,
                               std::uint16_t layer);

struct VerillmSegment {
  std::uint32_t first_token = 0;
  std::uint64_t version = 0;
  bool operator==(const VerillmSegment&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, VerillmSegment>
void Fields(T& x, V&& v) {
  v(1, "first_token", x.first_token);
  v(2, "version", x.version);
}

// What is signed and posted before the challenge exists.
struct VerillmCommit {
  Digest256 root{};
  std::uint32_t tokens = 0;
  std::vector<std::uint16_t> layers;
  Digest256 weights{};
  std::vector<VerillmSegment> segments;
  std::string engine;  // equal names compare exactly
  bool operator==(const VerillmCommit&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, VerillmCommit>
void Fields(T& x, V&& v) {
  v(1, "root", x.root);
  v(2, "tokens", x.tokens);
  v.Numbers(3, "layers", x.layers, kVerillmLayersMax);
  v(4, "weights", x.weights);
  v.Structs(5, "segments", x.segments, 4096);
  v.Text(6, "engine", x.engine, 64);
}
Bytes EncodeVerillm(const VerillmCommit& commit);
Result<VerillmCommit> DecodeVerillm(std::span<const std::uint8_t> bytes);
// SHA256("wg-chal" | H(commit) | beacon): what the scheduler's VRF is asked.
Digest256 VerillmChallenge(const VerillmCommit& commit, const Digest256& beacon);

// The stream that a VRF output of 64 bytes seeds: SHA256("wg-str" | beta | u32 i), as LE words.
class VerillmStream {
 public:
  explicit VerillmStream(const std::array<std::uint8_t, 64>& beta) : beta_(beta) {}
  std::uint32_t Word();
  std::uint32_t Below(std::uint32_t n);  // REQUIRES n > 0
  // The first two words, low first: whether a rollout is audited at this rate.
  bool Audited(double rate);
  std::vector<std::uint32_t> Distinct(std::uint32_t n, std::uint32_t count);

 private:
  std::array<std::uint8_t, 64> beta_;
  Digest256 block_{};
  std::uint32_t next_ = 0;
  std::size_t at_ = 32;
};

// One opened leaf with its state.
struct VerillmOpening {
  std::uint32_t t = 0;
  std::uint16_t layer = 0;
  std::vector<float> values;  // of a state
  TokenId token = 0;          // of a token
  float logp = 0;
  MerklePath path;
};
// Whether the opening is the leaf of this place under the commit's root. The path's place counts: a
// leaf that stands elsewhere, however real, does not hold.
bool VerillmHolds(const VerillmCommit& commit, const VerillmScope& scope,
                  const VerillmOpening& opening);

// Exact mode: the first place (in leaf order) where two lists of leaves differ.
struct VerillmPlace {
  std::uint32_t t = 0;
  std::uint16_t layer = 0;
  bool operator==(const VerillmPlace&) const = default;
};
std::optional<VerillmPlace> VerillmFirstDifference(std::span<const std::uint16_t> layers,
                                                   std::span<const Digest256> a,
                                                   std::span<const Digest256> b);

// Stats mode, over all opened states. Elements below 2^-10 of the own row's root mean square are
// passed over.
class VerillmStats {
 public:
  // Rows of equal length: the prover's, and one's own. Adds nothing if a value is not finite: such
  // a row counts as all exponents different.
  void Add(std::span<const float> theirs, std::span<const float> own);

  std::uint64_t elements() const { return equal_ + different_; }
  double exponent_share() const;   // P_e: sign or exponent differs
  double small_equal() const;      // P_m: delta < 0.2 % among equal exponents; 0 if there are none
  double small_different() const;  // P_w: delta < 5 % among different ones; 1 if there are none
  double mean_error() const;       // signed mean of theirs - own

 private:
  std::uint64_t equal_ = 0, different_ = 0, small_equal_ = 0, small_different_ = 0;
  double error_ = 0;
};

struct VerillmLimits {  // the published ones; a run calibrates them, never looser
  double exponent_share = 0.05, small_equal = 0.75, small_different = 0.80, mean_error = 0.01;
};
bool VerillmAccepts(const VerillmStats& stats, const VerillmLimits& limits = {});

// The token test: |lp - lp'| <= 0.02 + 0.02 |lp| for every token, a Gumbel gap of at most 0.05, and
// at most 1 % of the tokens with a gap above 0.
struct VerillmTokenLimits {
  double absolute = 0.02, relative = 0.02, gap = 0.05, gaps_share = 0.01;
};
struct VerillmTokenScores {
  double logp_excess = 0;  // largest |lp - lp'| / (absolute + relative |lp|)
  double gap = 0;          // largest
  double gaps_share = 0;   // of tokens with a gap above 0
};
VerillmTokenScores CompareTokens(std::span<const float> claimed, std::span<const float> own,
                                 std::span<const double> gaps,
                                 const VerillmTokenLimits& limits = {});

}  // namespace waggle
