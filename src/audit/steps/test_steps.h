// Signed steps of a run that was never trained, for tests of who hears of them.
#pragma once

#include "audit/steps/step_desk.h"

namespace waggle {

inline constexpr std::uint32_t kTestBatch = 2;  // groups of each step

inline Hash256 TestHash(std::uint64_t number) {
  return Sha256({reinterpret_cast<const std::uint8_t*>(&number), sizeof number});
}
inline LeaseId TestLeaseOf(std::uint64_t step, std::uint32_t group) {
  return LeaseId{step * 100 + group};
}

// Steps 0, 1, ... that go on from one another; each with a window of its own batch.
inline std::vector<SignedStep> TestSteps(const KeyPair& trainer, const Hash256& run,
                                         std::uint64_t count) {
  std::vector<SignedStep> steps;
  for (std::uint64_t i = 0; i < count; ++i) {
    StepClaim claim{.run = run,
                    .version = PolicyVersion{i},
                    .before = TestHash(i),
                    .after = TestHash(i + 1),
                    .batch = TestHash(1000 + i)};
    if (i > 0) claim.previous = ClaimDigest(steps.back().step.claim);
    SignedStep step{.step = SignClaim(claim, trainer), .leases = {}, .window = SignedWindow{}};
    for (std::uint32_t group = 0; group < kTestBatch; ++group) {
      step.leases.push_back(TestLeaseOf(i, group));
      step.window->leases.push_back(TestLeaseOf(i, group));
      step.window->groups.push_back(TestHash(TestLeaseOf(i, group).value));
    }
    step.window->window = SignClaim(WindowClaim{.run = run,
                                                .version = PolicyVersion{i},
                                                .root = BatchRoot(step.window->groups),
                                                .items = kTestBatch},
                                    trainer);
    steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace waggle
