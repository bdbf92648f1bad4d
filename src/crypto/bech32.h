// Bytes as text that people copy, read aloud and scan: base32 in the alphabet of Bitcoin's BIP-173
// (no 1, b, i, o), and bech32m (BIP-350), which adds a prefix that says what it is and a checksum.
// The checksum finds any error in up to 4 characters of a text of up to 90, and all others but one
// in 2^30. Reading ignores case, as long as it is one; writing gives lower case.
//
// Nothing here allocates for the bytes themselves, so that secrets can pass through buffers of the
// caller's choice. Errors blame the operator: these texts are typed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace waggle {

// Characters for `bytes` bytes: 8 for 5, the last one padded with zero bits.
constexpr std::size_t Base32Length(std::size_t bytes) { return (bytes * 8 + 4) / 5; }
// Bytes in `characters` characters.
constexpr std::size_t Base32Bytes(std::size_t characters) { return characters * 5 / 8; }

// `out` has Base32Length(bytes.size()) characters.
void Base32Encode(std::span<const std::uint8_t> bytes, std::span<char> out);
// `out` has Base32Bytes(text.size()) bytes. Refuses other characters, lengths that no bytes have,
// and padding bits that are not zero: one value, one text. Lower case only.
Status Base32Decode(std::string_view text, std::span<std::uint8_t> out);

// prefix "1" data checksum. The prefix is lower case letters.
constexpr std::size_t Bech32mLength(std::string_view prefix, std::size_t bytes) {
  return prefix.size() + 1 + Base32Length(bytes) + 6;
}
void Bech32mEncode(std::string_view prefix, std::span<const std::uint8_t> bytes,
                   std::span<char> out);
std::string Bech32mText(std::string_view prefix, std::span<const std::uint8_t> bytes);
// Fills `out` entirely: the number of bytes is part of what is asked for. Errors say whether the
// text is of another kind, cut off, too long, or mistyped.
Status Bech32mDecode(std::string_view text, std::string_view prefix, std::span<std::uint8_t> out);

}  // namespace waggle
