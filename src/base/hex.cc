#include "base/hex.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>

namespace waggle {
namespace {

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

template <class T>
std::string HexNumber(T value) {
  if (value != value) return "nan";
  std::array<char, 64> buffer;
  const bool negative = std::signbit(value);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                                 negative ? -value : value, std::chars_format::hex)
                       .ptr;
  const std::string digits(buffer.data(), end);
  if (digits == "inf") return negative ? "-inf" : "inf";
  return (negative ? "-0x" : "0x") + digits;
}

template <class T>
Result<T> ParseHexNumber(std::string_view text) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  if (!rest.starts_with("0x"))
    return Fail(Blame::kPeer, "'{}' is not a hexadecimal float", text.substr(0, 40));
  rest.remove_prefix(2);
  T value{};
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), value, std::chars_format::hex);
  if (error != std::errc{} || end != rest.data() + rest.size() || rest.starts_with('-')) {
    return Fail(Blame::kPeer, "'{}' is not a hexadecimal float", text.substr(0, 40));
  }
  return negative ? -value : value;
}

}  // namespace

std::string ToHex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

Result<std::string> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0)
    return Fail(Blame::kPeer, "hexadecimal text of odd length {}", hex.size());
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = DigitOf(hex[i]), low = DigitOf(hex[i + 1]);
    if (high < 0 || low < 0) return Fail(Blame::kPeer, "offset {}: not a hexadecimal digit", i);
    bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return bytes;
}

std::string HexFloat(float value) { return HexNumber(value); }
std::string HexDouble(double value) { return HexNumber(value); }
Result<float> ParseHexFloat(std::string_view text) { return ParseHexNumber<float>(text); }
Result<double> ParseHexDouble(std::string_view text) { return ParseHexNumber<double>(text); }

std::uint64_t Fnv1a64(std::span<const std::byte> bytes, std::uint64_t seed) {
  for (const std::byte byte : bytes)
    seed = (seed ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3ull;
  return seed;
}

}  // namespace waggle
