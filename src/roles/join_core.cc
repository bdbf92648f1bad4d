#include "roles/join_core.h"

#include <algorithm>

#include "base/check.h"
#include "proofs/claims.h"

namespace waggle {

JoinCore::JoinCore(const Signer& key, const Hash256& run, std::optional<NodeId> host,
                   const JoinSettings& settings, const TaskCodec& codec,
                   std::function<SessionNonce()> draw_nonce)
    : key_(key),
      run_(run),
      host_(host),
      settings_(settings),
      codec_(codec),
      draw_nonce_(std::move(draw_nonce)),
      worker_(codec, settings.rollouts_max),
      retry_ms_(settings.retry_ms_min) {}

std::vector<JoinEffect> JoinCore::Step(Milliseconds now, const JoinEvent& event) {
  now_ = now;
  std::visit([&](const auto& e) { On(e); }, event);
  LeaveIfDone();
  return std::exchange(effects_, {});
}

void JoinCore::On(const JoinTick& event) {
  rate_ = event.tokens_per_second;
  if (!session_) {
    if (dialing_ || now_ < retry_at_ || host_done_) return;
    dialing_ = true;
    effects_.push_back(Dial{});
    return;
  }
  if (!connected()) return;
  if (now_ >= beat_at_) {
    Send(Heartbeat{.leases = static_cast<std::uint32_t>(held_.size()),
                   .tokens_per_second = rate_,
                   .version = version_.value_or(PolicyVersion{})});
  }
  FetchNext();
  AskIfRoom();
}

void JoinCore::On(const LinkUp&) {
  dialing_ = false;
  on_chain_ = false;
  sent_ = 0;
  groups_in_.clear();
  session_.emplace(Session::Initiator(key_, run_, draw_nonce_(), host_));
  Send(Hello{.software = settings_.software,
             .capabilities = {.tokens_per_second = rate_,
                              .memory_bytes = settings_.memory_bytes,
                              .rollouts_max = settings_.rollouts_max,
                              .kinds = settings_.kinds,
                              .environments = {settings_.environment}}});
}

void JoinCore::On(const LinkDown&) {
  dialing_ = false;
  session_.reset();
  asked_ = false;
  wanted_.clear();  // the next link tells the chain anew
  retry_at_ = now_ + retry_ms_;
  retry_ms_ = std::min(settings_.retry_ms_max, retry_ms_ * 2);
}

void JoinCore::On(const FrameHeard& event) {
  if (!session_) return;
  const auto message = session_->Open(event.bytes);
  if (!message) {
    effects_.push_back(
        HangUp{std::string("the host's message: ") + ToString(message.error().refusal.kind)});
    return;
  }
  const auto* receipt = std::get_if<OutcomeRecord>(&*message);
  if (receipt != nullptr && receipt->outcome == Outcome::kAccepted && settings_.keeps_work)
    effects_.push_back(KeepReceipt{receipt->lease, event.bytes});
  std::visit([&](const auto& m) { Heard(m); }, *message);
}

void JoinCore::Heard(const Welcome& message) {
  host_ = session_->peer();
  told_until_ = message.version;
  retry_ms_ = settings_.retry_ms_min;
  heartbeat_ms_ = std::max<Milliseconds>(100, message.heartbeat_ms);
  beat_at_ = now_ + heartbeat_ms_ / 2;
  ask_at_ = now_;
  // The first signed words inside the session: they make us known, before any group of ours.
  Send(Heartbeat{.leases = static_cast<std::uint32_t>(held_.size()),
                 .tokens_per_second = rate_,
                 .version = version_.value_or(PolicyVersion{})});
  for (const auto& [lease, group] : unanswered_) Submit(group);
  effects_.push_back(LinkReady{});
}

void JoinCore::On(const SayOnLink& event) {
  if (connected()) Send(event.message);
}

void JoinCore::On(const JournalRead& event) {
  sent_groups_ = event.groups;
  signed_batches_ = event.batches;
}

std::optional<std::string> JoinCore::WhyNotSign(const BatchProposal& proposal) const {
  const BatchClaim& claim = proposal.claim;
  if (claim.run.value != run_ || claim.worker != key_.id()) return "it is not about us";
  const auto before = signed_batches_.find(claim.epoch);
  if (before != signed_batches_.end() && before->second != claim.root)
    return "we signed another one for that epoch";
  std::vector<Hash256> groups;
  for (const LeaseId lease : proposal.leases) {
    const auto sent = sent_groups_.find(lease.value);
    if (sent == sent_groups_.end()) return "we never sent a group of lease " + LeaseName(lease);
    groups.push_back(sent->second);
  }
  if (BatchRoot(groups) != claim.root) return "its root is over other groups than ours";
  return std::nullopt;
}

SignedWork JoinCore::WorkOf(const BatchProposal& proposal) const {
  SignedWork work{.claim = proposal.claim, .leases = proposal.leases};
  for (const LeaseId lease : proposal.leases) work.groups.push_back(sent_groups_.at(lease.value));
  return work;
}

void JoinCore::Heard(const BatchProposal& message) {
  const std::uint64_t epoch = message.claim.epoch;
  if (auto why = WhyNotSign(message)) {
    effects_.push_back(NotSigned{epoch, std::move(*why)});
    return;
  }
  if (settings_.keeps_work) effects_.push_back(KeepBatch{WorkOf(message)});
  if (signed_batches_.emplace(epoch, message.claim.root).second)
    effects_.push_back(JournalBatch{epoch, message.claim.root});
  Send(BatchSignature{epoch, SignBatch(key_, message.ledger, message.claim)});
}

// Announcements come as a chain, oldest first: a snapshot, then what leads on from it, up to the
// version that Welcome named. If what we hold is part of it, we go on from there; else, and the
// next tick knows, from the snapshot. Once that is under way it will replace what we hold, whatever
// is announced meanwhile.
void JoinCore::Heard(const PolicyAnnouncement& message) {
  if (!message.sources.empty()) sources_ = message.sources;
  if (!replacing_ && version_ == message.version && manifest_ == message.manifest) {
    on_chain_ = true;
    wanted_.clear();
    return;
  }
  if (on_chain_ && message.version <= *version_) return;
  if (!wanted_.empty() && message.version <= wanted_.back().version) {
    // Both ways to one version, an update and a snapshot, matter to whoever compares them.
    if (!settings_.composes || message.version < wanted_.back().version) return;
  }
  wanted_.push_back(message);
  // Whoever composes hears the chain to its end first: until the next tick.
  if (on_chain_ || (!version_ && !settings_.composes)) FetchNext();
}

void JoinCore::FetchNext() {
  if (fetching_ || wanted_.empty()) return;
  // What we hold may still be named.
  if (!on_chain_ && (version_ || settings_.composes) && wanted_.back().version < told_until_)
    return;
  fetching_ = true;
  replacing_ = !on_chain_ && version_;
  const auto last = settings_.composes ? wanted_.end() : wanted_.begin() + 1;
  const PolicyAnnouncement& target = *(last - 1);
  effects_.push_back(
      FetchPolicy{target.version, target.manifest, {wanted_.begin(), last}, sources_});
}

void JoinCore::On(const PolicyLoaded& event) {
  fetching_ = replacing_ = false;
  const auto same = [&](const PolicyAnnouncement& a) { return a.version == event.version; };
  const auto found = std::find_if(wanted_.begin(), wanted_.end(), same);
  const bool awaited = found != wanted_.end();
  if (!on_chain_) DropAll();  // a history that is not this host's
  version_ = event.version;
  manifest_ = awaited ? found->manifest : Hash256{};
  on_chain_ = awaited;
  while (awaited && !wanted_.empty() && wanted_.front().version <= event.version)
    wanted_.pop_front();
  FetchNext();
  StartWhatWaits();
  AskIfRoom();
}

void JoinCore::DropAll() {
  for (const std::uint64_t lease : sampling_) Work(LeaseDropped{LeaseId{lease}});
  sampling_.clear();
  unanswered_.clear();
  held_.clear();
  for (const Lease& lease : waiting_) held_.insert(lease.id.value);
}

// The next link tells the chain anew.
void JoinCore::On(const PolicyFailed& event) {
  fetching_ = replacing_ = false;
  wanted_.clear();
  if (session_)
    effects_.push_back(HangUp{"policy " + std::to_string(event.version.value) + ": " + event.why});
}

void JoinCore::Heard(const LeaseGrant& message) {
  asked_ = false;
  for (const GrantedLease& granted : message.leases) {
    if (const auto problem = WhyNot(granted.lease)) {
      Send(LeaseReturn{
          .leases = {granted.lease.id}, .cause = ReturnCause::kFault, .text = ForWire(*problem)});
      continue;
    }
    held_.insert(granted.lease.id.value);
    Accept(granted.lease);
  }
  AskIfRoom();
}

// What would not fit this machine, or is none of our tasks.
std::optional<std::string> JoinCore::WhyNot(const Lease& lease) const {
  if (lease.environment != settings_.environment)
    return "no environment '" + lease.environment + "' here";
  if (lease.group_size == 0 || lease.group_size > settings_.rollouts_max)
    return "more rollouts than asked for";
  if (lease.sampling.tokens_max == 0 || lease.sampling.tokens_max > settings_.response_tokens_max)
    return "a response budget beyond the model's context";
  if (!codec_.environment().MakeTask(lease.task_seed)) return "a task that cannot be made";
  return std::nullopt;
}

void JoinCore::Accept(const Lease& lease) {
  const std::uint64_t id = lease.id.value;
  // One that was taken back and comes again while we are still at it: the same work serves. It may
  // have been made anew under later weights; its task and its key are those of before.
  if (sampling_.contains(id) || unanswered_.contains(id)) return;
  if (on_chain_ && lease.version <= *version_) {
    sampling_.insert(id);
    return Work(LeaseGranted{lease});
  }
  if (std::any_of(waiting_.begin(), waiting_.end(),
                  [&](const Lease& l) { return l.id == lease.id; }))
    return;
  waiting_rollouts_ += lease.group_size;
  waiting_.push_back(lease);
}

void JoinCore::On(const SamplingRefused& event) {
  sampling_.erase(event.lease.value);
  held_.erase(event.lease.value);
  Work(LeaseDropped{event.lease});
  Send(LeaseReturn{
      .leases = {event.lease}, .cause = ReturnCause::kFault, .text = ForWire(event.why)});
}

void JoinCore::StartWhatWaits() {
  std::deque<Lease> waiting = std::exchange(waiting_, {});
  waiting_rollouts_ = 0;
  for (const Lease& lease : waiting) Accept(lease);
}

void JoinCore::Work(const WorkerEvent& event) {
  for (WorkerEffect& effect : worker_.Step(event)) {
    if (auto* start = std::get_if<StartSampling>(&effect)) {
      effects_.push_back(std::move(*start));
    } else if (auto* submit = std::get_if<SubmitGroup>(&effect)) {
      const std::uint64_t lease = submit->group.lease.value;
      sampling_.erase(lease);
      if (!Prove(submit->lease, submit->group)) continue;
      if (settings_.tamper) settings_.tamper(submit->lease, submit->group);
      const auto kept = unanswered_.insert_or_assign(lease, std::move(submit->group)).first;
      const Hash256 hash = GroupHash(kept->second);
      sent_groups_.insert_or_assign(lease, hash);
      if (settings_.keeps_work)
        effects_.push_back(KeepOwn{{std::move(submit->lease), kept->second}});
      effects_.push_back(JournalGroup{LeaseId{lease}, hash});
      Submit(kept->second);
    }  // AskForWork: AskIfRoom() below knows more
  }
  AskIfRoom();
}

bool JoinCore::Prove(const Lease& lease, Group& group) {
  if (!settings_.prove) return true;
  const Status proved = settings_.prove(lease, group);
  if (proved) return true;
  held_.erase(lease.id.value);
  Send(LeaseReturn{
      .leases = {lease.id}, .cause = ReturnCause::kFault, .text = ForWire(proved.error().what)});
  return false;
}

// Rollouts to ask for now; 0: none. Whoever calls asks.
std::uint32_t JoinCore::TakeRoom() {
  if (!connected() || draining_ || asked_ || now_ < ask_at_ || !on_chain_) return 0;
  const std::uint32_t room = worker_.room() - std::min(worker_.room(), waiting_rollouts_);
  asked_ = room > 0;
  return room;
}

void JoinCore::AskIfRoom() {
  const std::uint32_t room = TakeRoom();
  if (room > 0)
    Send(LeaseRequest{.rollouts_max = room, .tokens_per_second = rate_, .version = *version_});
}

void JoinCore::Heard(const OutcomeRecord& message) {
  held_.erase(message.lease.value);
  unanswered_.erase(message.lease.value);
  std::erase_if(groups_in_, [&](const auto& entry) { return entry.second == message.lease.value; });
  std::erase_if(waiting_, [&](const Lease& lease) { return lease.id == message.lease; });
  waiting_rollouts_ = 0;
  for (const Lease& lease : waiting_) waiting_rollouts_ += lease.group_size;
  counts_.tokens += message.tokens;
  (message.outcome == Outcome::kAccepted   ? counts_.accepted
   : message.outcome == Outcome::kStale    ? counts_.stale
   : message.outcome == Outcome::kRejected ? counts_.rejected
                                           : counts_.other) += 1;
  effects_.push_back(LeaseEnded{message});
  if (full_) ask_at_ = now_;  // we held as much as we might; now we hold less
  full_ = false;
  AskIfRoom();
}

void JoinCore::Heard(const SlowDown& message) {
  asked_ = false;
  ask_at_ = now_ + message.retry_after_ms;
  full_ = message.cause == SlowDownCause::kQuota && !held_.empty();
}

// With time to finish: this node is asked to leave, the run goes on. Without: the run is over.
void JoinCore::Heard(const Drain& message) {
  if (message.finish_ms == 0) {
    draining_ = host_done_ = true;
    farewell_ = message.text;
    return;
  }
  sent_away_ = true;
  On(DrainWanted{});
}

void JoinCore::Heard(const Refusal& message) {
  if (message.kind == RefusalKind::kUnknownLease) {
    // Its outcome was said before, or the host came back without its book.
    const auto group = groups_in_.find(message.sequence);
    if (group == groups_in_.end()) return;
    unanswered_.erase(group->second);
    held_.erase(group->second);
    groups_in_.erase(group);
    return;
  }
  asked_ = false;
  effects_.push_back(HangUp{std::string("the host refused: ") + ToString(message.kind) +
                            (message.text.empty() ? "" : ": " + message.text)});
}

void JoinCore::On(const DrainWanted&) {
  draining_ = true;
  if (waiting_.empty()) return;
  LeaseReturn back{.leases = {}, .cause = ReturnCause::kDraining, .text = "leaving"};
  for (const Lease& lease : waiting_) {
    back.leases.push_back(lease.id);
    held_.erase(lease.id.value);
  }
  waiting_.clear();
  waiting_rollouts_ = 0;
  Send(std::move(back));
}

void JoinCore::Submit(const Group& group) {
  if (!session_ || !session_->may_send(MessageKind::kGroupSubmission)) return;
  groups_in_.emplace(sent_, group.lease.value);
  Send(GroupSubmission{.group = group, .rollouts_max = TakeRoom()});
}

void JoinCore::LeaveIfDone() {
  if (!draining_ || left_) return;
  if (!host_done_ && !held_.empty()) return;
  left_ = true;
  effects_.push_back(Leave{host_done_   ? farewell_
                           : sent_away_ ? "asked to leave by the host"
                                        : "drained"});
}

void JoinCore::Send(NodeMessage message) {
  if (!session_ || !session_->may_send(KindOf(message))) return;
  effects_.push_back(SendOut{session_->Seal(std::move(message))});
  beat_at_ = now_ + heartbeat_ms_ / 2;  // whatever we say says that we are alive
  ++sent_;
}

}  // namespace waggle
