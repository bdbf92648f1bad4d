// Attention figures: decode of a group that shares its prompt against the same without sharing,
// prefill, backward, and a few row operations. One thread. Prints figures, passes or fails nothing.
//
//   attention_bench [--quick] [TABLE...]     default: every table but the reference
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "kernels/kat.h"

namespace waggle {
namespace {

// CPU seconds of the fastest of several runs: neighbours on the machine only ever add.
bool quick = false;
double Fastest(const std::function<void()>& body, int rounds = 9) {
  body();
  double best = 1e30;
  for (int i = 0; i < (quick ? 3 : rounds); ++i) {
    const std::clock_t begin = std::clock();
    body();
    best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  return best;
}

struct Heads {
  std::size_t heads, kv_heads, head_dim;
};

// Samples of a group at the end of their prompt; layers are distinct memory, so that caches do not
// flatter.
class Group {
 public:
  Group(const Heads& h, std::size_t prompt, std::size_t samples, std::size_t layers, bool shared,
        KvFormat format)
      : h_(h), samples_(samples), format_(format), position_(prompt - 1) {
    const std::size_t pages = (prompt + kPageTokens - 1) / kPageTokens;
    const std::size_t bytes = KvPageBytes(h.kv_heads, h.head_dim, format);
    const std::size_t owners = shared ? 1 : samples;
    memory_.resize(layers * owners * pages * bytes);
    for (std::size_t l = 0; l < layers; ++l) {
      for (std::size_t s = 0; s < samples; ++s) {
        std::vector<const std::byte*> list;
        for (std::size_t p = 0; p < pages; ++p) {
          list.push_back(memory_.data() + ((l * owners + s % owners) * pages + p) * bytes);
        }
        pages_.push_back(std::move(list));
      }
    }
    q_ = KatArray(1, samples * h.heads * h.head_dim);
    out_.resize(q_.size());
  }

  void Step(const Ops& ops, ThreadPool& pool) {
    const std::size_t width = h_.heads * h_.head_dim;
    for (std::size_t l = 0; l * samples_ < pages_.size(); ++l) {
      std::vector<AttentionSpan> spans(samples_);
      for (std::size_t s = 0; s < samples_; ++s) {
        spans[s].q = q_.data() + s * width, spans[s].out = out_.data() + s * width;
        spans[s].ldq = spans[s].ldo = width, spans[s].rows = 1, spans[s].first_position = position_;
        spans[s].pages = pages_[l * samples_ + s].data();
      }
      AttentionArgs args;
      args.spans = spans, args.heads = h_.heads, args.kv_heads = h_.kv_heads;
      args.head_dim = h_.head_dim, args.format = format_;
      ops.Attention(pool, args);
    }
  }

 private:
  Heads h_;
  std::size_t samples_;
  KvFormat format_;
  std::size_t position_;
  AlignedVector<std::byte> memory_;
  std::vector<std::vector<const std::byte*>> pages_;
  std::vector<float> q_, out_;
};

void BenchGroupDecode(const Ops& ops, ThreadPool& pool) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBf16}) {
    for (const Heads& h : {Heads{14, 2, 64}, Heads{9, 3, 64}, Heads{8, 8, 64}}) {
      Group shared(h, 512, 16, 8, true, format), alone(h, 512, 16, 8, false, format);
      const double fast = Fastest([&] { shared.Step(ops, pool); });
      const double slow = Fastest([&] { alone.Step(ops, pool); });
      fmt::print(
          "  group decode P=512 G=16 {:2}/{} heads dh {} {}: shared {:.3f} ms, unshared {:.3f} ms, "
          "{:.1f}x (target for f32: 4x)\n",
          h.heads, h.kv_heads, h.head_dim, format == KvFormat::kF32 ? "f32 " : "bf16", fast * 1e3,
          slow * 1e3, slow / fast);
    }
  }
}

void BenchPrefill(const Ops& ops, ThreadPool& pool) {
  const Heads h{14, 2, 64};
  const std::size_t tokens = 1024, width = h.heads * h.head_dim;
  const std::size_t bytes = KvPageBytes(h.kv_heads, h.head_dim, KvFormat::kF32);
  AlignedVector<std::byte> memory(tokens / kPageTokens * bytes);
  std::vector<const std::byte*> pages;
  for (std::size_t p = 0; p < tokens / kPageTokens; ++p) pages.push_back(memory.data() + p * bytes);
  const std::vector<float> q = KatArray(1, tokens * width);
  std::vector<float> out(q.size());
  AttentionSpan span;
  span.q = q.data(), span.out = out.data(), span.ldq = span.ldo = width, span.rows = tokens;
  span.pages = pages.data();
  AttentionArgs args;
  args.spans = {&span, 1}, args.heads = h.heads, args.kv_heads = h.kv_heads,
  args.head_dim = h.head_dim;
  const double seconds = Fastest([&] { ops.Attention(pool, args); }, 3);
  const double flops = 4.0 * static_cast<double>(width) * tokens * tokens / 2;
  fmt::print("  prefill T=1024 14/2 heads: {:.1f} ms, {:.0f} useful GFLOP/s\n", seconds * 1e3,
             flops / seconds * 1e-9);
}

void BenchBackward(const Ops& ops, ThreadPool& pool) {
  for (const std::size_t tokens : {300u, 1024u, 2048u}) {
    const std::size_t dh = 64, width = 2 * dh;
    const std::vector<float> q = KatArray(1, tokens * width), k = KatArray(2, tokens * dh);
    const std::vector<float> v = KatArray(3, tokens * dh), lse(tokens * 2, 6.0f);
    std::vector<float> dq(q.size()), dk(k.size()), dv(v.size());
    AttentionBackwardArgs args;
    args.tokens = tokens, args.heads = 2, args.kv_heads = 1, args.head_dim = dh;
    args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = q.data(),
    args.dout = q.data();
    args.lse = lse.data(), args.dq = dq.data(), args.dk = dk.data(), args.dv = dv.data();
    args.ld_q = width, args.ld_kv = dh;
    const double seconds = Fastest([&] { ops.AttentionBackward(pool, args); }, 5);
    const double flops =
        10.0 * static_cast<double>(width) * static_cast<double>(tokens * tokens) / 2;
    fmt::print("  backward T={} 2/1 heads dh 64: {:.2f} ms, {:.0f} useful GFLOP/s\n", tokens,
               seconds * 1e3, flops / seconds * 1e-9);
  }
}

void BenchRows(const Ops& ops, ThreadPool& pool) {
  constexpr std::size_t vocab = 151936;
  std::vector<float> scratch(vocab);
  for (const float scale : {0.1f, 20.0f}) {
    const std::vector<float> z = KatArray(1, vocab, scale);
    SampleParams params;
    params.key = {1, 2};
    const double seconds = Fastest([&] {
      ++params.position;
      ops.Sample(z.data(), vocab, params, scratch.data());
    });
    fmt::print("  sample of {} logits, spread {}: {:.0f} us\n", vocab, scale, seconds * 1e6);
  }
  std::vector<float> gate = KatArray(2, 1 << 20, 10), up = KatArray(3, 1 << 20), h(1 << 20);
  const double swiglu =
      Fastest([&] { ops.SwiGlu(pool, h.data(), gate.data(), up.data(), h.size()); });
  fmt::print("  swiglu {:.2f} ns/element\n", swiglu / static_cast<double>(h.size()) * 1e9);
}

}  // namespace
}  // namespace waggle

int main(int argc, char** argv) {
  using namespace waggle;
  std::vector<std::string> names(argv + 1, argv + argc);
  quick = std::erase(names, "--quick") > 0;
  ThreadPool pool(1);
  for (const Ops* ops : AvailableOps()) {
    bool wanted = names.empty() && ops != &ReferenceOps();
    for (const std::string& name : names) wanted |= name == ops->name;
    if (!wanted) continue;
    fmt::print("{}\n", ops->name);
    BenchGroupDecode(*ops, pool);
    BenchPrefill(*ops, pool);
    BenchBackward(*ops, pool);
    BenchRows(*ops, pool);
  }
}
