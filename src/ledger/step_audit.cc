// Verdicts, canaries, accusations and disputes (sheet markets.md 4.4, 4.5, 10.4).
#include <algorithm>

#include "ledger/step.h"

namespace waggle {
namespace {

constexpr Bps kBondBurned{1'000};  // of a lost bond (10.4); the rest is the winner's

}  // namespace

bool LedgerStep::WindowIsOver(std::uint64_t number, const LedgerEpoch& epoch) const {
  if (epoch.phase < EpochPhase::kAudited) return false;
  if (epoch.batches.empty()) return true;  // nothing to dispute
  return run_->epoch > number + run_->terms.dispute_epochs &&
         now() >= epoch.beacon_ms + run_->terms.dispute_ms;
}

// The proof is the two signatures; no beacon, no window, no referee.
LedgerStatus LedgerStep::On(const Equivocation& body) {
  const BatchClaim& first = body.first;
  const BatchClaim& second = body.second;
  if (first.run != second.run || first.epoch != second.epoch || first.worker != second.worker ||
      first == second)
    return Refuse(LedgerRefusal::kNotEquivocation, "two different batches for one slot");
  RunMember* member = FindMember(first.worker);
  if (member == nullptr)
    return Refuse(LedgerRefusal::kUnknownBatch, "this worker has nothing in this run");
  if (member->expelled) return Refuse(LedgerRefusal::kAlreadyDone, "expelled before");
  for (const auto& [claim, signature] :
       {std::pair(&first, &body.first_signature), std::pair(&second, &body.second_signature)}) {
    if (!check_(claim->worker, kBatchDomain, BatchMessage(id_, *claim), *signature))
      return Refuse(LedgerRefusal::kBadWorkerSignature, "the worker did not sign both");
  }
  epoch_ = first.epoch;
  member->expelled = true;
  Emit(LedgerEventKind::kExpelled, first.worker);
  const NodeId finder = author();
  if (LedgerBatch* batch = FindPending(FindEpoch(first.epoch), first.worker)) {
    run_->insurance += batch->pay;
    Emit(LedgerEventKind::kPayForfeited, first.worker, batch->pay);
    Finish(*batch);
  }
  Slash(first.worker, kWhole, &finder);
  Retire(first.worker);
  DropIfDone(first.epoch);
  return {};
}

LedgerStatus LedgerStep::On(const GiveVerdict& body) {
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  LedgerBatch* batch = FindPending(epoch, body.worker);
  if (batch == nullptr) return Refuse(LedgerRefusal::kUnknownBatch, "no such batch is pending");
  if (epoch->phase < EpochPhase::kAudited)
    return Refuse(LedgerRefusal::kTooEarly, "the beacon has not drawn yet");
  if (!batch->audited) return Refuse(LedgerRefusal::kNotAudited, "this batch was not drawn");
  const auto seat = std::ranges::find(batch->auditors, author(), &AuditorSeat::validator);
  if (seat == batch->auditors.end())
    return Refuse(LedgerRefusal::kNotDrawn, "others were drawn for this batch");
  if (WindowIsOver(body.epoch, *epoch))
    return Refuse(LedgerRefusal::kTooLate, "the dispute window is over");
  // A statistical failure is escalated to a full replay, whose verdict replaces it.
  if (seat->finding && *seat->finding != Finding::kStatistical)
    return Refuse(LedgerRefusal::kAlreadyDone, "a verdict is given once");
  RunMember& member = *FindMember(body.worker);
  const bool before = batch->Rejected();
  seat->finding = body.finding;
  seat->reason = body.reason;
  seat->evidence = body.evidence;
  seat->activation = body.activation;
  const bool after = batch->Rejected();
  if (after && !before) ++member.frozen;
  if (before && !after) --member.frozen;
  if (body.finding != Finding::kAccepted && body.finding != Finding::kFault) {
    // However late a finding comes, its worker has as long to answer it.
    batch->contest_until_ms = now() + run_->terms.contest_ms;
  }
  Emit(LedgerEventKind::kVerdict, author(), {}, static_cast<std::uint64_t>(body.finding)).other =
      body.worker;
  return {};
}

LedgerStatus LedgerStep::On(const CanaryCommit& body) {
  if (author() != run_->terms.orchestrator)
    return Refuse(LedgerRefusal::kNotAllowed, "the orchestrator plants canaries");
  if (body.epoch != run_->epoch)
    return Refuse(LedgerRefusal::kWrongEpoch, "canaries are committed to before the seal");
  LedgerEpoch& epoch = run_->epochs[body.epoch];
  if (epoch.canaries.size() >= kLedgerLimits.canaries_max)
    return Refuse(LedgerRefusal::kTooMany, "256 canaries in one epoch");
  if (!epoch.canaries.insert(body.hash).second)
    return Refuse(LedgerRefusal::kAlreadyDone, "this canary is planted");
  return {};
}

LedgerStatus LedgerStep::On(const CanaryReveal& body) {
  if (author() != run_->terms.orchestrator)
    return Refuse(LedgerRefusal::kNotAllowed, "the orchestrator shows canaries");
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  LedgerBatch* batch = FindPending(epoch, body.worker);
  if (batch == nullptr) return Refuse(LedgerRefusal::kUnknownBatch, "no such batch is pending");
  if (!WindowIsOver(body.epoch, *epoch))
    return Refuse(LedgerRefusal::kTooEarly, "verdicts may still be given");
  if (epoch->phase != EpochPhase::kAudited)
    return Refuse(LedgerRefusal::kTooLate, "the epoch is settled");
  const Digest256 hash = CanaryHash(body.run, body.epoch, body.worker, body.salt, body.bad);
  if (!epoch->canaries.contains(hash))
    return Refuse(LedgerRefusal::kBadReveal, "not what was committed to");
  // At least one, then the rate of the terms: canaries are for watching, not for taking stakes.
  if (epoch->canaries_shown > 0 &&
      std::uint64_t{epoch->canaries_shown + 1} * kWhole.value >
          epoch->batches.size() * std::uint64_t{run_->terms.canary_rate.value})
    return Refuse(LedgerRefusal::kTooMany, "more canaries than canary_rate of the batches");
  epoch->canaries.erase(hash);
  ++epoch->canaries_shown;
  batch->canary = true;
  Emit(LedgerEventKind::kCanaryShown, body.worker, {}, body.bad ? 1 : 0);
  // Its validators, and its worker, have as long to answer as if it were a finding.
  batch->canary_bad = body.bad;
  batch->contested = false;
  batch->contest_until_ms = std::max(batch->contest_until_ms, now() + run_->terms.contest_ms);
  return {};
}

LedgerStatus LedgerStep::On(const ContestCanary& body) {
  LedgerBatch* batch = FindPending(FindEpoch(body.epoch), body.worker);
  if (batch == nullptr) return Refuse(LedgerRefusal::kUnknownBatch, "no such batch is pending");
  const bool drawn = std::ranges::any_of(
      batch->auditors, [&](const AuditorSeat& seat) { return seat.validator == author(); });
  if (!drawn && author() != body.worker)
    return Refuse(LedgerRefusal::kNotDrawn, "its validators and its worker may contest a canary");
  if (!batch->canary) return Refuse(LedgerRefusal::kNotRejected, "not shown as a canary");
  if (batch->contested) return Refuse(LedgerRefusal::kAlreadyDone, "contested before");
  if (now() >= batch->contest_until_ms)
    return Refuse(LedgerRefusal::kTooLate, "a canary is answered within contest_ms");
  if (run_->terms.accuse_bond.value > 0) {
    if (auto can = CanPay(run_->terms.accuse_bond); !can) return can;
  }
  batch->contested = true;
  OpenDispute(*batch, DisputeAbout::kCanary, body.evidence);
  return {};
}

void LedgerStep::OpenDispute(LedgerBatch& batch, DisputeAbout about, const Digest256& evidence) {
  const std::uint64_t id = state_.next_dispute++;
  batch.disputes.push_back(id);
  ++FindMember(batch.claim.worker)->frozen;
  const Credits bond = run_->terms.accuse_bond;
  if (bond.value > 0) state_.accounts[author()].balance -= bond;
  state_.disputes[id] = {
      run_id_, batch.claim.epoch, batch.claim.worker, author(), about, bond, evidence, now(), {}};
  Emit(about == DisputeAbout::kAccusation ? LedgerEventKind::kAccused : LedgerEventKind::kContested,
       author(), bond, id)
      .other = batch.claim.worker;
}

LedgerStatus LedgerStep::On(const Accuse& body) {
  LedgerEpoch* epoch = FindEpoch(body.epoch);
  LedgerBatch* batch = FindPending(epoch, body.worker);
  if (batch == nullptr) return Refuse(LedgerRefusal::kUnknownBatch, "no such batch is pending");
  if (epoch->phase == EpochPhase::kOpen)
    return Refuse(LedgerRefusal::kTooEarly, "the epoch is not sealed");
  if (WindowIsOver(body.epoch, *epoch))
    return Refuse(LedgerRefusal::kTooLate, "the dispute window is over");
  if (body.root != batch->claim.root)
    return Refuse(LedgerRefusal::kWrongRoot, "this batch has another root");
  if (batch->disputes.size() >= kLedgerLimits.disputes_max)
    return Refuse(LedgerRefusal::kTooMany, "8 open disputes about one batch");
  for (const std::uint64_t id : batch->disputes) {
    if (state_.disputes.at(id).by == author())
      return Refuse(LedgerRefusal::kAlreadyDone, "one accusation of a batch at a time");
  }
  if (run_->terms.accuse_bond.value > 0) {
    if (auto can = CanPay(run_->terms.accuse_bond); !can) return can;
  }
  OpenDispute(*batch, DisputeAbout::kAccusation, body.evidence);
  return {};
}

LedgerStatus LedgerStep::On(const Contest& body) {
  LedgerBatch* batch = FindPending(FindEpoch(body.epoch), author());
  if (batch == nullptr) return Refuse(LedgerRefusal::kUnknownBatch, "no such batch is pending");
  const Finding worst = batch->Worst();
  if (worst == Finding::kAccepted || worst == Finding::kStatistical || batch->canary)
    return Refuse(LedgerRefusal::kNotRejected, "no finding that a referee could judge");
  if (batch->contested) return Refuse(LedgerRefusal::kAlreadyDone, "contested before");
  if (now() >= batch->contest_until_ms)
    return Refuse(LedgerRefusal::kTooLate, "a finding is answered within contest_ms");
  if (run_->terms.accuse_bond.value > 0) {
    if (auto can = CanPay(run_->terms.accuse_bond); !can) return can;
  }
  batch->contested = true;
  OpenDispute(*batch, DisputeAbout::kFinding, body.evidence);
  return {};
}

LedgerStatus LedgerStep::On(const Resolve& body) {
  const auto found = state_.disputes.find(body.dispute);
  if (found == state_.disputes.end())
    return Refuse(LedgerRefusal::kUnknownDispute, "no such dispute is open");
  LedgerDispute& dispute = found->second;
  if (auto run = EnterRun(dispute.run, /*may_be_closed=*/false); !run) return run;
  epoch_ = dispute.epoch;
  const RunTerms& terms = run_->terms;
  if (!std::ranges::binary_search(terms.referees, author()))
    return Refuse(LedgerRefusal::kNotAllowed, "the referees of the terms decide");
  if (dispute.votes.contains(author()))
    return Refuse(LedgerRefusal::kAlreadyDone, "a referee decides once");
  dispute.votes[author()] = body.guilty;
  const auto votes = static_cast<std::uint32_t>(std::ranges::count_if(
      dispute.votes, [&](const auto& vote) { return vote.second == body.guilty; }));
  if (votes >= terms.quorum) Decide(body.dispute, body.guilty);
  return {};
}

LedgerStatus LedgerStep::On(const LapseDispute& body) {
  const auto found = state_.disputes.find(body.dispute);
  if (found == state_.disputes.end())
    return Refuse(LedgerRefusal::kUnknownDispute, "no such dispute is open");
  const LedgerDispute dispute = found->second;
  if (auto run = EnterRun(dispute.run, /*may_be_closed=*/false); !run) return run;
  epoch_ = dispute.epoch;
  if (now() < dispute.opened_ms + run_->terms.referee_ms)
    return Refuse(LedgerRefusal::kTooEarly, "referees have referee_ms");
  LedgerBatch& batch = *FindPending(FindEpoch(dispute.epoch), dispute.worker);
  Emit(LedgerEventKind::kDisputeLapsed, dispute.worker, {}, body.dispute);
  Credit(LedgerEventKind::kBondReturned, dispute.by, dispute.bond, body.dispute);
  CloseDispute(body.dispute, batch);
  if (dispute.about == DisputeAbout::kFinding) DropFindings(batch);
  if (dispute.about == DisputeAbout::kCanary) batch.canary = batch.contested = false;
  return {};
}

void LedgerStep::CloseDispute(std::uint64_t id, LedgerBatch& batch) {
  std::erase(batch.disputes, id);
  state_.disputes.erase(id);
  --FindMember(batch.claim.worker)->frozen;
}

void LedgerStep::LoseBond(const LedgerDispute& dispute, const NodeId& winner) {
  const Credits burned = Share(dispute.bond, kBondBurned);
  state_.burned += burned;
  if (burned.value > 0) Emit(LedgerEventKind::kBondBurned, dispute.by, burned);
  Credit(LedgerEventKind::kBondWon, winner, dispute.bond - burned);
}

// Findings that nobody upheld weigh nothing from here on.
void LedgerStep::DropFindings(LedgerBatch& batch) {
  const bool before = batch.Rejected();
  for (AuditorSeat& seat : batch.auditors) {
    if (seat.finding && *seat.finding != Finding::kAccepted) seat.finding = Finding::kFault;
  }
  if (before) --FindMember(batch.claim.worker)->frozen;
  batch.contested = false;
}

// A validator that claims a proof it does not have loses everything (4.4). That somebody did not
// answer is no claim of a proof.
void LedgerStep::SlashFalseAccusers(const LedgerBatch& batch) {
  const NodeId worker = batch.claim.worker;
  for (const AuditorSeat& seat : batch.auditors) {
    if (seat.finding != Finding::kWrong && seat.finding != Finding::kInvalid) continue;
    Slash(seat.validator, kWhole, &worker);
    Retire(seat.validator);
  }
}

void LedgerStep::Decide(std::uint64_t id, bool guilty) {
  const LedgerDispute dispute = state_.disputes.at(id);
  LedgerBatch& batch = *FindPending(FindEpoch(dispute.epoch), dispute.worker);
  Emit(guilty ? LedgerEventKind::kFoundGuilty : LedgerEventKind::kFoundInnocent, dispute.worker, {},
       id);
  CloseDispute(id, batch);
  if (dispute.about == DisputeAbout::kCanary) {
    if (guilty) {
      run_->insurance += dispute.bond;
      Emit(LedgerEventKind::kInsured, dispute.by, dispute.bond);
    } else {  // a batch like any other
      Credit(LedgerEventKind::kBondReturned, dispute.by, dispute.bond, id);
      batch.canary = batch.contested = false;
    }
  } else if (dispute.about == DisputeAbout::kFinding && guilty) {
    // The finding stands; the settlement acts on it.
    const auto finder = std::ranges::find_if(
        batch.auditors, [&](const AuditorSeat& seat) { return seat.finding == batch.Worst(); });
    LoseBond(dispute, finder->validator);
  } else if (dispute.about == DisputeAbout::kFinding) {
    Credit(LedgerEventKind::kBondReturned, dispute.by, dispute.bond, id);
    SlashFalseAccusers(batch);
    DropFindings(batch);
  } else if (guilty) {
    Credit(LedgerEventKind::kBondReturned, dispute.by, dispute.bond, id);
    Convict(batch, dispute.by);
    DropIfDone(dispute.epoch);
  } else {
    LoseBond(dispute, dispute.worker);
    if (run_->validators.contains(dispute.by)) {
      Slash(dispute.by, kWhole, &dispute.worker);
      Retire(dispute.by);
    }
  }
}

}  // namespace waggle
