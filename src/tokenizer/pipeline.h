// The steps of a tokenizer.json around the BPE, as data. One struct per section, with the fields
// that change results.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/split.h"
#include "tokenizer/tokenizer.h"

namespace waggle {

struct Normalizer {
  enum class Kind : std::uint8_t { kNfc, kPrepend, kReplace, kTrimSpaces, kCollapseSpaces };
  Kind kind = Kind::kNfc;
  std::string pattern{}, content{};  // kReplace: pattern -> content; kPrepend: content
};

// The only regular expressions that a Replace normalizer may hold: SentencePiece's "remove extra
// whitespaces".
inline constexpr std::string_view kTrimRegex = R"(\A +| +\z)";
inline constexpr std::string_view kCollapseRegex = " {2,}";

struct PreTokenizer {
  enum class Kind : std::uint8_t { kByteLevel, kSplit, kDigits, kMetaspace };
  enum class Prepend : std::uint8_t { kAlways, kFirst, kNever };
  Kind kind = Kind::kByteLevel;
  SplitFamily family = SplitFamily::kGpt2;  // kSplit
  bool add_prefix_space = false;            // kByteLevel
  bool use_regex = true;                    // kByteLevel: the GPT-2 split
  bool individual = false;                  // kDigits: one piece per digit
  bool split = true;                        // kMetaspace: a piece per word
  Prepend prepend = Prepend::kAlways;       // kMetaspace
  std::string replacement{};                // kMetaspace
};

struct DecoderStep {
  enum class Kind : std::uint8_t { kByteLevel, kReplace, kByteFallback, kFuse, kStrip, kMetaspace };
  Kind kind = Kind::kFuse;
  std::string pattern{},
      content{};  // kReplace; kStrip: content is the character; kMetaspace: pattern
  std::size_t start = 0, stop = 0;  // kStrip: at most so many at either end
  bool drop_first = true;           // kMetaspace: the first token loses its marks
};

struct TokenizerParts {
  BpeParts model;
  std::vector<AddedToken> added;
  std::vector<Normalizer> normalizers;
  std::vector<PreTokenizer> pre_tokenizers;
  std::vector<DecoderStep> decoders;   // empty: tokens joined by spaces (the default of the format)
  std::vector<TokenId> before, after;  // what the post-processor puts around one sequence
};

// What a piece of text goes through before BPE; `first`: it begins where the whole text begins.
std::string Normalize(const std::vector<Normalizer>& steps, std::string_view text);
// Joins spellings the way the decoder section says.
std::string RunDecoders(const std::vector<DecoderStep>& steps, std::vector<std::string> tokens);

struct Tokenizer::Impl {
  Bpe bpe;
  TokenizerParts parts;                // parts.model is moved into bpe
  std::vector<std::string> spellings;  // by id, added tokens included
  std::vector<bool> special;           // by id
  AddedTokenMatcher raw, normalized;
  std::string chat_template;
  std::map<std::string, std::string> files;  // as loaded from a folder, by name

  static Result<Tokenizer> Make(TokenizerParts parts);

  void EncodeText(std::string_view text, const EncodeOptions& options,
                  std::vector<TokenId>& out) const;
  void EncodePiece(std::size_t step, std::string_view piece, bool first, PieceCache& cache,
                   std::vector<TokenId>& out) const;
  // Characters that Decode strips from the front of a text at most (SentencePiece's dummy space).
  std::size_t LeadingStrip(std::string* character) const;
};

// tokenizer.json to parts; errors name the field.
Result<TokenizerParts> PartsFromJson(std::string_view json);
std::string PartsToJson(const Tokenizer::Impl& impl);
Result<TokenizerParts> PartsFromSentencePiece(std::string_view file);
Result<TokenizerParts> PartsFromLlama2c(std::string_view file);
Result<TokenizerParts> PartsFromCharacters(std::span<const std::string> specials,
                                           std::string_view characters);

}  // namespace waggle
