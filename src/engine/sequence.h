// One sample being generated: its tokens, how far its keys and values are computed, and under which
// weights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "crypto/hash.h"
#include "engine/engine.h"

namespace waggle {

struct WeightsSlot {
  std::shared_ptr<const Model> model;
  PolicyVersion version;
  std::uint64_t serial =
      0;  // of the swap that brought it: what the prefix cache tells weights apart by
};

// Whether keys, values and hidden states of one model fit where the other's stood.
inline bool SameShapes(const Model& a, const Model& b) {
  const ModelConfig &x = a.config(), &y = b.config();
  return x.vocab == y.vocab && x.hidden == y.hidden && x.layers == y.layers &&
         x.kv_heads == y.kv_heads && x.head_dim == y.head_dim &&
         x.max_positions == y.max_positions && a.numerics().kv == b.numerics().kv;
}

struct EngineRequest {
  RequestId id = 0;
  std::size_t prompt_tokens = 0;
  SamplingOptions options;
};

struct Sequence {
  std::shared_ptr<const EngineRequest> request;
  std::uint32_t sample = 0;
  std::uint32_t forks =
      0;  // samples sample+1 .. sample+forks split off when the prompt is computed
  std::vector<TokenId> tokens;       // prompt and response
  std::vector<std::uint32_t> pages;  // cover [0, computed) at least
  std::size_t computed = 0;          // positions whose keys and values are in the pages

  // Which weights compute position p: the last span that starts at or before it. More than one only
  // after a swap that keeps the KV. Recomputation after a preemption follows the same spans, so it
  // gives the same bits.
  struct Span {
    std::size_t first_position = 0;
    WeightsSlot slot;
  };
  std::vector<Span> spans;
  std::size_t restarted_at =
      0;  // tokens.size() when the first span came: what was said since used its keys and values

  std::size_t pages_hashed = 0;  // full pages already offered to the prefix cache
  Digest256 page_hash{};         // chain value after them

  std::size_t generated() const { return tokens.size() - request->prompt_tokens; }
  bool cacheable() const { return spans.size() == 1; }
  const Span& SpanAt(std::size_t position) const {
    std::size_t i = spans.size() - 1;
    while (spans[i].first_position > position) --i;
    return spans[i];
  }
  // Tokens from `computed` on that one forward pass may take: none crosses a span.
  std::size_t ChunkLimit() const {
    for (const Span& span : spans) {
      if (span.first_position > computed) return span.first_position - computed;
    }
    return tokens.size() - computed;
  }
};

}  // namespace waggle
