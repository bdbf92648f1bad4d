// The output head: log-probs of given targets, and their backward, without ever holding [tokens,
// vocab]. Only rows that have a target enter. Arithmetic sheet 2.8 and 2.12, engine sheet 7 "Head".
// Private to model/.
#pragma once

#include <vector>

#include "model/backward_impl.h"

namespace waggle {

// Rows of one pass over the vocabulary: about a thousand, so that reading and writing the head's
// gradient pays.
struct HeadRows {
  std::vector<std::uint32_t> row;  // in the batch, ascending
  std::vector<TokenId> target;
  std::vector<float> inv_temperature;
  std::vector<std::uint32_t> blocks{0};  // D1 over tokens, as ranges of these rows
};

// Cuts the rows with targets of samples [first, last) into passes, at sample borders or multiples
// of 256 positions. Row numbers count from the first row of sample `first`.
std::vector<HeadRows> PlanHead(const TokenBatch& batch, const TokenTargets& targets,
                               std::size_t first, std::size_t last);

// Log-probs and entropies of the rows, written to scores at `first_row + row`. hidden: (batch rows,
// d).
void ScoreHead(const Exec& exec, const Model::Impl& impl, const HeadRows& rows, const float* hidden,
               std::size_t first_row, TokenScores& scores);

// The same, then backward: dhidden (batch rows, d) gets the rows' gradients, the head's weight
// gradient goes to the sink. u and u_entropy per batch row; u_entropy may be empty.
void HeadBackward(const BackwardPass& pass, const HeadRows& rows, const float* hidden,
                  std::span<const float> u, std::span<const float> u_entropy, float* dhidden,
                  TokenScores& scores);

}  // namespace waggle
