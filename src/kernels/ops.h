// The device seam: every operation that model, engine and training code may ask of a processor, as
// one table of functions per device. A table is chosen at run time; nobody above kernels/ knows
// which. Adding a device (CUDA, ...) means filling one more table: docs/adr/0003-device-seam.md.
//
// Arithmetic: profile ca1 (docs/arithmetic.md). Every float that comes out is a pure function of
// the values that went in, never of tile sizes, thread counts, batch composition or instruction
// set. D1, R64, ca_exp, ca_log: the reductions and functions of that document.
//
// Conventions: row-major, strides in elements, float unless said otherwise; pointers must not alias
// unless said; callers own all memory; `pool` is used with static partition; every function is
// thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/philox.h"
#include "base/strong.h"
#include "base/thread_pool.h"
#include "kernels/packed_matrix.h"

namespace waggle {

// y[m, n] = D1 over k of x[m, k] * W[n, k] (+ bias[n]).      Forward, and dX with a transposed
// pack.
struct GemmArgs {
  float* y = nullptr;  // (m, n_end - n_begin), stride ldy; column 0 is feature n_begin
  std::size_t ldy = 0;
  const float* x = nullptr;  // (m, k_end - k_begin), stride ldx; column 0 is input k_begin
  std::size_t ldx = 0;
  std::size_t m = 0;
  const PackedMatrix* w = nullptr;
  std::size_t
      n_begin = 0,
      n_end = 0;  // feature range; n_begin a multiple of the panel width; n_end == 0 means w->n()
  std::size_t k_begin = 0,
              k_end = 0;        // input range; k_begin a multiple of 256; k_end == 0 means w->k()
  const float* bias = nullptr;  // (n_end - n_begin) or null; added once, after D1
  bool accumulate = false;  // y holds the running D1 total on entry (block sums continue from it)
  std::uint32_t kshards =
      1;  // D1 shards over the whole k range; > 1 needs the full range and !accumulate
};

// grad[n, k] += D1 over tokens of a[t, n] * b[t, k], block sums added in order to the running total
// in grad (dW). bias_grad[n] (nullable) likewise with second factor 1.
struct OuterArgs {
  float* grad = nullptr;  // (n, k), stride ldg
  std::size_t ldg = 0;
  float* bias_grad = nullptr;  // (n) or null
  const float* a = nullptr;    // (tokens, n), stride lda: dY
  std::size_t lda = 0;
  const float* b = nullptr;  // (tokens, k), stride ldb: X
  std::size_t ldb = 0;
  std::size_t n = 0, k = 0;
  // Row ranges [blocks[i], blocks[i+1]): ascending, each at most 256 rows; a block never crosses a
  // sample and starts at a multiple of 256 token positions of its sample (rule D1 over tokens).
  // Empty blocks are allowed.
  std::span<const std::uint32_t> blocks;
};

enum class KvFormat : std::uint8_t { kF32 = 0, kBf16 = 1 };
inline constexpr std::size_t kPageTokens = 64;

// One page holds 64 tokens of one layer: for every kv head K as [head_dim][64], then V as
// [64][head_dim]. Size in bytes: kv_heads * 2 * head_dim * 64 * (4 or 2). Pages start zeroed and
// hold finite numbers ever after.
std::size_t KvPageBytes(std::size_t kv_heads, std::size_t head_dim, KvFormat format);

struct KvStoreArgs {
  std::byte* const* pages =
      nullptr;  // pages of one sequence; token position p lives in pages[p / 64], slot p % 64
  const float* k = nullptr;  // (rows, kv_heads * head_dim), stride ldk: after norm and RoPE
  std::size_t ldk = 0;
  const float* v = nullptr;  // (rows, kv_heads * head_dim), stride ldv
  std::size_t ldv = 0;
  std::size_t rows = 0, first_position = 0, kv_heads = 0, head_dim = 0;
  KvFormat format = KvFormat::kF32;  // kBf16 rounds to nearest even on store
};

// Consecutive query rows of one sequence. Keys at positions <= the row's own must already be
// stored.
struct AttentionSpan {
  const float* q = nullptr;  // (rows, heads * head_dim), stride ldq
  std::size_t ldq = 0;
  float* out = nullptr;  // (rows, heads * head_dim), stride ldo
  std::size_t ldo = 0;
  float* lse = nullptr;  // (rows, heads) or null
  std::size_t rows = 0, first_position = 0;
  const std::byte* const* pages = nullptr;
};

// Arithmetic sheet 2.7. Spans whose page pointers are equal at the same index share the work on
// that page (group sampling); sharing never changes a bit.
struct AttentionArgs {
  std::span<const AttentionSpan> spans;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t window = 0;  // 0: none; else key j is visible to query t iff t - j < window
  KvFormat format = KvFormat::kF32;
};

// Backward of one sample (all its tokens, positions 0..tokens-1), sheet 2.12. k and v as the
// forward used them (rounded if the KV format is bf16). Overwrites dq, dk, dv.
struct AttentionBackwardArgs {
  std::size_t tokens = 0, heads = 0, kv_heads = 0, head_dim = 0, window = 0;
  const float *q = nullptr, *k = nullptr, *v = nullptr;  // rows of stride ld_q, ld_kv, ld_kv
  const float *out = nullptr, *dout = nullptr;           // stride ld_q
  const float* lse = nullptr;                            // (tokens, heads)
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;     // strides as q, k, v
  std::size_t ld_q = 0, ld_kv = 0;
};

// cos/sin of rotary embedding: (positions, head_dim / 2) each. Built by model/rope.h.
struct RopeArgs {
  float* x = nullptr;  // (rows, heads * head_dim), stride ldx, rotated in place
  std::size_t ldx = 0, rows = 0, heads = 0, head_dim = 0;
  const std::uint32_t* positions = nullptr;  // (rows)
  const float *cos = nullptr, *sin = nullptr;
  bool backward = false;  // inverse rotation with the backward rounding of 2.12
};

// Per-row statistics of logits over vocabulary chunks of 256 ids (sheet 2.8 and 2.12), y = z *
// inv_temperature: m[c] = max, l[c] = R64(ca_exp(y - m)), s[c] = R64(fma(ca_exp(y - m), y - m, .))
// (s may be null).
struct ChunkStatsArgs {
  const float* z =
      nullptr;  // (rows, columns), stride ldz; column 0 is a multiple of 256 of the vocabulary
  std::size_t ldz = 0, rows = 0, columns = 0;
  float inv_temperature = 1.0f;
  float *m = nullptr, *l = nullptr,
        *s = nullptr;  // (rows, chunks), stride ldc; chunk 0 belongs to column 0
  std::size_t ldc = 0;
};
struct RowStats {
  float max = 0, sum = 0, log_sum = 0, entropy = 0;  // M, L, logL, H (entropy only if s was given)
};

// dz (in place of z) for a tile of logits: sheet 2.12 "log-prob" and "optional entropy".
struct LogProbBackwardArgs {
  float* z = nullptr;  // (rows, columns), stride ldz: logits in, dz out
  std::size_t ldz = 0, rows = 0, columns = 0;
  std::size_t first_id = 0;  // vocabulary id of column 0
  float inv_temperature = 1.0f;
  const RowStats* stats = nullptr;   // (rows)
  const TokenId* targets = nullptr;  // (rows); negative: no target, the row becomes +0
  const float* u = nullptr;          // (rows): dLoss/dlogp
  const float* u_entropy = nullptr;  // (rows) or null: dLoss/dH
};

struct SampleParams {
  float temperature = 1.0f;  // 0: argmax of z, lowest id; top_p, min_p, top_k are ignored
  float top_p = 1.0f, min_p = 0.0f;
  std::uint32_t top_k = 0;  // 0: off
  PhiloxKey key{};
  std::uint32_t sample = 0;    // index in the group
  std::uint32_t position = 0;  // absolute position of the token to draw
};
struct SampleResult {
  TokenId token = 0;
  float logp = 0;       // under temperature, no truncation ("policy"); at temperature 0: at T = 1
  float kept_logp = 0;  // over the kept set; equals logp when nothing is truncated
  float score = 0,
        runner_up =
            0;  // race scores (T = 0: logits) of winner and second; no second: lowest finite float
};

struct AdamWArgs {
  float *p = nullptr, *m = nullptr, *v = nullptr;
  const float* g = nullptr;
  std::size_t n = 0;
  float lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  float c1 = 0, c2 = 0;     // fl32(1 / (1 - beta^t)), powers in fp64
  float grad_scale = 1.0f;  // clip factor; g * grad_scale is one fp32 product
  bool scale_grad = false;  // whether that product is formed at all
};

struct Ops {
  const char* name;  // "reference", "avx2", "avx512", "avx512-vnni", "neon"

  void (*Gemm)(ThreadPool& pool, const GemmArgs& args);
  void (*OuterAccumulate)(ThreadPool& pool, const OuterArgs& args);

  // y = (x * r) * w with r = 1/sqrt(R64(x^2)/cols + eps). r_out (rows) may be null. y may equal x.
  void (*RmsNorm)(ThreadPool& pool, float* y, std::size_t ldy, const float* x, std::size_t ldx,
                  const float* w, std::size_t rows, std::size_t cols, float eps, float* r_out);
  // dx from dy; xhat_dy (nullable, (rows, cols) stride ldx) gets dy*xhat's factors: writes xhat =
  // x*r so that the caller forms dw by OuterAccumulate-like D1 over tokens with NormWeightGrad. dx
  // may equal dy.
  void (*RmsNormBackward)(ThreadPool& pool, float* dx, std::size_t lddx, const float* dy,
                          std::size_t lddy, const float* x, std::size_t ldx, const float* w,
                          std::size_t rows, std::size_t cols, float eps);
  // dw[c] += D1 over rows (blocks as in OuterArgs) of dy[row, c] * xhat[row, c], xhat = x*r
  // recomputed.
  void (*RmsNormWeightGrad)(ThreadPool& pool, float* dw, const float* dy, std::size_t lddy,
                            const float* x, std::size_t ldx, std::size_t cols, float eps,
                            std::span<const std::uint32_t> blocks);

  void (*Rope)(ThreadPool& pool, const RopeArgs& args);
  void (*KvStore)(ThreadPool& pool, const KvStoreArgs& args);
  void (*Attention)(ThreadPool& pool, const AttentionArgs& args);
  void (*AttentionBackward)(ThreadPool& pool, const AttentionBackwardArgs& args);

  // h = silu(gate) * up; dgate, dup from dh (dgate may equal gate, dup may equal up).
  void (*SwiGlu)(ThreadPool& pool, float* h, const float* gate, const float* up, std::size_t n);
  void (*SwiGluBackward)(ThreadPool& pool, float* dgate, float* dup, const float* gate,
                         const float* up, const float* dh, std::size_t n);
  void (*Add)(ThreadPool& pool, float* y, const float* a, const float* b,
              std::size_t n);  // y = a + b
  void (*ScaleAdd)(ThreadPool& pool, float* y, const float* a, float s, const float* b,
                   std::size_t n);  // y = fma(a, s, b)
  void (*Scale)(ThreadPool& pool, float* y, const float* a, float s, std::size_t n);  // y = a * s
  void (*RoundBf16)(ThreadPool& pool, float* y, const float* a,
                    std::size_t n);  // fp32 values rounded to bf16

  void (*ChunkStats)(ThreadPool& pool, const ChunkStatsArgs& args);
  // M, L, logL, H of one row from its chunk statistics (s may be null: entropy stays 0).
  RowStats (*FinishStats)(const float* m, const float* l, const float* s, std::size_t chunks);
  void (*LogProbBackward)(ThreadPool& pool, const LogProbBackwardArgs& args);

  // Draws from one row of logits z (vocab), already biased and penalised. `scratch` holds vocab
  // floats.
  SampleResult (*Sample)(const float* z, std::size_t vocab, const SampleParams& params,
                         float* scratch);

  // Router of a mixture of experts (sheet 2.10): p = softmax(z) over experts for each row.
  void (*SoftmaxRows)(ThreadPool& pool, float* p, const float* z, std::size_t rows,
                      std::size_t cols);

  void (*AdamW)(ThreadPool& pool, const AdamWArgs& args);
  // Sum of squares of one tensor: R64 chunks of 4096 in fp32, folded left in fp64 (sheet 2.12
  // "gradient norm").
  double (*SumSquares)(ThreadPool& pool, const float* g, std::size_t n);
};

// The scalar definition of everything above: slow, obviously right; all other tables answer to it
// bit for bit.
const Ops& ReferenceOps();
// Tables this CPU can run, best first, the reference last.
std::span<const Ops* const> AvailableOps();
// The best table, or the one a name asks for (null if this CPU cannot run it).
const Ops& BestOps();
const Ops* FindOps(const char* name);

}  // namespace waggle
