// Text to token ids and back. Reads and writes Hugging Face tokenizer.json; trains small byte-level
// BPEs from scratch. Token ids are the truth; text is for people and graders only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/strong.h"

namespace waggle {

struct EncodeOptions {
  bool add_special_tokens = false;  // run the post-processor (BOS/EOS templates)
  // false for untrusted text: no added token is matched (whether its file calls it special or not,
  // since real files leave </s> or <think> out), so nothing in the text becomes a control token.
  bool encode_special = true;
};

// Immutable after construction; Encode/Decode may be called from many threads.
class Tokenizer {
 public:
  struct Impl;  // pipeline.h

  // A folder (tokenizer.json, else one SentencePiece .model, else a tokenizer_config.json that
  // lists characters), or the path of a .json, .model or llama2.c tokenizer .bin. Also keeps the
  // chat template of a folder. Errors name file and field; a pattern, step or model type that is
  // not implemented is refused, never approximated. Stored truncation and padding are not applied.
  static Result<Tokenizer> Load(const std::filesystem::path& path);
  static Result<Tokenizer> FromJson(std::string_view json);
  // One token per listed character (UTF-8), specials first: for tiny task models. Other characters
  // become the special named <unk>, [UNK] or U, or vanish without one.
  static Result<Tokenizer> FromCharacters(std::span<const std::string> specials,
                                          std::string_view characters);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  std::string Decode(std::span<const TokenId> ids, bool skip_special = false) const;
  // The bytes one token stands for inside a text (what a streaming decoder appends); empty for an
  // id that does not exist.
  std::string TokenBytes(TokenId id) const;

  std::size_t vocab_size() const;                             // max id + 1
  std::optional<TokenId> Find(std::string_view token) const;  // exact content, specials included
  bool IsSpecial(TokenId id) const;

  std::string ToJson() const;                // a tokenizer.json that Transformers' tokenizers load
  const std::string& chat_template() const;  // empty: none
  // Files, by name, that stand for this tokenizer beside a model. What was loaded from a folder in
  // Hugging Face layout comes back byte for byte, settings and chat template included.
  std::map<std::string, std::string> Files() const;

 private:
  friend class StreamingDecoder;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Feed ids one by one; returns text as soon as it is complete UTF-8, never a broken character. All
// parts together are Decode(ids), except that bytes which are no UTF-8 may give fewer U+FFFD.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  std::string Push(TokenId id);
  std::string Flush();  // what is left, invalid bytes replaced by U+FFFD

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;
  bool first_ = true;
};

struct BpeTrainingOptions {
  std::size_t vocab_size = 512;
  std::vector<std::string> special_tokens;  // get the first ids; in documents they only separate
};
// Byte-level BPE (GPT-2 split): specials, the 256 bytes, then merges until the vocabulary is full
// or nothing is left to merge. Deterministic: of equally frequent pairs, the one whose bytes (left,
// then right) are lexicographically greatest.
Result<Tokenizer> TrainBpe(std::span<const std::string> documents,
                           const BpeTrainingOptions& options);

}  // namespace waggle
