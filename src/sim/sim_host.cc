#include "sim/sim_host.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {
namespace {

constexpr Micros kGoodbye = 3 * kSecond;  // as long as `waggle run` waits for the others to hang up
constexpr std::size_t kSmallCrowd = 64;   // whose book is looked through after every event

bool IsKind(const Bytes& envelope, MessageKind kind) {
  constexpr std::size_t kAt = 5 + 2 + 5;  // after the version (protocol/envelope.h)
  return envelope.size() > kAt && envelope[kAt] == static_cast<std::uint8_t>(kind);
}

// Groups with log-probs that these weights do not give; as Trainer::FindForgeries.
std::vector<LeaseId> ForgedIn(const TrainOn& batch, const ToyPolicy& policy,
                              PolicyVersion current) {
  std::vector<LeaseId> forged;
  for (const ScoredGroup& scored : batch.groups) {
    const bool holds = std::all_of(scored.group.rollouts.begin(), scored.group.rollouts.end(),
                                   [&](const Rollout& rollout) {
                                     return rollout.spans.front().version != current ||
                                            LogpsHold(policy, scored.group.prompt, rollout);
                                   });
    if (!holds) forged.push_back(scored.group.lease);
  }
  return forged;
}

}  // namespace

SimHost::SimHost(SimParts& parts, const Signer& key, const Undisturbed* undisturbed)
    : parts_(parts),
      key_(key),
      undisturbed_(undisturbed),
      settings_(HostSettingsOf(parts.scenario)),
      nonces_(parts.seed, 7),
      luck_(parts.seed, 8) {
  disk.forgets = parts.scenario.run.batches == "wave";
}

void SimHost::Boot() {
  if (alive() || done_) return;
  ++life_;
  born_ = parts_.queue.now();
  clock = StartClock(parts_, 0, life_, clock);
  OrchestratorCore orchestrator(parts_.site.run, parts_.site.recipe, parts_.site.codec(),
                                parts_.site.vocab());
  policy_ = parts_.site.first();
  PolicyVersion version;
  if (const auto saved = disk.Newest(parts_.planted(Plant::kReadTorn))) {
    policy_ = saved->policy;
    version = saved->version;
    if (const Status loaded = orchestrator.Load(saved->state); !loaded)
      return parts_.ledger.Break("a checkpoint that is whole cannot be read: " +
                                 loaded.error().what);
  }
  parts_.ledger.HostBegan(version, policy_);
  parts_.shelf.clear();
  const ToyBlob snapshot = SnapshotOf(policy_);
  const Hash256 manifest = ManifestOf(snapshot);
  parts_.shelf.emplace(manifest, snapshot);
  core_ = std::make_unique<HostCore>(key_, parts_.site.run, settings_, std::move(orchestrator),
                                     manifest, [this] { return nonces_(); });
  conduct_ = std::make_unique<TrainerCore>(version, parts_.scenario.run.checkpoint_every,
                                           parts_.scenario.run.steps);
  CatchUp(version.value);
}

// As host/host_run.cc: batches that were complete are trained on again before anybody gets in.
void SimHost::CatchUp(std::uint64_t from) {
  catching_up_ = true;
  if (const Status status = Remember(from, from + parts_.scenario.run.ahead + 1); !status)
    return parts_.ledger.Break("what was kept is refused: " + status.error().what);
  if (parts_.scenario.run.batches == "arrival") {
    auto arrived = disk.Arrived(from * parts_.scenario.run.groups_per_step);
    if (const Status status = core_->Remember(std::move(arrived)); !status)
      return parts_.ledger.Break("what was kept is refused: " + status.error().what);
  }
  Step(HostRestarted{disk.OpenGrants()});
  if (alive() && !training_ && !settle_planned_) Listen();
}

Status SimHost::Remember(std::uint64_t first, std::uint64_t end) {
  if (parts_.planted(Plant::kForgetGroups)) return {};
  std::vector<GroupRecord> records = disk.Groups(first, end);
  if (parts_.scenario.run.batches == "arrival")
    std::erase_if(records, [](const GroupRecord& record) { return !record.lease.evaluation; });
  return core_->Remember(std::move(records));
}

void SimHost::Listen() {
  if (!catching_up_) return;
  catching_up_ = false;
  parts_.network.HostBorn();
  Tick();
}

void SimHost::Kill(bool keeps) {
  if (!alive()) return;
  // Between the commit and what was to follow from it, or before.
  if (keeps) static_cast<void>(Commit());
  ++life_;
  stats_.lived += parts_.queue.now() - born_;
  core_.reset();
  conduct_.reset();
  pending_.clear();
  settle_planned_ = settling_ = catching_up_ = training_ = finished_ = false;
  parts_.network.HostDies();
}

// As a driver does whose machine failed: the process ends, and somebody starts it again.
void SimHost::Die() {
  ++stats_.deaths;
  Kill(/*keeps=*/false);
  parts_.queue.After(parts_.scenario.host.restart_ms * kMilli, [this] { Boot(); });
}

void SimHost::Opened(LinkId link) {
  if (alive()) Step(LinkOpened{link});
}
void SimHost::Heard(LinkId link, Bytes bytes) {
  if (alive()) Step(FrameCame{link, std::move(bytes)});
}
void SimHost::Closed(LinkId link) {
  if (alive() && !parts_.planted(Plant::kForgetLinkClosed)) Step(LinkClosed{link});
}

void SimHost::Tick() {
  Step(HostTick{});
  if (!alive()) return;
  if (finished_ && core_->links() == 0) return End();
  const std::uint32_t life = life_;
  parts_.queue.After(parts_.scenario.host.tick_ms * kMilli, [this, life] {
    if (life == life_) Tick();
  });
}

void SimHost::Step(const HostEvent& event) {
  const Micros now = parts_.queue.now();
  const Milliseconds time =
      parts_.planted(Plant::kWallClock) ? clock.WallMs(now) : clock.MonotonicMs(now);
  bool keeps = false;
  for (HostEffect& effect : core_->Step(time, event)) {
    if (parts_.planted(Plant::kAckBeforeStore) && std::holds_alternative<SendFrame>(effect)) {
      static_cast<void>(Perform(std::move(effect)));
      continue;
    }
    keeps = keeps || std::holds_alternative<Keep>(effect);
    pending_.push_back(std::move(effect));
  }
  if (settling_ || settle_planned_) return;
  if (!keeps) return Settle();
  // What comes while the disk is busy shares the commit.
  settle_planned_ = true;
  const std::uint32_t life = life_;
  parts_.queue.After(parts_.scenario.host.commit_ms * kMilli, [this, life] {
    if (life != life_) return;
    settle_planned_ = false;
    Settle();
    if (alive() && !training_) Listen();
  });
}

void SimHost::Settle() {
  const std::uint32_t life = life_;
  settling_ = true;
  while (!pending_.empty()) {
    if (DieWhileWriting()) return;
    if (const Status status = Commit(); !status) return Die();
    for (HostEffect& effect : std::exchange(pending_, {})) {
      if (const Status status = Perform(std::move(effect)); !status) return Die();
      if (life != life_) return;
    }
  }
  settling_ = false;
  const bool deep = parts_.scenario.crowd.workers <= kSmallCrowd || parts_.queue.done() % 4096 == 0;
  parts_.ledger.Settled(*core_, parts_.network.host_open() + parts_.network.untold(), deep,
                        settings_.leases);
}

// A rare moment, made common: of all deaths, the one in which a promise is on its way to the disk.
bool SimHost::DieWhileWriting() {
  const bool writes = std::any_of(pending_.begin(), pending_.end(), [](const HostEffect& effect) {
    const auto* keep = std::get_if<Keep>(&effect);
    return keep != nullptr && std::holds_alternative<OutcomeRecord>(keep->entry);
  });
  if (!die_while_writing || !writes) return false;
  die_while_writing = false;
  if (luck_.Below(2) == 0) static_cast<void>(Commit());
  Die();
  return true;
}

Status SimHost::Commit() {
  StoreBatch batch;
  for (HostEffect& effect : pending_) {
    if (auto* keep = std::get_if<Keep>(&effect)) batch.push_back(std::move(keep->entry));
  }
  if (batch.empty()) return {};
  if (parts_.planted(Plant::kCountTwice) && stats_.commits % 16 == 15 &&
      std::holds_alternative<OutcomeRecord>(batch.back()))
    batch.push_back(batch.back());
  ++stats_.commits;
  stats_.entries += batch.size();
  return disk.Commit(std::move(batch),
                     [this](const StoreEntry& entry) { parts_.ledger.Kept(entry); });
}

Status SimHost::Perform(HostEffect effect) {
  if (auto* send = std::get_if<SendFrame>(&effect)) {
    if (parts_.planted(Plant::kForgetDrain) && IsKind(send->bytes, MessageKind::kDrain)) return {};
    parts_.network.SendDown(send->link, std::move(send->bytes));
  } else if (auto* close = std::get_if<CloseLink>(&effect)) {
    if (const NodeId* node = parts_.nodes[parts_.network.PeerOf(close->link)])
      parts_.ledger.Closed(*node, close->why);
    parts_.network.HostCloses(close->link);
  } else if (auto* train = std::get_if<TrainOn>(&effect)) {
    return Train(std::move(*train));
  } else if (auto* save = std::get_if<SaveCheckpointNow>(&effect)) {
    return disk.Save({conduct_->version(), policy_, std::move(save->state)});
  } else if (std::holds_alternative<RunFinished>(effect)) {
    finished_ = true;
    if (!stats_.finished) stats_.finished = parts_.queue.now();
    parts_.ledger.Finished(conduct_->version(), policy_, undisturbed_);
    const std::uint32_t life = life_;
    parts_.queue.After(kGoodbye, [this, life] {
      if (life == life_) End();
    });
  }  // Keep: committed. Evaluated: of no consequence
  return {};
}

Status SimHost::Train(TrainOn batch) {
  if (parts_.planted(Plant::kArrivalOrder) && batch.groups.size() > 1) {
    std::rotate(batch.groups.begin(), batch.groups.begin() + 1, batch.groups.end());
    std::rotate(batch.leases.begin(), batch.leases.begin() + 1, batch.leases.end());
  }
  // The conduct only looks whether there is anything to train on.
  TrainOn first{.batch = batch.batch, .groups = {batch.groups.at(0)}, .leases = {}};
  const std::vector<TrainerEffect> effects = conduct_->Step(BatchReady{std::move(first)});
  Check(std::holds_alternative<RunStep>(effects.front()), "a batch here is never empty");
  training_ = true;
  const std::uint32_t life = life_;
  const Micros takes = parts_.scenario.run.train_ms * kMilli;
  stats_.training += takes;
  stats_.caught_up += catching_up_ ? 1 : 0;
  parts_.queue.After(takes, [this, life, batch = std::make_shared<TrainOn>(std::move(batch))] {
    if (life == life_) Trained(std::move(*batch));
  });
  return {};
}

void SimHost::Trained(TrainOn batch) {
  training_ = false;
  const PolicyVersion current = conduct_->version();
  const std::vector<LeaseId> forged = ForgedIn(batch, policy_, current);
  parts_.ledger.Trained(batch, current, forged);
  std::erase_if(batch.groups, [&](const ScoredGroup& scored) {
    return std::find(forged.begin(), forged.end(), scored.group.lease) != forged.end();
  });
  const ToyPolicy before = std::exchange(policy_, waggle::Train(policy_, batch.groups));
  PolicyOut out;
  for (const TrainerEffect& effect : conduct_->Step(StepFinished{std::nullopt})) {
    if (const auto* publish = std::get_if<PublishPolicy>(&effect)) out.version = publish->version;
    if (std::holds_alternative<SaveCheckpoint>(effect)) out.save = true;
  }
  Put(out, before);
  parts_.ledger.Published(out.version, policy_);
  Publish(out);
}

void SimHost::Put(PolicyOut& out, const ToyPolicy& before) {
  const ToyBlob delta = DeltaOf(before, policy_);
  out.manifest = ManifestOf(delta);
  parts_.shelf.emplace(out.manifest, delta);
  if (out.version.value % parts_.scenario.run.snapshot_every != 0) return;
  const ToyBlob snapshot = SnapshotOf(policy_);
  out.snapshot = ManifestOf(snapshot);
  parts_.shelf.emplace(*out.snapshot, snapshot);
}

void SimHost::Publish(PolicyOut& out) {
  const std::uint64_t last = out.version.value + parts_.scenario.run.ahead;
  if (catching_up_) {
    if (const Status status = Remember(last, last + 1); !status)
      return parts_.ledger.Break("what was kept is refused: " + status.error().what);
  }
  Step(out);
  if (alive() && catching_up_ && !training_ && !settle_planned_) Listen();
}

std::string SimHost::State() const {
  if (!alive()) return "its process is dead";
  const LeaseBook::Counts counts = core_->leases().counts();
  std::string out;
  const std::uint64_t wave = conduct_->version().value;
  for (std::uint64_t i = 0; i < parts_.scenario.run.groups_per_step; ++i) {
    const LeaseId lease{wave << 24 | i};
    if (core_->orchestrator().LeaseOut(lease) != nullptr) out += fmt::format(" {}", i);
  }
  return fmt::format("{}{} of {} workers are here, {} wait, {} grants are open; out of wave {}:{}",
                     training_      ? "training, "
                     : catching_up_ ? "catching up, "
                                    : "",
                     counts.present, counts.workers, counts.waiting, counts.open_grants, wave,
                     out.empty() ? " none" : out);
}

// The run is over and everybody was told.
void SimHost::End() {
  if (!alive()) return;
  done_ = true;
  Kill(/*keeps=*/false);
}

}  // namespace waggle
