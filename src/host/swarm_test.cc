// Strangers join a run, die, are slow, lie and come back; the weights are the local run's.
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "host/local_run.h"
#include "host/test_swarm.h"

namespace waggle {
namespace {

class SwarmTest : public ::testing::Test {
 protected:
  SwarmTest() {
    recipe_.checkpoint_every = 4;
    const auto run =
        LocalRun::Open(recipe_, SmallRunOptions(folder_.path(), "local"), SystemClock());
    local_ = ToHex((*run)->Drive().value().weight_hash);
  }
  std::unique_ptr<TestSwarm> Make(const std::string& name) const {
    return std::make_unique<TestSwarm>(recipe_, folder_.path(), name);
  }
  TempFolder folder_;
  Recipe recipe_ = SmallRecipe();
  std::string local_;
};

TEST_F(SwarmTest, StrangersGiveTheBitsOfTheLocalRun) {
  for (const std::size_t workers : {1, 3}) {
    const auto swarm = Make("strangers" + std::to_string(workers));
    for (std::size_t i = 0; i < workers; ++i) swarm->Add(5 + 40 * i, 10);
    EXPECT_EQ(swarm->Run(), local_) << workers;
    // 6 batches of 4 groups, and 8 tasks at the versions 0, 2, 4, 6.
    EXPECT_EQ(swarm->outcomes[Outcome::kAccepted], 6 * 4 + 4 * 8);
    EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0);
    EXPECT_EQ(swarm->store().Count().value().open, 0u) << "every grant has an end";
  }
}

TEST_F(SwarmTest, ASlowMachineNeverHoldsTheOthersUp) {
  const auto fast = Make("fast");
  fast->Add(10, 10);
  EXPECT_EQ(fast->Run(), local_);
  // Deadlines as in life, ten seconds and more: what the slow one holds when a batch lacks only
  // that is taken over long before, at most once for each of the ten batches and evaluations.
  TestSwarm mixed(recipe_, folder_.path(), "mixed", {.hedge_ms = 200});
  mixed.Add(10, 10);
  const Volunteer& slow = mixed.Add(10, 500);  // 50 times slower
  EXPECT_EQ(mixed.Run(), local_);
  EXPECT_LT(mixed.elapsed(), fast->elapsed() + 10 * 500);
  EXPECT_GT(slow.core->counts().accepted + slow.core->counts().stale, 0u);
}

// With waves ahead it has the time to do its share, and nobody waits for it either.
TEST_F(SwarmTest, ASlowMachineContributesWhereWorkIsAhead) {
  recipe_.orchestrator.ahead = 3;
  recipe_.orchestrator.steps = 12;
  const auto run = [&](const std::string& name, bool with_slow) {
    TestSwarm swarm(recipe_, folder_.path(), name, {.hedge_ms = 200});
    swarm.Add(10, 40);
    const Volunteer* slow = with_slow ? &swarm.Add(10, 400) : nullptr;  // ten times slower
    EXPECT_EQ(swarm.Run().size(), 64u);
    if (with_slow) {
      EXPECT_GT(slow->core->counts().accepted, 0u);
    }
    return swarm.elapsed();
  };
  const Milliseconds alone = run("alone", false);
  EXPECT_LT(run("together", true), alone + alone / 4);
}

TEST_F(SwarmTest, WorkersDieAndOthersTakeOver) {
  const auto swarm = Make("die");
  for (int i = 0; i < 3; ++i) swarm->Add(10, 20);
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    const auto index = &v - &swarm->volunteers()[0];
    if (v.dead || now != 400 + 600 * static_cast<Milliseconds>(index) || index == 2) return;
    v.dead = true;
    swarm->Cut(v);
  };
  EXPECT_EQ(swarm->Run(), local_);
}

TEST_F(SwarmTest, ALineThatBreaksAllTheTimeLosesNothing) {
  const auto swarm = Make("breaks");
  for (Milliseconds i = 0; i < 2; ++i) swarm->Add(10 + 20 * i, 10);
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    if (now % 700 == v.delay) swarm->Cut(v);
  };
  EXPECT_EQ(swarm->Run(), local_);
}

// Killed at any moment, a host takes up what it had accepted and what is still out: nothing is
// sampled twice, and no worker's work is lost.
TEST_F(SwarmTest, AKilledHostComesBackToWhereItWas) {
  const auto granted_anew = [](const TestSwarm& swarm) {
    int anew = 0;
    for (const auto& [lease, times] : swarm.grants) anew += times - 1;
    return anew;
  };
  const auto undisturbed = Make("undisturbed");
  undisturbed->Add(10, 10);
  undisturbed->Add(30, 20);
  EXPECT_EQ(undisturbed->Run(), local_);
  for (const Milliseconds when : {300, 900, 1'500, 2'100, 2'600}) {
    const auto swarm = Make("killed" + std::to_string(when));
    swarm->Add(10, 10);
    swarm->Add(30, 20);
    swarm->KillHostAt(when);
    EXPECT_EQ(swarm->Run(), local_) << when;
    EXPECT_TRUE(swarm->host_was_killed());
    EXPECT_EQ(swarm->outcomes[Outcome::kAccepted], 6 * 4 + 4 * 8) << when;
    EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0) << "nobody is blamed for the host's death";
    const auto counts = swarm->store().Count().value();
    EXPECT_EQ(counts.accepted, 6u * 4 + 4 * 8);
    EXPECT_EQ(counts.open, 0u) << "every grant has an end";
    EXPECT_LE(granted_anew(*swarm), granted_anew(*undisturbed) + 2 * 8)
        << "at most what two volunteers had under way";
  }
}

TEST_F(SwarmTest, AHostThatDiesAgainAndAgainStillEnds) {
  const auto swarm = Make("again");
  swarm->Add(10, 10);
  swarm->Add(30, 20);
  Milliseconds next = 200;
  swarm->weather = [&](Volunteer&, Milliseconds now) {
    if (now < next) return;
    next = now + 350;
    swarm->KillHost();
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_EQ(swarm->store().Count().value().accepted, 6u * 4 + 4 * 8);
}

// It lost its store, or was restored from an older backup.
TEST_F(SwarmTest, AHostThatComesBackWithAnOlderPolicyIsBelieved) {
  for (const Milliseconds when : {300, 1'500, 2'600}) {
    const auto swarm = Make("older" + std::to_string(when));
    swarm->Add(10, 10);
    swarm->Add(30, 20);
    swarm->KillHostAt(when, [&] {
      for (const char* file : {"run.db", "run.db-wal", "run.db-shm"})
        std::filesystem::remove(swarm->folder() / file);
    });
    EXPECT_EQ(swarm->Run(), local_) << when;
    EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0) << "nobody is blamed for the host's death";
  }
}

// Waves that are sampled ahead of the trainer come back too.
TEST_F(SwarmTest, WavesAheadSurviveARestart) {
  recipe_.orchestrator.ahead = 2;
  recipe_.orchestrator.drop_uniform = true;
  for (const Milliseconds when : {700, 1'600}) {
    const auto swarm = Make("ahead" + std::to_string(when));
    swarm->Add(10, 10);
    swarm->Add(30, 20);
    swarm->KillHostAt(when);
    EXPECT_EQ(swarm->Run().size(), 64u);
    EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0);
    EXPECT_EQ(swarm->outcomes[Outcome::kFault], 0);
  }
}

TEST_F(SwarmTest, ALiarTeachesNothingAndStopsNobody) {
  const auto swarm = Make("liar");
  swarm->Add(10, 10);
  swarm->Add(10, 10).lie = 0.01f;
  EXPECT_EQ(swarm->Run().size(), 64u);
  EXPECT_FALSE(swarm->forged.empty());
  const auto honest = Make("honest");
  honest->Add(10, 10);
  EXPECT_EQ(honest->Run(), local_);
  EXPECT_TRUE(honest->forged.empty());
}

TEST_F(SwarmTest, NoiseOnTheLineIsRefusedAndTheLineClosed) {
  const auto swarm = Make("noise");
  swarm->Add(10, 10);
  Volunteer& noisy = swarm->Add(10, 10);
  int noise = 0;
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    // At first before it can say Hello, which the host ends; then now and then.
    if (&v != &noisy || !v.link || (now > 300 && now % 70 != 0)) return;
    ++noise;
    v.to_host.push_front(
        {now, Bytes(static_cast<std::size_t>(noise % 300), static_cast<std::uint8_t>(noise))});
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_GT(noise, 10);
  EXPECT_GT(swarm->closed_by_host, 0);
  EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0);
}

TEST_F(SwarmTest, ALateComerBeginsAtTheNewestSnapshot) {
  const auto swarm = Make("late");
  swarm->Add(10, 10);
  Volunteer* late = nullptr;
  swarm->weather = [&](Volunteer&, Milliseconds now) {
    if (now == 2'500 && late == nullptr) late = &swarm->Add(10, 10);
  };
  EXPECT_EQ(swarm->Run(), local_);
  ASSERT_NE(late, nullptr);
  EXPECT_GT(late->core->counts().accepted, 0u);
}

TEST_F(SwarmTest, AVolunteerThatDrainsLeavesWithItsWorkDone) {
  const auto swarm = Make("drain");
  swarm->Add(10, 10);
  const Volunteer& leaver = swarm->Add(10, 10);
  Milliseconds left_at = 0;
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    if (&v != &leaver) return;
    if (now == 500) swarm->Drain(v);
    if (v.left && left_at == 0) left_at = now;
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_GE(left_at, 500u);
  EXPECT_LT(left_at, swarm->elapsed() - 500);
  EXPECT_GT(leaver.core->counts().accepted, 0u);
  EXPECT_EQ(leaver.core->counts().other, 0u) << "nothing expired or came back undone";
}

TEST_F(SwarmTest, ADrainedHostSavesWhereItStandsAndGoesOnToTheSameBits) {
  const auto swarm = Make("host-drain");
  swarm->Add(10, 10);
  swarm->Add(30, 20);
  bool asked = false, stopped = false;
  int granted_when_asked = 0;
  const auto granted = [&] {
    int all = 0;
    for (const auto& [lease, times] : swarm->grants) all += times;
    return all;
  };
  swarm->weather = [&](Volunteer&, Milliseconds now) {
    if (now >= 1'500 && !asked) {
      asked = true;
      granted_when_asked = granted();
      swarm->DrainHost();
    }
    if (!swarm->drained() || stopped) return;
    stopped = true;
    EXPECT_EQ(granted(), granted_when_asked) << "a grant after the drain began";
    EXPECT_EQ(swarm->saved_version(), swarm->version());
    swarm->KillHost();
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_TRUE(stopped);
  EXPECT_EQ(swarm->outcomes[Outcome::kExpired], 0) << "what was held was waited for";
}

TEST_F(SwarmTest, ADrainDoesNotWaitForEverForASilentMachine) {
  const auto swarm = Make("host-drain-silent");
  Volunteer& silent = swarm->Add(10, 10);
  bool asked = false;
  Milliseconds drained_at = 0;
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    if (now >= 700 && !asked) {
      asked = silent.dead = true;  // with what it holds; the line stays up
      swarm->DrainHost(2'000);
    }
    if (!swarm->drained() || drained_at != 0) return;
    drained_at = now;
    v.dead = false;
    swarm->KillHost();
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_GE(drained_at, 700u);
  EXPECT_LE(drained_at, 2'710u);
}

TEST_F(SwarmTest, AVolunteerThatTheHostSendsAwayFinishesWhatItHolds) {
  const auto swarm = Make("node-drain");
  swarm->Add(10, 10);
  Volunteer& guest = swarm->Add(10, 10);
  bool asked = false;
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    if (&v != &guest || now < 500 || asked) return;
    asked = true;
    swarm->DrainByHost(guest);
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_TRUE(guest.left);
  EXPECT_EQ(guest.why, "asked to leave by the host");
  EXPECT_GT(guest.core->counts().accepted, 0u);
  EXPECT_EQ(guest.core->counts().stale + guest.core->counts().rejected, 0u);
}

}  // namespace
}  // namespace waggle
