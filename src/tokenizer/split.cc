#include "tokenizer/split.h"

#include <array>

#include "tokenizer/unicode.h"

namespace waggle {
namespace {

using unicode::Char;
using unicode::Class;

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr auto kAscii = [] {
  std::array<Class, 128> table{};
  for (unsigned c = 0; c < 128; ++c) table[c] = unicode::ClassOfAscii(c);
  return table;
}();

struct Seen {
  Class kind;
  std::uint32_t length;
};
inline Seen Look(std::string_view text, std::size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {kAscii[byte], 1};
  const Char c = unicode::DecodeSlow(text, at);
  // A byte that is not UTF-8 belongs to no class, like punctuation.
  return {c.code_point == unicode::kInvalid ? Class::kOther : unicode::ClassOf(c.code_point),
          c.length};
}

inline std::size_t RunEnd(std::string_view text, std::size_t at, Class kind) {
  while (at < text.size()) {
    const Seen seen = Look(text, at);
    if (seen.kind != kind) break;
    at += seen.length;
  }
  return at;
}

inline bool IsNewline(char c) { return c == '\r' || c == '\n'; }

// Length of the contraction after an apostrophe at text[at], apostrophe included, or 0. Folding
// case, U+017F counts as s.
std::size_t Contraction(std::string_view text, std::size_t at, bool fold_case) {
  const auto letter = [&](std::size_t i) -> char {
    if (at + i >= text.size()) return 0;
    const char c = text[at + i];
    return fold_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 32) : c;
  };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = letter(2);
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  if (fold_case && text.substr(at + 1, 2) == "\xC5\xBF") return 3;
  return 0;
}

// \s+(?!\S)|\s+ : a run of spaces leaves its last character to what follows, unless it is alone or
// ends the text.
std::size_t SpacesEnd(std::string_view text, std::size_t at) {
  std::size_t last = at, end = at;
  while (end < text.size()) {
    const Seen seen = Look(text, end);
    if (seen.kind != Class::kSpace) break;
    last = end;
    end += seen.length;
  }
  return end == text.size() || last == at ? end : last;
}

std::size_t NextGpt2(std::string_view text, std::size_t at) {
  if (text[at] == '\'') {
    if (const std::size_t length = Contraction(text, at, false)) return at + length;
  }
  Seen seen = Look(text, at);
  std::size_t from = at;
  if (text[at] == ' ' && at + 1 < text.size()) seen = Look(text, from = at + 1);
  if (seen.kind == Class::kSpace) return SpacesEnd(text, at);
  return RunEnd(text, from + seen.length, seen.kind);
}

std::size_t NumberEnd(std::string_view text, std::size_t at, unsigned digits_max) {
  for (unsigned i = 0; i < digits_max && at < text.size(); ++i) {
    const Seen seen = Look(text, at);
    if (seen.kind != Class::kNumber) break;
    at += seen.length;
  }
  return at;
}

std::size_t OthersEnd(std::string_view text, std::size_t at) {
  at = RunEnd(text, at, Class::kOther);
  while (at < text.size() && IsNewline(text[at])) ++at;
  return at;
}

std::size_t NextLlama3(std::string_view text, std::size_t at, unsigned digits_max) {
  if (text[at] == '\'') {
    if (const std::size_t length = Contraction(text, at, true)) return at + length;
  }
  const Seen seen = Look(text, at);
  const std::size_t next = at + seen.length;
  if (seen.kind == Class::kLetter) return RunEnd(text, next, Class::kLetter);
  if (seen.kind == Class::kNumber) return NumberEnd(text, at, digits_max);
  if (next < text.size() && !IsNewline(text[at])) {
    const Seen after = Look(text, next);
    if (after.kind == Class::kLetter) return RunEnd(text, next + after.length, Class::kLetter);
    if (text[at] == ' ' && after.kind == Class::kOther) return OthersEnd(text, next);
  }
  if (seen.kind == Class::kOther) return OthersEnd(text, at);
  const std::size_t end = RunEnd(text, at, Class::kSpace);
  for (std::size_t last = end; last > at; --last) {
    if (IsNewline(text[last - 1])) return last;
  }
  return SpacesEnd(text, at);
}

}  // namespace

std::optional<SplitFamily> FamilyOfRegex(std::string_view regex) {
  for (const auto family : {SplitFamily::kGpt2, SplitFamily::kLlama3, SplitFamily::kQwen2}) {
    if (regex == RegexOfFamily(family)) return family;
  }
  return std::nullopt;
}

std::string_view RegexOfFamily(SplitFamily family) {
  switch (family) {
    case SplitFamily::kGpt2:
      return kGpt2Regex;
    case SplitFamily::kLlama3:
      return kLlama3Regex;
    case SplitFamily::kQwen2:
      break;
  }
  return kQwen2Regex;
}

std::size_t NextPiece(SplitFamily family, std::string_view text, std::size_t at) {
  if (family == SplitFamily::kGpt2) return NextGpt2(text, at);
  return NextLlama3(text, at, family == SplitFamily::kLlama3 ? 3 : 1);
}

std::size_t DigitsRun(std::string_view text, std::size_t at, bool want) {
  while (at < text.size()) {
    const Seen seen = Look(text, at);
    if ((seen.kind == Class::kNumber) != want) break;
    at += seen.length;
  }
  return at;
}

}  // namespace waggle
