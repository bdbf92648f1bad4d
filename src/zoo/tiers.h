// What each tier of trust says to a worker's cheat, a validator's and a trainer's.
#pragma once

#include <memory>
#include <vector>

#include "proofs/fingerprint/calibrate.h"
#include "zoo/workers.h"

namespace waggle {

inline constexpr std::uint32_t kZooLeases = 8;  // that each worker is tried with

// Several leases of one worker, canonical: honest groups beside what it hands in.
struct WorkerTrial {
  std::vector<Lease> leases;
  std::vector<Group> honest;
  std::vector<Handed> handed;
};
Result<WorkerTrial> TryWorker(ZooRun& run, const WorkerCheat& cheat);

// Empty, or why the host does not take it while this is the newest version.
Result<std::string> WhyNotOnArrival(ZooRun& run, const Handed& handed, PolicyVersion current);

// What the host checks of every group: its lease book, admission, and the comparison of log-probs
// that the trainer makes.
Result<Cell> ArrivalCell(ZooRun& run, const WorkerCheat& cheat, const WorkerTrial& trial);
// What an audited group meets, and that its evidence convinces who was not there.
Result<Cell> ExactCell(ZooRun& run, const WorkerCheat& cheat, const WorkerTrial& trial);

// Fingerprints with limits for this run: workers have another engine than validators have, and are
// honest with it.
class FingerprintStand {
 public:
  static Result<FingerprintStand> Make(ZooRun& run);
  std::size_t size() const { return prints_.size(); }
  // One cell for each of AllFingerprints().
  Result<std::vector<Cell>> Cells(ZooRun& run, const WorkerCheat& cheat) const;
  // Shares of honest rollouts that the calibrated limits refuse, on other leases than those they
  // were made on.
  const std::vector<double>& honest_refused() const { return honest_refused_; }

 private:
  Result<std::vector<double>> Refused(ZooRun& run, const WorkerCheat& cheat) const;

  std::vector<std::unique_ptr<Fingerprint>> prints_;
  std::vector<std::vector<double>> limits_;
  std::vector<double> honest_refused_;
};

// Verdicts of a validator on an honest group; kCovers: on one with a forged log-prob.
enum class ZooVerdict : std::uint8_t { kHonest, kLazy, kBlames, kCovers };
// Whether evidence about it convinces who was not there.
Result<Cell> VerdictCell(ZooRun& run, ZooVerdict verdict);

// Trainers: which records they train on, how, and what they say they did.
struct TrainerCheat {
  Adversary adversary;
  std::function<Result<StepClaim>(ZooRun&, std::vector<GroupRecord>& shown)> step;
};
const std::vector<TrainerCheat>& TrainerCheats();
Result<StepClaim> StepHonestly(ZooRun& run, std::vector<GroupRecord>& shown);
Result<Cell> StepCell(ZooRun& run, const TrainerCheat& cheat);

}  // namespace waggle
