// Muon: momentum whose direction is the nearest matrix of orthonormal rows, by five Newton-Schulz
// steps (algorithm sheet 13; K. Jordan 2024, Moonlight 2502.16982). For hidden matrices; everything
// else stays with AdamW. Products are D1 in fp32 through `ops`, so the bits depend on no thread
// count or instruction set.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/ops.h"
#include "model/parameters.h"

namespace waggle {

// Replaces u (rows, cols) by its orthogonalised direction; zero stays zero.
void Orthogonalise(const Ops& ops, ThreadPool& pool, float* u, std::size_t rows, std::size_t cols);

struct MuonArgs {
  float* p = nullptr;        // (rows, cols), updated
  float* m = nullptr;        // momentum, updated
  const float* g = nullptr;  // gradient
  std::size_t rows = 0, cols = 0;
  float beta = 0.95f, lr = 0.0f, weight_decay = 0.0f;
  float grad_scale = 1.0f;    // clipping
  double update_scale = 1.0;  // times lr: MoonlightScale, or another rule's
};
// m = b m + (1-b) g; u = (1-b) g + b m, orthogonalised; p = p (1 - lr wd) - lr scale u.
void MuonStep(const Ops& ops, ThreadPool& pool, const MuonArgs& args);

// 0.2 sqrt(max(rows, cols)): updates as large as AdamW's, so that its learning rates carry over.
double MoonlightScale(std::size_t rows, std::size_t cols);

// Matrices inside the blocks: not the embedding, not the head.
bool IsHiddenMatrix(const std::string& name, const Tensor& tensor);

}  // namespace waggle
