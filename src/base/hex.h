// Bytes and exact floats as text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace waggle {

std::string ToHex(std::span<const std::uint8_t> bytes);
Result<std::string> FromHex(std::string_view hex);  // raw bytes

// Exact hexadecimal floating point as C's %a prints it ("-0x1.5d589ep+6"), locale-free, and back.
std::string HexFloat(float value);
std::string HexDouble(double value);
Result<float> ParseHexFloat(std::string_view text);
Result<double> ParseHexDouble(std::string_view text);

// FNV-1a, 64 bit, over raw little-endian bytes: the checksum of the arithmetic known answers.
std::uint64_t Fnv1a64(std::span<const std::byte> bytes, std::uint64_t seed = 0xcbf29ce484222325ull);

}  // namespace waggle
