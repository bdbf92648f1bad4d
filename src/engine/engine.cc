#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/sampling.h"
#include "engine/scheduler.h"

namespace waggle {
namespace {

constexpr std::size_t kLogitBytesMax = std::size_t{64} << 20;
constexpr std::size_t kSamplesMax = 4096;

std::size_t PagesFor(const ModelConfig& model, KvFormat format, const EngineConfig& config) {
  if (config.kv_pages > 0) return config.kv_pages;
  const std::size_t page = model.layers * KvPageBytes(model.kv_heads, model.head_dim, format);
  return std::max<std::size_t>(1, config.kv_bytes / page);
}

}  // namespace

struct Engine::Impl {
  Impl(std::shared_ptr<const Model> model, PolicyVersion version, const EngineConfig& c,
       ThreadPool& p)
      : config(c),
        pool(p),
        current{std::move(model), version, 0},
        kv(current.model->config(), current.model->numerics().kv,
           PagesFor(current.model->config(), current.model->numerics().kv, c)),
        scheduler(config, kv.pages(),
                  [this](std::uint32_t from, std::uint32_t to) { kv.Copy(from, to); }),
        scratch(pool.threads()) {
    Check(config.step_tokens > 0 && config.sequences_max > 0, "a step makes progress");
  }

  struct Draw {
    Sequence* sequence;
    const Model* model;  // alive while the sequence is
    PolicyVersion version;
    bool kept_kv;
    std::size_t row;  // of `hidden`
    std::uint32_t sample;
    SampleResult result;
  };

  void RunChunks(const std::vector<PlannedChunk>& plan, std::vector<Draw>& draws);
  void ForwardSlot(const WeightsSlot& slot, const std::vector<PlannedChunk>& chunks,
                   std::size_t first_row);
  void DrawAll(std::vector<Draw>& draws);
  void Emit(const Draw& draw, Sequence& sequence, std::vector<TokenEvent>& events);

  const EngineConfig config;
  ThreadPool& pool;
  WeightsSlot current;
  KvPool kv;
  Scheduler scheduler;
  RequestId next_request = 1;
  Stats stats;
  std::vector<float> hidden, gathered, logits;  // reused between steps
  std::vector<std::vector<float>> scratch;      // one per thread
};

Engine::Engine(std::shared_ptr<const Model> model, PolicyVersion version,
               const EngineConfig& config, ThreadPool& pool)
    : impl_(std::make_unique<Impl>(std::move(model), version, config, pool)) {}
Engine::~Engine() = default;

bool Engine::idle() const { return impl_->scheduler.idle(); }
PolicyVersion Engine::version() const { return impl_->current.version; }
void Engine::Cancel(RequestId request) { impl_->scheduler.Cancel(request); }

Engine::Stats Engine::stats() const {
  Stats stats = impl_->stats;
  stats.cached_tokens = impl_->scheduler.cached_tokens();
  stats.preemptions = impl_->scheduler.preemptions();
  stats.pages_used = impl_->scheduler.blocks().used();
  stats.pages_total = impl_->scheduler.blocks().total();
  return stats;
}

Result<RequestId> Engine::Submit(std::vector<TokenId> prompt, std::uint32_t samples,
                                 const SamplingOptions& options, std::uint32_t first_sample) {
  Impl& impl = *impl_;
  const ModelConfig& model = impl.current.model->config();
  if (prompt.empty()) return Fail(Blame::kPeer, "an empty prompt: give at least one token (BOS)");
  if (samples == 0 || samples > kSamplesMax)
    return Fail(Blame::kPeer, "{} samples of one prompt, allowed are 1 to {}", samples,
                kSamplesMax);
  if (first_sample > std::numeric_limits<std::uint32_t>::max() - samples)
    return Fail(Blame::kPeer, "sample numbers from {} on do not fit 32 bits", first_sample);
  for (const TokenId id : prompt) {
    if (id < 0 || static_cast<std::size_t>(id) >= model.vocab)
      return Fail(Blame::kPeer, "token id {} is outside the vocabulary of {}", id, model.vocab);
  }
  WG_TRY(CheckOptions(options, model.vocab));
  const std::size_t positions = prompt.size() + options.config.tokens_max;
  if (positions > model.max_positions) {
    return Fail(Blame::kPeer, "a prompt of {} tokens and a budget of {} exceed the context of {}",
                prompt.size(), options.config.tokens_max, model.max_positions);
  }
  if (positions > impl.kv.pages() * kPageTokens) {
    return Fail(Blame::kOperator,
                "a sequence of {} tokens needs more than the {} pages of KV memory: raise kv_bytes",
                positions, impl.kv.pages());
  }
  auto request = std::make_shared<EngineRequest>();
  request->id = impl.next_request++;
  request->prompt_tokens = prompt.size();
  request->options = options;
  auto leader = std::make_unique<Sequence>();
  leader->request = request;
  leader->sample = first_sample;
  leader->forks = samples - 1;
  leader->restarted_at = prompt.size();
  leader->tokens = std::move(prompt);
  leader->spans = {
      {0, impl.current}};  // of the moment of asking: how long it waits must not matter
  impl.scheduler.Add(std::move(leader));
  return request->id;
}

void Engine::Impl::ForwardSlot(const WeightsSlot& slot, const std::vector<PlannedChunk>& chunks,
                               std::size_t first_row) {
  std::vector<SequenceChunk> inputs;
  inputs.reserve(chunks.size());
  for (const PlannedChunk& chunk : chunks) {
    const Sequence& s = *chunk.sequence;
    inputs.push_back({std::span(s.tokens).subspan(s.computed, chunk.tokens), s.computed, s.pages});
    const bool decode = chunk.tokens == 1 && s.generated() > 0;
    (decode ? stats.decoded_tokens : stats.prefill_tokens) += chunk.tokens;
  }
  slot.model->Forward(pool, kv, inputs, hidden.data() + first_row * slot.model->config().hidden);
}

// Runs the plan, chunks of one version of the weights together, and notes which rows give a token.
void Engine::Impl::RunChunks(const std::vector<PlannedChunk>& plan, std::vector<Draw>& draws) {
  std::size_t rows = 0;
  for (const PlannedChunk& chunk : plan) rows += chunk.tokens;
  hidden.resize(rows * current.model->config().hidden);
  std::vector<bool> done(plan.size(), false);
  std::size_t row = 0;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (done[i]) continue;
    const WeightsSlot& slot = plan[i].sequence->SpanAt(plan[i].sequence->computed).slot;
    std::vector<PlannedChunk> chunks;
    const std::size_t first_row = row;
    for (std::size_t j = i; j < plan.size(); ++j) {
      Sequence& s = *plan[j].sequence;
      const WeightsSlot& own = s.SpanAt(s.computed).slot;
      if (done[j] || own.model != slot.model) continue;
      done[j] = true;
      chunks.push_back(plan[j]);
      row += plan[j].tokens;
      if (s.computed + plan[j].tokens < s.tokens.size()) continue;
      for (std::uint32_t k = 0; k <= s.forks; ++k)
        draws.push_back(
            {&s, own.model.get(), own.version, s.spans.size() > 1, row - 1, s.sample + k, {}});
    }
    ForwardSlot(slot, chunks, first_row);
  }
}

void Engine::Impl::DrawAll(std::vector<Draw>& draws) {
  const std::size_t vocab = current.model->config().vocab, width = current.model->config().hidden;
  const std::size_t block = std::max<std::size_t>(1, kLogitBytesMax / (vocab * sizeof(float)));
  for (auto& buffer : scratch) buffer.resize(vocab);
  for (std::size_t begin = 0; begin < draws.size();) {
    std::size_t end = begin;  // a run of draws under the same weights
    while (end < draws.size() && end - begin < block && draws[end].model == draws[begin].model)
      ++end;
    const std::size_t rows = end - begin;
    gathered.resize(rows * width);
    logits.resize(rows * vocab);
    for (std::size_t i = 0; i < rows; ++i) {
      std::copy_n(hidden.data() + draws[begin + i].row * width, width, gathered.data() + i * width);
    }
    const Model& model = *draws[begin].model;
    model.Logits(pool, gathered.data(), rows, logits.data());
    pool.RunRanges(rows, [&](std::size_t first, std::size_t last, unsigned thread) {
      for (std::size_t i = first; i < last; ++i) {
        Draw& draw = draws[begin + i];
        draw.result =
            DrawToken(model.ops(), draw.sequence->request->options,
                      {draw.sequence->tokens, draw.sequence->request->prompt_tokens}, draw.sample,
                      std::span(logits).subspan(i * vocab, vocab), scratch[thread]);
      }
    });
    begin = end;
  }
}

void Engine::Impl::Emit(const Draw& draw, Sequence& sequence, std::vector<TokenEvent>& events) {
  const SamplingOptions& options = sequence.request->options;
  sequence.tokens.push_back(draw.result.token);
  TokenEvent event{.request = sequence.request->id,
                   .sample = draw.sample,
                   .token = draw.result.token,
                   .logp = draw.result.logp,
                   .kept_logp = draw.result.kept_logp,
                   .score = draw.result.score,
                   .runner_up = draw.result.runner_up,
                   .version = draw.version,
                   .kept_kv = draw.kept_kv};
  if (!std::isfinite(draw.result.logp)) {
    event.finish = FinishReason::kAborted;
  } else if (IsStop(options, draw.result.token)) {
    event.finish = FinishReason::kStop;
  } else if (sequence.generated() >= options.config.tokens_max) {
    event.finish = FinishReason::kLength;
  }
  events.push_back(event);
}

std::vector<TokenEvent> Engine::Step() {
  Impl& impl = *impl_;
  const auto plan = impl.scheduler.Plan();
  if (plan.empty()) return {};
  ++impl.stats.steps;
  std::vector<Impl::Draw> draws;
  impl.RunChunks(plan, draws);
  impl.DrawAll(draws);
  impl.scheduler.Computed(plan);

  std::vector<TokenEvent> events;
  events.reserve(draws.size());
  for (std::size_t i = 0; i < draws.size();) {
    Sequence& leader = *draws[i].sequence;
    const std::uint32_t samples = leader.forks + 1;
    leader.forks = 0;
    // Copies are taken before the leader moves on. Draws of one leader stand together.
    std::vector<Sequence*> members = {&leader};
    for (std::uint32_t k = 1; k < samples; ++k)
      members.push_back(&impl.scheduler.Fork(leader, draws[i + k].sample));
    for (std::uint32_t k = 0; k < samples; ++k) {
      impl.Emit(draws[i + k], *members[k], events);
      if (events.back().finish) impl.scheduler.Finish(*members[k]);
    }
    i += samples;
  }
  return events;
}

void Engine::Swap(std::shared_ptr<const Model> model, PolicyVersion version, SwapPolicy policy) {
  Check(SameShapes(*model, *impl_->current.model), "a swap changes weights, not shapes");
  impl_->current = {std::move(model), version, impl_->current.serial + 1};
  impl_->scheduler.Swap(impl_->current, policy);
}

}  // namespace waggle
