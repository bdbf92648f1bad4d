// Trainers that lie about a step, and how anybody finds out: by taking the step again.
#include "base/check.h"
#include "run/step_check.h"
#include "zoo/tiers.h"

namespace waggle {
namespace {

constexpr PolicyVersion kFrom{0};

// The state that a trainer is in after a step on these records, under these settings.
Result<Hash256> StateAfter(ZooRun& run, const TrainerConfig& config,
                           const std::vector<GroupRecord>& records) {
  WG_ASSIGN(const auto trainer, run.TrainerAt(kFrom, config));
  return StepAgain(*trainer, run.recipe(), records, kFrom, run.codec(), run.config().vocab);
}

Result<StepClaim> Claim(ZooRun& run, const Hash256& after, const std::vector<GroupRecord>& shown) {
  WG_ASSIGN(const auto trainer, run.TrainerAt(kFrom));
  return StepClaim{.run = run.id(),
                   .version = kFrom,
                   .before = trainer->StateHash(),
                   .after = after,
                   .batch = Sha256(EncodeRecords(shown))};
}

std::vector<GroupRecord> Half(const std::vector<GroupRecord>& records) {
  return {records.begin(), records.begin() + static_cast<std::ptrdiff_t>(records.size() / 2)};
}

// Trains on half of the batch and signs the whole one.
Result<StepClaim> SkipsSamples(ZooRun& run, std::vector<GroupRecord>& shown) {
  WG_ASSIGN(const Hash256 after, StateAfter(run, run.recipe().trainer, Half(shown)));
  return Claim(run, after, shown);
}

// The optimizer divides a gradient's size out, so what a lying trainer scales is the step.
Result<StepClaim> ScalesGradient(ZooRun& run, std::vector<GroupRecord>& shown) {
  TrainerConfig config = run.recipe().trainer;
  config.optimizer.lr = "1e-2";
  Check(config.optimizer.lr != run.recipe().trainer.optimizer.lr, "another step size");
  WG_ASSIGN(const Hash256 after, StateAfter(run, config, shown));
  return Claim(run, after, shown);
}

// Trains on groups of its own choice and signs those that were accepted.
Result<StepClaim> SwapsData(ZooRun& run, std::vector<GroupRecord>& shown) {
  std::vector<GroupRecord> others;
  for (std::uint32_t i = 0; i < shown.size(); ++i) {
    const Lease lease = run.LeaseOf(700 + i, kFrom);
    WG_ASSIGN(Group group, run.Honest(lease, run.ops()));
    others.push_back({lease, std::move(group)});
  }
  WG_ASSIGN(const Hash256 after, StateAfter(run, run.recipe().trainer, others));
  return Claim(run, after, shown);
}

// Trains on what it likes of the batch, and signs that.
Result<StepClaim> ChoosesOpenly(ZooRun& run, std::vector<GroupRecord>& shown) {
  shown = Half(shown);
  return StepHonestly(run, shown);
}

}  // namespace

Result<StepClaim> StepHonestly(ZooRun& run, std::vector<GroupRecord>& shown) {
  WG_ASSIGN(const Hash256 after, StateAfter(run, run.recipe().trainer, shown));
  return Claim(run, after, shown);
}

const std::vector<TrainerCheat>& TrainerCheats() {
  static const std::vector<TrainerCheat> cheats = {
      {{"skipped-samples", ZooRole::kTrainer, "trains on half of the batch and signs all of it",
        "half the computing for the pay of a step"},
       SkipsSamples},
      {{"scaled-gradient", ZooRole::kTrainer, "takes a larger step than the recipe says",
        "the policy moves where it wants it to"},
       ScalesGradient},
      {{"swapped-data", ZooRole::kTrainer, "trains on groups of its own and signs the run's",
        "the policy learns what it wants it to learn"},
       SwapsData},
      {{"chosen-batch", ZooRole::kTrainer,
        "leaves half of the accepted groups out, and signs the smaller batch",
        "whose work counts is up to it"},
       ChoosesOpenly}};
  return cheats;
}

Result<Cell> StepCell(ZooRun& run, const TrainerCheat& cheat) {
  std::vector<GroupRecord> shown = run.first_batch();
  WG_ASSIGN(const StepClaim claim, cheat.step(run, shown));
  const Decision decision = run.DecideFile(run.AccuseTrainer(claim, shown));
  if (decision.kind == Decision::Kind::kFault) return Fail(Blame::kMachine, "{}", decision.text);
  if (decision.kind != Decision::Kind::kProved)
    return Cell{.outcome = ZooOutcome::kPasses, .cost = 1.0};
  return Cell{.outcome = ZooOutcome::kCaught,
              .found = ToString(RejectReason::kWrongStep),
              .share = 1,
              .delay = 1.0,
              .cost = 1.0};
}

}  // namespace waggle
