// Byte pair encoding of one piece of text (engine.md 6.4): start from characters, repeatedly merge
// the adjacent pair of lowest rank, leftmost first.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "tokenizer/flat_map.h"

namespace waggle {

inline constexpr std::size_t kVocabMax = 1u << 20;  // largest id + 1
inline constexpr std::size_t kMergesMax = 1u << 21;
inline constexpr std::size_t kTokenBytesMax = 1u << 16;  // of one token

struct BpeMerge {
  TokenId left = -1, right = -1;
  std::uint32_t rank = 0;  // equal ranks: leftmost in the text first
};

// What a BPE consists of, from whatever file it came.
struct BpeParts {
  std::vector<std::string> tokens;  // by id, as tokenizer.json spells them; empty: no such id
  std::vector<BpeMerge> merges;
  std::vector<bool> special;   // by id (may be shorter): never produced from plain text
  bool byte_level = false;     // tokens are spelled in GPT-2's byte alphabet
  bool byte_fallback = false;  // unknown characters become <0xNN>
  bool fuse_unknown = false;   // a run of unknown characters becomes one unknown token
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges say
  TokenId unknown = -1;        // -1: unknown characters vanish
};

// Remembers the encodings of recent short pieces. One per Encode call: no locks, no growth.
class PieceCache {
 public:
  static constexpr std::size_t kSlotsMax = 1024, kBytesMax = 22, kIdsMax = 9;
  // Sized for a text of so many bytes: clearing a big table costs more than a short text.
  explicit PieceCache(std::size_t text_bytes)
      : size_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 16, 8, kSlotsMax))) {}
  struct Slot {
    std::array<char, kBytesMax> bytes;
    std::uint8_t length = 0, ids = 0;  // length 0: empty
    std::array<TokenId, kIdsMax> id;
  };
  Slot& At(std::uint64_t hash) {
    if (slots_.empty()) slots_.resize(size_);
    return slots_[hash & (size_ - 1)];
  }

 private:
  std::size_t size_;
  std::vector<Slot> slots_;
};

class Bpe {
 public:
  // Checks every id and merge; errors name model.vocab / model.merges.
  static Result<Bpe> Build(BpeParts parts);

  // Appends the tokens of `piece` (raw bytes; for byte_level the bytes themselves, else UTF-8).
  void Encode(std::string_view piece, std::vector<TokenId>& out, PieceCache& cache) const;

  const BpeParts& parts() const { return parts_; }
  // The model's own token with this spelling, or -1.
  TokenId Find(std::string_view spelling) const { return by_spelling_.Find(spelling); }

 private:
  void EncodeWord(std::string_view word, std::vector<TokenId>& out, PieceCache& cache) const;
  void Symbols(std::string_view word, std::vector<TokenId>& out) const;
  void AppendUnknown(std::string_view character, bool& in_unknown, std::vector<TokenId>& out) const;
  std::size_t MergeShort(std::span<TokenId> ids) const;  // returns how many are left
  std::size_t MergeLong(std::span<TokenId> ids) const;
  Status IndexTokens();
  Status IndexMerges();
  void IndexWholeWords();

  BpeParts parts_;
  StringIds by_spelling_;
  StringIds whole_;                    // words that are exactly one token
  StringIds characters_;               // single UTF-8 characters, when not byte_level
  std::array<TokenId, 256> byte_id_;   // byte_level: the token of each byte, or -1
  std::array<TokenId, 256> fallback_;  // <0xNN>, or -1
  PairMerges merges_;
  bool words_ = false;  // no token crosses from a character to U+2581, so words merge independently
};

// GPT-2's byte alphabet: every byte as one printable character.
char32_t ByteToAlphabet(std::uint8_t byte);
int AlphabetToByte(char32_t code_point);  // -1: none
// Spelling to raw bytes; false when a character is outside the alphabet.
bool SpellingToBytes(std::string_view spelling, std::string& bytes);
std::string BytesToSpelling(std::string_view bytes);
// NN of "<0xNN>" (upper case), or -1.
int ParseByteToken(std::string_view spelling);

}  // namespace waggle
