#include "run/train_thread.h"

#include <chrono>

#include "base/check.h"

namespace waggle {

PolicyImage ImageOfTrainer(const Trainer& trainer, WeightFormat format, ThreadPool& pool,
                           const PolicyImage* previous) {
  return ImageOf(trainer.parameters(), format, trainer.lora(), pool, previous);
}

Result<std::optional<StepReport>> StepOnHonestGroups(Trainer& trainer,
                                                     std::vector<ScoredGroup> groups,
                                                     PolicyVersion current,
                                                     std::vector<LeaseId>& forged) {
  auto report = trainer.PolicyStep(groups, current);
  if (report) return std::optional<StepReport>(std::move(*report));
  if (report.error().blame != Blame::kPeer) return Forward(report.error());
  WG_ASSIGN(const std::vector<std::size_t> liars, trainer.FindForgeries(groups, current));
  if (liars.empty()) return Forward(report.error());  // ill-formed in a way that admission lets by
  for (auto at = liars.rbegin(); at != liars.rend(); ++at) {
    forged.push_back(groups[*at].group.lease);
    groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(*at));
  }
  if (groups.empty()) return std::optional<StepReport>();
  WG_ASSIGN(StepReport honest, trainer.PolicyStep(groups, current));
  return std::optional<StepReport>(std::move(honest));
}

TrainThread::TrainThread(Trainer& trainer, PolicyShelf& shelf, ThreadPool& pool,
                         WeightFormat format, PolicyKind delta_kind, Clock& clock)
    : trainer_(trainer),
      shelf_(shelf),
      pool_(pool),
      format_(format),
      delta_kind_(delta_kind),
      clock_(clock),
      thread_([this](const std::stop_token& stop) { Work(stop); }) {}

TrainThread::~TrainThread() = default;  // jthread: asks to stop and joins

void TrainThread::Start(std::vector<ScoredGroup> groups, PolicyVersion current) {
  Check(!busy_, "one step at a time");
  busy_ = true;
  const std::lock_guard lock(mutex_);
  job_.emplace(Job{std::move(groups), current});
  ready_.notify_one();
}

std::optional<StepDone> TrainThread::Take(std::int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  finished_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                     [this] { return done_.has_value(); });
  if (!done_) return std::nullopt;
  busy_ = false;
  return std::exchange(done_, std::nullopt);
}

void TrainThread::Work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (ready_.wait(lock, stop, [this] { return job_.has_value(); })) {
    Job job = std::move(*std::exchange(job_, std::nullopt));
    lock.unlock();
    StepDone done = Run(std::move(job));
    lock.lock();
    done_.emplace(std::move(done));
    finished_.notify_one();
  }
}

StepDone TrainThread::Run(Job job) {
  StepDone done{.report = std::optional<StepReport>()};
  const std::int64_t begin = clock_.MonotonicNs();
  if (hash_states_) done.before = trainer_.StateHash();
  if (!job.groups.empty())
    done.report = StepOnHonestGroups(trainer_, std::move(job.groups), job.current, done.forged);
  done.seconds = static_cast<double>(clock_.MonotonicNs() - begin) * 1e-9;
  if (!done.report) return done;
  if (hash_states_) done.after = trainer_.StateHash();
  auto manifests =
      shelf_.Put(PolicyVersion{job.current.value + 1},
                 ImageOfTrainer(trainer_, format_, pool_, shelf_.newest()), delta_kind_);
  if (manifests)
    done.manifests = *manifests;
  else
    done.report = Forward(manifests.error());
  return done;
}

}  // namespace waggle
