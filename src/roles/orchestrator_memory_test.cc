// Leases that outlive a host, or the version that they were made under.
#include "roles/orchestrator_core.h"
#include "run/test_echo.h"

namespace waggle {
namespace {

class OrchestratorMemoryTest : public EchoTest {
 protected:
  OrchestratorMemoryTest() {
    recipe_.evaluation.tasks = 0;
    recipe_.orchestrator.groups_per_step = 2;
  }
  OrchestratorCore Make() { return {run_, recipe_, codec_, tokenizer_.vocab_size()}; }
  std::vector<Lease> Ask(OrchestratorCore& core, std::uint64_t worker) {
    std::vector<Lease> leases;
    for (const GrantLease& grant : Only<GrantLease>(core.Step(WorkerIdle{WorkerId{worker}, 100})))
      leases.push_back(grant.lease);
    return leases;
  }
  // Hands the groups in and publishes what comes of them.
  void TrainOnWave(OrchestratorCore& core, std::uint64_t worker, const std::vector<Lease>& leases) {
    std::size_t batches = 0;
    for (const Lease& lease : leases) {
      batches += Only<TrainOn>(core.Step(GroupArrived{WorkerId{worker}, Answer(lease)})).size();
    }
    ASSERT_EQ(batches, 1u);
    static_cast<void>(core.Step(PolicyPublished{PolicyVersion{core.version().value + 1}}));
    static_cast<void>(core.Step(Proceed{}));
  }
  Recipe recipe_ = MakeRecipe();
};

// A host that catches up for longer than the grace of a restored grant loses its worker before the
// lease's turn comes; the lease must not wait for that worker for ever.
TEST_F(OrchestratorMemoryTest, ARestoredLeaseTakenBackBeforeItsTurnGoesToOthers) {
  OrchestratorCore before = Make();
  TrainOnWave(before, 1, Ask(before, 1));
  const std::vector<Lease> held = Ask(before, 1);  // of wave 1
  ASSERT_EQ(held.size(), 2u);

  OrchestratorCore core = Make();
  for (const Lease& lease : held) static_cast<void>(core.Step(LeaseRestored{WorkerId{1}, lease}));
  static_cast<void>(core.Step(LeaseTakenBack{WorkerId{1}, held[0].id}));
  TrainOnWave(core, 2, Ask(core, 2));
  EXPECT_EQ(Ask(core, 2), std::vector<Lease>{held[0]}) << "the other one is still worker 1's";
  EXPECT_EQ(core.LeaseOut(held[1].id) != nullptr, true);
}

// A group does not say whether it answers a lease or the one made anew under its id.
TEST_F(OrchestratorMemoryTest, ALeaseMadeAnewHasTheKeyOfBefore) {
  recipe_.orchestrator.ahead = 1;
  recipe_.orchestrator.lag_versions_max = 0;
  OrchestratorCore core = Make();
  const std::vector<Lease> leases = Ask(core, 1);  // of the waves 0 and 1
  ASSERT_EQ(leases.size(), 4u);
  static_cast<void>(core.Step(LeaseTakenBack{WorkerId{1}, leases[3].id}));
  TrainOnWave(core, 1, {leases[0], leases[1]});
  const std::vector<Lease> anew = Ask(core, 1);
  ASSERT_FALSE(anew.empty());
  EXPECT_EQ(anew[0].id, leases[3].id);
  EXPECT_EQ(anew[0].version, PolicyVersion{1});
  EXPECT_EQ(anew[0].key, leases[3].key);
  EXPECT_NE(leases[2].key, leases[3].key);
}

}  // namespace
}  // namespace waggle
