#include "audit/canary_maker.h"

#include <algorithm>
#include <bit>

#include "base/philox.h"
#include "base/wire.h"

namespace waggle {
namespace {

// Of a canary's file.
struct Kept {
  SignedWork work;
  bool bad = false;
  Bytes items;  // EncodeRecords
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Kept>
void Fields(T& x, V&& v) {
  v(1, "work", x.work);
  v(2, "bad", x.bad);
  v.Numbers(3, "items", x.items, kCanaryBytesMax);
}

// A token that was sampled, of a rollout that has one.
struct Spot {
  std::size_t rollout = 0, token = 0;
};
std::optional<Spot> SpotOf(const Group& group, Rng& rng) {
  std::vector<Spot> spots;
  for (std::size_t r = 0; r < group.rollouts.size(); ++r) {
    for (std::size_t i = 0; i < group.rollouts[r].tokens.size(); ++i) {
      if (group.rollouts[r].loss_mask[i] == 1) spots.push_back({r, i});
    }
  }
  if (spots.empty()) return std::nullopt;
  return spots[rng.Below(static_cast<std::uint32_t>(spots.size()))];
}

// Another token of the group in its place, as somebody does who makes answers up. One that ends no
// turn: those stand last.
bool LieAboutToken(Group& group, const Spot& spot) {
  Rollout& rollout = group.rollouts[spot.rollout];
  if (spot.token + 1 == rollout.tokens.size()) return false;
  for (const Rollout& other : group.rollouts) {
    for (std::size_t i = 0; i + 1 < other.tokens.size(); ++i) {
      if (other.tokens[i] == rollout.tokens[spot.token]) continue;
      rollout.tokens[spot.token] = other.tokens[i];
      return true;
    }
  }
  return false;
}

// By the least that a float can differ: whoever compares with a tolerance has not replayed.
void LieAboutLogp(Group& group, const Spot& spot) {
  float& logp = group.rollouts[spot.rollout].logps[spot.token];
  logp = logp == 0 ? -0.001f
                   : std::bit_cast<float>(std::bit_cast<std::uint32_t>(logp) ^ std::uint32_t{1});
}

bool PutIn(Group& group, CanaryLie lie, std::uint64_t draw) {
  Rng rng(draw);
  const auto spot = SpotOf(group, rng);
  if (!spot) return false;
  if (lie == CanaryLie::kToken && LieAboutToken(group, *spot)) return true;
  if (lie == CanaryLie::kReward) {
    group.rollouts[spot->rollout].reward = 1.0f;
    return true;
  }
  LieAboutLogp(group, *spot);
  return true;
}

}  // namespace

std::optional<GroupRecord> MakeCanary(const GroupRecord& record, CanaryLie lie, std::uint64_t draw,
                                      const std::function<Verdict(const GroupRecord&)>& examine) {
  GroupRecord made = record;
  if (lie == CanaryLie::kNone) {
    if (!std::holds_alternative<Accepted>(examine(made))) return std::nullopt;
    return made;
  }
  if (!PutIn(made.group, lie, draw)) return std::nullopt;
  Verdict verdict = examine(made);
  if (std::holds_alternative<Accepted>(verdict)) {  // full marks were deserved
    made = record;
    PutIn(made.group, CanaryLie::kLogp, draw);
    verdict = examine(made);
  }
  if (!std::holds_alternative<Reject>(verdict)) return std::nullopt;
  return made;
}

Bytes Encode(const CanaryBatch& canary) {
  return WireEncode(Kept{canary.work, canary.bad, EncodeRecords(canary.items)}, kCanaryBytesMax);
}

Result<CanaryBatch> DecodeCanary(std::span<const std::uint8_t> bytes) {
  const auto kept = WireDecode<Kept>(bytes, kCanaryBytesMax);
  if (!kept) return Fail(Blame::kPeer, "{}", kept.error().what);
  WG_ASSIGN(auto items, DecodeRecords(kept->items));
  if (items.size() != kept->work.leases.size())
    return Fail(Blame::kPeer, "a canary of {} leases with {} groups", kept->work.leases.size(),
                items.size());
  return CanaryBatch{kept->work, kept->bad, std::move(items)};
}

}  // namespace waggle
