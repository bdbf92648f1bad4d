// The zoo's copier before GRAIL's detection of copies (proofs/fingerprint/grail_copies.h): found,
// and its victim with it under the rule before 0.0.60; and why no recipe here gates by it: answers
// of small tasks are few, and honest workers share them.
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "proofs/fingerprint/grail_copies.h"
#include "zoo/matrix.h"
#include "zoo/policies.h"
#include "zoo/tiers.h"

namespace waggle {
namespace {

GrailFile FileOf(const std::string& worker, std::uint64_t time, const std::vector<Group>& groups) {
  GrailFile file{worker, time, {}};
  for (const Group& group : groups)
    for (const Rollout& rollout : group.rollouts)
      file.completions.push_back(GrailCompletionDigest(rollout.tokens));
  return file;
}

TEST(ZooCopies, TheCopierIsGatedAndHonestWorkersOfSmallTasksToo) {
  const TempFolder folder;
  const auto run = ZooRun::Open(ZooRecipe(/*tiny=*/true), folder.path(), BestOps(), 1).value();
  const auto& cheats = WorkerCheats();
  const auto copier = std::ranges::find_if(
      cheats, [](const WorkerCheat& cheat) { return cheat.adversary.name == "copied-verbatim"; });
  ASSERT_NE(copier, cheats.end());
  const WorkerTrial trial = TryWorker(*run, *copier).value();
  std::vector<Group> copied, others;
  for (const Handed& handed : trial.handed) copied.push_back(handed.group);
  for (std::uint32_t i = 0; i < kZooLeases; ++i)
    others.push_back(run->Honest(run->LeaseOf(kZooLeases + i), BestOps()).value());

  const GrailFile victim = FileOf("victim", 1, trial.honest), thief = FileOf("thief", 2, copied),
                  other = FileOf("other", 3, others);
  using Names = std::set<std::string>;
  EXPECT_EQ(CopyWatch(CopyGate::kLater).Window({victim, thief}).gated, Names{"thief"});
  EXPECT_EQ(CopyWatch(CopyGate::kBoth).Window({victim, thief}).gated, (Names{"thief", "victim"}));
  // Other leases, honest answers, and more of them the same than the threshold allows.
  const CopyFindings honest = CopyWatch(CopyGate::kLater).Window({victim, other});
  ASSERT_EQ(honest.pairs.size(), 1u);
  EXPECT_GT(honest.pairs[0].shared * 1000, kCopiesWindow * honest.pairs[0].smaller);
  EXPECT_EQ(honest.gated, Names{"other"});
}

}  // namespace
}  // namespace waggle
