#include "sim/promises.h"

#include <algorithm>

#include "crypto/hash.h"
#include "rollout/encoding.h"
#include "run/lease_maker.h"

namespace waggle {
namespace {

constexpr std::uint64_t kEvaluationBit = std::uint64_t{1} << 63;
constexpr unsigned kIndexBits = 24;
constexpr std::uint64_t kWavesKept = 64;

std::uint64_t NumberOf(LeaseId lease) { return (lease.value & ~kEvaluationBit) >> kIndexBits; }

}  // namespace

void Promises::Break(std::string promise) {
  if (!broken_) broken_ = std::move(promise);
}

void Promises::Kept(const StoreEntry& entry) {
  std::visit([&](const auto& x) { Kept(x); }, entry);
}

void Promises::Kept(const LeaseHolder& holder) {
  ++stats_.granted;
  if (!open_.insert({holder.lease.id.value, holder.node}).second)
    Break(fmt::format("lease {:x} was granted to a worker that holds it", holder.lease.id.value));
}

void Promises::Kept(const GroupRecord& record) {
  const LeaseId lease = record.lease.id;
  if (!accepted_.emplace(lease.value, Accepted{Sha256(Encode(record.group)), {}, false}).second)
    return Break(fmt::format("lease {:x} was accepted twice", lease.value));
  if (NumberOf(lease) < forgotten_)
    return Break(fmt::format("lease {:x} was accepted long after its batch", lease.value));
  if (!IsEvaluation(lease)) ++of_wave_[NumberOf(lease)];
}

void Promises::Kept(const OutcomeRecord& record) {
  if (open_.erase({record.lease.value, record.worker}) == 0)
    Break(fmt::format("lease {:x} ended as {} without being open", record.lease.value,
                      ToString(record.outcome)));
  ++stats_.outcomes[record.outcome];
  if (record.outcome == Outcome::kRejected && honest(record.worker))
    Break(fmt::format("an honest worker's lease {:x} was rejected: {}", record.lease.value,
                      record.text));
  if (record.outcome != Outcome::kAccepted) return;
  ++stats_.accepted[record.worker];
  const auto accepted = accepted_.find(record.lease.value);
  if (accepted == accepted_.end() || record.group != accepted->second.group)
    return Break(
        fmt::format("lease {:x} is accepted and its group was not kept", record.lease.value));
  accepted->second.node = record.worker;
  accepted->second.known = true;
  accepted->second.place = record.place;
}

void Promises::HostBegan(PolicyVersion version, const ToyPolicy& policy) {
  if (version_) ++stats_.restarts;
  version_.reset();
  Published(version, policy);
}

void Promises::Published(PolicyVersion version, const ToyPolicy& policy) {
  if (version_ && version.value != version_->value + 1)
    Break(fmt::format("version {} was published after {}", version.value, version_->value));
  version_ = version;
  const Hash256 root = RootOf(policy);
  const auto [known, is_new] = roots_.emplace(version.value, root);
  if (!is_new && known->second != root)
    Break(fmt::format("version {} has other weights than before the restart", version.value));
  policies_.insert_or_assign(version.value, policy);
  ForgetBefore(version.value > kWavesKept ? version.value - kWavesKept : 0);
}

void Promises::ForgetBefore(std::uint64_t wave) {
  if (wave <= forgotten_) return;
  forgotten_ = wave;
  policies_.erase(policies_.begin(), policies_.lower_bound(wave));
  of_wave_.erase(of_wave_.begin(), of_wave_.lower_bound(wave));
  accepted_.erase(accepted_.begin(), accepted_.lower_bound(wave << kIndexBits));
}

void Promises::CheckGroup(const ScoredGroup& scored, const Lease& lease, PolicyVersion current) {
  const LeaseId id = scored.group.lease;
  const auto accepted = accepted_.find(id.value);
  Group plain = scored.group;  // rewards are the host's; what came is what was kept
  if (accepted == accepted_.end())
    return Break(fmt::format("lease {:x} was trained on and never kept", id.value));
  const std::uint64_t version = plain.rollouts.front().spans.front().version.value;
  ++stats_.staleness[current.value - version];
  const auto policy = policies_.find(version);
  if (policy == policies_.end()) return;
  const Group again =
      SampleGroup(policy->second, PolicyVersion{version}, lease, site_.PromptOf(lease));
  // What waited until it was stale ships no tokens, and nothing else is withheld.
  const bool stale = current.value - version > site_.recipe.orchestrator.lag_versions_max;
  for (Rollout& rollout : plain.rollouts) {
    rollout.reward = 0;
    if (!stale) continue;
    if (std::count(rollout.loss_mask.begin(), rollout.loss_mask.end(), 1) != 0)
      Break(fmt::format("tokens of lease {:x} are {} versions old and trained on", id.value,
                        current.value - version));
    std::fill(rollout.loss_mask.begin(), rollout.loss_mask.end(), std::uint8_t{1});
  }
  if (again == plain) return;
  ++stats_.foreign;
  if (accepted->second.known && honest(accepted->second.node))
    Break(fmt::format("an honest worker's lease {:x} is not what version {} samples", id.value,
                      version));
}

void Promises::CheckUsedOnce(const TrainOn& batch) {
  for (const Lease& lease : batch.leases) {
    const auto [known, is_new] = used_in_.emplace(lease.id.value, batch.batch);
    if (!is_new && known->second != batch.batch)
      Break(fmt::format("lease {:x} is in batch {} and in batch {}", lease.id.value, known->second,
                        batch.batch));
  }
}

// A receipt that is out of place would convict an honest host.
void Promises::CheckPlaces(const TrainOn& batch) {
  const std::uint64_t first = batch.batch * site_.recipe.orchestrator.groups_per_step;
  for (std::size_t i = 0; i < batch.leases.size(); ++i) {
    const auto accepted = accepted_.find(batch.leases[i].id.value);
    if (accepted == accepted_.end() || !accepted->second.known) continue;
    if (accepted->second.place != first + i)
      Break(fmt::format("the receipt for lease {:x} says place {}, and its group is number {}",
                        batch.leases[i].id.value,
                        accepted->second.place ? fmt::to_string(*accepted->second.place) : "none",
                        first + i));
  }
}

void Promises::Trained(const TrainOn& batch, PolicyVersion current,
                       const std::vector<LeaseId>& forged) {
  if (batch.batch != current.value)
    Break(fmt::format("batch {} makes version {}", batch.batch, current.value + 1));
  Sha256Hasher hasher;
  for (std::size_t i = 0; i < batch.groups.size(); ++i) {
    hasher.Update(Encode(batch.groups[i].group));
    CheckGroup(batch.groups[i], batch.leases[i], current);
  }
  if (site_.recipe.orchestrator.by_arrival()) {
    CheckUsedOnce(batch);
    CheckPlaces(batch);
  }
  const Digest256 digest = hasher.Finish();
  const auto [known, is_new] = batches_.emplace(batch.batch, digest);
  if (!is_new && known->second != digest)
    Break(fmt::format("batch {} holds other groups than before the restart", batch.batch));
  const auto& settings = site_.recipe.orchestrator;
  if (batch.groups.size() != settings.groups_per_step ||
      (settings.batches == "wave" && of_wave_[batch.batch] != batch.groups.size()))
    Break(fmt::format("batch {} holds {} groups, {} were accepted for it", batch.batch,
                      batch.groups.size(), of_wave_[batch.batch]));
  for (const LeaseId lease : forged) {
    const auto accepted = accepted_.find(lease.value);
    if (accepted != accepted_.end() && accepted->second.known && honest(accepted->second.node))
      Break(fmt::format("an honest worker's lease {:x} was left out as forged", lease.value));
  }
  stats_.forged += forged.size();
  ++stats_.trained;
  stats_.last_reward = MeanReward(batch.groups);
  if (batch.batch == 0) stats_.first_reward = stats_.last_reward;
}

void Promises::Closed(const NodeId& node, const std::string& why) {
  if (!why.starts_with("refused")) return;
  ++stats_.refusals;
  if (honest(node)) Break(fmt::format("the host closed an honest worker's link: {}", why));
}

void Promises::Settled(const HostCore& core, std::size_t links_told, bool deep,
                       const LeaseBookSettings& settings) {
  if (core.links() > links_told)
    Break(fmt::format("the core knows {} links, the transport {}", core.links(), links_told));
  if (!deep) return;
  const LeaseBook::Counts counts = core.leases().counts();
  stats_.open_peak = std::max(stats_.open_peak, counts.open_grants);
  stats_.waiting_peak = std::max(stats_.waiting_peak, counts.waiting);
  stats_.workers_peak = std::max(stats_.workers_peak, counts.workers);
  if (counts.granted != counts.ended + counts.open_grants || counts.open_grants != open_.size())
    Break(fmt::format("{} grants are open in the book, {} on disk", counts.open_grants,
                      open_.size()));
  if (counts.workers > settings.workers_max || counts.waiting > counts.present ||
      counts.open_grants > counts.workers * settings.grants_per_worker_max)
    Break(fmt::format("the book holds {} workers, {} of them here, {} waiting, {} grants",
                      counts.workers, counts.present, counts.waiting, counts.open_grants));
}

void Promises::Heard(const NodeId& node, const OutcomeRecord& record) {
  if (record.worker != node) Break("a worker was told of somebody else's outcome");
  if (record.outcome != Outcome::kAccepted || NumberOf(record.lease) < forgotten_) return;
  const auto accepted = accepted_.find(record.lease.value);
  if (accepted == accepted_.end() || record.group != accepted->second.group)
    Break(fmt::format("a worker heard that lease {:x} was accepted, and it is not kept",
                      record.lease.value));
}

void Promises::Sampled(PolicyVersion version, const ToyPolicy& policy, const NodeId& node) {
  if (!honest(node)) return;
  const auto known = roots_.find(version.value);
  if (known == roots_.end() || known->second != RootOf(policy))
    Break(fmt::format("an honest worker samples from weights that are not version {}",
                      version.value));
}

void Promises::HungUp(const NodeId& node, const std::string& why) {
  // "Say Hello again" and "no room" are back-pressure; the rest says that somebody did wrong.
  if (!honest(node) || !why.starts_with("the host refused") ||
      why.find(ToString(RefusalKind::kNotRegistered)) != std::string::npos ||
      why.find(ToString(RefusalKind::kFull)) != std::string::npos)
    return;
  Break("an honest worker was refused: " + why);
}

void Promises::Finished(PolicyVersion version, const ToyPolicy& policy,
                        const Undisturbed* undisturbed) {
  if (version.value != site_.recipe.orchestrator.steps)
    Break(fmt::format("the run ended at version {}", version.value));
  if (undisturbed != nullptr && stats_.foreign == 0 && stats_.forged == 0 &&
      !(policy == undisturbed->policy))
    Break("the weights are not those of the undisturbed run");
}

}  // namespace waggle
