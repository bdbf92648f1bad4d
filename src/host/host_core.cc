#include "host/host_core.h"

#include "base/check.h"
#include "crypto/hash.h"
#include "proofs/claims.h"
#include "rollout/encoding.h"

namespace waggle {

namespace {

std::uint64_t SampledTokens(const Group& group) {
  std::uint64_t tokens = 0;
  for (const Rollout& rollout : group.rollouts) {
    for (const std::uint8_t sampled : rollout.loss_mask) tokens += sampled;
  }
  return tokens;
}

// Answers of a lease that were no more than unlikely, until it is taken all the same.
constexpr std::size_t kUnlikelyNodes = 2;
constexpr std::uint32_t kUnlikelyTimes = 8;

// A finding about its work is pending, or was settled as no more than unlikely.
bool Suspects(const Ledger& ledger, const LedgerRun& run, const NodeId& node) {
  const RunMember* member = ledger.MemberOf(run, node);
  return member != nullptr &&
         (member->frozen > 0 || member->suspect_until_epoch > ledger.FindRun(run)->epoch);
}

}  // namespace

HostCore::HostCore(const Signer& key, const Hash256& run, const HostSettings& settings,
                   std::unique_ptr<LeaseSource> leases, const Hash256& snapshot,
                   std::function<SessionNonce()> draw_nonce)
    : key_(key),
      run_(run),
      settings_(settings),
      orchestrator_(std::move(leases)),
      book_(settings.leases),
      draw_nonce_(std::move(draw_nonce)) {
  chain_ = settings_.chain;
  if (chain_.empty())
    chain_ = {{.version = orchestrator_->version(), .manifest = snapshot, .sources = {}}};
}

std::vector<HostEffect> HostCore::Step(Milliseconds now, const HostEvent& event) {
  now_ = now;
  std::visit([&](const auto& e) { On(e); }, event);
  if (finished_ && !ended_ && AuditsDone()) End();
  EndDrainIfDone();
  return std::exchange(effects_, {});
}

void HostCore::On(const LinkOpened& event) {
  links_.emplace(event.link.value, Link{Session::Acceptor(key_, run_, draw_nonce_())});
}

void HostCore::On(const FrameCame& event) {
  const auto found = links_.find(event.link.value);
  if (found == links_.end()) return;  // we closed it; the transport had not noticed yet
  Link& link = found->second;
  const auto message = link.session.Open(event.bytes);
  if (!message) return Refuse(event.link, link, message.error());
  link.refusals = 0;
  Heard(event.link, *message);
}

void HostCore::Refuse(LinkId id, Link& link, const Refused& refused) {
  ++counts_.refusals;
  if (link.session.may_send(MessageKind::kRefusal)) Send(id, refused.refusal);
  if (++link.refusals >= settings_.refusals_max || !link.session.established())
    Close(id, std::string("refused: ") + ToString(refused.refusal.kind));
}

void HostCore::On(const LinkClosed& event) { Close(event.link, ""); }

// Forgets the link; the node's leases stay its own until somebody else asks for work.
void HostCore::Close(LinkId id, std::string why) {
  const auto found = links_.find(id.value);
  if (found == links_.end()) return;
  const std::optional<NodeId> node = found->second.session.peer();
  const bool joined = found->second.joined;
  links_.erase(found);
  if (!why.empty()) effects_.push_back(CloseLink{id, std::move(why), node});
  if (!joined) return;
  const auto newest = link_of_.find(*node);
  if (newest == link_of_.end() || newest->second != id) return;
  link_of_.erase(newest);
  Audits(NodeGone{*node});
  Book(WorkerLeft{*node});
}

void HostCore::Heard(LinkId id, const NodeMessage& message) {
  Link& link = links_.at(id.value);
  if (const auto* hello = std::get_if<Hello>(&message)) {
    link.tokens_per_second = hello->capabilities.tokens_per_second;
    Send(id, Welcome{.software = settings_.software,
                     .version = chain_.back().version,
                     .heartbeat_ms = settings_.heartbeat_ms});
    for (std::size_t i = 0; i < chain_.size(); ++i) {
      // Those of all policies once, which is enough; but a list that is told replaces the last.
      const bool all = i == 0 || !chain_[i].sources.empty();
      Send(id, all ? WithSources(chain_[i]) : chain_[i]);
    }
    return;
  }
  if (SentAway(id, *link.session.peer())) return;
  // A Hello may be a recording; what comes after it is not.
  if (!link.joined) Join(id, link);
  Act(*link.session.peer(), message);
}

// The newest link of a node is the one that counts: the older one is a line that died unnoticed.
void HostCore::Join(LinkId id, Link& link) {
  const NodeId node = *link.session.peer();
  link.joined = true;
  const std::uint32_t rate = link.tokens_per_second;
  if (const auto older = link_of_.find(node); older != link_of_.end())
    Close(older->second, "the node came back on another link");
  link_of_[node] = id;
  Book(WorkerJoined{node, rate});
  Audits(NodeCame{node});
}

void HostCore::Act(const NodeId& node, const NodeMessage& message) {
  if (const auto* request = std::get_if<LeaseRequest>(&message)) {
    // A worker that does not hold the current weights would hold leases that it cannot begin.
    Book(WorkRequested{node, request->rollouts_max});
  } else if (audits_ && KindOf(message) >= MessageKind::kBatchProposal) {
    Book(WorkerHeard{node});
    Audits(NodeSaid{node, message});
  } else if (const auto* submission = std::get_if<GroupSubmission>(&message)) {
    const Group& group = submission->group;
    came_ = &group;
    came_from_ = node;
    Book(GroupCame{node, group.lease, Sha256(Encode(group)), SampledTokens(group)});
    came_ = nullptr;
    // Whoever is not registered has been told so once.
    if (submission->rollouts_max > 0 && book_.Has(node))
      Book(WorkRequested{node, submission->rollouts_max});
  } else if (const auto* returned = std::get_if<LeaseReturn>(&message)) {
    Book(LeasesReturned{node, *returned});
  } else {
    Book(WorkerHeard{node});
  }
}

void HostCore::Book(const LeaseBookEvent& event) {
  for (LeaseBookEffect& effect : book_.Step(now_, event)) Perform(std::move(effect));
}

void HostCore::Perform(LeaseBookEffect effect) {
  if (const auto* back = std::get_if<TakeBack>(&effect)) {
    Orchestrate(LeaseTakenBack{back->worker, back->lease});
  } else if (const auto* ask = std::get_if<AskOrchestrator>(&effect)) {
    Orchestrate(WorkerIdle{ask->worker, ask->rollouts_max});
    Book(WorkOffered{ask->worker, std::exchange(offered_, {})});
  } else if (const auto* judge = std::get_if<JudgeGroup>(&effect)) {
    Check(came_ != nullptr && came_->lease == judge->lease, "a group is judged as it comes");
    Judge(judge->worker, *came_);
  } else if (auto* again = std::get_if<GiveAgain>(&effect)) {
    Orchestrate(LeaseRestored{again->worker, std::move(again->lease)});
  } else {
    Deliver(std::get<SendTo>(effect));
  }
}

void HostCore::Judge(WorkerId worker, const Group& group) {
  GroupGraded graded{worker, group.lease, {}, SampledTokens(group)};
  const Lease* out = orchestrator_->LeaseOut(group.lease);
  const Lease lease = out == nullptr ? Lease{} : *out;
  if (out != nullptr) {
    const auto verdict = ExamineNewcomer(came_from_, lease, group);
    if (verdict && !NobodyDoesBetter(group.lease, *verdict))
      return Dismiss(worker, group, *verdict);
    unlikely_.erase(group.lease.value);
  }
  // Kept before anything that follows from it: the batch that it completes, the receipt.
  const std::size_t before = effects_.size();
  place_ = lease.evaluation ? std::nullopt : orchestrator_->NextPlace();
  Orchestrate(GroupArrived{worker, group});
  Check(verdict_.has_value(), "a group that arrives is judged");
  graded.verdict = *std::exchange(verdict_, std::nullopt);
  if (std::holds_alternative<Accepted>(graded.verdict)) {
    effects_.insert(effects_.begin() + static_cast<std::ptrdiff_t>(before),
                    Keep{GroupRecord{lease, group}});
    if (audits_) {
      const RunTerms& terms = audits_->ledger().FindRun(LedgerRun{run_})->terms;
      Audits(GroupTaken{came_from_, lease.id, GroupHash(group), WorkOf(terms, {lease, group})});
    }
  }
  Book(graded);
  place_.reset();
}

// What does not hold goes to somebody else; whoever handed it in is no newcomer that one would
// keep.
void HostCore::Dismiss(WorkerId worker, const Group& group, const Verdict& verdict) {
  Orchestrate(LeaseTakenBack{worker, group.lease});
  Book(GroupGraded{worker, group.lease, verdict, 0});
}

// What is unlikely in itself (an end that was improbable) is so whoever samples it, and a run that
// gave it to one node after the other would not go on. An audit still says what it says.
bool HostCore::NobodyDoesBetter(LeaseId lease, const Verdict& verdict) {
  const auto* reject = std::get_if<Reject>(&verdict);
  if (reject == nullptr || reject->reason != RejectReason::kFingerprint) return false;
  UnlikelyLease& tried = unlikely_[lease.value];
  tried.by.insert(came_from_);
  return tried.by.size() >= kUnlikelyNodes || ++tried.times >= kUnlikelyTimes;
}

std::optional<Verdict> HostCore::ExamineNewcomer(const NodeId& node, const Lease& lease,
                                                 const Group& group) const {
  if (!settings_.examine) return std::nullopt;
  if (book_.AcceptedOf(node) >= settings_.newcomer_groups &&
      !(audits_ && Suspects(audits_->ledger(), LedgerRun{run_}, node)))
    return std::nullopt;
  Verdict verdict = settings_.examine(lease, group);
  if (std::holds_alternative<Accepted>(verdict)) return std::nullopt;
  return verdict;
}

// The store hears of grants and outcomes before the worker does.
void HostCore::Deliver(SendTo& send) {
  if (auto* record = std::get_if<OutcomeRecord>(&send.message)) {
    if (record->outcome == Outcome::kAccepted) record->place = std::exchange(place_, std::nullopt);
    effects_.push_back(Keep{*record});
  } else if (const auto* grant = std::get_if<LeaseGrant>(&send.message)) {
    for (const GrantedLease& granted : grant->leases)
      effects_.push_back(Keep{LeaseHolder{send.node, granted.lease}});
  }
  counts_.refusals += std::holds_alternative<Refusal>(send.message) ? 1 : 0;
  counts_.slow_downs += std::holds_alternative<SlowDown>(send.message) ? 1 : 0;
  const auto link = link_of_.find(send.node);
  if (link != link_of_.end()) Send(link->second, std::move(send.message));
}

void HostCore::Orchestrate(const OrchestratorEvent& event) {
  for (OrchestratorEffect& effect : orchestrator_->Step(event)) {
    if (auto* grant = std::get_if<GrantLease>(&effect)) {
      offered_.push_back(std::move(grant->lease));
    } else if (auto* judged = std::get_if<GroupJudged>(&effect)) {
      verdict_ = std::move(judged->verdict);
    } else if (auto* train = std::get_if<TrainOn>(&effect)) {
      effects_.push_back(std::move(*train));
    } else if (auto* evaluated = std::get_if<Evaluated>(&effect)) {
      effects_.push_back(std::move(*evaluated));
    } else if (const auto* back = std::get_if<GiveBack>(&effect)) {
      effects_.push_back(Keep{LeaseHandedBack{back->lease}});
    } else if (auto* broken = std::get_if<RunBroken>(&effect)) {
      effects_.push_back(std::move(*broken));
    } else {
      finished_ = true;  // told to everybody at the end of the step: the book may be asking us
    }
  }
}

PolicyAnnouncement HostCore::WithSources(PolicyAnnouncement announcement) const {
  announcement.sources.insert(announcement.sources.begin(), settings_.sources.begin(),
                              settings_.sources.end());
  return announcement;
}

void HostCore::AddToChain(const PolicyOut& event) {
  const auto own = [](const std::string& torrent) {
    return torrent.empty() ? std::vector<std::string>() : std::vector<std::string>{torrent};
  };
  const PolicyAnnouncement update{
      .version = event.version, .manifest = event.manifest, .sources = own(event.torrent)};
  if (!event.snapshot) return chain_.push_back(update);
  if (settings_.older_chain) {
    std::size_t newest = chain_.size() - 1;  // snapshot
    while (newest > 0 && chain_[newest].version != chain_[newest - 1].version) --newest;
    chain_.erase(chain_.begin(), chain_.begin() + static_cast<std::ptrdiff_t>(newest));
    chain_.push_back(update);
  } else {
    chain_.clear();
  }
  chain_.push_back({.version = event.version,
                    .manifest = *event.snapshot,
                    .sources = own(event.snapshot_torrent)});
}

void HostCore::On(const PolicyOut& event) {
  AddToChain(event);
  Audits(PolicyMade{event.version, event.root});
  Orchestrate(PolicyPublished{event.version});
  if (event.save) effects_.push_back(SaveCheckpointNow{orchestrator_->SavePosition()});
  PolicyAnnouncement update{.version = event.version, .manifest = event.manifest, .sources = {}};
  if (!event.torrent.empty()) update.sources.push_back(event.torrent);
  SendToAll(WithSources(std::move(update)));
  // Whoever follows goes on by the update; relays keep the snapshot for newcomers.
  if (event.snapshot)
    SendToAll(chain_.back().sources.empty() ? chain_.back() : WithSources(chain_.back()));
  Book(WorkMayExist{});
  Delegate();
  if (!draining()) Orchestrate(Proceed{});
}

void HostCore::On(const HostRestarted& event) {
  for (const OpenGrant& grant : event.open_grants)
    Book(GrantRestored{grant.holder.node, grant.holder.lease, grant.superseded});
  for (const LeaseDelegated& delegated : event.delegations) {
    desks_.Give(delegated.desk, delegated.lease);
    Orchestrate(LeaseRestored{Delegations::WorkerOf(delegated.desk), delegated.lease});
  }
  Orchestrate(Proceed{});
}

// What is noted here is not told again; what happened at a desk, happened.
void HostCore::On(const DesksHeard& event) {
  bool came_back = false;
  const auto end = [&](DeskId desk, LeaseId lease, bool accepted) {
    effects_.push_back(Keep{DelegationEnded{lease, accepted}});
    return desks_.Take(desk, lease);
  };
  for (const DeskReturn& one : event.news.returns) {
    const bool ours = end(one.desk, one.lease, one.accepted.has_value());
    const WorkerId worker = Delegations::WorkerOf(one.desk);
    if (one.accepted) {
      desks_.Count(one.desk, SampledTokens(one.accepted->group));
      Orchestrate(GroupKept{worker, *one.accepted});
    } else if (ours) {
      Orchestrate(LeaseTakenBack{worker, one.lease});
      came_back = true;
    }
  }
  for (const Delegations::Held& lost : desks_.See(event.news.open)) {
    end(lost.desk, lost.lease, false);
    Orchestrate(LeaseTakenBack{Delegations::WorkerOf(lost.desk), lost.lease});
    came_back = true;
  }
  if (came_back) Book(WorkMayExist{});
  Delegate();
}

// One lease at a time, in turn: a wave that is short is shared.
void HostCore::Delegate() {
  while (!draining() && !finished_) {
    const auto desk = desks_.Next();
    if (!desk) return;
    Orchestrate(WorkerIdle{Delegations::WorkerOf(*desk), 1});
    if (offered_.empty()) return;
    for (Lease& lease : std::exchange(offered_, {})) {
      desks_.Give(*desk, lease);
      effects_.push_back(Keep{LeaseDelegated{*desk, std::move(lease)}});
    }
  }
}

// Who holds what nobody works on hears that others would.
void HostCore::AskBack() {
  for (const LeasesWantedBack& changed : desks_.AskBack(draining() || book_.waiting()))
    effects_.push_back(Keep{changed});
}

void HostCore::On(const HostHeard& event) {
  for (const PolicyTold& policy : event.news.policies) Orchestrate(PolicyPublished{policy.version});
  for (const Lease& lease : event.news.leases) Orchestrate(LeaseCame{lease});
  if (!event.news.leases.empty()) Book(WorkMayExist{});
  if (event.news.wanted_back) {
    Book(OverdueWanted{});
    Orchestrate(IdleLeasesWanted{});
  }
  if (event.news.over) finished_ = true;
}

void HostCore::End() {
  ended_ = true;
  Book(RunOver{});
  SendToAll(Drain{.finish_ms = 0, .text = "the run is over"});
  effects_.push_back(RunFinished{});
}

// Volunteers are not told: they would leave, and the run is to go on. Who asks for work hears that
// there is none now; when the line ends, they wait for the host to come back.
void HostCore::On(const DrainRun& event) {
  if (draining()) return;
  drain_until_ = now_ + event.finish_ms;
  Book(RunDraining{});
}

void HostCore::EndDrainIfDone() {
  if (!draining() || drained_ || finished_ || orchestrator_->training()) return;
  if (now_ < *drain_until_) {
    for (const LeaseBook::WorkerView& worker : book_.workers()) {
      if (worker.leases > 0) return;
    }
    if (desks_.held() > 0) return;
  }
  drained_ = true;
  effects_.push_back(SaveCheckpointNow{orchestrator_->SavePosition()});
  effects_.push_back(RunDrained{});
}

void HostCore::On(const DrainNode& event) {
  const auto link = link_of_.find(event.node);
  if (link == link_of_.end()) return;
  Book(WorkerDraining{event.node});
  Send(link->second,
       Drain{.finish_ms = static_cast<std::uint32_t>(settings_.leases.deadline_ms_max),
             .text = "the host asks this node to leave"});
}

// --- Audits ----------------------------------------------------------------------------------

void HostCore::Audits(const AuditEvent& event) {
  if (!audits_) return;
  for (AuditEffect& effect : audits_->Step(now_, now_ + settings_.wall_offset_ms, event)) {
    if (auto* tell = std::get_if<Tell>(&effect)) {
      const auto link = link_of_.find(tell->node);
      if (link != link_of_.end()) Send(link->second, std::move(tell->message));
    } else if (const auto* banish = std::get_if<Banish>(&effect)) {
      effects_.push_back(*banish);
      Banished(*banish);
    } else {
      std::visit(
          [this](auto& other) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(other)>, Tell>)
              effects_.push_back(std::move(other));
          },
          effect);
    }
  }
}

// Its leases are others' from here on.
void HostCore::Banished(const Banish& banish) {
  const auto link = link_of_.find(banish.node);
  if (link != link_of_.end()) SentAway(link->second, banish.node);
  Book(WorkMayExist{});
}

bool HostCore::SentAway(LinkId id, const NodeId& node) {
  if (!audits_) return false;
  const auto found = audits_->banished().find(node);
  if (found == audits_->banished().end()) return false;
  const std::string why = "banished: " + found->second;
  Send(id, Drain{.finish_ms = 0, .text = ForWire(why)});
  Close(id, why);
  return true;
}

void HostCore::On(const WorkRemembered& event) {
  for (const PolicyMade& policy : event.policies) Audits(policy);
  for (const GroupTaken& group : event.groups) Audits(group);
}

void HostCore::On(const ItemFound& event) {
  const auto link = link_of_.find(event.node);
  if (link != link_of_.end()) Send(link->second, event.item);
}

void HostCore::On(const AuditShown& event) {
  const auto link = link_of_.find(event.node);
  if (link == link_of_.end()) return;
  for (const NodeMessage& message : event.messages) Send(link->second, message);
}

// Workers stay until they have signed for their last groups, validators until these are judged.
bool HostCore::AuditsDone() {
  if (!audits_) return true;
  if (!audits_until_) {
    audits_until_ = now_ + settings_.audits_linger_ms;
    Audits(AuditsEnd{});
  }
  return audits_->settled() || now_ >= *audits_until_;
}

void HostCore::On(const HostTick&) {
  Book(TimePassed{});
  Audits(AuditTick{});
  AskBack();
}

void HostCore::Send(LinkId id, NodeMessage message) {
  const auto found = links_.find(id.value);
  if (found == links_.end()) return;
  effects_.push_back(SendFrame{id, found->second.session.Seal(std::move(message))});
}

void HostCore::SendToAll(const NodeMessage& message) {
  for (const auto& [id, link] : links_) {
    if (link.session.established()) Send(LinkId{id}, message);
  }
}

}  // namespace waggle
