// What a dispute is about, written down as a graph: a list of operations in the order in which they
// happen, each with its attributes, where its inputs come from and what it puts out. A pure
// function of shapes and settings (never of weights), so that everybody forms the same one; its
// hash is the TemplateHash of sheet gensyn.md 3.3, which every honest record must instantiate.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "proofs/dispute/hash_tree.h"

namespace waggle {

// Numbers are for ever: they stand in records. Attributes are words (floats as bits); shapes are
// read off the inputs. "rows x cols" of every tensor as TensorType says.
enum class NodeOp : std::uint16_t {
  kEmbed = 1,      // table, tokens -> rows of the table
  kNorm = 2,       // x, w -> RMS norm; {group, eps}: columns that share a root mean square
  kGemm = 3,       // x, w, [bias] -> x w^T; {kshards, first row of x, rows}
  kRope = 4,       // x, cos, sin; {head_dim, backward}
  kRoundBf16 = 5,  // x
  // q, k, v -> out, [lse]; {heads, kv_heads, head_dim, window, with lse}
  kAttention = 6,
  kAdd = 7,     // a, b
  kSwiGlu = 8,  // gate, up
  // z (1, vocab) -> token, log-prob; {temperature, top_p, min_p, top_k, key 0, key 1, sample,
  // position}
  kSample = 9,
  // Training.
  kChunkStats = 10,   // z -> m, l, [s] (rows, chunks of 256); {1/T}; s where entropy is wanted
  kFinishStats = 11,  // m, l, [s] -> (rows, 4): M, L, logL, H (0 without s)
  kLogProbGrad = 12,  // z, stats, target, u, [u_entropy] -> dz; {1/T}
  // dy, w, [total] -> total + dy w over rows [begin, end) of w; {kshards, begin, end}
  kGemmBack = 13,
  kOuter = 14,      // dy, x, [total] -> total + dy^T x, D1 over rows
  kOuterBias = 15,  // dy, [total] -> (1, cols): total + column sums
  kNormGrad = 16,   // dy, x, w -> dx; {group, eps}
  // dy, x, r, [total] -> (1, group): total + D1 over rows of dy * xhat, group after group
  kNormWeightGrad = 17,  // {group, eps}
  kSwiGluGrad = 18,      // gate, up, dact -> dgate, dup
  kAttentionDot = 19,    // dout, out -> D (rows, heads); {head_dim}
  // q, k, v, out, dout, lse, D -> dq, dk, dv; {heads, kv_heads, head_dim, window}
  kAttentionGrad = 20,
  kInverseRms = 21,  // x -> r (rows, groups); {group, eps}
  kEmbedGrad = 22,   // dx, tokens, [total] -> (vocab, cols): total + rows added at their ids
  kSquares = 23,     // g -> (chunks, 1): R64 of squares of 4096 elements, row-major
  kSquareFold = 24,  // chunks -> sum (2 words of a binary64), left fold
  kClip = 25,        // sum -> factor min(1, clip / (sqrt + 1e-6)); {low, high word of clip}
  kAdamW = 26,       // p, m, v, g, [factor] -> p, m, v; {lr, b1, b2, eps, wd, c1, c2}
  kAddScalars = 27,  // a, b (2 words each) -> a + b in binary64
};
inline constexpr std::uint16_t kNodeOps = 27;
const char* ToString(NodeOp op);

enum class Source : std::uint8_t { kState = 0, kData = 1, kNode = 2, kConst = 3 };
inline bool IsKnown(Source source) { return source <= Source::kConst; }

// kState: index in Program::state and slot 0 (w), 1 (m), 2 (v); kData, kConst: index; kNode: an
// earlier node and one of its outputs.
struct Operand {
  Source source = Source::kNode;
  std::uint32_t index = 0;
  std::uint8_t slot = 0;
  bool operator==(const Operand&) const = default;
};

struct Node {
  NodeOp op = NodeOp::kAdd;
  std::vector<std::uint32_t> attributes;
  std::vector<Operand> inputs;
  std::vector<TensorType> outputs;
  std::int32_t sample = -1, layer = -1;  // for people; not part of the template
};

struct StateEntry {
  std::string name;
  TensorType type;  // of w; the moments of a trained tensor are fp32 of the same shape
};

struct Program {
  std::vector<StateEntry> state;  // in byte order of names
  bool moments = false;           // whether slots 1 and 2 exist
  std::vector<TensorType> data;
  std::vector<std::shared_ptr<const HostTensor>> constants;  // known to everybody
  std::vector<Node> nodes;
  std::vector<Operand> results;

  const TensorType& TypeOf(const Operand& operand) const;
  std::uint32_t StateIndex(const std::string& name) const;
};

// REQUIRES `index` is in the program.
std::string Describe(const Program& program, std::size_t index);  // "node 17: gemm, layer 2"

Digest256 AttributeHash(const Node& node);
Digest256 TemplateHash(const Program& program);

// Rollouts: the token that follows `tokens` positions of one sequence.
struct DrawSpec {
  float temperature = 1.0f, top_p = 1.0f, min_p = 0.0f;
  std::uint32_t top_k = 0;
  PhiloxKey key{};
  std::uint32_t sample = 0;
};
// Errors (blame operator): a model that disputes do not know: mixture of experts, int8 weights,
// adapters.
// masters: the state is a trainer's, fp32, and bf16 weights are rounded from it; else the working
// weights themselves.
Result<Program> ForwardProgram(const ModelConfig& config, const NumericsConfig& numerics,
                               std::size_t tokens, const DrawSpec& draw, bool masters = false);
// Its data: tokens as int32 (tokens).
HostTensor TokensTensor(std::span<const TokenId> tokens);
std::vector<StateEntry> StateOf(const ModelConfig& config, const NumericsConfig& numerics);

}  // namespace waggle
