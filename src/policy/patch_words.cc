#include "policy/patch_words.h"

#include "policy/leb128.h"

namespace waggle {
namespace {

constexpr std::string_view kMagic = "WPT1";

std::uint64_t RiceBits(std::span<const std::uint32_t> gaps, unsigned k) {
  std::uint64_t quotients = 0;
  for (const std::uint32_t gap : gaps) quotients += gap >> k;
  return quotients + gaps.size() * (k + 1);
}

void Append(Bytes& out, std::span<const std::uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

// The cost is convex in k (one more bit each, against half of the quotients, rounded up, which only
// fall), so the walk from a good guess ends at the smallest k of least cost.
RiceChoice ChooseRice(std::span<const std::uint32_t> gaps) {
  if (gaps.empty()) return {};
  const std::uint64_t mean = (RiceBits(gaps, 0) - gaps.size()) / gaps.size();
  const auto width = static_cast<unsigned>(std::bit_width(mean * 45 / 64));  // ln 2 of the mean
  RiceChoice best{.k = std::min(width == 0 ? 0 : width - 1, kRiceMax)};
  best.bits = RiceBits(gaps, best.k);
  for (bool down = true; down && best.k > 0;) {
    const std::uint64_t bits = RiceBits(gaps, best.k - 1);
    down = bits <= best.bits;
    if (down) best = {best.k - 1, bits};
  }
  for (bool up = true; up && best.k < kRiceMax;) {
    const std::uint64_t bits = RiceBits(gaps, best.k + 1);
    up = bits < best.bits;
    if (up) best = {best.k + 1, bits};
  }
  return best;
}

void PutPatchHead(Bytes& out, const Digest256& base_root, const Digest256& new_root,
                  std::uint64_t tensors) {
  out.insert(out.end(), kMagic.begin(), kMagic.end());
  out.push_back(0);  // flags
  Append(out, base_root);
  Append(out, new_root);
  PutLeb128(out, tensors);
}

void PutRecordHead(Bytes& out, std::string_view name, const TensorForm& form, PatchMode mode,
                   std::uint64_t changed, unsigned rice, std::span<const std::uint8_t> gaps,
                   std::uint64_t payload_bytes) {
  PutLeb128(out, name.size());
  out.insert(out.end(), name.begin(), name.end());
  out.push_back(static_cast<std::uint8_t>(form.dtype));
  out.push_back(static_cast<std::uint8_t>(form.shape.size()));
  for (const std::uint64_t extent : form.shape) PutLeb128(out, extent);
  out.push_back(static_cast<std::uint8_t>(mode));
  PutLeb128(out, changed);
  out.push_back(static_cast<std::uint8_t>(rice));
  PutLeb128(out, gaps.size());
  Append(out, gaps);
  PutLeb128(out, payload_bytes);
}

void PutDense(Bytes& out, std::string_view name, const TensorForm& form,
              std::span<const std::uint8_t> bits) {
  PutRecordHead(out, name, form, PatchMode::kDense, form.elements(), 0, {}, bits.size());
  Append(out, bits);
}

void EntryWriter::PutRecord(Bytes& out, std::string_view name, const TensorForm& form,
                            PatchMode mode) {
  const auto gaps = std::span(gaps_).first(gaps_used_);
  const RiceChoice rice = ChooseRice(gaps);
  BitWriter writer;
  writer.Reserve(rice.bits);
  const std::uint64_t mask = (std::uint64_t{1} << rice.k) - 1;
  for (const std::uint32_t gap : gaps) {
    const std::uint64_t quotient = gap >> rice.k;
    if (quotient < 32) [[likely]] {
      const std::uint64_t unary = ((std::uint64_t{1} << quotient) - 1) << 1;
      writer.Put((unary << rice.k) | (gap & mask), static_cast<unsigned>(quotient) + 1 + rice.k);
    } else {
      writer.PutOnes(quotient);
      writer.Put(gap & mask, 1 + rice.k);
    }
  }
  const Bytes payload = mode == PatchMode::kSteps ? steps_.Finish() : std::move(values_);
  PutRecordHead(out, name, form, mode, gaps_used_, rice.k, writer.Finish(), payload.size());
  Append(out, payload);
}

}  // namespace waggle
