#include "zoo/adversary.h"

#include <algorithm>

#include "base/check.h"
#include "proofs/fingerprint/fingerprint.h"
#include "zoo/policies.h"
#include "zoo/tiers.h"

namespace waggle {
namespace {

constexpr Adversary kConducts[] = {
    {"occasional", ZooRole::kConduct, "makes up one group in eight", "an eighth of the work"},
    {"equivocation", ZooRole::kConduct, "signs two batches for one epoch",
     "shows the auditor the one and is paid for the other"},
    {"withheld-data", ZooRole::kConduct, "commits to a batch and never shows it",
     "what is not shown is not found wrong"},
    {"late-upload", ZooRole::kConduct, "hands its batch in when the epoch is sealed",
     "what was drawn may be known by then"},
    {"sybil-split", ZooRole::kConduct, "makes everything up, under four keys",
     "small batches may be overlooked, and a new key costs nothing"},
};
constexpr Adversary kValidators[] = {
    {"lazy-validator", ZooRole::kValidator, "says that all is well and replays nothing",
     "the pay of a validator for nothing"},
    {"false-accuser", ZooRole::kValidator, "says that honest work is wrong",
     "a bounty, or one worker less"},
    {"colluding-third", ZooRole::kValidator,
     "one validator of three covers for a worker that cheats", "work that is made up, and paid"},
    {"colluding-two-drawn", ZooRole::kValidator,
     "the same, in a run that draws two auditors for a batch", "the same"},
    {"beacon-withholder", ZooRole::kValidator, "keeps its share of the beacon to itself",
     "one more throw of the dice that draw audits"},
};

}  // namespace

const char* ToString(ZooRole role) {
  switch (role) {
    case ZooRole::kWorker:
      return "worker";
    case ZooRole::kConduct:
      return "worker's conduct";
    case ZooRole::kValidator:
      return "validator";
    case ZooRole::kTrainer:
      return "trainer";
    case ZooRole::kPolicy:
      return "policy";
  }
  return "?";
}

char Letter(ZooOutcome outcome) { return "-C$pb"[static_cast<std::size_t>(outcome)]; }

const char* ToString(ZooOutcome outcome) {
  constexpr const char* kNames[] = {"-", "caught", "priced", "passes", "blind"};
  return kNames[static_cast<std::size_t>(outcome)];
}

std::span<const Adversary> AllAdversaries() {
  static const std::vector<Adversary> all = [] {
    std::vector<Adversary> list;
    for (const WorkerCheat& cheat : WorkerCheats()) list.push_back(cheat.adversary);
    list.insert(list.end(), std::begin(kConducts), std::end(kConducts));
    list.insert(list.end(), std::begin(kValidators), std::end(kValidators));
    for (const TrainerCheat& cheat : TrainerCheats()) list.push_back(cheat.adversary);
    for (const PolicyCheat& cheat : PolicyCheats()) list.push_back(cheat.adversary);
    return list;
  }();
  return all;
}

const Adversary* FindAdversary(std::string_view name) {
  const auto all = AllAdversaries();
  const auto found = std::ranges::find(all, name, &Adversary::name);
  return found == all.end() ? nullptr : &*found;
}

const std::vector<std::string>& ZooTiers() {
  static const std::vector<std::string> tiers = [] {
    std::vector<std::string> names{"arrival", "exact"};
    for (const auto& print : AllFingerprints()) names.emplace_back(print->info().name);
    names.insert(names.end(), {"ledger", "step", "monitors"});
    return names;
  }();
  return tiers;
}

std::size_t TierNumber(std::string_view name) {
  const auto& tiers = ZooTiers();
  const auto found = std::ranges::find(tiers, name);
  Check(found != tiers.end(), "a tier of the zoo");
  return static_cast<std::size_t>(found - tiers.begin());
}

}  // namespace waggle
