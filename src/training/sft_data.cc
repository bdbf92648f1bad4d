#include "training/sft_data.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/check.h"
#include "base/files.h"

namespace waggle {
namespace {

using Json = nlohmann::json;

class SampleBuilder {
 public:
  explicit SampleBuilder(const SftReadOptions& options) : options_(options) {
    for (const TokenId token : options.begin) Add(token, false);
  }
  void Text(std::string_view text, bool loss) {
    for (const TokenId token : options_.encode(text)) Add(token, loss);
  }
  SftSample Finish() {
    if (options_.eos >= 0) Add(options_.eos, true);
    sample_.tokens.resize(std::min(sample_.tokens.size(), options_.tokens_max));
    sample_.loss_mask.resize(sample_.tokens.size());
    return std::move(sample_);
  }

 private:
  void Add(TokenId token, bool loss) {
    sample_.tokens.push_back(token);
    sample_.loss_mask.push_back(loss ? 1 : 0);
  }

  const SftReadOptions& options_;
  SftSample sample_;
};

Result<SftSample> FromMessages(const Json& messages, const SftReadOptions& options) {
  if (!options.render)
    return Fail(Blame::kOperator,
                "\"messages\" need a chat template, which this model does not have");
  std::vector<ChatTurn> turns;
  for (const Json& message : messages) {
    turns.push_back(
        {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
  }
  WG_ASSIGN(const auto pieces, options.render(turns));
  SftSample sample;
  for (const ChatPiece& piece : pieces) {
    for (const TokenId token : options.encode(piece.text)) {
      sample.tokens.push_back(token);
      sample.loss_mask.push_back(piece.loss ? 1 : 0);
    }
  }
  // The template writes the chat's own beginning and end.
  sample.tokens.resize(std::min(sample.tokens.size(), options.tokens_max));
  sample.loss_mask.resize(sample.tokens.size());
  return sample;
}

Result<SftSample> FromObject(const Json& object, const SftReadOptions& options) {
  if (!object.is_object()) return Fail(Blame::kOperator, "not a JSON object");
  if (object.contains("messages")) return FromMessages(object.at("messages"), options);
  SampleBuilder builder(options);
  if (object.contains("text")) {
    builder.Text(object.at("text").get_ref<const std::string&>(), true);
  } else if (object.contains("prompt") && object.contains("completion")) {
    builder.Text(object.at("prompt").get_ref<const std::string&>(), false);
    builder.Text(object.at("completion").get_ref<const std::string&>(), true);
  } else {
    return Fail(Blame::kOperator,
                "expected \"text\", \"prompt\" and \"completion\", or \"messages\"");
  }
  return builder.Finish();
}

Result<SftSample> FromLine(std::string_view line, const SftReadOptions& options) {
  try {
    return FromObject(Json::parse(line), options);
  } catch (const std::exception& error) {
    return Fail(Blame::kOperator, "{}", error.what());
  }
}

// A document as samples of at most tokens_max tokens that follow one another without overlap.
void AddDocument(std::string_view document, const SftReadOptions& options,
                 std::vector<SftSample>& samples) {
  std::vector<TokenId> tokens = options.encode(document);
  if (tokens.empty()) return;
  if (options.eos >= 0) tokens.push_back(options.eos);
  const std::size_t lead = options.begin.size(), room = options.tokens_max - lead;
  for (std::size_t at = 0; at < tokens.size(); at += room) {
    SftSample sample{.tokens = options.begin, .loss_mask = std::vector<std::uint8_t>(lead, 0)};
    const std::size_t end = std::min(tokens.size(), at + room);
    sample.tokens.insert(sample.tokens.end(), tokens.begin() + static_cast<std::ptrdiff_t>(at),
                         tokens.begin() + static_cast<std::ptrdiff_t>(end));
    sample.loss_mask.resize(sample.tokens.size(), 1);
    samples.push_back(std::move(sample));
  }
}

}  // namespace

Result<std::vector<SftSample>> ParseSftJsonl(std::string_view text, const std::string& name,
                                             const SftReadOptions& options) {
  std::vector<SftSample> samples;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto sample = FromLine(line, options);
    if (!sample) return Fail(Blame::kOperator, "{}:{}: {}", name, number, sample.error().what);
    samples.push_back(std::move(*sample));
  }
  if (samples.empty()) return Fail(Blame::kOperator, "{} holds no texts", name);
  return samples;
}

Result<std::vector<SftSample>> ReadSftJsonl(const std::filesystem::path& file,
                                            const SftReadOptions& options) {
  WG_ASSIGN(const std::string text, ReadFile(file, options.file_bytes_max));
  return ParseSftJsonl(text, file.string(), options);
}

Result<std::vector<SftSample>> ReadSftText(const std::filesystem::path& file,
                                           std::string_view separator,
                                           const SftReadOptions& options) {
  WG_ASSIGN(const std::string text, ReadFile(file, options.file_bytes_max));
  if (options.tokens_max <= options.begin.size())
    return Fail(Blame::kOperator, "tokens_max leaves no room for text");
  std::vector<SftSample> samples;
  const std::string_view all = text;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end =
        separator.empty() ? all.size() : std::min(all.find(separator, at), all.size());
    AddDocument(all.substr(at, end - at), options, samples);
    at = end + std::max<std::size_t>(1, separator.size());
  }
  if (samples.empty()) return Fail(Blame::kOperator, "{} holds no text", file.string());
  return samples;
}

std::uint64_t LossTokens(const std::vector<TrainingSample>& rows) {
  std::uint64_t tokens = 0;
  for (const TrainingSample& sample : rows)
    for (const TokenId target : sample.target) tokens += target >= 0 ? 1 : 0;
  return tokens;
}

Result<std::vector<TrainingSample>> SftRows(const ModelConfig& model,
                                            const std::vector<SftSample>& samples) {
  if (samples.empty()) return Fail(Blame::kOperator, "a step needs at least one sample");
  std::vector<TrainingSample> rows;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    WG_TRY(CheckTokens(model, samples[s].tokens, "sample", s));
    if (samples[s].loss_mask.size() != samples[s].tokens.size())
      return Fail(Blame::kOperator, "sample {}: one mask entry per token", s);
    rows.push_back(MakeTrainingSample(samples[s].tokens, samples[s].loss_mask, 1.0f));
  }
  const std::uint64_t loss_tokens = LossTokens(rows);
  if (loss_tokens == 0) return Fail(Blame::kOperator, "no token of these samples carries loss");
  const float u = static_cast<float>(-1.0 / static_cast<double>(loss_tokens));
  for (TrainingSample& sample : rows) {
    for (std::size_t i = 0; i < sample.rows(); ++i) sample.u[i] = sample.target[i] >= 0 ? u : 0.0f;
  }
  return rows;
}

SftBatcher::SftBatcher(const std::vector<SftSample>& samples, std::size_t token_budget,
                       std::uint64_t seed)
    : samples_(samples), token_budget_(token_budget), seed_(seed) {
  Check(!samples.empty(), "something to train on");
  StartPass();
}

void SftBatcher::StartPass() {
  order_.resize(samples_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  Rng rng(seed_ + cursor_.pass * 0x9E3779B97F4A7C15ull, /*stream=*/4);
  Shuffle(order_, rng);
}

void SftBatcher::Seek(Cursor cursor) {
  cursor_ = cursor;
  if (cursor_.next >= samples_.size()) cursor_ = {cursor.pass + 1, 0};
  StartPass();
}

std::vector<SftSample> SftBatcher::Next() {
  std::vector<SftSample> batch;
  std::size_t tokens = 0;
  // A batch never spans two passes, so that every text is seen once per pass whatever the budget.
  while (cursor_.next < order_.size()) {
    const SftSample& sample = samples_[order_[cursor_.next]];
    if (!batch.empty() && tokens + sample.tokens.size() > token_budget_) break;
    tokens += sample.tokens.size();
    batch.push_back(sample);
    ++cursor_.next;
  }
  if (cursor_.next == order_.size()) {
    cursor_ = {cursor_.pass + 1, 0};
    StartPass();
  }
  return batch;
}

std::string ToText(SftBatcher::Cursor cursor) {
  return fmt::format("{}:{}", cursor.pass, cursor.next);
}

Result<SftBatcher::Cursor> ParseCursor(std::string_view text) {
  SftBatcher::Cursor cursor;
  const std::size_t colon = text.find(':');
  const auto parse = [](std::string_view part, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    return error == std::errc{} && end == part.data() + part.size();
  };
  if (colon == std::string_view::npos || !parse(text.substr(0, colon), cursor.pass) ||
      !parse(text.substr(colon + 1), cursor.next)) {
    return Fail(Blame::kOperator, "\"{}\" is no position in training data", text);
  }
  return cursor;
}

}  // namespace waggle
