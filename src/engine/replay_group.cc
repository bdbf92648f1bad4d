#include "engine/replay_group.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "engine/replay_rows.h"

namespace waggle {
namespace {

constexpr std::size_t kPoolBytesMax = std::size_t{1} << 30;  // of keys and values at a time

// One rollout on its way through the layers.
struct Line {
  std::uint32_t sample = 0;
  const Rollout* rollout = nullptr;
  std::vector<TokenId> tokens;  // prompt and response
  std::vector<std::size_t> turns;
  std::vector<std::uint32_t> pages;
};

// Some rollouts of one version, on pages that share those which the prompt fills.
class Batch {
 public:
  Batch(const Model& model, ThreadPool& pool, const Group& group, const SamplingOptions& options,
        const GroupProbe* probe, GroupReplay& replay)
      : model_(model),
        pool_(pool),
        options_(options),
        prompt_(group.prompt),
        probe_(probe),
        replay_(replay) {}

  void Add(std::uint32_t sample, const Rollout& rollout) {
    Line& line = lines_.emplace_back();
    line.sample = sample;
    line.rollout = &rollout;
    line.tokens = prompt_;
    line.tokens.insert(line.tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
    line.turns = TurnStarts(rollout);
  }
  void Run();

 private:
  // Rows of one forward pass: tokens [first, first + rows) of a line.
  struct Part {
    std::size_t line = 0, first = 0, rows = 0;
  };
  void LayPages();
  void ComputePrompt();
  void Forward(const std::vector<Part>& parts);
  void Compare(const std::vector<Part>& parts);
  void CompareRow(const Line& line, std::size_t position, std::span<float> z,
                  std::span<float> scratch, ReplayReport& report) const;

  const Model& model_;
  ThreadPool& pool_;
  const SamplingOptions& options_;
  const std::vector<TokenId>& prompt_;
  const GroupProbe* probe_;
  GroupReplay& replay_;
  std::vector<Line> lines_;
  std::optional<KvPool> kv_;
  std::vector<float> hidden_, logits_, scratch_;
};

// The prompt but its last token, whose logits every rollout's race begins with, is computed on the
// first line; its full pages serve all, the rest of it is copied.
void Batch::LayPages() {
  const std::size_t shared = (prompt_.size() - 1) / kPageTokens;
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    Line& line = lines_[i];
    const std::size_t pages = (line.tokens.size() + kPageTokens - 1) / kPageTokens;
    for (std::size_t page = 0; page < pages; ++page)
      line.pages.push_back(i > 0 && page < shared ? lines_[0].pages[page] : next++);
  }
  kv_.emplace(model_.config(), model_.numerics().kv, next);
}

void Batch::ComputePrompt() {
  const std::size_t end = prompt_.size() - 1;
  for (std::size_t at = 0; at < end; at += kReplayChunkTokens)
    Forward({{0, at, std::min(kReplayChunkTokens, end - at)}});
  if (end % kPageTokens == 0) return;
  const std::size_t partial = end / kPageTokens;
  for (std::size_t i = 1; i < lines_.size(); ++i)
    kv_->Copy(lines_[0].pages[partial], lines_[i].pages[partial]);
}

void Batch::Forward(const std::vector<Part>& parts) {
  std::vector<SequenceChunk> chunks;
  std::size_t rows = 0, wanted = 0;
  bool watched = false;
  for (const Part& part : parts) {
    const Line& line = lines_[part.line];
    chunks.push_back(
        {std::span(line.tokens).subspan(part.first, part.rows), part.first, line.pages});
    if (probe_ != nullptr && line.sample == probe_->rollout) {
      const std::size_t position = prompt_.size() - 1 + probe_->token;
      if (position >= part.first && position < part.first + part.rows) {
        watched = true;
        wanted = rows + position - part.first;
      }
    }
    rows += part.rows;
  }
  const std::size_t width = model_.config().hidden;
  hidden_.resize(std::max(hidden_.size(), rows * width));
  const LayerTap tap = [&](std::size_t layer, std::span<const float> x) {
    if (layer != probe_->layer) return;
    const auto row = x.subspan(wanted * width, width);
    replay_.activation.assign(row.begin(), row.end());
  };
  model_.Forward(pool_, *kv_, chunks, hidden_.data(), watched ? &tap : nullptr);
  replay_.tokens += rows;
}

void Batch::Run() {
  LayPages();
  ComputePrompt();
  std::vector<Part> parts;
  std::size_t rows = 0;
  const auto flush = [&] {
    if (parts.empty()) return;
    Forward(parts);
    Compare(parts);
    parts.clear();
    rows = 0;
  };
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const std::size_t end = lines_[i].tokens.size() - 1;  // the last token is only predicted
    for (std::size_t at = prompt_.size() - 1; at < end;) {
      const std::size_t n = std::min(kReplayChunkTokens - rows, end - at);
      parts.push_back({i, at, n});
      at += n;
      rows += n;
      if (rows == kReplayChunkTokens) flush();
    }
  }
  flush();
}

void Batch::Compare(const std::vector<Part>& parts) {
  struct Row {
    const Line* line = nullptr;
    std::size_t position = 0, at = 0;  // at: in hidden_
  };
  std::vector<Row> rows;
  std::size_t at = 0;
  for (const Part& part : parts) {
    const Line& line = lines_[part.line];
    for (std::size_t i = 0; i < part.rows; ++i, ++at) {
      const std::size_t position = part.first + i;
      const std::size_t next = position + 1 - prompt_.size();
      if (line.rollout->loss_mask[next] == 0) continue;
      rows.push_back({&line, position, at});
    }
  }
  const std::size_t width = model_.config().hidden, vocab = model_.config().vocab;
  const std::size_t block = std::max<std::size_t>(1, kLogitBytesMax / (vocab * sizeof(float)));
  std::vector<float> picked;
  for (std::size_t begin = 0; begin < rows.size(); begin += block) {
    const std::size_t n = std::min(block, rows.size() - begin);
    picked.resize(n * width);
    for (std::size_t i = 0; i < n; ++i)
      std::copy_n(hidden_.data() + rows[begin + i].at * width, width, picked.data() + i * width);
    logits_.resize(std::max(logits_.size(), n * vocab));
    scratch_.resize(std::max(scratch_.size(), n * vocab));
    model_.Logits(pool_, picked.data(), n, logits_.data());
    std::vector<ReplayReport> reports(n);
    pool_.Run(n, [&](std::size_t i) {
      const Row& row = rows[begin + i];
      CompareRow(*row.line, row.position, std::span(logits_).subspan(i * vocab, vocab),
                 std::span(scratch_).subspan(i * vocab, vocab), reports[i]);
    });
    for (std::size_t i = 0; i < n; ++i) {
      ReplayReport& known = replay_.rollouts[rows[begin + i].line->sample];
      if (known.equal && !reports[i].equal) known = reports[i];
    }
  }
}

void Batch::CompareRow(const Line& line, std::size_t position, std::span<float> z,
                       std::span<float> scratch, ReplayReport& report) const {
  const std::size_t i = position + 1 - prompt_.size();
  const SampleHistory history{std::span(line.tokens).first(position + 1),
                              prompt_.size() + line.turns[i]};
  const SampleResult expected = DrawToken(model_.ops(), options_, history, line.sample, z, scratch);
  if (expected.token == line.rollout->tokens[i] && SameBits(expected.logp, line.rollout->logps[i]))
    return;
  report = {false, i, expected.token, expected.logp};
}

// Rollouts whose tokens are of several versions go one by one.
Status ReplayAlone(const PolicyLookup& policies, ThreadPool& pool, const Group& group,
                   const SamplingOptions& options, const GroupProbe* probe, std::uint32_t sample,
                   GroupReplay& replay) {
  const Rollout& rollout = group.rollouts[sample];
  std::vector<ReplaySpan> spans;
  for (const VersionSpan& span : rollout.spans) {
    WG_ASSIGN(const Model* model, policies(span.version));
    spans.push_back({span.version, model});
  }
  ActivationProbe activation;
  const bool watched = probe != nullptr && probe->rollout == sample;
  if (watched) {
    activation.position = group.prompt.size() - 1 + probe->token;
    activation.layer = probe->layer;
  }
  WG_ASSIGN(replay.rollouts[sample], ReplayRollout(spans, pool, group.prompt, rollout, options,
                                                   sample, watched ? &activation : nullptr));
  if (watched) replay.activation = std::move(activation.row);
  replay.tokens += group.prompt.size() + rollout.tokens.size();
  return {};
}

std::size_t PoolBytes(const Model& model, std::size_t tokens) {
  const ModelConfig& c = model.config();
  return (tokens + kPageTokens - 1) / kPageTokens * c.layers *
         KvPageBytes(c.kv_heads, c.head_dim, model.numerics().kv);
}

}  // namespace

Result<GroupReplay> ReplayGroup(const PolicyLookup& policies, ThreadPool& pool, const Group& group,
                                const SamplingOptions& options, const GroupProbe* probe) {
  if (group.prompt.empty()) return Fail(Blame::kPeer, "an empty prompt");
  GroupReplay replay;
  replay.rollouts.resize(group.rollouts.size());
  std::map<PolicyVersion, std::vector<std::uint32_t>> whole;  // rollouts of one version, by it
  for (std::uint32_t i = 0; i < group.rollouts.size(); ++i) {
    const Rollout& rollout = group.rollouts[i];
    WG_TRY(CheckReplayable(rollout));
    if (rollout.spans.size() == 1) {
      whole[rollout.spans[0].version].push_back(i);
    } else {
      WG_TRY(ReplayAlone(policies, pool, group, options, probe, i, replay));
    }
  }
  for (const auto& [version, samples] : whole) {
    WG_ASSIGN(const Model* model, policies(version));
    WG_TRY(CheckOptions(options, model->config().vocab));
    for (std::size_t at = 0; at < samples.size();) {
      Batch batch(*model, pool, group, options, probe, replay);
      for (std::size_t bytes = 0; at < samples.size(); ++at) {
        const Rollout& rollout = group.rollouts[samples[at]];
        const std::size_t more = PoolBytes(*model, group.prompt.size() + rollout.tokens.size());
        if (bytes > 0 && bytes + more > kPoolBytesMax) break;
        bytes += more;
        std::vector<TokenId> tokens = group.prompt;
        tokens.insert(tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
        WG_TRY(CheckReplayTokens(*model, tokens));
        batch.Add(samples[at], rollout);
      }
      batch.Run();
    }
  }
  return replay;
}

}  // namespace waggle
