// The trainer of a run that somebody described, where it stood at a version: for whoever takes its
// steps again.
#pragma once

#include <memory>

#include "run/run_folder.h"
#include "run/run_site.h"
#include "training/trainer.h"

namespace waggle {

// From a folder like the run's: checkpoints/step-N/trainer, and teacher/ where the run has one. Not
// compared with any hash; but the teacher is the one that the run's id stands for (Blame::kPeer:
// it is not). ops and pool outlive it.
Result<std::unique_ptr<Trainer>> TrainerAt(const RunSite& site, const Hash256& run,
                                           const RunFolder& folder, PolicyVersion version,
                                           const Ops& ops, ThreadPool& pool);

}  // namespace waggle
