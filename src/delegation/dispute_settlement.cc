#include "delegation/dispute_settlement.h"

#include <algorithm>

#include "delegation/run_ground.h"

namespace waggle {

std::array<std::optional<Digest256>, 2> AnswersOf(const DisputeEvidence& evidence) {
  std::array<std::optional<Digest256>, 2> answers;
  for (const DisputeEntry& entry : evidence.entries) {
    const auto reply = DecodeReply(entry.body);
    if (!reply || reply->round != 1 || reply->extension || reply->party > 1) continue;
    if (const auto commit = DecodeRunCommit(reply->record)) answers[reply->party] = commit->units;
  }
  return answers;
}

Result<LedgerRequest> SettlementOf(const Ledger& ledger, std::uint64_t dispute,
                                   const DisputeEvidence& evidence, const Signer& referee) {
  WG_TRY(CheckDisputeEvidence(evidence, referee, ReadRunGround));
  const DisputeVerdict& verdict = evidence.verdict;
  if (!verdict.a_loses && !verdict.b_loses)
    return Fail(Blame::kOperator, "nobody lost this dispute ({})", ToString(verdict.reason));
  const auto found = ledger.state().disputes.find(dispute);
  if (found == ledger.state().disputes.end())
    return Fail(Blame::kOperator, "the ledger has no open dispute {}", dispute);
  const LedgerDispute& open = found->second;
  const LedgerRunState* run = ledger.FindRun(open.run);
  const LedgerBatch* batch = ledger.BatchOf(open.run, open.epoch, open.worker);
  if (run == nullptr || batch == nullptr)
    return Fail(Blame::kOperator, "the batch of the ledger's dispute {} is gone", dispute);
  const auto& referees = run->terms.referees;
  if (std::find(referees.begin(), referees.end(), referee.id()) == referees.end())
    return Fail(Blame::kOperator, "{} is none of the run's referees", ToText(referee.id()));
  const DisputeTerms& terms = evidence.terms;
  if (open.worker != terms.a && open.worker != terms.b)
    return Fail(Blame::kOperator,
                "the ledger's dispute {} is about {}, who was no side of this one", dispute,
                ToText(open.worker));
  const std::size_t side = open.worker == terms.a ? 0 : 1;
  if (AnswersOf(evidence)[side] != batch->claim.root)
    return Fail(Blame::kOperator,
                "the ledger's dispute {} is about another batch than what {} answered for", dispute,
                ToText(open.worker));
  const bool guilty = side == 0 ? verdict.a_loses : verdict.b_loses;
  return SignRequest(referee, ledger.id(), ledger.NonceOf(referee.id()),
                     Resolve{dispute, guilty, EvidenceHash(evidence)});
}

}  // namespace waggle
