// Verdicts that do not follow from the work: what the evidence file about them is decided to be.
#include "zoo/tiers.h"

namespace waggle {
namespace {

constexpr Hash256 kBeacon{5};

}  // namespace

Result<Cell> VerdictCell(ZooRun& run, ZooVerdict verdict) {
  const Lease lease = run.LeaseOf(0);
  WG_ASSIGN(Group group, run.Honest(lease, run.ops()));
  const bool covers = verdict == ZooVerdict::kCovers;
  if (covers) group.rollouts[0].logps[0] *= 0.5f;
  const bool blames = verdict == ZooVerdict::kBlames;
  const RejectReason reason = blames ? RejectReason::kFalseAccusation : RejectReason::kLazyVerdict;
  Evidence evidence = run.AccuseWorker({group}, {lease}, 0, {.verdict = Reject{reason, ""}});
  AuditClaim claim{.run = run.id(),
                   .epoch = evidence.group->batch.claim.epoch,
                   .batch = evidence.group->batch.claim.root,
                   .index = 0,
                   .group = GroupHash(group),
                   .beacon = kBeacon,
                   .accepted = !blames};
  if (blames) claim.reason = RejectReason::kWrongToken;
  // All but the lazy one did compute it.
  const GroupProbe probe =
      ProbeOf(kBeacon, claim.group, group, static_cast<std::uint32_t>(run.config().layers));
  const Examination found =
      Examine(run.Examined(), run.Lookup(run.ops()), run.pool(), lease, group, &probe);
  claim.activation = verdict == ZooVerdict::kLazy ? Hash256{1} : found.activation;
  evidence.accused = ZooKey("validator").id();
  evidence.verdict = SignClaim(claim, ZooKey("validator"));
  const Decision decision = run.DecideFile(evidence);
  if (decision.kind == Decision::Kind::kFault) return Fail(Blame::kMachine, "{}", decision.text);
  if (decision.kind == Decision::Kind::kNotProved) return Cell{.outcome = ZooOutcome::kPasses};
  return Cell{.outcome = ZooOutcome::kCaught,
              .found = ToString(reason),
              .share = 1,
              .delay = 1.0,
              .cost = static_cast<double>(found.tokens) / static_cast<double>(TokensOf(group))};
}

}  // namespace waggle
