#include "host/replay_run.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hex.h"
#include "run/influence.h"
#include "run/train_thread.h"
#include "store/run_store.h"

namespace waggle {
namespace {

constexpr std::size_t kResultBytesMax = 1 << 20;

// The loop performs effects; it decides nothing.
class Replay {
 public:
  Replay(const ReplayOptions& options, RunParts& run, RunStore& store)
      : options_(options),
        original_(options.original),
        run_(run),
        store_(store),
        influence_(run.run_id, run.recipe.orchestrator) {}

  Result<ReplaySummary> Run();

 private:
  Status Remember(std::uint64_t first, std::uint64_t end);
  Status Perform(std::vector<OrchestratorEffect> effects);
  Status Train(TrainOn batch);
  Status Published(const PublishPolicy& publish);
  Status CompareCheckpoint(std::uint64_t version);
  Status CompareResult();
  Status Same(std::uint64_t version, const std::string& theirs);

  const ReplayOptions& options_;
  const RunFolder original_;
  RunParts& run_;
  RunStore& store_;
  Influence influence_;
  ReplaySummary summary_;
  bool published_ = false;  // since the last Proceed
};

Result<ReplaySummary> Replay::Run() {
  WG_TRY(Remember(0, run_.recipe.orchestrator.ahead + 1));
  do {
    published_ = false;
    if (options_.to != 0 && summary_.steps == options_.to) break;
    WG_TRY(Perform(run_.orchestrator->Step(Proceed{})));
  } while (published_);
  summary_.weight_hash = run_.trainer->StateHash();
  WG_TRY(CompareResult());
  return summary_;
}

Status Replay::Remember(std::uint64_t first, std::uint64_t end) {
  const OrchestratorRecipe& plan = run_.recipe.orchestrator;
  const bool by_arrival = plan.by_arrival();
  WG_ASSIGN(auto records, by_arrival ? store_.Evaluations(first, end) : store_.Groups(first, end));
  if (by_arrival) {
    const std::uint64_t groups = plan.groups_per_step;
    WG_ASSIGN(auto arrived, store_.Arrived(first * groups, (end - first) * groups));
    for (GroupRecord& record : arrived) records.push_back(std::move(record));
  }
  summary_.groups += records.size();
  return run_.orchestrator->Remember(std::move(records));
}

Status Replay::Perform(std::vector<OrchestratorEffect> effects) {
  for (OrchestratorEffect& effect : effects) {
    if (auto* train = std::get_if<TrainOn>(&effect)) {
      WG_TRY(Train(std::move(*train)));
    } else if (auto* evaluated = std::get_if<Evaluated>(&effect)) {
      WG_TRY(run_.Evaluated(evaluated->evaluation));
    }
  }
  return {};
}

Status Replay::Train(TrainOn batch) {
  WG_TRY(influence_.Limit(batch, store_));
  const PolicyVersion current = run_.conduct->version();
  std::vector<TrainerEffect> effects = run_.conduct->Step(BatchReady{std::move(batch)});
  if (auto* step = std::get_if<RunStep>(&effects.front())) {
    std::vector<LeaseId> forged;
    WG_ASSIGN(auto report,
              StepOnHonestGroups(*run_.trainer, std::move(step->groups), current, forged));
    effects = run_.conduct->Step(StepFinished{std::move(report)});
  }
  for (TrainerEffect& effect : effects) {
    if (const auto* publish = std::get_if<PublishPolicy>(&effect)) WG_TRY(Published(*publish));
    if (auto* abort = std::get_if<AbortRun>(&effect)) return Forward(std::move(abort->error));
  }
  return {};
}

Status Replay::Published(const PublishPolicy& publish) {
  published_ = true;
  summary_.steps = publish.version.value;
  WG_TRY(run_.Stepped(publish));
  WG_TRY(CompareCheckpoint(publish.version.value));
  const std::uint64_t last = publish.version.value + run_.recipe.orchestrator.ahead;
  WG_TRY(Remember(last, last + 1));
  return Perform(run_.orchestrator->Step(PolicyPublished{publish.version}));
}

// Where the original kept a checkpoint.
Status Replay::CompareCheckpoint(std::uint64_t version) {
  const auto folder = original_.checkpoint(version);
  if (!std::filesystem::exists(folder)) return {};
  WG_ASSIGN(const auto theirs,
            Trainer::LoadCheckpoint(folder / "trainer", run_.base->model.config, run_.numerics,
                                    run_.recipe.trainer, *run_.options.ops, run_.pool));
  return Same(version, ToHex(theirs->StateHash()));
}

Status Replay::CompareResult() {
  if (!std::filesystem::exists(original_.result())) return {};
  WG_ASSIGN(const std::string text, ReadFile(original_.result(), kResultBytesMax));
  const auto result = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!result.is_object() || result.value("steps", std::uint64_t{0}) != summary_.steps) return {};
  return Same(summary_.steps, result.value("weight_hash", ""));
}

Status Replay::Same(std::uint64_t version, const std::string& theirs) {
  ++summary_.compared;
  const std::string ours = ToHex(run_.trainer->StateHash());
  if (ours == theirs) return {};
  return Fail(Blame::kPeer,
              "policy version {}: its accepted groups give the weights {}..., the run has {}...",
              version, ours.substr(0, 16), theirs.substr(0, 16));
}

}  // namespace

Result<ReplaySummary> ReplayRun(const ReplayOptions& options, Clock& clock) {
  const std::int64_t begin = clock.MonotonicNs();
  const RunFolder original(options.original);
  WG_ASSIGN(const std::string place, original.StorePlace());
  WG_ASSIGN(auto parts, RunParts::Repeat(original, options.run, clock));
  WG_ASSIGN(auto store, RunStore::Open(place, parts->run_id, RunStore::Access::kRead));
  WG_ASSIGN(ReplaySummary summary, Replay(options, *parts, *store).Run());
  WG_TRY(parts->Finish());
  summary.seconds = static_cast<double>(clock.MonotonicNs() - begin) * 1e-9;
  return summary;
}

}  // namespace waggle
