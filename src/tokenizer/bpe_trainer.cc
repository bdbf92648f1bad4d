// Byte-level BPE training. Pair counts are kept up to date merge by merge: only words that hold the
// pair are touched.
#include <algorithm>
#include <array>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "tokenizer/pipeline.h"
#include "tokenizer/split.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

using Pair = std::pair<TokenId, TokenId>;

std::uint64_t KeyOf(Pair pair) {
  return (std::uint64_t{static_cast<std::uint32_t>(pair.first)} << 32) |
         static_cast<std::uint32_t>(pair.second);
}

struct Word {
  std::vector<TokenId> ids;
  std::int64_t count = 0;
};

struct PairState {
  std::int64_t count = 0;
  std::vector<std::uint32_t>
      words;  // where it was seen; may name a word twice, or one that lost it since
};

class Trainer {
 public:
  explicit Trainer(const BpeTrainingOptions& options) : options_(options) {}

  Status Start() {
    for (const std::string& special : options_.special_tokens) {
      if (special.empty() || !unicode::IsValid(special)) {
        return Fail(Blame::kOperator, "special_tokens[{}]: empty or not UTF-8", bytes_.size());
      }
      matcher_.Add({.id = static_cast<TokenId>(bytes_.size()), .content = special}, special);
      bytes_.emplace_back();  // never part of a pair
      spellings_.push_back(special);
    }
    if (options_.vocab_size < bytes_.size() + 256 || options_.vocab_size > kVocabMax) {
      return Fail(Blame::kOperator, "vocab_size: {} is not from {} (specials and 256 bytes) to {}",
                  options_.vocab_size, bytes_.size() + 256, kVocabMax);
    }
    // GPT-2's order: the printable bytes first, as their characters sort.
    for (char32_t c = 0; c < 0x144; ++c) {
      const int byte = AlphabetToByte(c);
      if (byte < 0) continue;
      byte_id_[byte] = static_cast<TokenId>(bytes_.size());
      AddToken(std::string(1, static_cast<char>(byte)));
    }
    return {};
  }

  void AddDocument(std::string_view document) {
    std::vector<AddedSegment> segments;
    matcher_.Split(document, segments);
    for (const AddedSegment& segment : segments) {
      if (segment.id >= 0) continue;  // a special token only separates
      for (std::size_t at = 0; at < segment.text.size();) {
        const std::size_t end = NextPiece(SplitFamily::kGpt2, segment.text, at);
        AddWord(segment.text.substr(at, end - at));
        at = end;
      }
    }
  }

  void Merge() {
    CountPairs();
    while (spellings_.size() < options_.vocab_size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(KeyOf(top.pair));
      if (found == pairs_.end() || found->second.count != top.count)
        continue;  // a newer entry is in the queue
      MergePair(top.pair, std::move(found->second.words));
    }
  }

  Result<Tokenizer> Finish() {
    TokenizerParts parts;
    parts.model.tokens = std::move(spellings_);
    parts.model.merges = std::move(merges_);
    parts.model.byte_level = true;
    for (std::size_t i = 0; i < options_.special_tokens.size(); ++i) {
      parts.added.push_back({.id = static_cast<TokenId>(i), .content = options_.special_tokens[i]});
    }
    parts.pre_tokenizers.push_back({.kind = PreTokenizer::Kind::kByteLevel});
    parts.decoders.push_back({.kind = DecoderStep::Kind::kByteLevel});
    return Tokenizer::Impl::Make(std::move(parts));
  }

 private:
  struct Candidate {
    std::int64_t count;
    Pair pair;
    const std::vector<std::string>* bytes;
    // The queue's top: most frequent, then the pair whose bytes are lexicographically greatest.
    bool operator<(const Candidate& other) const {
      if (count != other.count) return count < other.count;
      const auto& b = *bytes;
      if (const int order = b[pair.first].compare(b[other.pair.first]); order != 0)
        return order < 0;
      return b[pair.second].compare(b[other.pair.second]) < 0;
    }
  };

  // The id of these bytes; two different merges may give the same token.
  TokenId AddToken(const std::string& bytes) {
    const auto [at, fresh] = ids_.try_emplace(bytes, static_cast<TokenId>(bytes_.size()));
    if (fresh) {
      bytes_.push_back(bytes);
      spellings_.push_back(BytesToSpelling(bytes));
    }
    return at->second;
  }

  void AddWord(std::string_view text) {
    const auto [at, fresh] = word_index_.try_emplace(std::string(text), words_.size());
    if (fresh) {
      Word word;
      for (const char byte : text) word.ids.push_back(byte_id_[static_cast<unsigned char>(byte)]);
      words_.push_back(std::move(word));
    }
    ++words_[at->second].count;
  }

  void CountPairs() {
    bytes_.reserve(options_.vocab_size);  // candidates point into it
    for (std::uint32_t w = 0; w < words_.size(); ++w) {
      const Word& word = words_[w];
      for (std::size_t i = 0; i + 1 < word.ids.size(); ++i) {
        PairState& state = pairs_[KeyOf({word.ids[i], word.ids[i + 1]})];
        state.count += word.count;
        if (state.words.empty() || state.words.back() != w) state.words.push_back(w);
      }
    }
    for (const auto& [key, state] : pairs_) Enqueue(key, state.count);
  }

  void Enqueue(std::uint64_t key, std::int64_t count) {
    if (count <= 0) return;
    queue_.push({count,
                 {static_cast<TokenId>(key >> 32), static_cast<TokenId>(key & 0xFFFFFFFF)},
                 &bytes_});
  }

  void MergePair(Pair pair, std::vector<std::uint32_t> words) {
    const TokenId whole = AddToken(bytes_[pair.first] + bytes_[pair.second]);
    // A token that arises in two ways can bring back a merged pair; its first rule still stands.
    if (merged_.insert(KeyOf(pair)).second) {
      merges_.push_back({pair.first, pair.second, static_cast<std::uint32_t>(merges_.size())});
    }
    pairs_.erase(KeyOf(pair));
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    changed_.clear();
    for (const std::uint32_t w : words) MergeInWord(w, pair, whole);
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const std::uint64_t key : changed_) {
      const auto at = pairs_.find(key);
      if (at == pairs_.end()) continue;
      if (at->second.count <= 0) {
        pairs_.erase(at);
      } else {
        Enqueue(key, at->second.count);
      }
    }
  }

  void Change(Pair pair, std::int64_t by, std::uint32_t word, Pair merged) {
    if (pair == merged) return;
    const std::uint64_t key = KeyOf(pair);
    PairState& state = pairs_[key];
    state.count += by;
    if (by > 0 && (state.words.empty() || state.words.back() != word)) state.words.push_back(word);
    changed_.push_back(key);
  }

  // Old pairs of the word are taken out and the new ones put in; a word is short, so this is as
  // cheap as being clever.
  void MergeInWord(std::uint32_t w, Pair pair, TokenId whole) {
    Word& word = words_[w];
    auto& ids = word.ids;
    bool holds = false;
    for (std::size_t i = 0; i + 1 < ids.size() && !holds; ++i)
      holds = Pair{ids[i], ids[i + 1]} == pair;
    if (!holds) return;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i)
      Change({ids[i], ids[i + 1]}, -word.count, w, pair);
    std::size_t out = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i + 1 < ids.size() && Pair{ids[i], ids[i + 1]} == pair) {
        ids[out++] = whole;
        ++i;
      } else {
        ids[out++] = ids[i];
      }
    }
    ids.resize(out);
    for (std::size_t i = 0; i + 1 < ids.size(); ++i)
      Change({ids[i], ids[i + 1]}, word.count, w, pair);
  }

  const BpeTrainingOptions& options_;
  AddedTokenMatcher matcher_;
  std::array<TokenId, 256> byte_id_{};
  std::vector<std::string> bytes_, spellings_;  // by id
  std::unordered_map<std::string, TokenId> ids_;
  std::unordered_map<std::string, std::size_t> word_index_;  // only looked up, never iterated
  std::vector<Word> words_;
  std::unordered_map<std::uint64_t, PairState>
      pairs_;  // iterated once, into a queue with a total order
  std::priority_queue<Candidate> queue_;
  std::vector<std::uint64_t> changed_;
  std::vector<BpeMerge> merges_;
  std::unordered_set<std::uint64_t> merged_;  // the pairs of merges_
};

}  // namespace

Result<Tokenizer> TrainBpe(std::span<const std::string> documents,
                           const BpeTrainingOptions& options) {
  Trainer trainer(options);
  WG_TRY(trainer.Start());
  for (const std::string& document : documents) trainer.AddDocument(document);
  trainer.Merge();
  return trainer.Finish();
}

}  // namespace waggle
