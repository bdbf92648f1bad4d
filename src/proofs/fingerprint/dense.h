// The fingerprint of final hidden states that replaces GRAIL's sketch where engines are unlike
// (sheet grail.md 8.2 items 2, 3, 7, 8): every dimension enters eight +-1 projections that the
// VERIFIER's beacon fixes, so that noise moves them a little and nothing else hits them by chance.
// The worker posts a Merkle root over positions, and opens those that a later beacon asks for.
//
// Pure functions, integers and binary64 in a stated order: the same bytes on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/strong.h"
#include "base/wire.h"
#include "crypto/merkle.h"
#include "kernels/ops.h"

namespace waggle {

inline constexpr std::size_t kDenseProjections = 8;
inline constexpr std::uint32_t kDensePositions = 32;  // opened
inline constexpr std::size_t kDenseWidthMax = 1u << 16;
inline constexpr double kDenseScale = 1024;
inline constexpr double kDenseTolerance = 0.12;      // published, of one position
inline constexpr double kDenseQuorum = 29.0 / 32.0;  // published, of the positions

using DensePrint = std::array<std::int16_t, kDenseProjections>;  // one position

// Signs of a width: byte j has bit p set where r_p[j] = -1; PRF("fp1"; beacon, run; d bytes).
Bytes DenseSigns(const Digest256& beacon, const Digest256& run, std::size_t width);
// q_p = round(1024 * <h/|h|, r_p>), half to even, clamped. |h| = 0 gives zeros.
DensePrint DensePrintOf(std::span<const float> h, std::span<const std::uint8_t> signs);
// mean over p of |q_p - q'_p| / 1024.
double DenseDistance(const DensePrint& a, const DensePrint& b);

// 16 bytes, LE int16.
std::array<std::uint8_t, 16> EncodeDense(const DensePrint& print);
Digest256 DenseRoot(std::span<const DensePrint> prints);

struct DenseOpening {
  DensePrint print{};
  MerklePath path;
  bool operator==(const DenseOpening&) const = default;
};
// REQUIRES position < prints.size().
DenseOpening OpenDense(std::span<const DensePrint> prints, std::uint32_t position);
bool DenseHolds(const Digest256& root, const DenseOpening& opening);

// The openings of one rollout on the wire. At most kDensePositions.
Bytes EncodeDenseOpenings(std::span<const DenseOpening> openings);
Result<std::vector<DenseOpening>> DecodeDenseOpenings(std::span<const std::uint8_t> bytes);

// Item 8. Challenged positions within `count`, in the order of drawing: SHAKE256("open2||" ||
// beacon
// || commit). Groups of a window: the same with "spot||" over the worker's window root.
std::vector<std::uint32_t> DensePositions(const Digest256& beacon, const Digest256& commit,
                                          std::uint32_t count);
std::vector<std::uint32_t> SpotGroups(const Digest256& beacon, const Digest256& window_root,
                                      std::uint32_t groups, std::uint32_t wanted);

// Item 7. What a worker signs for one rollout of a window.
struct WindowCommit {
  Digest256 run{};
  std::uint64_t window = 0;
  Digest256 worker{}, weights_root{}, task{};  // task: H(generation parameters and task id)
  std::uint32_t group = 0;
  std::uint16_t index = 0;
  std::uint64_t beacon_round = 0;
  Digest256 tokens_hash{}, fingerprint_root{};
};
Digest256 DigestOf(const WindowCommit& commit);
// Leaves H(0x00 || commit), in (group, index) order, which is the caller's to keep.
Digest256 WindowRoot(std::span<const Digest256> commits);

// Item 3: GRAIL's v5 sketch, made useful by a quorum: a position agrees within tau, and 20 of 32
// have to.
inline constexpr std::uint32_t kQuorumTolerance = 64;
inline constexpr double kQuorumShare = 20.0 / 32.0;

}  // namespace waggle
