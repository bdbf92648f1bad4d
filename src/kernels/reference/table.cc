#include "kernels/reference/reference.h"

namespace waggle {

const Ops& ReferenceOps() {
  static const Ops ops = {
      .name = "reference",
      .Gemm = reference::Gemm,
      .OuterAccumulate = reference::OuterAccumulate,
      .RmsNorm = reference::RmsNorm,
      .RmsNormBackward = reference::RmsNormBackward,
      .RmsNormWeightGrad = reference::RmsNormWeightGrad,
      .Rope = reference::Rope,
      .KvStore = reference::KvStore,
      .Attention = reference::Attention,
      .AttentionBackward = reference::AttentionBackward,
      .SwiGlu = reference::SwiGlu,
      .SwiGluBackward = reference::SwiGluBackward,
      .Add = reference::Add,
      .ScaleAdd = reference::ScaleAdd,
      .Scale = reference::Scale,
      .RoundBf16 = reference::RoundBf16,
      .ChunkStats = reference::ChunkStats,
      .FinishStats = reference::FinishStats,
      .LogProbBackward = reference::LogProbBackward,
      .Sample = reference::Sample,
      .SoftmaxRows = reference::SoftmaxRows,
      .AdamW = reference::AdamW,
      .SumSquares = reference::SumSquares,
  };
  return ops;
}

}  // namespace waggle
