// Token sequences on their way into the model: what both kinds of step have in common.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "model/backward.h"

namespace waggle {

// One text. Row i reads tokens[i]; target[i] is the token it predicts, -1: nothing. A text's last
// token is only predicted, never read, so there is one row less than tokens.
struct TrainingSample {
  std::vector<TokenId> tokens, target;
  std::vector<float> u, u_entropy;  // per row; u_entropy empty: none
  float temperature = 1.0f;

  std::size_t rows() const { return target.size(); }
  bool CarriesGradient() const;  // some u or u_entropy is not zero
};

// `tokens` with targets where predicted[i] != 0 (predicted[0] is ignored), and all u at zero.
TrainingSample MakeTrainingSample(std::vector<TokenId> tokens,
                                  std::span<const std::uint8_t> predicted, float temperature);

// [begin, end) ranges of samples in order, each of at most `token_budget` rows, or of one sample.
// Where the cuts lie never changes a bit of anything.
std::vector<std::pair<std::size_t, std::size_t>> MicroBatches(
    std::span<const TrainingSample* const> samples, std::size_t token_budget);

// Samples [begin, end) as one packed batch.
struct PackedBatch {
  TokenBatch batch;
  TokenTargets targets;
  std::vector<float> u, u_entropy;  // u_entropy empty if no sample has one
};
PackedBatch Pack(std::span<const TrainingSample* const> samples);

// Cuts per-row scores of a packed batch back into samples, appending to `out`.
void Unpack(const PackedBatch& packed, const TokenScores& scores, std::vector<TokenScores>& out);

// Every token lies in the vocabulary and the text fits the context. `what` names the text in the
// error.
Status CheckTokens(const ModelConfig& model, std::span<const TokenId> tokens, std::string_view what,
                   std::size_t index);

// Forward only, in micro-batches: scores per sample. A NaN or an infinity is an error with
// Blame::kMachine.
Result<std::vector<TokenScores>> ScoreSamples(const Model& model, ThreadPool& pool,
                                              std::span<const TrainingSample* const> samples,
                                              std::size_t token_budget);

}  // namespace waggle
