#include "training/watch/observation.h"

#include <algorithm>
#include <array>
#include <bit>
#include <set>

namespace waggle {
namespace {

// Bits of a length code with its extra bits, and of a literal, under the fixed codes.
std::uint32_t LengthBits(std::size_t length) {
  if (length == 258) return 8;
  const std::uint32_t extra =
      length < 11 ? 0 : static_cast<std::uint32_t>(std::bit_width(length - 3)) - 3;
  return (length >= 115 ? 8u : 7u) + extra;
}
std::uint32_t DistanceBits(std::size_t distance) {
  const std::uint32_t extra =
      distance < 5 ? 0 : static_cast<std::uint32_t>(std::bit_width(distance - 1)) - 2;
  return 5 + extra;
}
std::uint32_t LiteralBits(unsigned char byte) { return byte < 144 ? 8 : 9; }

}  // namespace

float RepeatedShare(std::span<const std::int32_t> tokens) {
  if (tokens.size() < 4) return 0;
  std::set<std::array<std::int32_t, 4>> distinct;
  for (std::size_t i = 0; i + 4 <= tokens.size(); ++i)
    distinct.insert({tokens[i], tokens[i + 1], tokens[i + 2], tokens[i + 3]});
  const std::size_t all = tokens.size() - 3;
  return 1 - static_cast<float>(distinct.size()) / static_cast<float>(all);
}

std::optional<float> CompressRatio(std::string_view text) {
  if (text.size() < kCompressBytesMin) return std::nullopt;
  text = text.substr(0, kCompressBytesMax);
  std::uint64_t bits = 3 + 7;  // header, end of block
  // Earlier places of three bytes with this hash, newest first, a bounded number of them.
  constexpr std::size_t kChain = 32;
  std::vector<std::int32_t> newest(1 << 12, -1), before(text.size(), -1);
  const auto slot = [&](std::size_t at) {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[at + k]); };
    return (byte(0) * 33u * 33u + byte(1) * 33u + byte(2)) % newest.size();
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0, distance = 0;
    if (at + 3 <= text.size()) {
      std::int32_t from = newest[slot(at)];
      for (std::size_t k = 0; k < kChain && from >= 0; ++k, from = before[from]) {
        const std::size_t room = std::min<std::size_t>(258, text.size() - at);
        std::size_t same = 0;
        while (same < room && text[from + same] == text[at + same]) ++same;
        if (same > length) length = same, distance = at - static_cast<std::size_t>(from);
      }
    }
    bits += length >= 3 ? LengthBits(length) + DistanceBits(distance)
                        : LiteralBits(static_cast<unsigned char>(text[at]));
    for (std::size_t step = length >= 3 ? length : 1; step > 0; --step, ++at) {
      if (at + 3 > text.size()) continue;
      before[at] = newest[slot(at)];
      newest[slot(at)] = static_cast<std::int32_t>(at);
    }
  }
  return static_cast<float>(text.size()) / static_cast<float>((bits + 7) / 8);
}

}  // namespace waggle
