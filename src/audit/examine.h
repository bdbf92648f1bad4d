// The examination: whether a group holds, decided by computing it again. The one place that says
// so: validators, evidence and the host's check of newcomers all ask here, and get the same answer
// on every machine, down to which token is the first that is wrong.
#pragma once

#include <string>

#include "engine/replay_group.h"
#include "proofs/claims.h"
#include "proofs/fingerprint/sampling_bets.h"
#include "run/admission.h"
#include "run/recipe.h"
#include "run/task_codec.h"

namespace waggle {

// What a run is, for whoever examines its groups. All outlive the examination.
struct ExaminedRun {
  const Hash256& run;
  const Recipe& recipe;
  const TaskCodec& codec;
  std::size_t vocab = 0;
  std::uint32_t layers = 0;
};

struct Examination {
  Verdict verdict;                       // Fault: weights that are not to be had, our own trouble
  std::uint32_t rollout = 0, token = 0;  // where a Reject points
  Hash256 activation{};                  // at the probe; zeros unless the replay came to it
  std::uint64_t tokens = 0;              // that were computed
  SamplingBets bets;                     // for the node's record; none in an exact run
};

// Where a beacon wants to see that a group was computed: a function of both, the group's shape and
// the model's depth. REQUIRES a group with a token.
GroupProbe ProbeOf(const Hash256& beacon, const Hash256& group_hash, const Group& group,
                   std::uint32_t layers);

// In this order: the lease is one that the run derives; form, prompt, turns and termination
// (Admit); a claimed reward is the graded one; every token and log-prob is what the race gives
// under the versions that the spans name, or, in a run of a fingerprint tier, near enough to it
// (kFingerprint, which proves nothing). How old those versions are is the host's business on
// arrival.
Examination Examine(const ExaminedRun& run, const PolicyLookup& policies, ThreadPool& pool,
                    const Lease& lease, const Group& group, const GroupProbe* probe = nullptr);

// The versions that a group names, each once, ascending.
std::vector<PolicyVersion> VersionsOf(const Group& group);
// How the engine was asked to sample this lease.
SamplingOptions SamplingOptionsOf(const Lease& lease, const TaskCodec& codec);

}  // namespace waggle
