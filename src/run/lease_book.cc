#include "run/lease_book.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

std::uint32_t Clipped(std::uint64_t value) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

LeaseBook::LeaseBook(const LeaseBookSettings& settings)
    : settings_(settings), tokens_per_rollout_(std::max(1u, settings.tokens_per_rollout)) {
  Check(settings.workers_max > 0 && settings.grants_per_worker_max > 0, "there is room for work");
  Check(settings.deadline_ms_min <= settings.deadline_ms_max,
        "the shortest deadline is not longer");
  Check(settings.deadline_ms_max <= kProtocol.duration_ms_max, "deadlines can be sent");
  Check(settings.hold_off_ms_max <= kProtocol.duration_ms_max, "hold-offs can be sent");
}

std::vector<LeaseBookEffect> LeaseBook::Step(Milliseconds now, const LeaseBookEvent& event) {
  Check(now >= now_, "time does not go back");
  now_ = now;
  effects_.clear();
  Expire();
  const auto* offered = std::get_if<WorkOffered>(&event);
  no_work_ = offered != nullptr && offered->leases.empty();
  std::visit([&](const auto& e) { On(e); }, event);
  Serve();
  return std::move(effects_);
}

LeaseBook::Worker* LeaseBook::Find(const NodeId& node) {
  const auto id = id_of_.find(node);
  return id == id_of_.end() ? nullptr : &workers_.at(id->second);
}

LeaseBook::Worker* LeaseBook::Present(const NodeId& node) {
  Worker* worker = Find(node);
  if (worker == nullptr || !worker->present) {
    effects_.push_back(
        SendTo{node, Refusal{.kind = RefusalKind::kNotRegistered, .text = "say Hello again"}});
    return nullptr;
  }
  worker->heard = now_;
  return worker;
}

// Of those who are gone, the one that came first gives up its place, and what it still held.
bool LeaseBook::MakeRoom() {
  const auto gone = std::find_if(workers_.begin(), workers_.end(),
                                 [](const auto& entry) { return !entry.second.present; });
  if (gone == workers_.end()) return false;
  Forget(gone->first);
  return true;
}

void LeaseBook::Forget(std::uint64_t id) {
  Worker& worker = workers_.at(id);
  while (!worker.grants.empty()) {
    const auto& [lease, grant] = *worker.grants.begin();
    Check(grant.state != State::kJudging, "a verdict comes before the next event");
    End(id, lease, Outcome::kExpired, "its worker is gone");
  }
  id_of_.erase(worker.node);
  workers_.erase(id);
}

void LeaseBook::Lose(Worker& worker) {
  const std::uint32_t doublings = std::min(worker.losses++, 30u);
  const Milliseconds pause =
      std::min(settings_.hold_off_ms_min << doublings, settings_.hold_off_ms_max);
  worker.hold_until = now_ + pause;
}

void LeaseBook::Leave(Worker& worker) {
  StopWaiting(worker);
  worker.present = false;
  if (FreeHeld(worker)) Lose(worker);
}

// What it held goes to whoever asks first, unless its group comes before. True: there was some.
bool LeaseBook::FreeHeld(Worker& worker) {
  const std::uint64_t id = IdOf(worker);
  bool any = false;
  for (auto& [lease, grant] : worker.grants) {
    if (grant.state != State::kHeld) continue;
    BecomeOverdue(id, lease, grant, now_);
    any = true;
  }
  return any;
}

void LeaseBook::On(const WorkerJoined& event) {
  if (Worker* known = Find(event.node)) {
    // It was here already: whatever it held, it may have come back without.
    if (known->present) Leave(*known);
    FreeHeld(*known);  // of before a restart
    known->present = true;
    known->draining = false;
    known->heard = now_;
    return;
  }
  const std::uint64_t id = Admit(event.node);
  if (id == 0) {
    effects_.push_back(SendTo{
        event.node, Refusal{.kind = RefusalKind::kFull, .text = "no room for another node"}});
    return;
  }
  workers_.at(id).present = true;
  workers_.at(id).rate = event.tokens_per_second;
}

// Not present yet.
std::uint64_t LeaseBook::Admit(const NodeId& node) {
  if (workers_.size() >= settings_.workers_max && !MakeRoom()) return 0;
  const std::uint64_t id = next_id_++;
  workers_.emplace(id, Worker{.node = node, .present = false, .heard = now_});
  id_of_.emplace(node, id);
  return id;
}

// Its worker has the shortest of deadlines to come back. Where there is no room the grant
// ends at once.
void LeaseBook::On(const GrantRestored& event) {
  const auto known = id_of_.find(event.node);
  const std::uint64_t id = known != id_of_.end() ? known->second : Admit(event.node);
  ++granted_;
  if (id == 0) {
    ++ended_;
    effects_.push_back(SendTo{event.node, OutcomeRecord{.lease = event.lease.id,
                                                        .worker = event.node,
                                                        .outcome = Outcome::kExpired,
                                                        .text = "no room after a restart"}});
    return;
  }
  const auto [entry, is_new] = workers_.at(id).grants.emplace(
      event.lease.id.value, Grant{.rollouts = event.lease.group_size});
  Check(is_new, "a grant is restored once");
  Grant& grant = entry->second;
  if (event.superseded) {
    grant.state = State::kSuperseded;
    SetTimer(id, event.lease.id.value, grant, now_ + settings_.grace_ms);
    return;
  }
  Hold(id, event.lease.id.value, grant, now_ + settings_.deadline_ms_min,
       now_ + settings_.deadline_ms_min);
  effects_.push_back(GiveAgain{WorkerId{id}, event.lease});
}

void LeaseBook::On(const WorkRequested& event) {
  Worker* worker = Present(event.node);
  if (worker == nullptr) return;
  if (draining_ || worker->draining)
    return SlowDownFor(*worker, SlowDownCause::kDraining, settings_.wait_ms_max);
  if (now_ < worker->hold_until)
    return SlowDownFor(*worker, SlowDownCause::kHoldOff, worker->hold_until - now_);
  worker->requested = event.rollouts_max;
  if (worker->waiting) return;
  worker->waiting = true;
  worker->waits_since = now_;
  waiting_.push_back(IdOf(*worker));
}

void LeaseBook::On(const WorkOffered& event) {
  Check(asking_ == event.worker.value, "an offer answers the question that was asked");
  asking_.reset();
  if (event.leases.empty()) return;
  Worker& worker = workers_.at(event.worker.value);
  Check(worker.waiting && worker.present, "leases go to a worker that waits for them");
  StopWaiting(worker);
  if (HeldBy(worker) == 0) {
    worker.busy_since = now_;
    worker.tokens_since = 0;
  }
  for (const Lease& lease : event.leases) {
    // It may have held this one before, too long, and somebody else failed since.
    if (worker.grants.contains(lease.id.value))
      End(event.worker.value, lease.id.value, Outcome::kExpired, "granted anew");
    const auto [entry, is_new] =
        worker.grants.emplace(lease.id.value, Grant{.rollouts = lease.group_size});
    Check(is_new, "a lease is granted to a worker once at a time");
    ++granted_;
  }
  const Milliseconds expected = TimeFor(worker, HeldBy(worker)), deadline = DeadlineFor(worker);
  LeaseGrant message;
  for (const Lease& lease : event.leases) {
    Hold(event.worker.value, lease.id.value, worker.grants.at(lease.id.value), now_ + expected,
         now_ + deadline);
    message.leases.push_back({lease, Clipped(deadline)});
  }
  Check(message.leases.size() <= kProtocol.leases_max, "a grant fits one message");
  effects_.push_back(SendTo{worker.node, std::move(message)});
}

void LeaseBook::On(const GroupCame& event) {
  Worker* worker = Present(event.node);
  if (worker == nullptr) return;
  const auto found = worker->grants.find(event.lease.value);
  if (found == worker->grants.end()) {
    effects_.push_back(SendTo{
        event.node, Refusal{.kind = RefusalKind::kUnknownLease,
                            .text = fmt::format("lease {} is not yours", event.lease.value)}});
    return;
  }
  Grant& grant = found->second;
  const std::uint64_t id = IdOf(*worker);
  grant.group = event.group;
  Check(grant.state != State::kJudging, "a verdict comes before the next group");
  if (grant.state == State::kSuperseded) {
    // It counts for nothing, but says how fast this worker is. A lie can only make it look slow.
    worker->tokens_since += event.tokens;
    const Milliseconds elapsed = std::max<Milliseconds>(1, now_ - worker->busy_since);
    worker->rate = std::min(worker->rate, Clipped(worker->tokens_since * 1000 / elapsed));
    return End(id, event.lease.value, Outcome::kStale, "too late: granted to somebody else");
  }
  overdue_.erase({grant.timer, id, event.lease.value});
  expected_.erase({grant.expected, id, event.lease.value});
  SetTimer(id, event.lease.value, grant, 0);
  grant.state = State::kJudging;
  effects_.push_back(JudgeGroup{WorkerId{id}, event.lease});
}

void LeaseBook::On(const GroupGraded& event) {
  const std::uint64_t id = event.worker.value;
  Worker& worker = workers_.at(id);
  const Grant& grant = worker.grants.at(event.lease.value);
  Check(grant.state == State::kJudging, "a verdict answers a question that was asked");
  OutcomeRecord record{.outcome = Outcome::kFault};
  if (std::holds_alternative<Accepted>(event.verdict)) {
    record.outcome = Outcome::kAccepted;
    record.tokens = event.tokens;
    Measure(worker, event.tokens, grant.rollouts);
    worker.losses = worker.late = 0;
  } else if (const auto* reject = std::get_if<Reject>(&event.verdict)) {
    record.text = ForWire(reject->detail);
    record.outcome = Outcome::kStale;
    if (reject->reason != RejectReason::kStalePolicy) {
      record.outcome = Outcome::kRejected;
      record.reason = reject->reason;
      Lose(worker);
    }
  } else {
    record.text = ForWire(std::get<Fault>(event.verdict).what);
  }
  Finish(id, event.lease.value, std::move(record));
}

void LeaseBook::On(const LeasesReturned& event) {
  Worker* worker = Present(event.node);
  if (worker == nullptr) return;
  const std::uint64_t id = IdOf(*worker);
  const bool fault = event.message.cause == ReturnCause::kFault;
  bool lost = false;
  for (const LeaseId lease : event.message.leases) {
    if (!worker->grants.contains(lease.value)) continue;  // ended meanwhile, or named twice
    End(id, lease.value, fault ? Outcome::kFault : Outcome::kReturned, ForWire(event.message.text));
    lost = true;
  }
  if (fault && lost) Lose(*worker);
}

void LeaseBook::On(const WorkerHeard& event) { static_cast<void>(Present(event.node)); }

void LeaseBook::On(const WorkerLeft& event) {
  Worker* worker = Find(event.node);
  if (worker != nullptr && worker->present) Leave(*worker);
}

void LeaseBook::On(const WorkerDraining& event) {
  Worker* worker = Find(event.node);
  if (worker == nullptr || !worker->present) return;
  worker->draining = true;
  StopWaiting(*worker);
}

void LeaseBook::On(const OverdueWanted&) {
  for (const auto& [time, id, lease] : std::exchange(overdue_, {})) {
    effects_.push_back(TakeBack{WorkerId{id}, LeaseId{lease}});
    workers_.at(id).grants.at(lease).state = State::kSuperseded;
  }
}

void LeaseBook::On(const TimePassed&) {
  for (auto& [id, worker] : workers_) {
    if (worker.present && now_ - worker.heard > settings_.silence_ms_max) Leave(worker);
    if (!worker.waiting || now_ - worker.waits_since <= settings_.wait_ms_max) continue;
    StopWaiting(worker);
    SlowDownFor(worker, SlowDownCause::kNoWork, settings_.hold_off_ms_min);
  }
}

void LeaseBook::On(const RunDraining&) {
  draining_ = true;
  while (!waiting_.empty()) {
    Worker& worker = workers_.at(waiting_.front());
    StopWaiting(worker);
    SlowDownFor(worker, SlowDownCause::kDraining, settings_.wait_ms_max);
  }
}

void LeaseBook::On(const RunOver&) {
  On(RunDraining{});
  for (auto& [id, worker] : workers_) {
    while (!worker.grants.empty())
      End(id, worker.grants.begin()->first, Outcome::kExpired, "the run is over");
  }
}

void LeaseBook::SetTimer(std::uint64_t id, std::uint64_t lease, Grant& grant, Milliseconds time) {
  timers_.erase({grant.timer, id, lease});
  grant.timer = time;
  if (time > 0) timers_.insert({time, id, lease});
}

void LeaseBook::Hold(std::uint64_t id, std::uint64_t lease, Grant& grant, Milliseconds expected,
                     Milliseconds deadline) {
  grant.granted = now_;
  grant.expected = expected;
  expected_.insert({expected, id, lease});
  SetTimer(id, lease, grant, deadline);
}

void LeaseBook::BecomeOverdue(std::uint64_t id, std::uint64_t lease, Grant& grant,
                              Milliseconds since) {
  grant.state = State::kOverdue;
  expected_.erase({grant.expected, id, lease});
  SetTimer(id, lease, grant, since + settings_.grace_ms);
  overdue_.insert({grant.timer, id, lease});
}

// Deadlines and graces that are over.
void LeaseBook::Expire() {
  while (!timers_.empty() && std::get<0>(*timers_.begin()) <= now_) {
    const auto [time, id, lease] = *timers_.begin();
    Grant& grant = workers_.at(id).grants.at(lease);
    if (grant.state == State::kHeld) {
      ++workers_.at(id).late;
      BecomeOverdue(id, lease, grant, time);
    } else {
      End(id, lease, Outcome::kExpired, "never answered");
    }
  }
}

void LeaseBook::End(std::uint64_t id, std::uint64_t lease, Outcome outcome, std::string text) {
  const Grant& grant = workers_.at(id).grants.at(lease);
  if (grant.state == State::kHeld || grant.state == State::kOverdue)
    effects_.push_back(TakeBack{WorkerId{id}, LeaseId{lease}});
  Finish(id, lease, {.outcome = outcome, .text = std::move(text)});
}

// The one place where a grant ends.
void LeaseBook::Finish(std::uint64_t id, std::uint64_t lease, OutcomeRecord record) {
  Worker& worker = workers_.at(id);
  const auto found = worker.grants.find(lease);
  Check(found != worker.grants.end(), "what ends was granted, and has not ended");
  record.lease = LeaseId{lease};
  record.worker = worker.node;
  record.group = found->second.group;
  timers_.erase({found->second.timer, id, lease});
  overdue_.erase({found->second.timer, id, lease});
  expected_.erase({found->second.expected, id, lease});
  worker.grants.erase(found);
  ++ended_;
  worker.tokens += record.tokens;
  ++(record.outcome == Outcome::kAccepted ? worker.accepted : worker.lost);
  effects_.push_back(SendTo{worker.node, std::move(record)});
}

void LeaseBook::StopWaiting(Worker& worker) {
  if (!worker.waiting) return;
  worker.waiting = false;
  const std::uint64_t id = IdOf(worker);
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), id));
  if (asking_ == id) asking_.reset();
}

void LeaseBook::SlowDownFor(const Worker& worker, SlowDownCause cause, Milliseconds retry_ms) {
  effects_.push_back(
      SendTo{worker.node, SlowDown{.retry_after_ms = Clipped(retry_ms), .cause = cause}});
}

// The head of the queue gets what is overdue with others, then what the orchestrator has.
void LeaseBook::Serve() {
  while (!asking_ && !waiting_.empty() && !draining_) {
    if (no_work_ && overdue_.empty() && !Hedge(waiting_.front())) return;
    const std::uint64_t id = waiting_.front();
    Worker& worker = workers_.at(id);
    const std::uint32_t room = RoomOf(worker);
    if (room == 0) {
      StopWaiting(worker);
      SlowDownFor(worker, SlowDownCause::kQuota, settings_.target_ms / 4);
      continue;
    }
    Reassign(id, room);
    asking_ = id;
    effects_.push_back(AskOrchestrator{WorkerId{id}, room});
  }
}

// Of what others hold, frees the lease that would take longest from now on, if this idle worker
// would have done it in less than half of that time. True: something is overdue now.
bool LeaseBook::Hedge(std::uint64_t idle) {
  const Worker& worker = workers_.at(idle);
  if (worker.rate == 0) return false;
  int tries = 8;  // the slowest may have begun just now
  for (auto at = expected_.rbegin(); at != expected_.rend() && tries > 0; ++at, --tries) {
    const auto [time, id, lease] = *at;
    Grant& grant = workers_.at(id).grants.at(lease);
    if (time <= now_ + 2 * TimeFor(worker, grant.rollouts)) return false;
    if (id == idle || now_ < grant.granted + settings_.hedge_ms) continue;
    BecomeOverdue(id, lease, grant, now_);
    return true;
  }
  return false;
}

// Takes overdue leases back for a worker that will be given them: the orchestrator grants those
// first. Its own overdue ones are over; a group could not tell which grant it answers.
void LeaseBook::Reassign(std::uint64_t to, std::uint32_t room) {
  while (room > 0 && !overdue_.empty()) {
    const auto [time, id, lease] = *overdue_.begin();
    Grant& grant = workers_.at(id).grants.at(lease);
    room -= std::min(room, grant.rollouts);
    if (id == to) {
      End(id, lease, Outcome::kExpired, "asked for work again instead of answering");
      continue;
    }
    effects_.push_back(TakeBack{WorkerId{id}, LeaseId{lease}});
    overdue_.erase(overdue_.begin());
    grant.state = State::kSuperseded;
  }
}

std::uint32_t LeaseBook::HeldBy(const Worker& worker) const {
  std::uint64_t held = 0;
  for (const auto& [lease, grant] : worker.grants)
    held += grant.state == State::kHeld || grant.state == State::kJudging ? grant.rollouts : 0;
  return Clipped(held);
}

std::uint32_t LeaseBook::RoomOf(const Worker& worker) const {
  const std::size_t grants = worker.grants.size();
  if (grants >= settings_.grants_per_worker_max) return 0;
  const std::uint32_t held = HeldBy(worker);
  if (held >= settings_.rollouts_per_worker_max) return 0;
  std::uint64_t room = std::min(worker.requested, settings_.rollouts_per_worker_max - held);
  const std::uint64_t target = worker.rate * settings_.target_ms / (1000 * tokens_per_rollout_);
  const std::uint64_t by_rate = target > held ? target - held : 0;
  // One lease at a time until the first group was accepted, and for whoever is slower than one.
  const std::uint64_t least = held == 0 ? 1 : 0;
  room = std::min(room, worker.measured ? std::max(by_rate, least) : least);
  // Every lease takes at least one of it, so this bounds the number of leases too.
  return Clipped(std::min<std::uint64_t>(
      {room, settings_.grants_per_worker_max - grants, kProtocol.leases_max}));
}

Milliseconds LeaseBook::TimeFor(const Worker& worker, std::uint32_t rollouts) const {
  if (worker.rate == 0) return settings_.deadline_ms_max;
  return std::min(settings_.deadline_ms_max, rollouts * tokens_per_rollout_ * 1000 / worker.rate);
}

Milliseconds LeaseBook::DeadlineFor(const Worker& worker) const {
  const Milliseconds usual =
      std::max(TimeFor(worker, HeldBy(worker)) * settings_.slack, settings_.deadline_ms_min);
  return std::min(usual << std::min(worker.late, 16u), settings_.deadline_ms_max);
}

// Over the whole time since it began to be busy: leases run side by side.
void LeaseBook::Measure(Worker& worker, std::uint64_t tokens, std::uint32_t rollouts) {
  worker.tokens_since += tokens;
  const Milliseconds elapsed = std::max<Milliseconds>(1, now_ - worker.busy_since);
  const std::uint32_t sample = Clipped(worker.tokens_since * 1000 / elapsed);
  worker.rate = worker.measured ? Clipped((std::uint64_t{worker.rate} * 3 + sample) / 4) : sample;
  worker.measured = true;
  const std::uint64_t length = std::max<std::uint64_t>(1, tokens / std::max(1u, rollouts));
  tokens_per_rollout_ = (tokens_per_rollout_ * 15 + length + 8) / 16;
}

LeaseBook::Counts LeaseBook::counts() const {
  Counts counts{
      .workers = workers_.size(), .waiting = waiting_.size(), .granted = granted_, .ended = ended_};
  for (const auto& [id, worker] : workers_) {
    counts.present += worker.present ? 1 : 0;
    counts.open_grants += worker.grants.size();
  }
  return counts;
}

std::vector<LeaseBook::WorkerView> LeaseBook::workers() const {
  std::vector<WorkerView> views;
  views.reserve(workers_.size());
  for (const auto& [id, worker] : workers_) {
    const auto held = std::count_if(worker.grants.begin(), worker.grants.end(), [](const auto& g) {
      return g.second.state == State::kHeld || g.second.state == State::kJudging;
    });
    views.push_back({.node = worker.node,
                     .present = worker.present,
                     .waiting = worker.waiting,
                     .draining = worker.draining,
                     .tokens_per_second = worker.rate,
                     .leases = static_cast<std::size_t>(held),
                     .accepted = worker.accepted,
                     .lost = worker.lost,
                     .tokens = worker.tokens});
  }
  return views;
}

std::uint32_t LeaseBook::Wanted(std::uint32_t most) const {
  std::uint64_t wanted = 0;
  for (const std::uint64_t id : waiting_) {
    if (draining_ || wanted >= most) break;
    wanted += RoomOf(workers_.at(id));
  }
  return Clipped(wanted);
}

std::uint32_t LeaseBook::RateOf(const NodeId& node) const {
  const auto id = id_of_.find(node);
  return id == id_of_.end() ? 0 : workers_.at(id->second).rate;
}

}  // namespace waggle
