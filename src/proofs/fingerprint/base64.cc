#include "proofs/fingerprint/base64.h"

namespace waggle {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string ToBase64(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j) word = word << 8 | (j < n ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      text.push_back(j <= n ? kDigits[word >> (18 - 6 * j) & 63u] : '=');
  }
  return text;
}

Result<Bytes> FromBase64(std::string_view text) {
  if (text.size() % 4 != 0)
    return Fail(Blame::kPeer, "{} characters of base64: they come in fours", text.size());
  Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding =
        !last || text[i + 3] != '=' ? 0 : (text[i + 2] == '=' ? std::size_t{2} : std::size_t{1});
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const std::size_t digit = j < 4 - padding ? kDigits.find(text[i + j]) : 0;
      if (digit == std::string_view::npos)
        return Fail(Blame::kPeer, "character {} of base64 is not one of it", i + j);
      word = word << 6 | static_cast<std::uint32_t>(digit);
    }
    if ((padding > 0 && (word & 0xFFu) != 0) || (padding > 1 && (word & 0xFFFFu) != 0))
      return Fail(Blame::kPeer, "base64 ends in bits that belong to no byte");
    for (std::size_t j = 0; j < 3 - padding; ++j)
      bytes.push_back(static_cast<std::uint8_t>(word >> (16 - 8 * j)));
  }
  return bytes;
}

}  // namespace waggle
