#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {

Scheduler::Scheduler(const EngineConfig& config, std::size_t pages,
                     std::function<void(std::uint32_t, std::uint32_t)> copy_page)
    : config_(config), blocks_(pages, config.prefix_cache), copy_page_(std::move(copy_page)) {}

void Scheduler::Add(std::unique_ptr<Sequence> sequence) { waiting_.push_back(std::move(sequence)); }

std::vector<PlannedChunk> Scheduler::Plan() {
  std::vector<PlannedChunk> plan;
  std::size_t budget = config_.step_tokens;
  const std::uint64_t preemptions = preemptions_;
  // By index: preemption removes from the back, and only sequences that are not planned yet (the
  // youngest are last).
  for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Sequence& sequence = *running_[i];
    const std::size_t n = std::min(sequence.ChunkLimit(), budget);
    if (!MakeRoom(sequence, n, /*may_preempt=*/true))
      break;  // it was the youngest itself, and waits now
    plan.push_back({&sequence, n});
    budget -= n;
  }
  if (preemptions_ == preemptions) Admit(plan, budget);
  return plan;
}

// Whether the pages that are free now would hold all its tokens. Else it would soon be preempted
// again, work for nothing.
bool Scheduler::AllMayFit(const Sequence& sequence) const {
  const std::size_t pages = (sequence.tokens.size() + kPageTokens - 1) / kPageTokens;
  return pages - sequence.pages.size() <= blocks_.available();
}

void Scheduler::Admit(std::vector<PlannedChunk>& plan, std::size_t budget) {
  while (budget > 0 && !waiting_.empty() && running_.size() < config_.sequences_max) {
    Sequence& sequence = *waiting_.front();
    MatchPrefix(sequence);
    const std::size_t n = std::min(sequence.ChunkLimit(), budget);
    if (!AllMayFit(sequence) || !MakeRoom(sequence, n, /*may_preempt=*/false)) {
      DropPages(sequence);
      return;
    }
    cached_tokens_ += sequence.computed;
    plan.push_back({&sequence, n});
    budget -= n;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

// Pages for positions [computed, computed + n), the partial page private. False: `sequence` itself
// lost its pages or, without preemption, there are none left.
bool Scheduler::MakeRoom(Sequence& sequence, std::size_t n, bool may_preempt) {
  const std::size_t index = sequence.computed / kPageTokens;
  // Asked anew after every preemption: the one that went may have been the other user, and then no
  // copy is needed (nor, in a pool that holds just one sequence, possible).
  while (index < sequence.pages.size() && blocks_.users(sequence.pages[index]) > 1) {
    if (const auto page = blocks_.Allocate()) {
      copy_page_(sequence.pages[index], *page);
      blocks_.Release(sequence.pages[index]);
      sequence.pages[index] = *page;
    } else if (!may_preempt || !Preempt(sequence)) {
      return false;
    }
  }
  while (sequence.pages.size() * kPageTokens < sequence.computed + n) {
    if (const auto page = blocks_.Allocate()) {
      sequence.pages.push_back(*page);
    } else if (!may_preempt || !Preempt(sequence)) {
      return false;
    }
  }
  return true;
}

// The youngest running sequence gives its pages back. False if that is `needy` itself.
bool Scheduler::Preempt(const Sequence& needy) {
  Check(running_.size() > 1, "a single sequence fits the pool: Submit made sure");
  std::unique_ptr<Sequence> youngest = std::move(running_.back());
  running_.pop_back();
  DropPages(*youngest);
  ++preemptions_;
  const bool other = youngest.get() != &needy;
  waiting_.push_front(std::move(youngest));
  return other;
}

void Scheduler::DropPages(Sequence& sequence) {
  // Last page first: what is cached loses its ends before its beginnings, which all others build
  // on.
  for (auto page = sequence.pages.rbegin(); page != sequence.pages.rend(); ++page)
    blocks_.Release(*page);
  sequence.pages.clear();
  sequence.computed = 0;
  sequence.pages_hashed = 0;
  sequence.page_hash = {};
}

// Full pages at the start that somebody computed before. At least one token is left to compute: its
// logits are needed.
void Scheduler::MatchPrefix(Sequence& sequence) {
  if (!sequence.cacheable()) return;
  const std::uint64_t weights = sequence.spans[0].slot.serial;
  while (sequence.computed + kPageTokens < sequence.tokens.size()) {
    const auto ids = std::span(sequence.tokens).subspan(sequence.computed, kPageTokens);
    const Digest256 hash = BlockManager::PageHash(sequence.page_hash, weights, ids);
    const auto page = blocks_.Find(hash);
    if (!page) return;
    sequence.pages.push_back(*page);
    sequence.computed += kPageTokens;
    ++sequence.pages_hashed;
    sequence.page_hash = hash;
  }
}

void Scheduler::OfferPages(Sequence& sequence) {
  if (!config_.prefix_cache || !sequence.cacheable()) return;
  const std::uint64_t weights = sequence.spans[0].slot.serial;
  while ((sequence.pages_hashed + 1) * kPageTokens <= sequence.computed) {
    const auto ids =
        std::span(sequence.tokens).subspan(sequence.pages_hashed * kPageTokens, kPageTokens);
    sequence.page_hash = BlockManager::PageHash(sequence.page_hash, weights, ids);
    blocks_.Publish(sequence.pages[sequence.pages_hashed], sequence.page_hash);
    ++sequence.pages_hashed;
  }
}

void Scheduler::Computed(const std::vector<PlannedChunk>& plan) {
  for (const PlannedChunk& chunk : plan) {
    chunk.sequence->computed += chunk.tokens;
    OfferPages(*chunk.sequence);
  }
}

Sequence& Scheduler::Fork(const Sequence& leader, std::uint32_t sample) {
  auto child = std::make_unique<Sequence>(leader);
  child->sample = sample;
  child->forks = 0;
  Sequence& result = *child;
  if (running_.size() < config_.sequences_max) {
    for (const std::uint32_t page : child->pages) blocks_.Share(page);
    running_.push_back(std::move(child));
  } else {
    child->pages.clear();  // never shared
    DropPages(*child);
    waiting_.push_front(std::move(child));
  }
  return result;
}

void Scheduler::Finish(Sequence& sequence) {
  DropPages(sequence);
  std::erase_if(running_, [&](const auto& entry) { return entry.get() == &sequence; });
  std::erase_if(waiting_, [&](const auto& entry) { return entry.get() == &sequence; });
}

void Scheduler::Cancel(RequestId request) {
  const auto belongs = [&](const std::unique_ptr<Sequence>& sequence) {
    if (sequence->request->id != request) return false;
    DropPages(*sequence);
    return true;
  };
  std::erase_if(running_, belongs);
  std::erase_if(waiting_, belongs);
}

void Scheduler::Swap(const WeightsSlot& next, SwapPolicy policy) {
  const auto swap = [&](Sequence& sequence) {
    const SwapPolicy own = sequence.request->options.swap.value_or(policy);
    if (own == SwapPolicy::kFinish) return;
    // Keys and values that no token was sampled with are not kept: the record of a sample could not
    // tell of their weights.
    if (own == SwapPolicy::kKeepKv && sequence.tokens.size() > sequence.restarted_at) {
      // Where the old weights stop must not depend on how far the schedule happened to be: at the
      // last token, whose keys and values are never computed yet.
      const std::size_t boundary = sequence.tokens.size() - 1;
      if (sequence.spans.back().first_position == boundary) sequence.spans.pop_back();
      sequence.spans.push_back({boundary, next});
      return;
    }
    DropPages(sequence);
    sequence.spans = {{0, next}};
    sequence.restarted_at = sequence.tokens.size();
  };
  for (const auto& sequence : running_) swap(*sequence);
  for (const auto& sequence : waiting_) swap(*sequence);
}

}  // namespace waggle
