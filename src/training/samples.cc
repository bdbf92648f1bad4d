#include "training/samples.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace waggle {

bool TrainingSample::CarriesGradient() const {
  const auto nonzero = [](float x) { return x != 0.0f; };
  return std::any_of(u.begin(), u.end(), nonzero) ||
         std::any_of(u_entropy.begin(), u_entropy.end(), nonzero);
}

TrainingSample MakeTrainingSample(std::vector<TokenId> tokens,
                                  std::span<const std::uint8_t> predicted, float temperature) {
  Check(tokens.size() == predicted.size(), "one mask entry per token");
  TrainingSample sample;
  sample.temperature = temperature;
  for (std::size_t i = 1; i < tokens.size(); ++i)
    sample.target.push_back(predicted[i] != 0 ? tokens[i] : -1);
  // Rows after the last prediction would be read for nothing.
  while (!sample.target.empty() && sample.target.back() == -1) sample.target.pop_back();
  sample.u.assign(sample.rows(), 0.0f);
  sample.tokens = std::move(tokens);
  return sample;
}

std::vector<std::pair<std::size_t, std::size_t>> MicroBatches(
    std::span<const TrainingSample* const> samples, std::size_t token_budget) {
  std::vector<std::pair<std::size_t, std::size_t>> cuts;
  std::size_t begin = 0, rows = 0;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    if (s > begin && rows + samples[s]->rows() > token_budget) {
      cuts.emplace_back(begin, s);
      begin = s;
      rows = 0;
    }
    rows += samples[s]->rows();
  }
  if (begin < samples.size()) cuts.emplace_back(begin, samples.size());
  return cuts;
}

PackedBatch Pack(std::span<const TrainingSample* const> samples) {
  PackedBatch packed;
  packed.batch.offsets.push_back(0);
  const bool entropy = std::any_of(samples.begin(), samples.end(),
                                   [](const TrainingSample* s) { return !s->u_entropy.empty(); });
  for (const TrainingSample* sample : samples) {
    const auto rows = static_cast<std::ptrdiff_t>(sample->rows());
    auto& batch = packed.batch;
    batch.tokens.insert(batch.tokens.end(), sample->tokens.begin(), sample->tokens.begin() + rows);
    batch.offsets.push_back(static_cast<std::uint32_t>(batch.tokens.size()));
    packed.targets.target.insert(packed.targets.target.end(), sample->target.begin(),
                                 sample->target.end());
    packed.targets.temperature.push_back(sample->temperature);
    packed.u.insert(packed.u.end(), sample->u.begin(), sample->u.end());
    if (!entropy) continue;
    packed.u_entropy.insert(packed.u_entropy.end(), sample->u_entropy.begin(),
                            sample->u_entropy.end());
    packed.u_entropy.resize(batch.tokens.size(), 0.0f);
  }
  return packed;
}

void Unpack(const PackedBatch& packed, const TokenScores& scores, std::vector<TokenScores>& out) {
  for (std::size_t s = 0; s < packed.batch.samples(); ++s) {
    const auto begin = static_cast<std::ptrdiff_t>(packed.batch.offsets[s]),
               end = static_cast<std::ptrdiff_t>(packed.batch.offsets[s + 1]);
    out.push_back({.logp = {scores.logp.begin() + begin, scores.logp.begin() + end},
                   .entropy = {scores.entropy.begin() + begin, scores.entropy.begin() + end}});
  }
}

Status CheckTokens(const ModelConfig& model, std::span<const TokenId> tokens, std::string_view what,
                   std::size_t index) {
  if (tokens.size() > model.max_positions + 1) {
    return Fail(Blame::kPeer, "{} {}: {} tokens, the model reads {}", what, index, tokens.size(),
                model.max_positions);
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= model.vocab) {
      return Fail(Blame::kPeer, "{} {}: token {} is {}, the vocabulary has {}", what, index, i,
                  tokens[i], model.vocab);
    }
  }
  return {};
}

Result<std::vector<TokenScores>> ScoreSamples(const Model& model, ThreadPool& pool,
                                              std::span<const TrainingSample* const> samples,
                                              std::size_t token_budget) {
  std::vector<TokenScores> scores;
  for (const auto& [begin, end] : MicroBatches(samples, token_budget)) {
    const PackedBatch packed = Pack(samples.subspan(begin, end - begin));
    const TokenScores part = ScoreBatch(model, pool, packed.batch, packed.targets);
    const auto finite = [](float x) { return std::isfinite(x); };
    if (!std::all_of(part.logp.begin(), part.logp.end(), finite) ||
        !std::all_of(part.entropy.begin(), part.entropy.end(), finite)) {
      return Fail(Blame::kMachine, "numeric fault: a NaN or an infinity in the log-probs");
    }
    Unpack(packed, part, scores);
  }
  return scores;
}

}  // namespace waggle
