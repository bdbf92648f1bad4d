#include "proofs/fingerprint/grail.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/check.h"
#include "crypto/keccak.h"
#include "crypto/py_random.h"

namespace waggle {
namespace {

constexpr std::size_t kPrfBytesMax = 65536;

void Append(Bytes& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }
void AppendBig(Bytes& out, std::uint32_t word) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(word >> shift));
}
std::span<const std::uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
Bytes ToBytes(const Digest256& digest) { return {digest.begin(), digest.end()}; }

// Text "[" a "," b "]" of numbers.
template <class Numbers>
std::string JsonList(const Numbers& numbers, std::string_view before, std::string_view after) {
  std::string text = "[";
  for (const auto n : numbers) {
    if (text.size() > 1) text += ',';
    text += before;
    text += std::to_string(n);
    text += after;
  }
  return text + "]";
}

double Importance(std::uint32_t t) { return 1.0 / (1.0 + t / 100.0); }

}  // namespace

Bytes GrailPrf(std::string_view label, std::span<const Bytes> parts, std::size_t length) {
  Check(length <= kPrfBytesMax, "GRAIL's random function gives 64 KiB at most");
  Bytes input;
  Append(input, label);
  for (const Bytes& part : parts) {
    Append(input, "||");
    input.insert(input.end(), part.begin(), part.end());
  }
  return Shake256(input, length);
}

Digest256 GrailTokensHash(std::span<const TokenId> tokens) {
  Bytes bytes;
  for (const TokenId id : tokens) AppendBig(bytes, static_cast<std::uint32_t>(id));
  return Sha256(bytes);
}

std::vector<std::uint32_t> GrailChallenge(const Digest256& tokens_hash, const Digest256& randomness,
                                          std::uint32_t completion, std::uint32_t count) {
  const std::uint32_t k = std::min(count, completion);
  const Bytes parts[] = {ToBytes(tokens_hash), ToBytes(randomness)};
  PyRandom random = PyRandom::FromBytes(GrailPrf("open", parts, 32));
  std::vector<std::uint32_t> positions;
  if (std::uint64_t{k} * 10 < completion) {
    positions = random.Sample(completion, k);
  } else {
    positions.resize(completion);
    std::iota(positions.begin(), positions.end(), 0u);
    random.Shuffle(positions);
    positions.resize(k);
  }
  std::sort(positions.begin(), positions.end());
  return positions;
}

std::uint32_t GrailTaskSeed(std::string_view hotkey, std::string_view block_hash,
                            std::uint64_t group) {
  const std::string text =
      "seed|" + std::string(hotkey) + ":" + std::string(block_hash) + ":" + std::to_string(group);
  const Digest256 digest = Sha256(AsBytes(text));
  return std::uint32_t{digest[0]} << 24 | std::uint32_t{digest[1]} << 16 |
         std::uint32_t{digest[2]} << 8 | digest[3];
}

std::uint32_t GrailTaskRow(std::uint32_t seed, std::uint32_t rows) {
  return static_cast<std::uint32_t>(static_cast<double>(seed) * 0x1p-32 * rows);
}

GrailRules RulesOf(GrailVersion version) {
  switch (version) {
    case GrailVersion::kV1:
      return {.dimensions = 32, .buckets = 16, .positions = 16, .by_rank = true};
    case GrailVersion::kV4:
      return {.dimensions = 32, .buckets = 8, .positions = 32, .by_rank = true};
    case GrailVersion::kV5:
      return {.dimensions = 16, .buckets = 8, .positions = 32, .by_rank = false};
  }
  Check(false, "a known version");
  return {};
}

std::vector<int> GrailCoefficients(const Digest256& randomness, std::size_t count) {
  const Bytes parts[] = {ToBytes(randomness)};
  const Bytes raw = GrailPrf("sketch", parts, 2 * count);
  std::vector<int> r;
  for (std::size_t j = 0; j < count; ++j) {
    const auto v = static_cast<std::int16_t>(raw[2 * j] << 8 | raw[2 * j + 1]);
    // Absolute value in 16 bits, as the original has it: that of -32768 is -32768, whose residue
    // under a floored remainder is 127.
    const int magnitude = v == -32768 ? 127 : std::abs(v) % 255;
    r.push_back(magnitude - 127);
  }
  return r;
}

int GrailBucket(float x, int buckets) {
  Check(buckets == 8 || buckets == 16, "GRAIL's sketches have 8 or 16 buckets");
  if (std::isnan(x)) return 0;
  const double a = std::fabs(static_cast<double>(x)), sign = x < 0 ? -1 : 1;
  if (a < 1e-6) return 0;
  // int(log2(a + 1) * buckets / 10) is at least b iff a + 1 >= 2^(10 b / buckets). No logarithm:
  // the thresholds are powers of 2^(5/8), which no float plus one comes near but the whole ones.
  static constexpr double kRoots[8] = {1.0,
                                       1.5422108254079407,
                                       2.3784142300054421,
                                       3.6680161728186447,
                                       5.6568542494923806,
                                       8.7240618613220615,
                                       13.454342644059432,
                                       20.749432874416154};  // 2^(5 i / 8)
  const int step = 16 / buckets;
  int b = 0;
  while (b < buckets - 1) {
    const int eighths = (b + 1) * step;  // the exponent is 5 * eighths / 8
    const double threshold = std::ldexp(kRoots[eighths % 8], 5 * (eighths / 8));
    if (a + 1.0 < threshold) break;
    ++b;
  }
  return static_cast<int>(sign) * b;
}

std::vector<std::uint32_t> GrailDimensions(std::span<const float> h, std::size_t count,
                                           bool by_rank) {
  std::vector<std::uint32_t> order(h.size());
  std::iota(order.begin(), order.end(), 0u);
  count = std::min(count, h.size());
  const auto magnitude = [&](std::uint32_t i) { return std::isnan(h[i]) ? 0 : std::fabs(h[i]); };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](std::uint32_t a, std::uint32_t b) {
                      const float x = magnitude(a), y = magnitude(b);
                      return x != y ? x > y : a < b;
                    });
  order.resize(count);
  if (!by_rank) std::sort(order.begin(), order.end());
  return order;
}

std::uint32_t GrailSketchAt(std::span<const float> h, std::span<const std::uint32_t> dimensions,
                            std::span<const int> coefficients, int buckets) {
  std::int64_t sum = 0;
  const std::size_t n = std::min(dimensions.size(), coefficients.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (dimensions[i] < h.size())
      sum += std::int64_t{GrailBucket(h[dimensions[i]], buckets)} * coefficients[i];
  }
  const std::int64_t residue = sum % kGrailModulus;
  return static_cast<std::uint32_t>(residue < 0 ? residue + kGrailModulus : residue);
}

std::uint32_t GrailSketch(std::span<const float> h, std::span<const int> coefficients,
                          GrailVersion version) {
  const GrailRules rules = RulesOf(version);
  return GrailSketchAt(h, GrailDimensions(h, rules.dimensions, rules.by_rank), coefficients,
                       rules.buckets);
}

std::uint32_t GrailDistance(std::uint32_t a, std::uint32_t b) {
  const std::uint32_t m = (a > b ? a - b : b - a) % kGrailModulus;
  return std::min(m, kGrailModulus - m);
}

std::uint32_t GrailTolerance(GrailVersion version, std::uint32_t t) {
  const double root = std::sqrt(static_cast<double>(t));
  switch (version) {
    case GrailVersion::kV1:
      return static_cast<std::uint32_t>(50.0 * (2.0 - Importance(t)));
    case GrailVersion::kV4:
      return static_cast<std::uint32_t>(30.0 + 3.0 * root);
    case GrailVersion::kV5:
      return static_cast<std::uint32_t>(6000.0 + 5.0 * root);
  }
  Check(false, "a known version");
  return 0;
}

GrailEntryV1 GrailEntryOf(std::span<const float> h, std::span<const int> coefficients) {
  const GrailRules rules = RulesOf(GrailVersion::kV1);
  GrailEntryV1 entry{0, GrailDimensions(h, rules.dimensions, true),
                     std::vector<std::uint32_t>(static_cast<std::size_t>(rules.buckets))};
  entry.sketch = GrailSketchAt(h, entry.dimensions, coefficients, rules.buckets);
  for (const std::uint32_t i : entry.dimensions)
    ++entry.histogram[static_cast<std::size_t>(std::abs(GrailBucket(h[i], rules.buckets)))];
  return entry;
}

bool GrailAcceptsV1(const GrailEntryV1& entry, std::span<const float> h,
                    std::span<const int> coefficients, std::uint32_t t) {
  const GrailRules rules = RulesOf(GrailVersion::kV1);
  const auto buckets = static_cast<std::size_t>(rules.buckets);
  if (entry.dimensions.size() != std::min(rules.dimensions, h.size()) ||
      entry.histogram.size() != buckets || entry.sketch >= kGrailModulus)
    return false;
  std::vector<std::uint32_t> histogram(buckets);
  for (const std::uint32_t i : entry.dimensions) {
    if (i >= h.size()) return false;
    ++histogram[static_cast<std::size_t>(std::abs(GrailBucket(h[i], rules.buckets)))];
  }
  const std::set<std::uint32_t> different(entry.dimensions.begin(), entry.dimensions.end());
  if (different.size() != entry.dimensions.size()) return false;
  const auto own = GrailDimensions(h, 5, true);
  std::size_t common = 0;
  for (std::size_t i = 0; i < own.size(); ++i)
    common += std::find(own.begin(), own.end(), entry.dimensions[i]) != own.end() ? 1 : 0;
  const double importance = Importance(t), f = 2.0 - importance;
  std::uint64_t l1 = 0;
  for (std::size_t b = 0; b < buckets; ++b)
    l1 += histogram[b] > entry.histogram[b] ? histogram[b] - entry.histogram[b]
                                            : entry.histogram[b] - histogram[b];
  const std::uint32_t sketch = GrailSketchAt(h, entry.dimensions, coefficients, rules.buckets);
  return GrailDistance(sketch, entry.sketch) <= GrailTolerance(GrailVersion::kV1, t) &&
         common >= std::max<std::size_t>(3, static_cast<std::size_t>(5.0 * importance)) &&
         static_cast<double>(l1) <= 10.0 * f;
}

std::string GrailCommitmentsJson(std::span<const std::uint32_t> sketches) {
  return JsonList(sketches, "{\"sketch\":", "}");
}

Digest256 GrailBinding(const Digest256& tokens_hash, const Digest256& randomness,
                       std::string_view model, std::int32_t layer,
                       std::span<const std::uint32_t> sketches) {
  Bytes layer_bytes, input;
  AppendBig(layer_bytes, static_cast<std::uint32_t>(layer));
  const Bytes parts[] = {ToBytes(tokens_hash), ToBytes(randomness),
                         Bytes(model.begin(), model.end()), layer_bytes,
                         ToBytes(Sha256(AsBytes(GrailCommitmentsJson(sketches))))};
  Append(input, "grail-commit-v1");
  for (const Bytes& part : parts) {
    AppendBig(input, static_cast<std::uint32_t>(part.size()));
    input.insert(input.end(), part.begin(), part.end());
  }
  return Sha256(input);
}

Digest256 GrailCompletionDigest(std::span<const TokenId> completion) {
  return Sha256(AsBytes(JsonList(completion, "", "")));
}

std::uint32_t GrailGroupsToCheck(std::uint32_t groups) {
  constexpr std::uint32_t kGroup = 16, kAllBelow = 20, kMost = 64 / kGroup;
  if (std::uint64_t{groups} * kGroup <= kAllBelow) return groups;
  return std::min(std::max<std::uint32_t>(1, groups / 10), kMost);
}

std::uint64_t GrailGroupSeed(std::string_view hotkey, std::string_view randomness) {
  const Digest256 digest = Sha256(AsBytes(std::string(hotkey) + ":" + std::string(randomness)));
  std::uint64_t seed = 0;
  for (std::size_t i = 0; i < 8; ++i) seed = seed << 8 | digest[i];
  return seed;
}

std::vector<std::uint32_t> GrailSampleGroups(std::string_view hotkey, std::string_view randomness,
                                             std::uint32_t groups, std::uint32_t count) {
  return PyRandom::FromInteger(GrailGroupSeed(hotkey, randomness)).Sample(groups, count);
}

}  // namespace waggle
