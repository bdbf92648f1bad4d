#include "tokenizer/bpe.h"

#include <algorithm>
#include <utility>

#include "tokenizer/unicode.h"

namespace waggle {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's visible space
constexpr std::size_t kWholeBytesMax = 256;              // longer tokens are found by merging
constexpr std::size_t kShortMax = 64;  // symbols up to which a linear scan beats a heap

constexpr bool IsOwnCharacter(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The 68 bytes that are not printable take U+0100.. in ascending order.
struct Alphabet {
  std::array<char32_t, 256> of_byte{};
  std::array<std::int16_t, 0x144> to_byte{};
};
constexpr Alphabet kAlphabet = [] {
  Alphabet alphabet;
  for (auto& byte : alphabet.to_byte) byte = -1;
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t c = IsOwnCharacter(byte) ? byte : next++;
    alphabet.of_byte[byte] = c;
    alphabet.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}();

// Is there a character other than the mark itself in front of a mark?
bool CrossesIntoSpace(std::string_view token) {
  for (std::size_t at = token.find(kSpaceMark, 1); at != std::string_view::npos;
       at = token.find(kSpaceMark, at + 1)) {
    if (at < 3 || token.substr(at - 3, 3) != kSpaceMark) return true;
  }
  return false;
}

}  // namespace

char32_t ByteToAlphabet(std::uint8_t byte) { return kAlphabet.of_byte[byte]; }

int AlphabetToByte(char32_t c) { return c < kAlphabet.to_byte.size() ? kAlphabet.to_byte[c] : -1; }

bool SpellingToBytes(std::string_view spelling, std::string& bytes) {
  bytes.clear();
  for (std::size_t at = 0; at < spelling.size();) {
    const unicode::Char c = unicode::Decode(spelling, at);
    const int byte = AlphabetToByte(c.code_point);
    if (byte < 0) return false;
    bytes += static_cast<char>(byte);
    at += c.length;
  }
  return true;
}

std::string BytesToSpelling(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes)
    unicode::Append(spelling, ByteToAlphabet(static_cast<std::uint8_t>(byte)));
  return spelling;
}

int ParseByteToken(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>') return -1;
  int value = 0;
  for (const char c : spelling.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9', letter = c >= 'A' && c <= 'F';
    if (!digit && !letter) return -1;
    value = value * 16 + (digit ? c - '0' : c - 'A' + 10);
  }
  return value;
}

Result<Bpe> Bpe::Build(BpeParts parts) {
  Bpe bpe;
  bpe.parts_ = std::move(parts);
  bpe.parts_.special.resize(bpe.parts_.tokens.size(), false);
  WG_TRY(bpe.IndexTokens());
  WG_TRY(bpe.IndexMerges());
  bpe.IndexWholeWords();
  return bpe;
}

Status Bpe::IndexTokens() {
  const auto& tokens = parts_.tokens;
  if (tokens.size() > kVocabMax) {
    return Fail(Blame::kPeer, "model.vocab: {} ids, the limit is {}", tokens.size(), kVocabMax);
  }
  by_spelling_ = StringIds(tokens.size());
  characters_ = StringIds();
  byte_id_.fill(-1);
  fallback_.fill(-1);
  std::string bytes;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& token = tokens[i];
    const auto id = static_cast<TokenId>(i);
    if (token.empty()) continue;
    if (token.size() > kTokenBytesMax)
      return Fail(Blame::kPeer, "model.vocab: token {} has {} bytes", i, token.size());
    switch (by_spelling_.Insert(token, id)) {
      case StringIds::Added::kNew:
        break;
      case StringIds::Added::kDuplicate:
        return Fail(Blame::kPeer, "model.vocab: token '{}' appears twice, the second time as id {}",
                    token, i);
      case StringIds::Added::kCrowded:
        return Fail(Blame::kPeer, "model.vocab: too many tokens with colliding hashes near id {}",
                    i);
    }
    if (parts_.special[i]) continue;
    if (const int byte = ParseByteToken(token); byte >= 0) fallback_[byte] = id;
    const unicode::Char first = unicode::Decode(token, 0);
    if (first.length != token.size()) continue;
    if (!parts_.byte_level) {
      characters_.Insert(token, id);
    } else if (const int byte = AlphabetToByte(first.code_point); byte >= 0) {
      byte_id_[byte] = id;
    }
  }
  if (parts_.unknown >= 0 && static_cast<std::size_t>(parts_.unknown) >= tokens.size()) {
    return Fail(Blame::kPeer, "model.unk_token: id {} is not in the vocabulary", parts_.unknown);
  }
  return {};
}

Status Bpe::IndexMerges() {
  const auto& tokens = parts_.tokens;
  if (parts_.merges.size() > kMergesMax) {
    return Fail(Blame::kPeer, "model.merges: {} entries, the limit is {}", parts_.merges.size(),
                kMergesMax);
  }
  merges_ = PairMerges(parts_.merges.size());
  words_ = !parts_.byte_level && !parts_.ignore_merges && characters_.Find(kSpaceMark) >= 0;
  std::string whole;
  for (std::size_t i = 0; i < parts_.merges.size(); ++i) {
    const BpeMerge& merge = parts_.merges[i];
    for (const TokenId id : {merge.left, merge.right}) {
      if (id < 0 || static_cast<std::size_t>(id) >= tokens.size() || tokens[id].empty()) {
        return Fail(Blame::kPeer, "model.merges[{}]: id {} is not in the vocabulary", i, id);
      }
    }
    whole.assign(tokens[merge.left]).append(tokens[merge.right]);
    const TokenId result = by_spelling_.Find(whole);
    if (result < 0)
      return Fail(Blame::kPeer, "model.merges[{}]: '{}' is not in the vocabulary", i, whole);
    if (merge.rank == kNoRank) return Fail(Blame::kPeer, "model.merges[{}]: rank out of range", i);
    switch (merges_.Insert(merge.left, merge.right, {merge.rank, result})) {
      case StringIds::Added::kNew:
        break;
      case StringIds::Added::kDuplicate:
        return Fail(Blame::kPeer, "model.merges[{}]: '{}' + '{}' appears twice", i,
                    tokens[merge.left], tokens[merge.right]);
      case StringIds::Added::kCrowded:
        return Fail(Blame::kPeer, "model.merges[{}]: too many merges with colliding hashes", i);
    }
    words_ = words_ && !CrossesIntoSpace(whole);
  }
  return {};
}

// Most words of real text are one token. Which tokens encode to themselves is checked once, so that
// such a word costs one look-up; with ignore_merges every token counts.
void Bpe::IndexWholeWords() {
  StringIds whole(parts_.tokens.size());
  whole_ = StringIds();
  std::vector<TokenId> ids;
  std::string bytes;
  for (std::size_t i = 0; i < parts_.tokens.size(); ++i) {
    const std::string& token = parts_.tokens[i];
    if (token.empty() || parts_.special[i]) continue;
    bytes = token;
    if (parts_.byte_level && !SpellingToBytes(token, bytes)) continue;
    if (!parts_.ignore_merges) {
      if (bytes.size() > kWholeBytesMax) continue;
      ids.clear();
      Symbols(bytes, ids);
      if (ids.size() <= 1) continue;  // single characters need no help; nor do unknown ones
      const std::size_t left = ids.size() <= kShortMax ? MergeShort(ids) : MergeLong(ids);
      if (left != 1 || ids[0] != static_cast<TokenId>(i)) continue;
    }
    (void)whole.Insert(bytes, static_cast<TokenId>(i));
  }
  whole_ = std::move(whole);
}

void Bpe::Encode(std::string_view piece, std::vector<TokenId>& out, PieceCache& cache) const {
  if (!words_) return EncodeWord(piece, out, cache);
  // SentencePiece has no pre-tokenizer; cutting in front of each run of marks changes nothing and
  // keeps words short.
  std::size_t begin = 0;
  while (begin < piece.size()) {
    std::size_t end = begin;
    while (piece.substr(end, 3) == kSpaceMark) end += 3;
    end = std::min(piece.find(kSpaceMark, end), piece.size());
    EncodeWord(piece.substr(begin, end - begin), out, cache);
    begin = end;
  }
}

void Bpe::EncodeWord(std::string_view word, std::vector<TokenId>& out, PieceCache& cache) const {
  if (word.empty()) return;
  if (const TokenId id = whole_.Find(word); id >= 0) {
    out.push_back(id);
    return;
  }
  PieceCache::Slot* slot = nullptr;
  if (word.size() > 1 && word.size() <= PieceCache::kBytesMax) {
    slot = &cache.At(HashBytes(word));
    if (std::string_view(slot->bytes.data(), slot->length) == word) {
      out.insert(out.end(), slot->id.begin(), slot->id.begin() + slot->ids);
      return;
    }
  }
  const std::size_t from = out.size();
  Symbols(word, out);
  const std::span<TokenId> ids(out.data() + from, out.size() - from);
  out.resize(from + (ids.size() <= kShortMax ? MergeShort(ids) : MergeLong(ids)));
  const std::size_t count = out.size() - from;
  if (slot != nullptr && count <= PieceCache::kIdsMax) {
    std::copy(word.begin(), word.end(), slot->bytes.begin());
    slot->length = static_cast<std::uint8_t>(word.size());
    slot->ids = static_cast<std::uint8_t>(count);
    std::copy(out.begin() + from, out.end(), slot->id.begin());
  }
}

void Bpe::Symbols(std::string_view word, std::vector<TokenId>& out) const {
  bool in_unknown = false;
  for (std::size_t at = 0; at < word.size();) {
    const auto byte = static_cast<unsigned char>(word[at]);
    if (parts_.byte_level) {
      ++at;
      if (byte_id_[byte] >= 0) {
        out.push_back(byte_id_[byte]);
        in_unknown = false;
      } else {
        AppendUnknown(BytesToSpelling({word.data() + at - 1, 1}), in_unknown, out);
      }
      continue;
    }
    const std::string_view character = word.substr(at, unicode::Decode(word, at).length);
    at += character.size();
    if (const TokenId id = characters_.Find(character); id >= 0) {
      out.push_back(id);
      in_unknown = false;
    } else {
      AppendUnknown(character, in_unknown, out);
    }
  }
}

void Bpe::AppendUnknown(std::string_view character, bool& in_unknown,
                        std::vector<TokenId>& out) const {
  const auto has_token = [&](char byte) {
    return fallback_[static_cast<unsigned char>(byte)] >= 0;
  };
  if (parts_.byte_fallback && std::all_of(character.begin(), character.end(), has_token)) {
    for (const char byte : character) out.push_back(fallback_[static_cast<unsigned char>(byte)]);
    in_unknown = false;
    return;
  }
  if (parts_.unknown < 0 || (in_unknown && parts_.fuse_unknown)) return;
  out.push_back(parts_.unknown);
  in_unknown = true;
}

std::size_t Bpe::MergeShort(std::span<TokenId> ids) const {
  std::size_t count = ids.size();
  std::array<MergeRule, kShortMax> rules;  // of the pair (i, i + 1)
  for (std::size_t i = 0; i + 1 < count; ++i) rules[i] = merges_.Find(ids[i], ids[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (rules[i].rank < rules[best].rank) best = i;
    }
    if (rules[best].rank == kNoRank) break;
    ids[best] = rules[best].result;
    std::copy(ids.begin() + best + 2, ids.begin() + count, ids.begin() + best + 1);
    std::copy(rules.begin() + best + 1, rules.begin() + count - 1, rules.begin() + best);
    --count;
    if (best > 0) rules[best - 1] = merges_.Find(ids[best - 1], ids[best]);
    if (best + 1 < count) rules[best] = merges_.Find(ids[best], ids[best + 1]);
  }
  return count;
}

std::size_t Bpe::MergeLong(std::span<TokenId> ids) const {
  struct Symbol {
    std::uint32_t previous, next;  // position in ids; kEnd: none
    MergeRule rule;                // of the pair this one begins
  };
  struct Candidate {
    std::uint32_t rank, at;
    // std::*_heap keep the greatest on top: the lowest rank, then the leftmost.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr std::uint32_t kEnd = 0xFFFFFFFF;
  const auto count = static_cast<std::uint32_t>(ids.size());
  std::vector<Symbol> symbols(count);
  std::vector<Candidate> heap;
  const auto look = [&](std::uint32_t at) {
    Symbol& symbol = symbols[at];
    symbol.rule = symbol.next == kEnd ? MergeRule{} : merges_.Find(ids[at], ids[symbol.next]);
    if (symbol.rule.rank != kNoRank) heap.push_back({symbol.rule.rank, at});
  };
  for (std::uint32_t i = 0; i < count; ++i) symbols[i] = {i - 1, i + 1 < count ? i + 1 : kEnd, {}};
  for (std::uint32_t i = 0; i < count; ++i) look(i);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate candidate = heap.back();
    heap.pop_back();
    Symbol& symbol = symbols[candidate.at];
    if (symbol.rule.rank != candidate.rank) continue;  // the pair is gone
    const std::uint32_t gone = symbol.next;
    ids[candidate.at] = symbol.rule.result;
    symbol.next = symbols[gone].next;
    symbols[gone].rule = {};
    ids[gone] = -1;
    if (symbol.next != kEnd) symbols[symbol.next].previous = candidate.at;
    for (const std::uint32_t changed : {symbol.previous, candidate.at}) {
      if (changed == kEnd) continue;
      const std::size_t before = heap.size();
      look(changed);
      if (heap.size() > before) std::push_heap(heap.begin(), heap.end());
    }
  }
  return static_cast<std::size_t>(std::remove(ids.begin(), ids.end(), -1) - ids.begin());
}

}  // namespace waggle
