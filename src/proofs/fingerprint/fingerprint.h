// Fingerprints behind one interface: what a worker posts about a rollout, what it opens when it is
// asked, and how unlike the validator's own view that is. So that the calibration tool, the report,
// recipes and the zoo of cheats can loop over all of them.
//
// A fingerprint is statistical evidence: it can say that a rollout is UNLIKELY under honest noise,
// never that it is a fraud. What follows from it is a lost pay or reputation (RejectReason
// kFingerprint), and at most an exact dispute. So the answer here has no word for more.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/wire.h"
#include "crypto/hash.h"
#include "proofs/fingerprint/view.h"

namespace waggle {

// Fixed before anything is sampled; `beacon` draws projections.
struct FingerprintScope {
  Digest256 run{}, rollout{}, beacon{};
};

// How a limit follows from honest values: factor * quantile + plus, and never looser than the
// published one where that stands.
struct LimitRule {
  double quantile = 0.999, factor = 1, plus = 0;
  bool never_looser = false;
  bool fixed = false;  // the published limit follows from theory, not from anybody's noise
};

// What a fingerprint judges. A cheat that is honest in that respect is invisible to it.
enum class Sees : std::uint8_t { kStates, kLogProbs, kRace, kDistribution };
constexpr std::uint8_t Bit(Sees s) {
  return static_cast<std::uint8_t>(1u << static_cast<unsigned>(s));
}

// One number of a comparison. Larger is less alike, always.
struct Statistic {
  std::string_view name;
  double published;  // limit, that value included; infinite: nobody published one
  LimitRule rule;
};

struct FingerprintInfo {
  std::string_view name;
  std::string_view looks_at;  // for people: "final states", "tokens", ..
  Sees sees = Sees::kStates;
  std::string_view unit;  // what is judged by itself: "chunk", "position", "rollout"
  std::vector<Statistic> statistics;
  double quorum = 1;  // share of the units that has to be within all limits
};

// Values of all statistics for one unit, in their order.
using UnitScores = std::vector<double>;

class Fingerprint {
 public:
  virtual ~Fingerprint() = default;
  virtual const FingerprintInfo& info() const = 0;
  // What the worker posts, from its own view; empty for what needs only the claim. Errors: its
  // states are no numbers (blame machine).
  virtual Result<Bytes> Commit(const FingerprintScope& scope, const RolloutView& prover) const = 0;
  // What it opens once `challenge` is known; the prover is the same view that was committed.
  virtual Result<Bytes> Open(const FingerprintScope& scope, const RolloutView& prover,
                             const Digest256& challenge) const;
  // Compares with one's own view. `claimed_logps`: of the claim. An error of blame peer is a
  // refusal of the form (a fact, unlike a score); of blame machine, our own trouble.
  virtual Result<std::vector<UnitScores>> Measure(const FingerprintScope& scope,
                                                  std::span<const std::uint8_t> commitment,
                                                  std::span<const std::uint8_t> opening,
                                                  const Digest256& challenge,
                                                  std::span<const float> claimed_logps,
                                                  const RolloutView& own) const = 0;
};

enum class Likeness : std::uint8_t { kLikely, kUnlikely };

struct FingerprintResult {
  Likeness likeness = Likeness::kLikely;
  std::size_t units = 0, within = 0;  // units within all limits
  UnitScores worst;                   // largest of every statistic
};

// Published limits, and the judgement. No units at all is unlikely: something had to be shown.
std::vector<double> PublishedLimits(const FingerprintInfo& info);
FingerprintResult Judge(const FingerprintInfo& info, std::span<const double> limits,
                        std::span<const UnitScores> units);

// toploc, toploc+, grail-v4, grail-v5, sketch-quorum, dense, verillm, race, log-probs, sampling,
// grail-distribution.
std::vector<std::unique_ptr<Fingerprint>> AllFingerprints();
// By name; null if there is none.
std::unique_ptr<Fingerprint> FindFingerprint(std::string_view name);

// The parts of AllFingerprints, one file each.
std::vector<std::unique_ptr<Fingerprint>> StateFingerprints();
std::vector<std::unique_ptr<Fingerprint>> TokenFingerprints();

}  // namespace waggle
