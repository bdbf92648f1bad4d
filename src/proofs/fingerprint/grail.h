// GRAIL's proof of a rollout, as deployed (sheet grail.md 1.2-1.8): a random function, challenged
// positions, and per position one small number that hangs on the final hidden state. It is here for
// the recipes that speak it and to show what passes it (grail_test.cc); our own form is dense.h.
//
// Texts like hotkeys and block hashes enter hashes as they are, "0x" included. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong.h"
#include "base/wire.h"
#include "crypto/hash.h"

namespace waggle {

// SHAKE256(label "||" p1 "||" .. pn), the first `length` bytes (1.4). REQUIRES length <= 65536.
Bytes GrailPrf(std::string_view label, std::span<const Bytes> parts, std::size_t length);

// SHA-256 of the ids, big endian.
Digest256 GrailTokensHash(std::span<const TokenId> tokens);

// Challenged positions within a completion, ascending; min(count, completion) of them. `randomness`
// is R_v, the validator's.
std::vector<std::uint32_t> GrailChallenge(const Digest256& tokens_hash, const Digest256& randomness,
                                          std::uint32_t completion, std::uint32_t count = 32);

// Seed of a task (1.3), and the row of a data set of n rows that it names.
std::uint32_t GrailTaskSeed(std::string_view hotkey, std::string_view block_hash,
                            std::uint64_t group);
std::uint32_t GrailTaskRow(std::uint32_t seed, std::uint32_t rows);

enum class GrailVersion : std::uint8_t {
  kV1,  // Oct 2025: the prover's 32 dimensions, 16 buckets, three conditions
  kV4,  // Feb/Mar 2026: own 32 dimensions by rank, 8 buckets, 30 + 3 sqrt(t)
  kV5,  // Apr 2026: own 16 dimensions by index, 8 buckets, 6000 + 5 sqrt(t)
};
struct GrailRules {
  std::size_t dimensions;
  int buckets;
  std::uint32_t positions;  // challenged
  bool by_rank;
};
GrailRules RulesOf(GrailVersion version);

// r_j in [-127, 127], from the PROVER's own randomness R_m (1.5 item 1).
std::vector<int> GrailCoefficients(const Digest256& randomness, std::size_t count);
// b(x) for `buckets` magnitudes (1.5 item 3); published for 8, of which 16 is our reading for v1.
int GrailBucket(float x, int buckets = 8);
// The dimensions of largest |h|: ties to the lower, ascending or by rank.
std::vector<std::uint32_t> GrailDimensions(std::span<const float> h, std::size_t count,
                                           bool by_rank);
inline constexpr std::uint32_t kGrailModulus = 2147483647u;
// (sum of b(h[dimensions[i]]) * r_i) mod 2^31 - 1.
std::uint32_t GrailSketchAt(std::span<const float> h, std::span<const std::uint32_t> dimensions,
                            std::span<const int> coefficients, int buckets = 8);
// The sketch of v4 or v5: of one's own dimensions.
std::uint32_t GrailSketch(std::span<const float> h, std::span<const int> coefficients,
                          GrailVersion version);
// The shorter way round the circle.
std::uint32_t GrailDistance(std::uint32_t a, std::uint32_t b);
// What a version allows at absolute position t.
std::uint32_t GrailTolerance(GrailVersion version, std::uint32_t t);

// What v1 posts for a position. The sheet says which statistics are compared, not how they were
// written down: dimensions by rank and a histogram of the 16 magnitudes are our reading.
struct GrailEntryV1 {
  std::uint32_t sketch = 0;
  std::vector<std::uint32_t> dimensions;
  std::vector<std::uint32_t> histogram;
};
GrailEntryV1 GrailEntryOf(std::span<const float> h, std::span<const int> coefficients);
// Sketch at the prover's dimensions within 50 f, top five in common >= max(3, int(5 imp)),
// histogram L1 <= 10 f, with imp = 1/(1 + t/100) and f = 2 - imp. Any entry is fine as input.
bool GrailAcceptsV1(const GrailEntryV1& entry, std::span<const float> h,
                    std::span<const int> coefficients, std::uint32_t t);

// {"sketch":n} per position, as the file has it: hashed as text.
std::string GrailCommitmentsJson(std::span<const std::uint32_t> sketches);
// What the hotkey signs (1.8).
Digest256 GrailBinding(const Digest256& tokens_hash, const Digest256& randomness,
                       std::string_view model, std::int32_t layer,
                       std::span<const std::uint32_t> sketches);
// The identity of a completion in the test for copies (1.12).
Digest256 GrailCompletionDigest(std::span<const TokenId> completion);
// Groups that a validator looks at (1.11): how many of G with 16 rollouts each, and which, in the
// order of drawing. `randomness` is R_v as hexadecimal text.
std::uint32_t GrailGroupsToCheck(std::uint32_t groups);
std::uint64_t GrailGroupSeed(std::string_view hotkey, std::string_view randomness);
std::vector<std::uint32_t> GrailSampleGroups(std::string_view hotkey, std::string_view randomness,
                                             std::uint32_t groups, std::uint32_t count);

}  // namespace waggle
