// What a Model holds, and what its forward and backward share. Private to model/.
#pragma once

#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/rope.h"

namespace waggle {

// Low-rank part of one linear layer; fp32.
struct Adapter {
  PackedMatrix a, b;  // [rank, in], [out, rank]
  float scale = 0;
};

// One linear layer, ready for the GEMM kernels.
struct Linear {
  std::string name;           // of its tensors, without ".weight"
  PackedMatrix w;             // [out, in]
  AlignedVector<float> bias;  // (out), or empty
  std::optional<Adapter> adapter;
  // For dX. Empty until PackTransposes; holds the effective values of w, so backward sees what
  // forward used.
  mutable PackedMatrix w_t, a_t, b_t;

  std::size_t in() const { return w.k(); }
  std::size_t out() const { return w.n(); }
  std::size_t bytes() const;
};
void PackTransposes(const Linear& linear);

struct Expert {
  Linear gate, up, down;
};
struct Moe {
  Linear router;
  std::vector<Expert> experts;
  std::size_t per_token = 0;
  bool norm_topk = true;
};

struct Layer {
  AlignedVector<float> input_norm, post_norm;  // (d)
  AlignedVector<float> q_norm, k_norm;         // (head_dim), or empty
  Linear q, k, v, o;
  Linear gate, up, down;     // dense layers
  std::unique_ptr<Moe> moe;  // sparse layers
  std::size_t window = 0;    // 0: none
  bool rope = true;
};

// Memory that grows to the largest use and is then reused; content is undefined after Get, never
// zeroed for nothing.
template <class T>
class Buffer {
 public:
  T* Get(std::size_t n) {
    if (size_ < n) {
      data_.reset();
      data_.reset(static_cast<T*>(AllocateBlock(n * sizeof(T))));
      size_ = n;
    }
    return data_.get();
  }
  T* data() { return data_.get(); }

 private:
  struct Release {
    void operator()(T* p) const { FreeBlock(p); }
  };
  std::unique_ptr<T[], Release> data_;
  std::size_t size_ = 0;
};

// Tokens of one sequence inside a batch of rows.
struct RowSpan {
  std::size_t first_row = 0, rows = 0, first_position = 0;
  std::size_t first_page = 0;  // index into Batch::pages
};

// The rows that go through the layers together.
struct Batch {
  std::size_t rows = 0;
  std::vector<std::uint32_t> positions;  // (rows)
  std::vector<RowSpan> spans;
  std::vector<std::byte*> pages;  // page pointers of the layer at hand, span after span
  KvFormat kv = KvFormat::kF32;
  std::size_t positions_end = 0;  // 1 + the largest position
};

// Where one layer reads and writes, row-major (rows, width). Inference lets x_in, x_mid and x_out
// be the same memory, as well as q_raw and q, k_raw and k; training keeps apart what its backward
// reads.
struct LayerBuffers {
  const float* x_in = nullptr;
  float* h = nullptr;       // scratch (d): output of either norm
  float* branch = nullptr;  // scratch (d): what is added to the residual stream
  float *q_raw = nullptr,
        *k_raw = nullptr;  // before q/k-norm; equal to q and k where there is none
  float *q = nullptr, *k = nullptr, *v = nullptr, *attn = nullptr;
  float* lse = nullptr;  // (rows, heads) or null
  float *x_mid = nullptr, *gate = nullptr, *up = nullptr, *act = nullptr;
  float* x_out = nullptr;
};

// Scratch of one caller of Forward, Score or Backward at a time.
struct Workspace {
  Batch batch;
  std::vector<AttentionSpan> attention_spans;
  Buffer<float> x, h, branch, q, k, v, attn, gate, up, act;
  Buffer<float> lora_a, lora_y;
  // Mixture of experts.
  Buffer<float> moe_x, moe_gate, moe_up, moe_act, moe_out, moe_logits, moe_p;
  // One layer of pages for Score and Backward, which need no keys of other layers.
  AlignedVector<std::byte> pages;
  KvFormat pages_format = KvFormat::kF32;
  // Head: rows that have a target, their logits for a tile of the vocabulary, chunk statistics.
  Buffer<float> head_x, head_z, head_m, head_l, head_s;
};

// Device, threads and memory of one call.
struct Exec {
  const Ops& ops;
  ThreadPool& pool;
  ThreadPool& serial;
  std::uint32_t kshards = 1;
  Workspace& ws;

  // Waking threads costs some ten microseconds: small work stays on the caller. Never changes a
  // bit.
  ThreadPool& ForFlops(double flops) const { return flops < 2e6 ? serial : pool; }
  ThreadPool& ForElements(std::size_t n) const {
    return n < (std::size_t{1} << 15) ? serial : pool;
  }
};

struct Model::Impl {
  Impl(const ModelConfig& config, const NumericsConfig& numerics, const Ops& ops);

  ModelConfig config;
  NumericsConfig numerics;
  const Ops& ops;
  Linear head;                         // the embedding where tied
  AlignedVector<float> embedding_f32;  // (vocab, d) unless tied or bf16
  AlignedVector<std::uint16_t> embedding_bf16;
  AlignedVector<float> final_norm;
  std::vector<Layer> layers;
  RopeTables rope;

  // Scratch of past calls, for the next ones.
  mutable std::mutex workspaces_mutex;
  mutable std::vector<std::unique_ptr<Workspace>> workspaces;
  mutable std::mutex transposes_mutex;
  mutable bool transposed = false;
  mutable ThreadPool serial{1};

  void EmbedRow(TokenId id, float* out) const;
  // Makes the transposed packs if they are not there yet. Thread-safe.
  void PrepareBackward(ThreadPool& pool) const;
  std::unique_ptr<Workspace> TakeWorkspace() const;
  void ReturnWorkspace(std::unique_ptr<Workspace> workspace) const;
};

// Borrows a workspace for a scope.
class WorkspaceLease {
 public:
  explicit WorkspaceLease(const Model::Impl& impl)
      : impl_(impl), workspace_(impl.TakeWorkspace()) {}
  ~WorkspaceLease() { impl_.ReturnWorkspace(std::move(workspace_)); }
  WorkspaceLease(const WorkspaceLease&) = delete;
  WorkspaceLease& operator=(const WorkspaceLease&) = delete;
  Workspace& operator*() { return *workspace_; }

 private:
  const Model::Impl& impl_;
  std::unique_ptr<Workspace> workspace_;
};

// y (rows, out) = x (rows, in) through `linear`, adapter included. y and x must not overlap.
void LinearForward(const Exec& exec, const Linear& linear, float* y, const float* x,
                   std::size_t rows);

// One transformer block on the rows of exec.ws.batch, whose pages are those of this layer.
void LayerForward(const Exec& exec, const Model::Impl& impl, const Layer& layer,
                  const RopeTable& rope, const LayerBuffers& b);

// Appends a span of `rows` tokens whose first stands at `first_position`; pages are appended by the
// caller.
void AppendSpan(Batch& batch, std::size_t rows, std::size_t first_position);

// All layers over the whole batch for inference: ws.x goes from embeddings to the last residual
// stream. Before layer l every page pointer moves by `layer_stride` bytes (0: all layers share the
// pages).
void RunLayers(const Exec& exec, const Model::Impl& impl, std::size_t layer_stride,
               const LayerTap* tap);

// Norms over `rows` rows of `cols`, contiguous.
void Norm(const Exec& exec, const Model::Impl& impl, float* y, const float* x,
          const AlignedVector<float>& w, std::size_t rows);

}  // namespace waggle
