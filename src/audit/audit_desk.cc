#include "audit/audit_desk.h"

#include <algorithm>

#include "base/check.h"
#include "proofs/claims.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr std::uint32_t kRequestsMax = 256;    // of one node in one epoch
constexpr std::size_t kPoliciesTold = 256;     // the newest, to who asks for the ledger
constexpr std::size_t kPoliciesNeeded = 8192;  // and those of unsettled epochs, up to so many

Bytes EncodeVerdictPlace(const NodeId& validator, const GiveVerdict& verdict) {
  Bytes message(validator.value.begin(), validator.value.end());
  message.insert(message.end(), verdict.worker.value.begin(), verdict.worker.value.end());
  for (int i = 0; i < 8; ++i)
    message.push_back(static_cast<std::uint8_t>(verdict.epoch >> (8 * i)));
  return message;
}

}  // namespace

LedgerEntries LedgerPortion(const std::vector<LogRecord>& records, std::uint64_t first) {
  LedgerEntries portion{.first = first};
  for (std::uint64_t at = first; at <= records.size(); ++at) {
    if (portion.entries.size() == kProtocol.entries_max) break;
    portion.entries.push_back(records[at - 1].entry);
    portion.heads.push_back(records[at - 1].head_signature);
  }
  return portion;
}

Digest256 BatchActivation(std::span<const Hash256> items) {
  Sha256Hasher hasher;
  for (const Hash256& item : items) hasher.Update(std::span(item));
  return hasher.Finish();
}

BatchWork WorkOf(const RunTerms& terms, const GroupRecord& record) {
  BatchWork work;
  for (const Rollout& rollout : record.group.rollouts) {
    const auto sampled = static_cast<std::uint64_t>(
        std::count(rollout.loss_mask.begin(), rollout.loss_mask.end(), std::uint8_t{1}));
    std::uint64_t oldest = record.lease.version.value;
    for (const VersionSpan& span : rollout.spans) oldest = std::min(oldest, span.version.value);
    work.Add(terms, sampled, static_cast<std::uint32_t>(record.lease.version.value - oldest));
  }
  return work;
}

AuditDesk::AuditDesk(const Signer& key, const AuditSettings& settings, LedgerReplay ledger,
                     std::vector<LogRecord> records, std::vector<SignedWork> work,
                     std::vector<CanaryBatch> canaries)
    : key_(key),
      settings_(settings),
      replay_(std::move(ledger)),
      records_(std::move(records)),
      canaries_(key, settings.run, settings.terms, settings.canaries, std::move(canaries)),
      steps_(settings.steps) {
  Check(records_.size() == this->ledger().state().sequence, "the whole log, from entry 1 on");
  for (SignedWork& one : work) {
    for (const LeaseId lease : one.leases) placed_.insert(lease.value);
    const auto slot = std::pair(one.claim.epoch, one.claim.worker);
    work_.insert_or_assign(slot, std::move(one));
  }
}

std::vector<AuditEffect> AuditDesk::Step(Milliseconds now, std::uint64_t wall_ms,
                                         const AuditEvent& event) {
  now_ = now;
  wall_ms_ = wall_ms;
  OpenRunIfNew();
  std::visit([&](const auto& e) { On(e); }, event);
  Advance();
  return std::exchange(effects_, {});
}

// --- The ledger ----------------------------------------------------------------------------------

bool AuditDesk::Apply(LedgerRequest request, std::string* why) {
  const LedgerEntry entry = ledger().Next(wall_ms_, std::move(request));
  const LedgerOutcome outcome = replay_.ledger().Apply(entry);
  if (!outcome) {
    if (why != nullptr) *why = outcome.error().what;
    return false;
  }
  tally_.See(*outcome, wall_ms_);
  LogRecord record{.entry = Encode(entry)};
  replay_.Advance(record.entry);
  LedgerHead head = replay_.Head();
  SignHead(key_, head);
  record.head_signature = head.signature;
  effects_.push_back(KeepLedgerEntry{record});
  records_.push_back(std::move(record));
  TellNewest();
  for (const LedgerEvent& seen : *outcome) {
    if (seen.kind == LedgerEventKind::kCanaryMissed)
      SendOut(seen.who, ToText(seen.who) + " gave a verdict on a canary without looking");
    const auto finding = static_cast<Finding>(seen.number);
    const bool found = seen.kind == LedgerEventKind::kVerdict && finding != Finding::kAccepted &&
                       finding != Finding::kFault && finding != Finding::kStatistical;
    if (found || seen.kind == LedgerEventKind::kAccused) TellAbout(seen.other);
  }
  return true;
}

bool AuditDesk::Ask(LedgerBody body) {
  return Apply(SignRequest(key_, ledger().id(), ledger().NonceOf(key_.id()), std::move(body)));
}

// The host's own money: what it pays its workers with came in through its own bridge.
void AuditDesk::OpenRunIfNew() {
  if (ledger().FindRun(settings_.run) != nullptr) return;
  if (settings_.budget.value > 0)
    Check(Ask(Deposit{key_.id(), settings_.budget, {}}), "a fresh ledger takes a deposit");
  Check(Ask(OpenRun{settings_.run, settings_.terms}), "terms that were checked before");
  if (settings_.budget.value > 0)
    Check(Ask(LockBudget{settings_.run, settings_.budget}), "what was just deposited");
}

void AuditDesk::TellNewest() {
  for (const NodeId& node : followers_)
    effects_.push_back(Tell{node, LedgerPortion(records_, records_.size())});
}

void AuditDesk::TellEntries(const NodeId& node, std::uint64_t from) {
  bool first = from == 0;
  for (std::uint64_t at = std::max<std::uint64_t>(1, from); first || at <= records_.size();) {
    LedgerEntries portion = LedgerPortion(records_, at);
    if (first) portion.genesis = ledger().genesis();
    first = false;
    at += portion.entries.size();
    effects_.push_back(Tell{node, std::move(portion)});
  }
}

// --- Batches -------------------------------------------------------------------------------------

void AuditDesk::On(const GroupTaken& event) {
  if (placed_.contains(event.lease.value)) return;
  open_[event.worker].insert_or_assign(event.lease.value, Piece{event.group, event.work});
}

void AuditDesk::On(const PolicyMade& event) {
  version_ = event.version;
  const auto claim = SignClaim(
      PolicyClaim{settings_.run.value, event.version, event.root, settings_.description}, key_);
  policies_.push_back({event.version, event.root, settings_.description, claim.signature});
  const bool needed =
      policies_.front().version.value >= PoliciesFrom() && policies_.size() <= kPoliciesNeeded;
  if (policies_.size() > kPoliciesTold && !needed) policies_.erase(policies_.begin());
  for (const NodeId& node : followers_) effects_.push_back(Tell{node, policies_.back()});
}

void AuditDesk::On(const AuditsEnd&) { ending_ = true; }
void AuditDesk::On(const NodeGone& event) {
  followers_.erase(event.node);
  steps_.Gone(event.node);
}

void AuditDesk::On(const StepMade& event) {
  const auto told = steps_.Made(event.step);
  if (!told) return;
  for (const NodeId& node : followers_) effects_.push_back(Tell{node, *told});
}

void AuditDesk::Advance() {
  CloseEpochIfDue();
  SealIfSigned();
  CloseBeacons();
  RevealCanaries();
  steps_.Look(*ledger().FindRun(settings_.run), followers_);
  Settle();
  for (const NodeMessage& shown : steps_.Shown(*ledger().FindRun(settings_.run))) {
    for (const NodeId& node : followers_) effects_.push_back(Tell{node, shown});
  }
}

void AuditDesk::CloseEpochIfDue() {
  if (sign_until_) return;
  const std::uint64_t epoch = ledger().FindRun(settings_.run)->epoch;
  const bool due = version_.value >= (epoch + 1) * settings_.epoch_versions;
  if (due || (ending_ && !open_.empty())) return Propose();
  // The windows of past epochs are counted in seals.
  if (!ending_) return;
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  std::uint64_t newest = 0;
  bool pending = false;
  for (const auto& [number, past] : run.epochs) {
    for (const auto& [worker, batch] : past.batches) {
      if (batch.state != BatchState::kPending) continue;
      pending = true;
      newest = number;
    }
  }
  if (pending && run.epoch <= newest + run.terms.dispute_epochs)
    Ask(SealEpoch{settings_.run, epoch});
}

void AuditDesk::Propose() {
  const std::uint64_t epoch = ledger().FindRun(settings_.run)->epoch;
  sign_until_ = now_ + settings_.sign_ms;
  SeeForCanary();
  if (canaries_.on()) Ask(CanaryCommit{settings_.run, epoch, canaries_.Commitment(epoch)});
  for (const auto& [worker, pieces] : open_) {
    if (banished_.contains(worker)) continue;
    SignedWork work{.claim = {.run = settings_.run, .epoch = epoch, .worker = worker}};
    for (const auto& [lease, piece] : pieces) {
      if (work.leases.size() == kProtocol.batch_leases_max) break;
      work.leases.push_back(LeaseId{lease});
      work.groups.push_back(piece.group);
      work.claim.work.rollouts += piece.work.rollouts;
      work.claim.work.rollout_weight += piece.work.rollout_weight;
      work.claim.work.token_weight += piece.work.token_weight;
    }
    work.claim.items = static_cast<std::uint32_t>(work.leases.size());
    work.claim.root = BatchRoot(work.groups);
    effects_.push_back(Tell{worker, BatchProposal{ledger().id(), work.claim, work.leases}});
    proposed_.emplace(worker, std::move(work));
  }
  canary_at_ = now_ + canaries_.Delay(epoch);
}

void AuditDesk::Heard(const NodeId& node, const BatchSignature& message) {
  const auto found = proposed_.find(node);
  if (found == proposed_.end() || found->second.claim.epoch != message.epoch) return;
  SignedWork work = std::move(found->second);
  proposed_.erase(found);
  work.signature = message.signature;
  effects_.push_back(KeepWork{work});
  if (!Ask(CommitBatch{work.claim, work.signature})) {
    effects_.pop_back();  // not signed, or out for now: it stays open
    return;
  }
  auto& pieces = open_[node];
  for (const LeaseId lease : work.leases) {
    placed_.insert(lease.value);
    pieces.erase(lease.value);
  }
  if (pieces.empty()) open_.erase(node);
  work_.insert_or_assign(std::pair(work.claim.epoch, node), std::move(work));
  committed_at_ = now_;
}

// An epoch without a validator's seat stays open: its batches could not be drawn from.
void AuditDesk::SealIfSigned() {
  if (!sign_until_) return;
  const bool waits = CanaryWaits();
  if ((waits || !proposed_.empty()) && now_ < *sign_until_) return;
  proposed_.clear();
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  const std::uint64_t epoch = run.epoch;
  // A beacon from outside would draw from them, and nobody would be drawn.
  if (run.terms.beacon == BeaconKind::kExternal && run.validators.empty()) return;
  if (!Ask(SealEpoch{settings_.run, epoch})) return;
  sign_until_.reset();
  requests_.clear();
}

void AuditDesk::CloseBeacons() {
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  std::vector<std::uint64_t> sealed;
  for (const auto& [number, epoch] : run.epochs) {
    if (epoch.phase != EpochPhase::kSealed) continue;
    const bool all = std::ranges::all_of(
        epoch.seats, [](const auto& seat) { return seat.second.secret.has_value(); });
    if (all || wall_ms_ >= epoch.sealed_ms + run.terms.reveal_ms) sealed.push_back(number);
  }
  if (run.terms.beacon != BeaconKind::kValidators) return;  // a round ends it
  for (const std::uint64_t number : sealed) Ask(BeaconClose{settings_.run, number});
}

void AuditDesk::Settle() {
  for (const std::uint64_t epoch : ledger().SettleableEpochs(settings_.run, wall_ms_)) {
    // A verdict that is still to come is waited for, as long as its window is open.
    Ask(SettleEpoch{settings_.run, epoch});
  }
}

bool AuditDesk::settled() const {
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  if (sign_until_ || steps_.Awaits()) return false;
  for (const auto& [number, epoch] : run.epochs) {
    if (epoch.phase == EpochPhase::kSealed) return false;
    for (const auto& [worker, batch] : epoch.batches) {
      if (batch.state == BatchState::kPending) return false;
    }
  }
  return true;
}

// --- What nodes say ------------------------------------------------------------------------------

void AuditDesk::On(const NodeSaid& event) {
  if (banished_.contains(event.node)) return;
  std::visit([&](const auto& message) { Heard(event.node, message); }, event.message);
}

bool AuditDesk::IsValidator(const NodeId& node) const {
  return ledger().FindRun(settings_.run)->validators.contains(node);
}

// Once for each link: the whole ledger is a long answer to a short question.
void AuditDesk::Heard(const NodeId& node, const LedgerAsk& message) {
  if (!followers_.insert(node).second) return;
  TellEntries(node, message.from);
  for (const PolicySigned& policy : policies_) effects_.push_back(Tell{node, policy});
  for (NodeMessage& step : steps_.Told(*ledger().FindRun(settings_.run)))
    effects_.push_back(Tell{node, std::move(step)});
}

void AuditDesk::Heard(const NodeId& node, const StepAsk& message) {
  if (!IsValidator(node)) return ShowWindow(node, message.version);
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  const bool drawn = steps_.IsDrawn(message.version);
  if (drawn && !steps_.IsEarly(run, message.version, node)) {
    effects_.push_back(ShowForAudit{node, message});
  } else {
    StepShown shown{.version = message.version,
                    .begin = message.version,
                    .text = drawn ? "your verdicts of its epoch come first" : "not drawn"};
    effects_.push_back(Tell{node, std::move(shown)});
  }
}

// Whoever has a receipt sees whether it was kept, when that tells no canary any more: what
// followers are told, to a worker that does not follow.
void AuditDesk::ShowWindow(const NodeId& node, PolicyVersion version) {
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  StepShown none{.version = version, .begin = version, .state = std::nullopt, .text = "not shown"};
  auto step = steps_.ShownStep(run, version);
  if (!step || !run.members.contains(node) || ++requests_[node] > kRequestsMax) {
    effects_.push_back(Tell{node, std::move(none)});
    return;
  }
  if (!policies_.empty()) effects_.push_back(Tell{node, policies_.back()});
  effects_.push_back(Tell{node, std::move(*step)});
}

void AuditDesk::Heard(const NodeId& node, const StepFound& message) {
  if (IsValidator(node)) steps_.Found(node, message);
}

void AuditDesk::Heard(const NodeId& node, const PolicyAsk& message) {
  if (IsValidator(node)) {
    effects_.push_back(ShowForAudit{node, message});
  } else {
    effects_.push_back(Tell{node, PolicyShown{.version = message.version}});
  }
}

void AuditDesk::Heard(const NodeId& node, const LedgerSubmission& message) {
  // Entries are for ever: nobody has more to say in one epoch.
  if (++requests_[node] > kRequestsMax) {
    effects_.push_back(Tell{node, LedgerDeclined{0, "too many requests in one epoch"}});
    return;
  }
  auto request = DecodeRequest(message.request);
  std::string why = request ? "" : request.error().what;
  const std::uint64_t nonce = request ? request->nonce : 0;
  if (request) {
    const LedgerRequest said = *request;
    if (Apply(std::move(*request), &why)) {
      if (const auto* verdict = std::get_if<GiveVerdict>(&said.body))
        SpotCheck(said.author, *verdict);
      return;
    }
  }
  effects_.push_back(Tell{node, LedgerDeclined{nonce, ForWire(why)}});
}

void AuditDesk::Heard(const NodeId& node, const AuditAsk& message) {
  AuditItem item{.epoch = message.epoch, .worker = message.worker, .index = message.index};
  if (ShowCanary(node, item)) return;
  const auto found = work_.find(std::pair(message.epoch, message.worker));
  // Nobody sees another's work before the beacon has spoken.
  const LedgerBatch* batch = ledger().BatchOf(settings_.run, message.epoch, message.worker);
  if (!IsValidator(node) || found == work_.end() || batch == nullptr || !batch->audited ||
      message.index >= found->second.leases.size()) {
    effects_.push_back(Tell{node, std::move(item)});
    return;
  }
  const SignedWork& work = found->second;
  item.batch_signature = work.signature;
  item.siblings = BatchPath(work.groups, message.index).siblings;
  effects_.push_back(ShowItem{node, std::move(item), work.leases[message.index]});
}

void AuditDesk::Heard(const NodeId& node, const EvidenceSubmission& message) {
  // Judging is dear, and the same file says the same again.
  if (!IsValidator(node) || !judged_.insert(EvidenceHash(message.evidence)).second) return;
  effects_.push_back(JudgeEvidence{node, message.evidence});
}

// One verdict in so many, and which ones only this host can tell beforehand: "ok" without the
// forward pass is caught as often (sheet markets.md 4.5).
void AuditDesk::SpotCheck(const NodeId& validator, const GiveVerdict& verdict) {
  if (settings_.spot_checks == 0) return;
  if (verdict.run != settings_.run || verdict.finding != Finding::kAccepted) return;
  Bytes message = EncodeVerdictPlace(validator, verdict);
  const Digest256 draw = Sha256(key_.Sign("WGL-SPOT-CHECK-1", message));
  if (((draw[0] | std::uint32_t{draw[1]} << 8) | std::uint32_t{draw[2]} << 16) %
          settings_.spot_checks !=
      0)
    return;
  const auto work = work_.find(std::pair(verdict.epoch, verdict.worker));
  const LedgerRunState& run = *ledger().FindRun(settings_.run);
  const auto epoch = run.epochs.find(verdict.epoch);
  if (work == work_.end() || epoch == run.epochs.end()) return;
  const LedgerBatch& batch = epoch->second.batches.at(verdict.worker);
  CheckVerdict check{.validator = validator,
                     .worker = verdict.worker,
                     .beacon = epoch->second.beacon,
                     .activation = verdict.activation};
  if (batch.audited_whole) {
    check.leases = work->second.leases;
  } else {
    for (const std::uint32_t item : batch.items)
      check.leases.push_back(work->second.leases.at(item));
  }
  effects_.push_back(std::move(check));
}

void AuditDesk::On(const VerdictChecked& event) {
  if (event.wrong) SendOut(event.validator, event.text);
}

void AuditDesk::On(const EvidenceDecided& event) {
  decided_.insert_or_assign(event.evidence, event);
  if (event.fault) return;
  SendOut(event.proved ? event.accused : event.accuser,
          event.proved ? event.text : "its evidence does not hold: " + event.text);
}

void AuditDesk::SendOut(const NodeId& liar, const std::string& why) {
  // A canary's lie is ours: nobody hears of it before it is shown.
  if (liar == key_.id() || canaries_.Is(liar) || !banished_.emplace(liar, why).second) return;
  open_.erase(liar);
  proposed_.erase(liar);
  effects_.push_back(Banish{liar, why});
}

}  // namespace waggle
