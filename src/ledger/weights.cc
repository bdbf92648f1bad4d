#include "ledger/weights.h"

#include <algorithm>
#include <numeric>

#include "crypto/blake2.h"

namespace waggle {

Digest256 CommitOf(const WeightsPayload& payload) {
  return Blake2b256(WireEncode(payload, kWeightsPayloadBytesMax));
}

WeightsBook::WeightsBook(const WeightsSettings& settings) : settings_(settings) {
  Check(settings.tempo > 0, "an epoch has blocks");
}

Status WeightsBook::Register(std::uint16_t uid, std::uint64_t now) {
  if (uid > entries_.size() || uid >= kYumaNeuronsMax)
    return Fail(Blame::kPeer, "uid {} is not the next one", uid);
  if (uid == entries_.size()) entries_.emplace_back();
  entries_[uid] = Entry{.registered_at = now, .last_update = now};
  return {};
}

Status WeightsBook::CheckSpeaker(const WeightsSpeaker& speaker) const {
  if (speaker.uid >= entries_.size()) return Fail(Blame::kPeer, "uid {} is nobody", speaker.uid);
  if (speaker.stake < settings_.stake_min)
    return Fail(Blame::kPeer, "a stake of {}, at least {} is needed", speaker.stake,
                settings_.stake_min);
  return {};
}

Result<YumaRow> WeightsBook::RowOf(const WeightsSpeaker& speaker,
                                   const WeightsPayload& payload) const {
  if (payload.who != speaker.who || payload.market != settings_.market)
    return Fail(Blame::kPeer, "weights of somebody else, or for another market");
  if (payload.version < settings_.version)
    return Fail(Blame::kPeer, "weights of scoring code {}, at least {} is needed", payload.version,
                settings_.version);
  const std::size_t count = payload.uids.size();
  if (count != payload.values.size() || count > entries_.size())
    return Fail(Blame::kPeer, "{} uids and {} values for {} neurons", count, payload.values.size(),
                entries_.size());
  if (count < std::min<std::size_t>(entries_.size(), settings_.weights_min))
    return Fail(Blame::kPeer, "{} weights, at least {} are needed", count, settings_.weights_min);
  const bool self_alone = count == 1 && payload.uids[0] == speaker.uid;
  if (!speaker.permit && !self_alone)
    return Fail(Blame::kPeer, "uid {} has no permit to validate", speaker.uid);

  YumaRow row;
  std::uint64_t sum = 0, largest = 0;
  for (std::size_t k = 0; k < count; ++k) {
    if (payload.uids[k] >= entries_.size())
      return Fail(Blame::kPeer, "weight {}: uid {} is nobody", k, payload.uids[k]);
    row.push_back({payload.uids[k], payload.values[k]});
    sum += payload.values[k];
    largest = std::max<std::uint64_t>(largest, payload.values[k]);
  }
  if (largest * 65535 > settings_.share_max * sum)
    return Fail(Blame::kPeer, "one miner has more than {} of 65535", settings_.share_max);
  std::ranges::sort(row, {}, &YumaEntry::uid);
  if (std::ranges::adjacent_find(row, {}, &YumaEntry::uid) != row.end())
    return Fail(Blame::kPeer, "a uid stands there twice");
  if (largest > 0)
    for (YumaEntry& entry : row)
      entry.value = static_cast<std::uint16_t>(entry.value * std::uint64_t{65535} / largest);
  return row;
}

Status WeightsBook::Set(const WeightsSpeaker& speaker, const WeightsPayload& payload,
                        std::uint64_t now) {
  if (settings_.commit_reveal) return Fail(Blame::kPeer, "weights are committed to first here");
  WG_TRY(CheckSpeaker(speaker));
  WG_ASSIGN(YumaRow row, RowOf(speaker, payload));
  Entry& entry = entries_[speaker.uid];
  if (entry.last_set && now < *entry.last_set + settings_.rate_limit)
    return Fail(Blame::kPeer, "weights {} blocks after the last, one in {} blocks",
                now - std::min(now, *entry.last_set), settings_.rate_limit);
  entry.row = std::move(row);
  entry.last_set = entry.last_update = now;
  return {};
}

void WeightsBook::Forget(Entry& entry, std::uint64_t now) const {
  while (!entry.pending.empty() &&
         EpochOf(now) > EpochOf(entry.pending.front().height) + settings_.reveal_after)
    entry.pending.pop_front();
}

Status WeightsBook::Commit(const WeightsSpeaker& speaker, const Digest256& commit,
                           std::uint64_t now) {
  if (!settings_.commit_reveal) return Fail(Blame::kPeer, "weights are set in the open here");
  WG_TRY(CheckSpeaker(speaker));
  Entry& entry = entries_[speaker.uid];
  Forget(entry, now);
  if (entry.pending.size() >= settings_.unrevealed_max)
    return Fail(Blame::kPeer, "{} commits that are not revealed, limit {}", entry.pending.size(),
                settings_.unrevealed_max);
  entry.pending.push_back({commit, now});
  entry.last_update = now;
  return {};
}

Status WeightsBook::Reveal(const WeightsSpeaker& speaker, const WeightsPayload& payload,
                           std::uint64_t now) {
  if (!settings_.commit_reveal) return Fail(Blame::kPeer, "weights are set in the open here");
  WG_TRY(CheckSpeaker(speaker));
  WG_ASSIGN(YumaRow row, RowOf(speaker, payload));
  Entry& entry = entries_[speaker.uid];
  Forget(entry, now);
  const auto at = std::ranges::find(entry.pending, CommitOf(payload), &Pending::commit);
  if (at == entry.pending.end())
    return Fail(Blame::kPeer, "uid {} has no such commit, or it is too old", speaker.uid);
  if (EpochOf(now) != EpochOf(at->height) + settings_.reveal_after)
    return Fail(Blame::kPeer, "a reveal in epoch {}, it belongs in {}", EpochOf(now),
                EpochOf(at->height) + settings_.reveal_after);
  entry.row = std::move(row);
  entry.pending.erase(entry.pending.begin(), at + 1);  // what was committed before is superseded
  return {};
}

YumaEpoch WeightsBook::Epoch(std::uint64_t now, std::uint64_t last_epoch) {
  YumaEpoch epoch{.now = now, .last_epoch = last_epoch};
  for (Entry& entry : entries_) {
    Forget(entry, now);
    YumaNeuron neuron;
    neuron.registered_at = entry.registered_at;
    neuron.last_update = entry.last_update;
    if (!entry.pending.empty()) neuron.oldest_commit = entry.pending.front().height;
    epoch.neurons.push_back(neuron);
    epoch.weights.push_back(entry.row);
  }
  return epoch;
}

}  // namespace waggle
