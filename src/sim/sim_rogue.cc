#include "sim/sim_rogue.h"

namespace waggle {
namespace {

constexpr Micros kPause = 200 * kMilli;
constexpr std::size_t kRecordings = 16;

}  // namespace

void SilentStranger::Boot() {
  alive_ = true;
  link_ = parts_.network.Dial(peer_);
}
void SilentStranger::Kill() {
  alive_ = false;
  if (link_) parts_.network.PeerCloses(*link_);
}
void SilentStranger::Up(LinkId link) {
  if (!alive_) parts_.network.PeerCloses(link);
}
void SilentStranger::Down(LinkId, const std::string&) {
  if (!alive_) return;
  parts_.queue.After(kSecond, [this] {
    if (alive_) link_ = parts_.network.Dial(peer_);
  });
}

Rogue::Rogue(SimParts& parts, PeerIndex peer, const Signer& key)
    : parts_(parts),
      peer_(peer),
      key_(key),
      rng_(parts.seed, 0x40000000u + peer),
      nonces_(parts.seed, 0x50000000u + peer) {}

void Rogue::Boot() {
  alive_ = true;
  Tick();
}
void Rogue::Kill() {
  alive_ = false;
  if (link_) parts_.network.PeerCloses(*link_);
  link_.reset();
}
void Rogue::Up(LinkId link) {
  if (!alive_) return parts_.network.PeerCloses(link);
  dialing_ = false;
  link_ = link;
  session_.emplace(Session::Initiator(key_, parts_.site.run, nonces_()));
  if (rng_.Below(8) == 0) return SayBytes(Bytes(rng_.Below(300), 7));
  Say(Hello{.software = "rogue",
            .capabilities = {.tokens_per_second = rng_.NextU32(),
                             .rollouts_max = 1 + rng_.Below(1000),
                             .kinds = {WorkKind::kSample},
                             .environments = {"copy"}}});
}
void Rogue::Down(LinkId, const std::string&) {
  dialing_ = false;
  link_.reset();
}

void Rogue::Heard(LinkId link, Bytes bytes) {
  if (link_ != link) return;
  const auto message = session_->Open(bytes);
  if (!message) return;
  if (const auto* grant = std::get_if<LeaseGrant>(&*message)) {
    for (const GrantedLease& granted : grant->leases) leases_.insert(granted.lease.id.value);
  }
}

void Rogue::Tick() {
  if (!alive_) return;
  if (!link_ && !dialing_) {
    dialing_ = true;
    parts_.network.Dial(peer_);
  } else if (link_ && session_->established()) {
    Abuse();
  }
  parts_.queue.After(kPause, [this] { Tick(); });
}

void Rogue::Say(NodeMessage message) {
  if (!session_->may_send(KindOf(message))) return;
  SayBytes(session_->Seal(std::move(message)));
}
void Rogue::SayBytes(Bytes bytes) {
  if (!link_) return;
  if (recordings_.size() < kRecordings) recordings_.push_back(bytes);
  parts_.network.SendUp(*link_, std::move(bytes));
}

// One of its own, mostly; else anybody's or nobody's.
LeaseId Rogue::SomeLease() {
  if (!leases_.empty() && rng_.Below(2) == 0) {
    auto at = leases_.begin();
    std::advance(at, rng_.Below(static_cast<std::uint32_t>(leases_.size())));
    return LeaseId{*at};
  }
  const std::uint64_t wave = rng_.Below(static_cast<std::uint32_t>(parts_.scenario.run.steps) + 1);
  const std::uint64_t index = rng_.Below(parts_.scenario.run.groups_per_step + 1);
  return LeaseId{wave << 24 | index | (rng_.Below(8) == 0 ? std::uint64_t{1} << 63 : 0)};
}

Group Rogue::SomeGroup() {
  Group group{.lease = SomeLease(), .prompt = {3, 4, 5}, .rollouts = {}};
  group.rollouts.resize(rng_.Below(parts_.scenario.run.group_size + 2));
  for (Rollout& rollout : group.rollouts) {
    const std::size_t length = rng_.Below(6);
    rollout.tokens.assign(length, static_cast<TokenId>(rng_.Below(20)));
    rollout.logps.assign(length, -0.25f);
    rollout.loss_mask.assign(length, 1);
    rollout.spans = {{0, PolicyVersion{rng_.Below(4)}}};
    rollout.finish = FinishReason::kLength;
  }
  return group;
}

void Rogue::Abuse() {
  switch (rng_.Below(8)) {
    case 0:
      return Say(
          LeaseReturn{.leases = {SomeLease()},
                      .cause = rng_.Below(2) == 0 ? ReturnCause::kFault : ReturnCause::kDraining,
                      .text = "no"});
    case 1:
      return Say(Heartbeat{.leases = rng_.NextU32(), .version = PolicyVersion{rng_.NextU64()}});
    case 2:
      if (recordings_.empty()) return;
      return SayBytes(recordings_[rng_.Below(static_cast<std::uint32_t>(recordings_.size()))]);
    case 3: {
      if (recordings_.empty()) return;
      Bytes torn = recordings_.back();
      torn.resize(rng_.Below(static_cast<std::uint32_t>(torn.size()) + 1));
      if (!torn.empty()) torn[rng_.Below(static_cast<std::uint32_t>(torn.size()))] ^= 1;
      return SayBytes(std::move(torn));
    }
    case 4:
    case 5:
      return Say(LeaseRequest{.rollouts_max = rng_.NextU32()});
    default:
      return Say(GroupSubmission{SomeGroup()});
  }
}

}  // namespace waggle
