// Who computes what in the next step: running sequences first (a token or a prefill chunk each),
// then waiting ones in order of arrival while pages, budget and seats last. No page: the youngest
// running sequence gives its pages back and waits; it is computed again later, to the same bits.
// Any chunk boundary is legal.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "engine/block_manager.h"
#include "engine/sequence.h"

namespace waggle {

struct PlannedChunk {
  Sequence* sequence = nullptr;
  std::size_t tokens = 0;
};

class Scheduler {
 public:
  // copy_page(from, to) copies the KV of a page that a fork is about to write to.
  Scheduler(const EngineConfig& config, std::size_t pages,
            std::function<void(std::uint32_t, std::uint32_t)> copy_page);

  void Add(std::unique_ptr<Sequence> sequence);  // behind all others
  bool idle() const { return running_.empty() && waiting_.empty(); }

  // The chunks of the next step; pages for them are there.
  std::vector<PlannedChunk> Plan();
  // Chunks were computed: moves `computed` on and offers full pages to the prefix cache.
  void Computed(const std::vector<PlannedChunk>& plan);
  // A copy of `leader` (prompt computed) as another sample; runs at once if there is a seat, else
  // waits.
  Sequence& Fork(const Sequence& leader, std::uint32_t sample);
  void Finish(Sequence& sequence);
  void Cancel(RequestId request);

  void Swap(const WeightsSlot& next, SwapPolicy policy);

  const BlockManager& blocks() const { return blocks_; }
  std::uint64_t preemptions() const { return preemptions_; }
  std::uint64_t cached_tokens() const { return cached_tokens_; }

 private:
  bool MakeRoom(Sequence& sequence, std::size_t positions, bool may_preempt);
  bool Preempt(const Sequence& needy);
  bool AllMayFit(const Sequence& sequence) const;
  void Admit(std::vector<PlannedChunk>& plan, std::size_t budget);
  void DropPages(Sequence& sequence);
  void MatchPrefix(Sequence& sequence);
  void OfferPages(Sequence& sequence);

  const EngineConfig config_;
  BlockManager blocks_;
  std::function<void(std::uint32_t, std::uint32_t)> copy_page_;
  std::vector<std::unique_ptr<Sequence>> running_;  // oldest first
  std::deque<std::unique_ptr<Sequence>> waiting_;   // next first
  std::uint64_t preemptions_ = 0, cached_tokens_ = 0;
};

}  // namespace waggle
