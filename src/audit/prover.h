// A worker's half of a fingerprint tier: by one prefill with the engine that sampled, each rollout
// gets the fingerprint that the run asks for. Single-threaded, beside the engine that it takes
// turns with.
#pragma once

#include <map>
#include <memory>

#include "engine/replay_group.h"
#include "proofs/fingerprint/tier.h"
#include "run/recipe.h"
#include "run/task_codec.h"

namespace waggle {

class Prover {
 public:
  // codec and pool outlive it. Nothing in a run of the exact tier. Errors: the recipe's.
  static Result<std::unique_ptr<Prover>> Make(const Recipe& recipe, const Hash256& run,
                                              const TaskCodec& codec, ThreadPool& pool);

  // From here on groups may name this version; the last few before it still may.
  void Loaded(PolicyVersion version, std::shared_ptr<const Model> model);
  // Fills group.fingerprints. Errors: a version that is gone, numbers that are none (blame
  // machine).
  Status Prove(const Lease& lease, Group& group) const;
  // What a cheat does whose tokens came cheaper: log-probs of a prefill in place of the sampler's.
  Status Rescore(const Lease& lease, Group& group) const;

 private:
  Prover(const Hash256& run, const TaskCodec& codec, ThreadPool& pool)
      : run_(run), codec_(codec), pool_(pool) {}
  PolicyLookup Lookup() const;

  const Hash256 run_;
  const TaskCodec& codec_;
  ThreadPool& pool_;
  std::unique_ptr<FingerprintTier> tier_;
  std::map<PolicyVersion, std::shared_ptr<const Model>> models_;
};

}  // namespace waggle
