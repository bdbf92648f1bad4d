// Mixture of experts: arithmetic sheet 2.10 (forward) and 2.12 (backward).
#pragma once

#include "model/backward_impl.h"
#include "model/model_impl.h"

namespace waggle {

// Who computes what: the experts of every row, in rank order, and the rows of every expert.
struct Routes {
  std::size_t per_token = 0;
  std::vector<std::uint32_t>
      expert;                 // (rows, per_token): by router logit descending, then id ascending
  std::vector<float> weight;  // (rows, per_token)
  std::vector<float> chosen_sum;  // (rows): the sum that norm_topk divides by
  // Slots (row * per_token + rank) of expert e: slots[offsets[e]..offsets[e + 1]), rows ascending.
  std::vector<std::uint32_t> offsets, slots;
};

// z, p: (rows, experts), router logits and their softmax.
Routes Route(const float* z, const float* p, std::size_t rows, const Moe& moe);

// y (rows, d) = the weighted experts of x (rows, d). y and x must not overlap.
void MoeForward(const Exec& exec, const Moe& moe, float* y, const float* x, std::size_t rows);

// dx (rows, d) from dy; experts and router are evaluated again (same bits), gradients go to the
// pass's sink.
void MoeBackward(const BackwardPass& pass, const Moe& moe, float* dx, const float* x,
                 const float* dy, std::size_t rows);

}  // namespace waggle
