// UTF-8, character classes and NFC. Bytes that are not UTF-8 are carried through, never dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace waggle::unicode {

inline constexpr char32_t kInvalid = 0xFFFFFFFF;  // one byte that starts no valid character

struct Char {
  char32_t code_point = kInvalid;
  std::uint32_t length = 1;  // bytes; 1 for kInvalid
};

// The character at text[at]; requires at < text.size(). Overlong forms and surrogates are invalid.
Char DecodeSlow(std::string_view text, std::size_t at);
inline Char Decode(std::string_view text, std::size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {byte, 1};
  return DecodeSlow(text, at);
}
void Append(std::string& out, char32_t code_point);

enum class Class : std::uint8_t { kOther, kLetter, kNumber, kSpace };
// \p{L}, \p{N}, \s (White_Space) or none of them.
Class ClassOfSlow(char32_t code_point);
inline constexpr Class ClassOfAscii(char32_t c) {
  if ((c | 32) >= 'a' && (c | 32) <= 'z') return Class::kLetter;
  if (c >= '0' && c <= '9') return Class::kNumber;
  return c == ' ' || (c >= 9 && c <= 13) ? Class::kSpace : Class::kOther;
}
inline Class ClassOf(char32_t c) { return c < 0x80 ? ClassOfAscii(c) : ClassOfSlow(c); }
bool IsWord(char32_t code_point);  // \w of a single_word added token: letters, marks, numbers, _

// Normalisation form C. Invalid bytes stay as they are and compose with nothing.
std::string Nfc(std::string_view text);
bool IsPlainNfc(
    std::string_view text);  // true: certainly NFC already (no character from U+0300 on)

// Bytes to text: every maximal invalid part becomes one U+FFFD.
std::string Lossy(std::string_view bytes);
// Length of the longest prefix that does not end inside a character still to be completed.
std::size_t CompletePrefix(std::string_view bytes);
bool IsValid(std::string_view bytes);

}  // namespace waggle::unicode
