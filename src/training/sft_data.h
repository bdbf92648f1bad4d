// Texts for supervised training: JSON lines or plain text in, token sequences with loss masks out,
// and an endless, shuffled, resumable stream of batches. Knows no tokenizer: encoding comes in as
// functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "training/samples.h"
#include "training/trainer.h"

namespace waggle {

struct ChatTurn {
  std::string role, content;
};
// A part of a rendered chat; loss is on the assistant's turns and their ends.
struct ChatPiece {
  std::string text;
  bool loss = false;
};

struct SftReadOptions {
  std::function<std::vector<TokenId>(std::string_view)> encode;  // required
  std::function<Result<std::vector<ChatPiece>>(const std::vector<ChatTurn>&)>
      render;                     // for "messages"; absent: refused
  std::vector<TokenId> begin;     // put before every text, without loss (BOS)
  TokenId eos = -1;               // put after every text, with loss; -1: none
  std::size_t tokens_max = 2048;  // longer texts are cut at the end, losing their EOS
  std::size_t file_bytes_max = std::size_t{4} << 30;
};

// One JSON object a line: {"text"}, all tokens with loss; {"prompt", "completion"}, loss on the
// completion; or {"messages"}, a list of {"role", "content"}. Empty lines are skipped, anything
// else is an error that names the line.
Result<std::vector<SftSample>> ReadSftJsonl(const std::filesystem::path& file,
                                            const SftReadOptions& options);
Result<std::vector<SftSample>> ParseSftJsonl(std::string_view text, const std::string& name,
                                             const SftReadOptions& options);
// A whole file as documents separated by `separator` (empty: one document); long ones become
// several samples.
Result<std::vector<SftSample>> ReadSftText(const std::filesystem::path& file,
                                           std::string_view separator,
                                           const SftReadOptions& options);

// What one step reads of these texts: rows with u = -1 / (tokens with loss of the whole step).
// Blame::kOperator: no samples, masks of another length, nothing with loss.
Result<std::vector<TrainingSample>> SftRows(const ModelConfig& model,
                                            const std::vector<SftSample>& samples);
std::uint64_t LossTokens(const std::vector<TrainingSample>& rows);

// Batches of at most `token_budget` tokens (at least one sample), in an order shuffled anew in
// every pass over the data. A pure function of (samples, seed, cursor).
class SftBatcher {
 public:
  struct Cursor {
    std::uint64_t pass = 0, next = 0;  // next: index in the pass's order
    bool operator==(const Cursor&) const = default;
  };

  // `samples` must outlive the batcher and hold at least one sample.
  SftBatcher(const std::vector<SftSample>& samples, std::size_t token_budget, std::uint64_t seed);

  std::vector<SftSample> Next();
  Cursor cursor() const { return cursor_; }
  void Seek(Cursor cursor);  // a cursor of the same data; out of range starts the next pass

 private:
  void StartPass();

  const std::vector<SftSample>& samples_;
  const std::size_t token_budget_;
  const std::uint64_t seed_;
  Cursor cursor_;
  std::vector<std::uint32_t> order_;
};

// "pass:next", for a trainer's cursor text.
std::string ToText(SftBatcher::Cursor cursor);
Result<SftBatcher::Cursor> ParseCursor(std::string_view text);

}  // namespace waggle
