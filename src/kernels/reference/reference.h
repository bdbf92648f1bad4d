// The scalar definition of every operation of ops.h. Contracts are there; formulas in the .cc
// files.
#pragma once

#include "kernels/ops.h"

namespace waggle::reference {

void Gemm(ThreadPool& pool, const GemmArgs& args);
void OuterAccumulate(ThreadPool& pool, const OuterArgs& args);

void RmsNorm(ThreadPool& pool, float* y, std::size_t ldy, const float* x, std::size_t ldx,
             const float* w, std::size_t rows, std::size_t cols, float eps, float* r_out);
void RmsNormBackward(ThreadPool& pool, float* dx, std::size_t lddx, const float* dy,
                     std::size_t lddy, const float* x, std::size_t ldx, const float* w,
                     std::size_t rows, std::size_t cols, float eps);
void RmsNormWeightGrad(ThreadPool& pool, float* dw, const float* dy, std::size_t lddy,
                       const float* x, std::size_t ldx, std::size_t cols, float eps,
                       std::span<const std::uint32_t> blocks);

void Rope(ThreadPool& pool, const RopeArgs& args);
void KvStore(ThreadPool& pool, const KvStoreArgs& args);
void Attention(ThreadPool& pool, const AttentionArgs& args);
void AttentionBackward(ThreadPool& pool, const AttentionBackwardArgs& args);

void SwiGlu(ThreadPool& pool, float* h, const float* gate, const float* up, std::size_t n);
void SwiGluBackward(ThreadPool& pool, float* dgate, float* dup, const float* gate, const float* up,
                    const float* dh, std::size_t n);
void Add(ThreadPool& pool, float* y, const float* a, const float* b, std::size_t n);
void ScaleAdd(ThreadPool& pool, float* y, const float* a, float s, const float* b, std::size_t n);
void Scale(ThreadPool& pool, float* y, const float* a, float s, std::size_t n);
void RoundBf16(ThreadPool& pool, float* y, const float* a, std::size_t n);

void ChunkStats(ThreadPool& pool, const ChunkStatsArgs& args);
RowStats FinishStats(const float* m, const float* l, const float* s, std::size_t chunks);
void LogProbBackward(ThreadPool& pool, const LogProbBackwardArgs& args);
SampleResult Sample(const float* z, std::size_t vocab, const SampleParams& params, float* scratch);
void SoftmaxRows(ThreadPool& pool, float* p, const float* z, std::size_t rows, std::size_t cols);

void AdamW(ThreadPool& pool, const AdamWArgs& args);
double SumSquares(ThreadPool& pool, const float* g, std::size_t n);

}  // namespace waggle::reference
