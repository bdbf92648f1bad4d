#include "audit/steps/step_taking.h"

#include "policy/model_image.h"
#include "run/step_check.h"
#include "run/train_thread.h"

namespace waggle {

StepTaking::StepTaking(const RunSite& site, const Hash256& run, const NodeId& key,
                       std::unique_ptr<Trainer> trainer, Records records)
    : site_(site),
      run_(run),
      key_(key),
      trainer_(std::move(trainer)),
      records_(std::move(records)) {
  trainer_->SetRunId(run);
}

Result<StepRetaken> StepTaking::Take(const SignedStep& step) {
  using Kind = StepRetaken::Kind;
  const StepClaim& claim = step.step.claim;
  if (claim.run != run_ || !ClaimHolds(step.step, key_))
    return StepRetaken{Kind::kUnsigned, "it is not signed", {}};
  if (trainer_->StateHash() != claim.before) {
    return StepRetaken{
        Kind::kState, "it begins from another state than the step before it left", {}};
  }
  WG_ASSIGN(std::vector<GroupRecord> records, records_(step));
  if (Sha256(EncodeRecords(records)) != claim.batch) {
    return StepRetaken{
        Kind::kBatch, "its batch is not made of the groups that the run accepted", {}};
  }
  const RunDescription& d = site_.description;
  if (claim.leases && *claim.leases != LeasesHash(LeasesOf(records))) {
    return StepRetaken{Kind::kStep, "it is signed over other leases than its batch has",
                       std::move(records)};
  }
  const auto after =
      StepAgain(*trainer_, d.recipe, records, claim.version, *site_.codec, d.model.vocab);
  if (!after && after.error().blame != Blame::kPeer) return Forward(after.error());
  StepRetaken taken{.records = std::move(records)};
  if (after && *after == claim.after) {
    const auto chosen = WhyNotItsBatch(d.recipe, taken.records, claim.version);
    if (!chosen) return taken;
    taken.why = "its batch is not the wave: " + *chosen;
  } else {
    taken.why = after ? "its batch gives another state than it says" : after.error().what;
  }
  taken.kind = Kind::kStep;
  return taken;
}

Hash256 StepTaking::PolicyRoot(ThreadPool& pool) const {
  return ImageOfTrainer(*trainer_, site_.numerics.weights, pool, nullptr).root();
}

}  // namespace waggle
