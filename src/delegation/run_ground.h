// What a delegated run of reinforcement learning trains on, from its description and the responses
// that were agreed on: leases, tasks, graders, advantages and credit as `waggle run` has them, with
// no weights. The same for those who run it, the client and the referee.
#pragma once

#include "proofs/dispute/step_ground.h"
#include "rollout/encoding.h"
#include "run/run_site.h"
#include "training/optimizer.h"

namespace waggle {

// Blame::kOperator names the first setting of a run that disputes do not know: whatever makes a
// step anything but one update on the answers that its own weights gave, or credit that needs more
// than these answers.
Status CheckDelegable(const Recipe& recipe);

class RunGround : public StepGround {
 public:
  // As DescriptionReader.
  static Result<std::unique_ptr<const RunGround>> Read(const RunProgram& program,
                                                       std::span<const std::uint8_t> description);

  Result<StepInputs> Inputs(std::uint64_t batch, std::uint64_t step,
                            std::span<const std::vector<TokenRecord>> responses) const override;

  const RunSite& site() const { return *site_; }
  // Blame::kPeer: tasks that cannot be made.
  Result<std::vector<Lease>> Leases(std::uint64_t batch) const;
  // What was sampled for these leases, as the trainer gets it. Blame::kPeer: it would be refused.
  Result<std::vector<ScoredGroup>> Groups(
      std::uint64_t batch, std::span<const std::vector<TokenRecord>> responses) const;

 private:
  RunGround(const RunProgram& program, std::unique_ptr<RunSite> site, Optimizer optimizer)
      : id_(program.run->id), site_(std::move(site)), optimizer_(std::move(optimizer)) {}

  const Hash256 id_;
  const std::unique_ptr<RunSite> site_;
  const Optimizer optimizer_;
};

// For Referee::Open.
Result<std::unique_ptr<const StepGround>> ReadRunGround(const RunProgram& program,
                                                        std::span<const std::uint8_t> description);

}  // namespace waggle
