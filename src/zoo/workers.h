// Workers that cheat in one way: each turns a lease into what it hands in, and says from which
// weights its fingerprints are.
#pragma once

#include <functional>

#include "zoo/adversary.h"
#include "zoo/zoo_run.h"

namespace waggle {

// How the states in a fingerprint were come by.
enum class ZooStates : std::uint8_t {
  kComputed,   // by `prover`, from `prover_prompt`
  kUnrelated,  // of another rollout
  kConstant,   // none: constant polynomials, sketches of one number
  kZero,       // none: zeros
};

// What arrives, and where from.
struct Handed {
  Lease lease;  // the one that the host gave to this worker
  Group group;
  std::shared_ptr<const Model> prover;
  std::vector<TokenId> prover_prompt;  // what its model read in place of the prompt
  ZooStates states = ZooStates::kComputed;
  bool stolen = false;        // the lease is somebody else's
  std::uint64_t sampled = 0;  // tokens that it paid for, those it threw away too
};

struct WorkerCheat {
  Adversary adversary;
  // Bits of Sees (proofs/fingerprint): in which respects even this cheat is honest.
  std::uint8_t honest_in = 0;
  PolicyVersion version{1};  // of its leases
  std::function<Result<Handed>(ZooRun&, const Lease&, const Ops&)> hand_in;
};

const std::vector<WorkerCheat>& WorkerCheats();

// The honest one.
Result<Handed> HandInHonestly(ZooRun& run, const Lease& lease, const Ops& ops);
std::uint64_t TokensOf(const Group& group);

}  // namespace waggle
