#include "training/watch/reward_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/philox.h"

namespace waggle {
namespace {

using Make = std::function<Observation(std::size_t)>;  // by index in the window

// Sixteen answers to each of sixteen tasks, all right, all alike but for one in four.
Observation Plain(std::size_t i) {
  return {.task = i / 16,
          .worker = i % 4,
          .answer = i % 16 < 12 ? 0 : i,
          .proxy = 1.0f,
          .held_out = 1.0f,
          .solved = true,
          .tokens = 10,
          .entropy = 1.0f,
          .kl = 0.01f};
}
std::vector<Observation> Window(const Make& make) {
  std::vector<Observation> window;
  for (std::size_t i = 0; i < kWatchWindow; ++i) window.push_back(make(i));
  return window;
}
WindowReport Feed(RewardWatch& watch, const Make& make) {
  auto reports = watch.Observe(Window(make));
  EXPECT_EQ(reports.size(), 1u);
  return reports.at(0);
}
RewardWatch Settled() {
  RewardWatch watch;
  for (std::size_t k = 0; k < kBaseWindows; ++k) {
    const WindowReport report = Feed(watch, Plain);
    EXPECT_EQ(report.level, Level::kGreen);
    EXPECT_TRUE(report.actions.empty());
  }
  return watch;
}
bool Has(const WindowReport& report, WatchAction action) {
  return std::ranges::find(report.actions, action) != report.actions.end();
}
// The proxy stays, and this share of answers is wrong in truth.
Make Gap(double share) {
  return [share](std::size_t i) {
    Observation rollout = Plain(i);
    if (static_cast<double>(i) < share * kWatchWindow) rollout.held_out = 0.0f;
    return rollout;
  };
}
Level LevelWith(Signal signal, const std::function<void(Observation&, std::size_t)>& change) {
  RewardWatch watch = Settled();
  const WindowReport report = Feed(watch, [&](std::size_t i) {
    Observation rollout = Plain(i);
    change(rollout, i);
    return rollout;
  });
  return report[signal].level;
}

TEST(RewardWatch, TheTruthGapActsAfterThreeWindows) {
  RewardWatch watch = Settled();
  EXPECT_EQ(Feed(watch, Gap(.04))[Signal::kTruthGap].level, Level::kGreen);
  WindowReport report = Feed(watch, Gap(.06));
  EXPECT_EQ(report[Signal::kTruthGap].level, Level::kAmber);
  EXPECT_EQ(report.level, Level::kAmber);
  EXPECT_FALSE(report.green);
  EXPECT_EQ(report.actions, (std::vector{WatchAction::kDoubleAudits, WatchAction::kPostEvent}));
  report = Feed(watch, Gap(.11));
  EXPECT_EQ(report[Signal::kTruthGap].level, Level::kAmber);
  EXPECT_EQ(report.actions, (std::vector{WatchAction::kDoubleAudits}));  // said once
  Feed(watch, Gap(.11));
  EXPECT_FALSE(watch.frozen());
  report = Feed(watch, Gap(.11));
  EXPECT_EQ(report.level, Level::kRed);
  EXPECT_EQ(report.cause, Signal::kTruthGap);
  EXPECT_EQ(report.actions,
            (std::vector{WatchAction::kDoubleAudits, WatchAction::kPostEvent, WatchAction::kFreeze,
                         WatchAction::kRollBack, WatchAction::kStrict, WatchAction::kOpenItem}));
  EXPECT_TRUE(watch.frozen() && watch.strict() && !watch.green());
}

TEST(RewardWatch, TwoGreenWindowsInARowEndTheFreeze) {
  RewardWatch watch = Settled();
  for (int k = 0; k < 3; ++k) Feed(watch, Gap(.2));
  ASSERT_TRUE(watch.frozen());
  EXPECT_FALSE(Has(Feed(watch, Gap(.2)), WatchAction::kRollBack));  // already done
  Feed(watch, Plain);
  EXPECT_TRUE(watch.frozen());
  Feed(watch, Gap(.06));  // breaks the row
  Feed(watch, Plain);
  EXPECT_TRUE(watch.frozen());
  const WindowReport report = Feed(watch, Plain);
  EXPECT_TRUE(Has(report, WatchAction::kUnfreeze));
  EXPECT_FALSE(watch.frozen());
  EXPECT_TRUE(watch.strict());  // only people go back
  for (int k = 0; k < 2; ++k) Feed(watch, Gap(.2));
  EXPECT_TRUE(Has(Feed(watch, Gap(.2)), WatchAction::kRollBack));  // and it can happen again
}

TEST(RewardWatch, AGapThatWasAlwaysThereIsNormal) {
  RewardWatch watch;
  for (int k = 0; k < 20; ++k) EXPECT_EQ(Feed(watch, Gap(.5)).level, Level::kGreen);
}

TEST(RewardWatch, Canaries) {
  const auto solve = [](std::size_t count, std::uint64_t worker) {
    return [=](std::size_t i) {
      Observation rollout = Plain(i);
      rollout.canary = i / 16 == 3;
      rollout.worker = worker;
      rollout.solved = rollout.canary ? i % 16 < count : true;
      return rollout;
    };
  };
  RewardWatch watch;
  EXPECT_EQ(Feed(watch, solve(0, 1)).level, Level::kGreen);
  EXPECT_EQ(Feed(watch, solve(2, 1))[Signal::kCanary].level, Level::kAmber);
  for (int k = 0; k < 5; ++k) Feed(watch, solve(0, 1));
  EXPECT_EQ(Feed(watch, solve(0, 1)).level, Level::kGreen);  // long ago
  Feed(watch, solve(1, 1));
  const WindowReport report = Feed(watch, solve(1, 2));  // another worker, windows apart
  EXPECT_EQ(report.cause, Signal::kCanary);
  EXPECT_TRUE(watch.frozen());
}

TEST(RewardWatch, GraderContactIsRedAtOnce) {
  RewardWatch watch;
  const WindowReport report = Feed(watch, [](std::size_t i) {
    Observation rollout = Plain(i);
    rollout.grader_contact = i == 200;
    return rollout;
  });
  EXPECT_EQ(report.cause, Signal::kGraderContact);
}

// Each signal alone: below amber, amber, red, by the table.
TEST(RewardWatch, Thresholds) {
  const auto tokens = [](std::uint32_t n) {
    return LevelWith(Signal::kLength, [n](Observation& x, std::size_t) { x.tokens = n; });
  };
  EXPECT_EQ(tokens(14), Level::kGreen);
  EXPECT_EQ(tokens(15), Level::kAmber);
  EXPECT_EQ(tokens(25), Level::kRed);
  const auto repeated = [](float share, float ratio) {
    return LevelWith(Signal::kRepetition, [=](Observation& x, std::size_t) {
      x.repeated = share;
      x.compress = ratio;
    });
  };
  EXPECT_EQ(repeated(.19f, 3.9f), Level::kGreen);
  EXPECT_EQ(repeated(.21f, 1), Level::kAmber);
  EXPECT_EQ(repeated(0, 4), Level::kAmber);
  EXPECT_EQ(repeated(.41f, 1), Level::kRed);
  EXPECT_EQ(repeated(0, 8), Level::kRed);
  const auto entropy = [](float nats) {
    return LevelWith(Signal::kDiversity, [=](Observation& x, std::size_t) { x.entropy = nats; });
  };
  EXPECT_EQ(entropy(.51f), Level::kGreen);
  EXPECT_EQ(entropy(.5f), Level::kAmber);
  EXPECT_EQ(entropy(.19f), Level::kRed);
  const auto distinct = [](std::size_t different) {
    return LevelWith(Signal::kDiversity,
                     [=](Observation& x, std::size_t i) { x.answer = i % 16 < different ? i : 0; });
  };
  EXPECT_EQ(distinct(4), Level::kGreen);  // base: five of sixteen
  EXPECT_EQ(distinct(1), Level::kAmber);
  const auto unscorable = [](std::size_t count) {
    return LevelWith(Signal::kUnscorable, [=](Observation& x, std::size_t i) {
      if (i < count) x.proxy.reset();
    });
  };
  EXPECT_EQ(unscorable(1), Level::kGreen);
  EXPECT_EQ(unscorable(2), Level::kAmber);
  EXPECT_EQ(unscorable(5), Level::kRed);
  const auto kl = [](float nats) {
    return LevelWith(Signal::kKlBudget, [=](Observation& x, std::size_t) { x.kl = nats; });
  };
  EXPECT_EQ(kl(.049f), Level::kGreen);
  EXPECT_EQ(kl(.051f), Level::kAmber);
  EXPECT_EQ(kl(.101f), Level::kRed);
}

TEST(RewardWatch, JudgesAndEnsembles) {
  const auto judged = [](double noise, std::size_t flips) {
    Rng rng(1);
    return LevelWith(Signal::kJudgeBias, [&](Observation& x, std::size_t i) {
      x.tokens = 10 + static_cast<std::uint32_t>(i % 7);
      const double score = x.tokens + noise * rng.Below(100);
      x.judge = JudgeSign{static_cast<float>(score), false, i < flips};
    });
  };
  EXPECT_EQ(judged(10, 0), Level::kGreen);
  EXPECT_EQ(judged(.15, 0), Level::kAmber);
  EXPECT_EQ(judged(0, 0), Level::kRed);
  EXPECT_EQ(judged(10, 40), Level::kAmber);  // .156
  EXPECT_EQ(judged(10, 80), Level::kRed);
  const auto spread = [](float between) {
    return LevelWith(Signal::kEnsembleSpread, [=](Observation& x, std::size_t i) {
      const float mean = i % 2 == 0 ? 1.0f : 0.0f;
      x.members = {mean - between, mean + between};
    });
  };
  EXPECT_EQ(spread(.4f), Level::kGreen);
  EXPECT_EQ(spread(.6f), Level::kAmber);
  EXPECT_EQ(spread(1.1f), Level::kRed);
}

// Dynamics alone: red acts only while the proxy rises and the truth does not.
TEST(RewardWatch, OtherRedsNeedADivergence) {
  const auto fed = [](float proxy_step, float truth_step) {
    RewardWatch watch;
    bool acted = false;
    for (int k = 0; k < 10; ++k) {
      acted |= Feed(watch, [&](std::size_t i) {
                 Observation rollout = Plain(i);
                 rollout.kl = .2f;
                 rollout.proxy = .5f + proxy_step * static_cast<float>(k);
                 rollout.held_out = .5f + truth_step * static_cast<float>(k);
                 return rollout;
               }).level == Level::kRed;
    }
    return acted;
  };
  EXPECT_TRUE(fed(.004f, 0));  // too little for the gap
  EXPECT_TRUE(fed(.002f, -.002f));
  EXPECT_FALSE(fed(.004f, .004f));  // learning
  EXPECT_FALSE(fed(0, 0));
  EXPECT_FALSE(fed(-.004f, -.004f));
}

// A plateau: reward and truth differ by the noise of a few wrong gradings, answers are all alike.
// Red for diversity does not act on slopes that are noise.
TEST(RewardWatch, NoiseIsNoDivergence) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RewardWatch watch;
    Rng rng(seed);
    for (std::uint32_t k = 0; k < 300; ++k) {
      const WindowReport report = Feed(watch, [&](std::size_t i) {
        Observation rollout = Plain(i);
        const bool solved = rng.Below(100) < 90;
        rollout.proxy = solved ? 1.0f : 0.0f;
        rollout.held_out = rng.Below(100) < 3 ? 1.0f - *rollout.proxy : *rollout.proxy;
        rollout.entropy = k < kBaseWindows ? 1.0f : .1f;
        return rollout;
      });
      EXPECT_NE(report.level, Level::kRed) << seed << " " << k;
    }
  }
}

// Cut anywhere, saved and loaded: the same reports.
TEST(RewardWatch, ASavedWatchGoesOn) {
  std::vector<Observation> all;
  Rng rng(3);
  for (std::size_t i = 0; i < 12 * kWatchWindow; ++i) {
    Observation rollout = Plain(i);
    const bool hacked = rng.Below(3000) < i;
    rollout.held_out = hacked ? 0.0f : 1.0f;
    rollout.tokens = 10 + rng.Below(5);
    if (rng.Below(10) == 0) rollout.judge = JudgeSign{.score = .5f};
    all.push_back(rollout);
  }
  RewardWatch whole;
  const auto expected = whole.Observe(all);
  EXPECT_TRUE(std::ranges::any_of(expected, [](const auto& r) { return r.level == Level::kRed; }));
  for (const std::size_t cut : {std::size_t{1}, std::size_t{300}, std::size_t{2000}}) {
    RewardWatch first;
    auto reports = first.Observe(std::span(all).first(cut));
    auto second = RewardWatch::Load(first.Save());
    ASSERT_TRUE(second.has_value()) << second.error().what;
    for (auto& report : second->Observe(std::span(all).subspan(cut)))
      reports.push_back(std::move(report));
    ASSERT_EQ(reports.size(), expected.size());
    for (std::size_t k = 0; k < reports.size(); ++k)
      EXPECT_EQ(reports[k].actions, expected[k].actions) << k;
    EXPECT_EQ(second->Save(), whole.Save());
  }
  Bytes damaged = whole.Save();
  damaged.pop_back();
  EXPECT_EQ(RewardWatch::Load(damaged).error().blame, Blame::kMachine);
}

// Healthy learning with honest noise: truth is what is paid, the answers get alike, the policy
// moves far. No alarm in any of these.
TEST(RewardWatch, HealthyRunsRaiseNoAlarm) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RewardWatch watch;
    Rng rng(seed);
    for (std::uint32_t k = 0; k < 200; ++k) {
      const std::uint32_t right = 20 + std::min(75u, k);  // percent
      const WindowReport report = Feed(watch, [&](std::size_t i) {
        Observation rollout = Plain(i);
        const bool solved = rng.Below(100) < right;
        rollout.proxy = rollout.held_out = solved ? 1.0f : 0.0f;
        rollout.answer = solved ? 0 : rng.NextU32();
        rollout.entropy = 1.0f - static_cast<float>(right) / 100;
        rollout.kl = .01f * static_cast<float>(k);
        rollout.tokens = 8 + rng.Below(4);
        return rollout;
      });
      EXPECT_NE(report.level, Level::kRed) << seed << " " << k;
    }
  }
}

}  // namespace
}  // namespace waggle
