// The regular expressions that real tokenizers cut text with, as hand-written scanners. In each,
// the alternatives cover every character, so the pieces concatenate to the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace waggle {

enum class SplitFamily : std::uint8_t {
  kGpt2,    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kLlama3,  // (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
            // ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  kQwen2,   // the same with \p{N} for \p{N}{1,3}
};

// The family with exactly this pattern, if any.
std::optional<SplitFamily> FamilyOfRegex(std::string_view regex);
std::string_view RegexOfFamily(SplitFamily family);

// End of the piece that begins at text[at]; requires at < text.size(). Always > at.
std::size_t NextPiece(SplitFamily family, std::string_view text, std::size_t at);

// End of the run of number characters (want) or of others (!want) that begins at text[at].
std::size_t DigitsRun(std::string_view text, std::size_t at, bool want);

}  // namespace waggle
