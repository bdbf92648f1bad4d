// Text to token ids and back. Reads and writes Hugging Face tokenizer.json; trains small byte-level BPEs from scratch.
// Token ids are the truth; text is for people and graders only.
#pragma once

#include <cstdint>
#include <filesystem>
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
  bool encode_special = true;       // false for untrusted text: special strings become plain text
};

// Immutable after construction; Encode/Decode may be called from many threads.
class Tokenizer {
 public:
  struct Impl;  // pipeline.h

  // A directory holding tokenizer.json (or llama2.c's tokenizer .bin / a SentencePiece .model file path).
  static Result<Tokenizer> Load(const std::filesystem::path& path);
  static Result<Tokenizer> FromJson(std::string_view json);
  // One token per listed character (UTF-8), plus specials first: for tiny task models and the digit benchmark.
  static Result<Tokenizer> FromCharacters(std::span<const std::string> specials, std::string_view characters);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  std::string Decode(std::span<const TokenId> ids, bool skip_special = false) const;
  // The bytes one token stands for inside a text (what a streaming decoder appends).
  std::string TokenBytes(TokenId id) const;

  std::size_t vocab_size() const;  // max id + 1
  std::optional<TokenId> Find(std::string_view token) const;  // exact content, specials included
  bool IsSpecial(TokenId id) const;

  std::string ToJson() const;      // a tokenizer.json that Transformers' tokenizers load
  const std::string& chat_template() const;  // empty: none

 private:
  friend class StreamingDecoder;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Feed ids one by one; returns text as soon as it is complete UTF-8, never a broken character.
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
  std::vector<std::string> special_tokens;  // get the first ids
};
// Byte-level BPE (GPT-2 split). Deterministic: ties by the pair's bytes, as tests/known answers fix it.
Result<Tokenizer> TrainBpe(std::span<const std::string> documents, const BpeTrainingOptions& options);

}  // namespace waggle
