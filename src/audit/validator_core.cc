#include "audit/validator_core.h"

#include <fmt/format.h>

#include <algorithm>

#include "audit/audit_desk.h"
#include "base/check.h"

namespace waggle {
namespace {

constexpr std::size_t kExaminedAtOnce = 1;  // each uses the whole machine
constexpr std::size_t kDescriptionInline = kEvidenceDescriptionMax;

}  // namespace

ValidatorCore::ValidatorCore(const Signer& key, const ValidatorSettings& settings)
    : key_(key),
      settings_(settings),
      host_(settings.orchestrator),
      follower_(Run()),
      records_(settings.records) {}

std::vector<ValidatorEffect> ValidatorCore::Step(const ValidatorEvent& event) {
  std::visit([&](const auto& e) { On(e); }, event);
  if (!lied_) Act();
  return std::exchange(effects_, {});
}

bool ValidatorCore::joined() const {
  const LedgerRunState* run = follower_.run();
  return run != nullptr && run->validators.contains(key_.id());
}

// What was under way on the last link is asked for anew.
void ValidatorCore::On(const HostAnswered& event) {
  if (host_ && *host_ != event.host) return Lie("another host answers than the one of before");
  host_ = event.host;
  linked_ = true;
  follower_.Unlink();
  submitted_.reset();
  for (auto& [place, duty] : duties_) {
    for (; !duty.asked.empty(); duty.asked.pop_back()) duty.to_ask.push_front(duty.asked.back());
  }
  tickets_.clear();
  effects_.push_back(SayToHost{LedgerAsk{follower_.next()}});
}

void ValidatorCore::Lie(std::string why) {
  lied_ = true;
  effects_.push_back(HostLied{std::move(why)});
}

void ValidatorCore::On(const HostSaid& event) {
  if (lied_) return;
  std::visit([&](const auto& message) { Heard(message); }, event.message);
}

// --- The ledger ----------------------------------------------------------------------------------

void ValidatorCore::Heard(const LedgerEntries& message) {
  auto why = follower_.Hear(message, *host_,
                            [this](const LedgerEntry& entry, std::span<const LedgerEvent> events) {
                              if (entry.request.author == key_.id()) submitted_.reset();
                              NoteReveal(entry, events);
                            });
  if (why) Lie(std::move(*why));
}

void ValidatorCore::Heard(const LedgerDeclined& message) {
  if (submitted_ != message.nonce) return;
  submitted_.reset();
  // Not again before something has changed. Once it has joined, nothing is said twice, and what is
  // due next does not wait.
  if (!joined()) declined_at_ = ledger()->state().sequence;
  if (!beacon_submitted_) effects_.push_back(Noticed{"the ledger declined: " + message.text});
}

void ValidatorCore::Heard(const PolicySigned& message) {
  const Signed<PolicyClaim> said{
      {settings_.run, message.version, message.root, message.description}, message.signature};
  if (!ClaimHolds(said, *host_)) return Lie("a policy that the host did not sign");
  if (message.description != settings_.description_hash)
    return Lie("it signs policies of another description of the run");
  const auto [known, fresh] = policies_.emplace(message.version, said);
  if (!fresh && known->second.claim.root != message.root)
    return Lie(fmt::format("two different policies of version {}", message.version.value));
}

void ValidatorCore::Submit(LedgerBody body) {
  const std::uint64_t nonce = ledger()->NonceOf(key_.id());
  submitted_ = nonce;
  beacon_submitted_ = std::holds_alternative<BeaconCommit>(body);  // late ones are nobody's fault
  effects_.push_back(SayToHost{
      LedgerSubmission{Encode(SignRequest(key_, ledger()->id(), nonce, std::move(body)))}});
}

// One request at a time: the next one needs the nonce after it.
void ValidatorCore::Act() {
  if (!linked_ || !follower_.caught_up()) return;
  const LedgerRunState& run = *ledger()->FindRun(Run());
  TakeDuties();
  AskNext();
  WatchCanaries(run);
  if (submitted_ || declined_at_ == ledger()->state().sequence) return;
  if (!joined()) {
    const RunMember* member = ledger()->MemberOf(Run(), key_.id());
    const Credits staked = member == nullptr ? Credits{} : member->active;
    if (staked < settings_.stake && ledger()->BalanceOf(key_.id()) >= settings_.stake - staked)
      return Submit(Stake{Run(), settings_.stake - staked});
    if (staked >= run.terms.validator_stake_min) return Submit(JoinValidators{Run()});
    return;
  }
  if (Reveal(run) || CommitToBeacon(run)) return;
  if (wanted_.empty()) return;
  LedgerBody body = std::move(wanted_.front());
  wanted_.pop_front();
  Submit(std::move(body));
}

// Nobody else can compute it, and this node can again after it died.
Digest256 ValidatorCore::SecretOf(std::uint64_t epoch) const {
  Bytes message(settings_.run.begin(), settings_.run.end());
  const LedgerId& id = ledger()->id();
  message.insert(message.end(), id.value.begin(), id.value.end());
  for (int i = 0; i < 8; ++i) message.push_back(static_cast<std::uint8_t>(epoch >> (8 * i)));
  return Sha256(key_.Sign("WGL-BEACON-SECRET-1", message));
}

bool ValidatorCore::CommitToBeacon(const LedgerRunState& run) {
  if (run.terms.beacon != BeaconKind::kValidators || committed_.contains(run.epoch)) return false;
  const auto epoch = run.epochs.find(run.epoch);
  const bool seated = epoch != run.epochs.end() && epoch->second.seats.contains(key_.id());
  committed_.insert(run.epoch);
  if (seated) return false;
  Submit(
      BeaconCommit{Run(), run.epoch, BeaconHash(Run(), run.epoch, key_.id(), SecretOf(run.epoch))});
  return true;
}

bool ValidatorCore::Reveal(const LedgerRunState& run) {
  for (const auto& [number, epoch] : run.epochs) {
    if (epoch.phase != EpochPhase::kSealed || revealed_.contains(number)) continue;
    const auto seat = epoch.seats.find(key_.id());
    if (seat == epoch.seats.end() || seat->second.secret) continue;
    if (settings_.holds_steps && !settings_.holds_steps(number)) continue;
    revealed_.insert(number);
    ++counts_.beacons;
    Submit(BeaconReveal{Run(), number, SecretOf(number)});
    return true;
  }
  return false;
}

// --- Duties --------------------------------------------------------------------------------------

void ValidatorCore::TakeDuties() {
  for (AuditDuty& duty : ledger()->DutiesOf(Run(), key_.id())) {
    const Place place{duty.epoch, duty.claim.worker};
    if (done_.contains(place) || duties_.contains(place)) continue;
    Duty& mine = duties_[place];
    if (duty.whole) {
      for (std::uint32_t i = 0; i < duty.claim.items; ++i) mine.to_ask.push_back(i);
    } else {
      mine.to_ask.assign(duty.items.begin(), duty.items.end());
    }
    mine.duty = std::move(duty);
  }
}

void ValidatorCore::AskNext() {
  std::size_t under_way = tickets_.size();
  for (const auto& [place, duty] : duties_) under_way += duty.asked.size();
  for (auto& [place, duty] : duties_) {
    while (under_way < kExaminedAtOnce && !duty.to_ask.empty()) {
      duty.asked.push_back(duty.to_ask.front());
      duty.to_ask.pop_front();
      ++under_way;
      effects_.push_back(SayToHost{AuditAsk{place.epoch, place.worker, duty.asked.back()}});
    }
  }
}

void ValidatorCore::Heard(const AuditItem& message) {
  const Place place{message.epoch, message.worker};
  const auto found = duties_.find(place);
  if (found == duties_.end()) return;
  Duty& duty = found->second;
  if (std::erase(duty.asked, message.index) == 0) return;  // not asked for
  if (!Examine(place, message)) {
    // The host has it and does not show it: no fault of the worker's.
    duty.finding = Finding::kFault;
    FinishItem(place);
  }
}

// Whether what came is the item, and everything it names is known.
bool ValidatorCore::Examine(const Place& place, const AuditItem& item) {
  const BatchClaim& claim = duties_.at(place).duty.claim;
  if (!item.group || item.group->lease != item.lease->id || item.group->rollouts.empty())
    return false;
  const Hash256 hash = GroupHash(*item.group);
  const MerklePath path{item.index, claim.items, item.siblings};
  if (!MerkleHolds(claim.root, BatchLeaf(hash), path)) return false;
  ExamineGroup examine{.ticket = next_ticket_++, .lease = *item.lease, .group = *item.group};
  for (const Rollout& rollout : examine.group.rollouts) {
    if (rollout.tokens.empty()) return false;
  }
  for (const PolicyVersion version : VersionsOf(examine.group)) {
    const auto policy = policies_.find(version);
    if (policy == policies_.end()) return false;
    examine.roots.emplace(version, policy->second.claim.root);
  }
  const LedgerRunState& run = *ledger()->FindRun(Run());
  examine.probe = ProbeOf(run.epochs.at(place.epoch).beacon, hash, examine.group, settings_.layers);
  examine.epoch = place.epoch;
  examine.worker = place.worker;
  tickets_.emplace(examine.ticket, Ticket{place, item});
  effects_.push_back(KeepItem{item});
  effects_.push_back(std::move(examine));
  return true;
}

void ValidatorCore::On(const GroupExamined& event) {
  const auto found = tickets_.find(event.ticket);
  if (found == tickets_.end()) return;  // of a link that broke
  const Ticket ticket = std::move(found->second);
  tickets_.erase(found);
  const Examination& examination = event.examination;
  Duty& duty = duties_.at(ticket.place);
  ++counts_.groups;
  counts_.tokens += examination.tokens;
  duty.activations.push_back(examination.activation);
  duty.bets.Add(examination.bets);
  if (const auto* fault = std::get_if<Fault>(&examination.verdict)) {
    effects_.push_back(Noticed{"cannot examine: " + fault->what});
    if (duty.finding == Finding::kAccepted) duty.finding = Finding::kFault;
  } else if (const auto* reject = std::get_if<Reject>(&examination.verdict)) {
    if (reject->reason == RejectReason::kFingerprint) {
      Suspect(ticket, *reject, examination);
    } else {
      Accuse(ticket, *reject, examination);
    }
  }
  FinishItem(ticket.place);
}

// Everything about an item but who is accused of what.
Evidence ValidatorCore::EvidenceOn(const AuditItem& item, const BatchClaim& claim) const {
  Evidence evidence{
      .run = settings_.run, .description_hash = settings_.description_hash, .orchestrator = *host_};
  if (settings_.description.size() <= kDescriptionInline)
    evidence.description = settings_.description;
  evidence.group = GroupProof{{ledger()->id(), claim, item.batch_signature},
                              {item.index, claim.items, item.siblings},
                              *item.lease,
                              *item.group};
  for (const PolicyVersion version : VersionsOf(*item.group)) {
    if (const auto* policy = PolicyOf(version)) evidence.policies.push_back(*policy);
  }
  return evidence;
}

void ValidatorCore::Accuse(const Ticket& ticket, const Reject& reject,
                           const Examination& examination) {
  Duty& duty = duties_.at(ticket.place);
  Evidence evidence = EvidenceOn(ticket.item, duty.duty.claim);
  evidence.accused = ticket.place.worker;
  evidence.reason = reject.reason;
  evidence.rollout = examination.rollout;
  evidence.token = examination.token;
  evidence.text = reject.detail;
  // A lease that the run does not derive is the host's doing, and a batch that the worker did not
  // sign accuses nobody.
  if (reject.reason == RejectReason::kWrongLease) return Lie("it granted a lease that is none");
  if (!evidence.group->batch.Holds()) return Lie("a batch that its worker did not sign");
  Bytes file = SealEvidence(std::move(evidence), key_);
  duty.finding = Finding::kWrong;
  duty.reason = reject.reason;
  duty.evidence = EvidenceHash(file);
  effects_.push_back(SayToHost{EvidenceSubmission{file}});
  effects_.push_back(KeepEvidence{
      std::move(file), fmt::format("{} at rollout {}, token {}: {}", ToString(reject.reason),
                                   examination.rollout, examination.token, reject.detail)});
}

// A test with a tolerance says no: there is nothing to prove, and nobody to accuse.
void ValidatorCore::Suspect(const Ticket& ticket, const Reject& reject,
                            const Examination& examination) {
  Duty& duty = duties_.at(ticket.place);
  if (duty.finding != Finding::kWrong) {
    duty.finding = Finding::kStatistical;
    duty.reason = reject.reason;
  }
  effects_.push_back(Noticed{
      fmt::format("unlikely: lease {} of {}, rollout {}: {}", LeaseName(ticket.item.lease->id),
                  ToText(ticket.place.worker), examination.rollout, reject.detail)});
}

void ValidatorCore::FinishItem(const Place& place) {
  Duty& duty = duties_.at(place);
  if (duty.finding == Finding::kWrong) duty.to_ask.clear();  // one is enough
  GiveVerdictIfDone(place);
}

// What no group showed, all groups of a node together may (proofs/fingerprint/node_record.h).
void ValidatorCore::Remember(const Place& place) {
  Duty& duty = duties_.at(place);
  if (duty.bets.tokens == 0) return;
  const auto found = records_.Feed(place.worker, place.epoch, duty.bets);
  effects_.push_back(KeepRecords{records_.Encode()});
  if (!found || duty.finding == Finding::kWrong || duty.finding == Finding::kStatistical) return;
  duty.finding = Finding::kStatistical;
  duty.reason = RejectReason::kFingerprint;
  ++counts_.by_record;
  effects_.push_back(Noticed{fmt::format("unlikely: the record of {}, in epoch {}: {}",
                                         ToText(place.worker), place.epoch, found->why)});
}

void ValidatorCore::GiveVerdictIfDone(const Place& place) {
  const Duty& duty = duties_.at(place);
  if (!duty.to_ask.empty() || !duty.asked.empty()) return;
  for (const auto& [number, ticket] : tickets_) {
    if (ticket.place == place) return;
  }
  Remember(place);
  ++counts_.batches;
  counts_.unlikely += duty.finding == Finding::kStatistical ? 1 : 0;
  ++(duty.finding == Finding::kAccepted      ? counts_.accepted
     : duty.finding == Finding::kWrong       ? counts_.rejected
     : duty.finding == Finding::kStatistical ? counts_.rejected
                                             : counts_.faults);
  wanted_.emplace_back(GiveVerdict{.run = Run(),
                                   .epoch = place.epoch,
                                   .worker = place.worker,
                                   .finding = duty.finding,
                                   .reason = static_cast<std::uint8_t>(duty.reason),
                                   .evidence = duty.evidence,
                                   .activation = BatchActivation(duty.activations)});
  done_.insert(place);
  duties_.erase(place);
}

}  // namespace waggle
