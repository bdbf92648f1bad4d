#include "proofs/fingerprint/dense.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "crypto/keccak.h"
#include "proofs/fingerprint/grail.h"
#include "proofs/fingerprint/hash_input.h"

namespace waggle {
namespace {

constexpr double kRoundMagic64 = 0x1.8p52;  // x + it rounds |x| < 2^51 to even

void Append(Bytes& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }
void Append(Bytes& out, const Digest256& digest) {
  out.insert(out.end(), digest.begin(), digest.end());
}
std::vector<std::uint32_t> Draw(std::string_view label, const Digest256& beacon,
                                const Digest256& over, std::uint32_t n, std::uint32_t count) {
  if (n == 0) return {};
  Bytes seed;
  Append(seed, label);
  Append(seed, beacon);
  Append(seed, over);
  return ShakeStream(seed).Distinct(n, count);
}

std::vector<Digest256> Leaves(std::span<const DensePrint> prints) {
  std::vector<Digest256> leaves;
  leaves.reserve(prints.size());
  for (const DensePrint& print : prints) leaves.push_back(MerkleLeaf(EncodeDense(print)));
  return leaves;
}

// The wire form of an opening: the print as bytes, then the path.
struct OpeningRecord {
  std::array<std::uint8_t, 2 * kDenseProjections> print{};
  std::uint32_t index = 0, leaves = 0;
  std::vector<std::uint8_t> siblings;  // 32 bytes each
};
struct OpeningList {
  std::vector<OpeningRecord> openings;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, OpeningRecord>
void Fields(T& x, V&& v) {
  v(1, "print", x.print);
  v(2, "index", x.index);
  v(3, "leaves", x.leaves);
  v.Numbers(4, "siblings", x.siblings, 32 * kMerkleSiblingsMax);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, OpeningList>
void Fields(T& x, V&& v) { v.Structs(1, "openings", x.openings, kDensePositions); }
constexpr std::size_t kOpeningsBytesMax = kDensePositions * (64 + 32 * kMerkleSiblingsMax) + 16;

}  // namespace

Bytes DenseSigns(const Digest256& beacon, const Digest256& run, std::size_t width) {
  Check(width > 0 && width <= kDenseWidthMax, "a width that models have");
  const Bytes parts[] = {Bytes(beacon.begin(), beacon.end()), Bytes(run.begin(), run.end())};
  return GrailPrf("fp1", parts, width);
}

DensePrint DensePrintOf(std::span<const float> h, std::span<const std::uint8_t> signs) {
  Check(h.size() == signs.size(), "one byte of signs per dimension");
  double squares = 0;
  for (const float x : h) squares += static_cast<double>(x) * static_cast<double>(x);
  const auto norm = static_cast<float>(std::sqrt(squares));
  DensePrint print{};
  if (!(norm > 0.0f) || !std::isfinite(norm)) return print;
  std::array<double, kDenseProjections> sum{};
  for (std::size_t j = 0; j < h.size(); ++j) {
    const auto u = static_cast<double>(h[j] / norm);  // fp32, as the sheet has it
    for (std::size_t p = 0; p < kDenseProjections; ++p)
      sum[p] += (signs[j] >> p & 1u) != 0 ? -u : u;
  }
  for (std::size_t p = 0; p < kDenseProjections; ++p) {
    const double rounded = (kDenseScale * sum[p] + kRoundMagic64) - kRoundMagic64;
    print[p] = static_cast<std::int16_t>(std::clamp(rounded, -32768.0, 32767.0));
  }
  return print;
}

double DenseDistance(const DensePrint& a, const DensePrint& b) {
  std::int64_t sum = 0;
  for (std::size_t p = 0; p < kDenseProjections; ++p) sum += std::abs(int{a[p]} - int{b[p]});
  return static_cast<double>(sum) / (kDenseScale * kDenseProjections);
}

std::array<std::uint8_t, 16> EncodeDense(const DensePrint& print) {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t p = 0; p < kDenseProjections; ++p) {
    const auto word = static_cast<std::uint16_t>(print[p]);
    bytes[2 * p] = static_cast<std::uint8_t>(word);
    bytes[2 * p + 1] = static_cast<std::uint8_t>(word >> 8);
  }
  return bytes;
}

Digest256 DenseRoot(std::span<const DensePrint> prints) { return MerkleRoot(Leaves(prints)); }

DenseOpening OpenDense(std::span<const DensePrint> prints, std::uint32_t position) {
  Check(position < prints.size(), "a position of the rollout");
  return {prints[position], MerkleProve(Leaves(prints), position)};
}

bool DenseHolds(const Digest256& root, const DenseOpening& opening) {
  return MerkleHolds(root, MerkleLeaf(EncodeDense(opening.print)), opening.path);
}

Bytes EncodeDenseOpenings(std::span<const DenseOpening> openings) {
  OpeningList list;
  for (const DenseOpening& o : openings) {
    OpeningRecord record{EncodeDense(o.print), o.path.index, o.path.leaves, {}};
    for (const Digest256& s : o.path.siblings)
      record.siblings.insert(record.siblings.end(), s.begin(), s.end());
    list.openings.push_back(std::move(record));
  }
  return WireEncode(list, kOpeningsBytesMax);
}

Result<std::vector<DenseOpening>> DecodeDenseOpenings(std::span<const std::uint8_t> bytes) {
  const auto list = WireDecode<OpeningList>(bytes, kOpeningsBytesMax);
  if (!list) return Fail(Blame::kPeer, "openings of a fingerprint: {}", list.error().what);
  std::vector<DenseOpening> openings;
  for (const OpeningRecord& record : list->openings) {
    if (record.siblings.size() % 32 != 0)
      return Fail(Blame::kPeer, "openings of a fingerprint: a sibling is cut");
    DenseOpening o;
    for (std::size_t p = 0; p < kDenseProjections; ++p)
      o.print[p] = static_cast<std::int16_t>(record.print[2 * p] | record.print[2 * p + 1] << 8);
    o.path.index = record.index, o.path.leaves = record.leaves;
    o.path.siblings.resize(record.siblings.size() / 32);
    for (std::size_t i = 0; i < record.siblings.size(); ++i)
      o.path.siblings[i / 32][i % 32] = record.siblings[i];
    openings.push_back(std::move(o));
  }
  return openings;
}

std::vector<std::uint32_t> DensePositions(const Digest256& beacon, const Digest256& commit,
                                          std::uint32_t count) {
  return Draw("open2||", beacon, commit, count, kDensePositions);
}

std::vector<std::uint32_t> SpotGroups(const Digest256& beacon, const Digest256& window_root,
                                      std::uint32_t groups, std::uint32_t wanted) {
  return Draw("spot||", beacon, window_root, groups, wanted);
}

Digest256 DigestOf(const WindowCommit& c) {
  return HashInput()
      .Text("waggle-commit-1")
      .Digest(c.run)
      .Little(c.window, 8)
      .Digest(c.worker)
      .Digest(c.weights_root)
      .Digest(c.task)
      .Little(c.group, 4)
      .Little(c.index, 2)
      .Little(c.beacon_round, 8)
      .Digest(c.tokens_hash)
      .Digest(c.fingerprint_root)
      .Finish();
}

Digest256 WindowRoot(std::span<const Digest256> commits) {
  std::vector<Digest256> leaves;
  for (const Digest256& commit : commits) leaves.push_back(MerkleLeaf(commit));
  return MerkleRoot(std::move(leaves));
}

}  // namespace waggle
