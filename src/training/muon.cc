#include "training/muon.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/packed_matrix.h"

namespace waggle {
namespace {

using Floats = std::vector<float>;

// y (rows, w.n()) = x W^T.
void Multiply(const Ops& ops, ThreadPool& pool, const Floats& x, std::size_t rows,
              const PackedMatrix& w, Floats& y) {
  y.resize(rows * w.n());
  GemmArgs args;
  args.x = x.data();
  args.ldx = w.k();
  args.m = rows;
  args.w = &w;
  args.y = y.data();
  args.ldy = w.n();
  ops.Gemm(pool, args);
}

PackedMatrix Packed(const Floats& x, std::size_t rows, std::size_t cols) {
  return PackedMatrix::Pack(x.data(), rows, cols, cols, WeightFormat::kF32);
}

// X = a X + (b S + c S^2) X with S = X X^T; x is (rows, cols), rows <= cols.
void NewtonSchulz(const Ops& ops, ThreadPool& pool, Floats& x, std::size_t rows, std::size_t cols) {
  constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;
  const PackedMatrix packed = Packed(x, rows, cols);
  Floats s, square, next;
  Multiply(ops, pool, x, rows, packed, s);
  Multiply(ops, pool, s, rows, Packed(s, rows, rows), square);  // S is symmetric, bit for bit
  for (std::size_t i = 0; i < s.size(); ++i) {
    const float linear = kB * s[i];
    s[i] = std::fma(kC, square[i], linear);
  }
  Multiply(ops, pool, s, rows, packed.Transposed(), next);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::fma(kA, x[i], next[i]);
}

// Left fold in fp64.
double Norm(const Floats& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

}  // namespace

void Orthogonalise(const Ops& ops, ThreadPool& pool, float* u, std::size_t rows, std::size_t cols) {
  const bool tall = rows > cols;
  const std::size_t r = std::min(rows, cols), c = std::max(rows, cols);
  Floats x(rows * cols);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < cols; ++j) x[tall ? j * rows + i : i * cols + j] = u[i * cols + j];
  }
  const float norm = static_cast<float>(Norm(x) + 1e-7);
  for (float& value : x) value = value / norm;
  for (int step = 0; step < 5; ++step) NewtonSchulz(ops, pool, x, r, c);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < cols; ++j) u[i * cols + j] = x[tall ? j * rows + i : i * cols + j];
  }
}

void MuonStep(const Ops& ops, ThreadPool& pool, const MuonArgs& args) {
  const std::size_t n = args.rows * args.cols;
  const float rest = 1.0f - args.beta;
  Floats u(n);
  for (std::size_t i = 0; i < n; ++i) {
    const float scaled = args.g[i] * args.grad_scale;
    const float fresh = rest * scaled;
    args.m[i] = std::fma(args.beta, args.m[i], fresh);
    u[i] = std::fma(args.beta, args.m[i], fresh);
  }
  Orthogonalise(ops, pool, u.data(), args.rows, args.cols);
  const float decay = args.lr * args.weight_decay, keep = 1.0f - decay;
  const float step = static_cast<float>(static_cast<double>(args.lr) * args.update_scale);
  for (std::size_t i = 0; i < n; ++i) {
    const float kept = args.p[i] * keep;
    args.p[i] = std::fma(-step, u[i], kept);
  }
}

double MoonlightScale(std::size_t rows, std::size_t cols) {
  return 0.2 * std::sqrt(static_cast<double>(std::max(rows, cols)));
}

bool IsHiddenMatrix(const std::string& name, const Tensor& tensor) {
  return tensor.shape.size() == 2 && name.find("embed_tokens") == std::string::npos &&
         name.find("lm_head") == std::string::npos && name != "score.weight";
}

}  // namespace waggle
