#include "run/lease_book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "run/test_lease_crowd.h"

namespace waggle {
namespace {

constexpr LeaseBookSettings kSmall{.deadline_ms_min = 2'000,
                                   .deadline_ms_max = 20'000,
                                   .grace_ms = 60'000,
                                   .silence_ms_max = 60'000,
                                   .hold_off_ms_max = 30'000,
                                   .workers_max = 12,
                                   .grants_per_worker_max = 16};

NodeId Node(std::uint8_t i) {
  NodeId id;
  id.value[0] = i;
  return id;
}
template <class T>
std::vector<T> Sent(const std::vector<LeaseBookEffect>& effects) {
  std::vector<T> found;
  for (const auto& effect : effects) {
    const auto* sent = std::get_if<SendTo>(&effect);
    if (sent != nullptr && std::holds_alternative<T>(sent->message))
      found.push_back(std::get<T>(sent->message));
  }
  return found;
}
template <class T>
std::vector<T> Only(const std::vector<LeaseBookEffect>& effects) {
  std::vector<T> found;
  for (const auto& effect : effects) {
    if (const T* one = std::get_if<T>(&effect)) found.push_back(*one);
  }
  return found;
}

// A book with one worker that was granted lease 1 at time 0 for 60 seconds.
class LeaseBookTest : public ::testing::Test {
 protected:
  LeaseBookTest() {
    Join(1);
    Grant(0, 1, 1);
  }
  void Join(std::uint8_t node) { static_cast<void>(book_.Step(now_, WorkerJoined{Node(node)})); }
  std::vector<LeaseBookEffect> Step(Milliseconds now, const LeaseBookEvent& event) {
    now_ = now;
    return book_.Step(now, event);
  }
  // Node asks, and the orchestrator has this lease. Returns all effects.
  std::vector<LeaseBookEffect> Grant(Milliseconds now, std::uint8_t node, std::uint64_t lease) {
    auto effects = Step(now, WorkRequested{Node(node), 100});
    const auto asks = Only<AskOrchestrator>(effects);
    EXPECT_EQ(asks.size(), 1u);
    for (auto& effect :
         Step(now, WorkOffered{asks.at(0).worker, {Lease{.id = LeaseId{lease}, .group_size = 4}}}))
      effects.push_back(effect);
    return effects;
  }
  // The group of a lease comes and is accepted, if it is asked for. Returns all effects.
  std::vector<LeaseBookEffect> Answer(Milliseconds now, std::uint8_t node, std::uint64_t lease,
                                      Verdict verdict = Accepted{}) {
    auto effects = Step(now, GroupCame{Node(node), LeaseId{lease}, Hash256{1}});
    for (const JudgeGroup& judge : Only<JudgeGroup>(effects)) {
      for (auto& effect : Step(now, GroupGraded{judge.worker, judge.lease, verdict, 256}))
        effects.push_back(effect);
    }
    return effects;
  }

  LeaseBook book_{{.deadline_ms_max = 60'000}};
  Milliseconds now_ = 0;
};

TEST_F(LeaseBookTest, AGroupInTimeIsAccepted) {
  const auto records = Sent<OutcomeRecord>(Answer(10'000, 1, 1));
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(records[0].worker, Node(1));
  EXPECT_EQ(records[0].group, Hash256{1});
  EXPECT_EQ(records[0].tokens, 256u);
  EXPECT_EQ(book_.RateOf(Node(1)), 25u);  // 256 tokens in 10 seconds
  const auto again = Step(10'001, GroupCame{Node(1), LeaseId{1}, Hash256{1}});
  EXPECT_EQ(Sent<Refusal>(again).at(0).kind, RefusalKind::kUnknownLease);
}

TEST_F(LeaseBookTest, ALateGroupCountsAsLongAsNobodyElseHasTheLease) {
  EXPECT_TRUE(Step(100'000, WorkerHeard{Node(1)}).empty());
  EXPECT_EQ(Sent<OutcomeRecord>(Answer(110'000, 1, 1)).at(0).outcome, Outcome::kAccepted);
}

TEST_F(LeaseBookTest, WhatIsOverdueCanGoElsewhereAndWhatIsInTimeStays) {
  EXPECT_TRUE(Step(59'000, OverdueWanted{}).empty());
  const auto back = Only<TakeBack>(Step(60'000, OverdueWanted{}));
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].lease, LeaseId{1});
  EXPECT_TRUE(Step(60'001, OverdueWanted{}).empty()) << "once";
  EXPECT_EQ(Sent<OutcomeRecord>(Answer(61'000, 1, 1)).at(0).outcome, Outcome::kStale);
}

TEST_F(LeaseBookTest, TellsWhatThoseWhoWaitCouldTake) {
  EXPECT_EQ(book_.Wanted(100), 0u);
  Join(2);
  Join(3);
  const auto asks = Only<AskOrchestrator>(Step(0, WorkRequested{Node(2), 100}));
  static_cast<void>(Step(0, WorkOffered{asks.at(0).worker, {}}));
  EXPECT_EQ(book_.Wanted(100), 1u) << "one lease for a newcomer";
  static_cast<void>(Step(0, WorkRequested{Node(3), 100}));
  EXPECT_TRUE(book_.waiting());
  EXPECT_EQ(book_.Wanted(100), 2u);
  EXPECT_EQ(book_.Wanted(1), 1u);
  static_cast<void>(Step(0, RunDraining{}));
  EXPECT_EQ(book_.Wanted(100), 0u);
}

TEST_F(LeaseBookTest, ALateLeaseIsGrantedAnewAndItsGroupIsStale) {
  Join(2);
  for (const std::uint8_t node : {1, 2}) static_cast<void>(Step(40'000, WorkerHeard{Node(node)}));
  const auto early = Step(59'999, WorkRequested{Node(2), 100});
  EXPECT_TRUE(Only<TakeBack>(early).empty());  // in time still
  static_cast<void>(Step(59'999, WorkOffered{WorkerId{2}, {}}));
  const auto late = Step(60'000, TimePassed{});
  ASSERT_EQ(Only<TakeBack>(late).size(), 1u);  // before the question, so that the answer has it
  EXPECT_TRUE(std::holds_alternative<TakeBack>(late[0]));
  EXPECT_TRUE(std::holds_alternative<AskOrchestrator>(late[1]));
  const auto granted = Step(60'000, WorkOffered{WorkerId{2}, {Lease{.id = LeaseId{1}}}});
  EXPECT_EQ(Sent<LeaseGrant>(granted).size(), 1u);
  const auto stale = Sent<OutcomeRecord>(Answer(61'000, 1, 1));
  ASSERT_EQ(stale.size(), 1u);
  EXPECT_EQ(stale[0].outcome, Outcome::kStale);
  EXPECT_EQ(stale[0].worker, Node(1));
  EXPECT_EQ(Sent<OutcomeRecord>(Answer(62'000, 2, 1)).at(0).outcome, Outcome::kAccepted);
  EXPECT_EQ(book_.counts().open_grants, 0u);
}

// Worker 1, of unknown speed, holds lease 1 since 0 and is expected to need 60 s.
TEST_F(LeaseBookTest, AnIdleWorkerTakesOverWhatItWouldDoLongBefore) {
  static_cast<void>(book_.Step(now_, WorkerJoined{Node(2), 1000}));
  ASSERT_EQ(Only<AskOrchestrator>(Step(500, WorkRequested{Node(2), 8})).size(), 1u);
  static_cast<void>(Step(500, WorkOffered{WorkerId{2}, {}}));  // it has nothing else
  const auto nothing_else = [&](Milliseconds now) {
    const auto asks = Only<AskOrchestrator>(Step(now, TimePassed{}));
    return Step(now, WorkOffered{asks.at(0).worker, {}});
  };
  EXPECT_TRUE(Only<TakeBack>(nothing_else(999)).empty()) << "a second is anybody's";
  const auto effects = nothing_else(1'000);
  ASSERT_EQ(Only<TakeBack>(effects).size(), 1u);
  EXPECT_EQ(Only<TakeBack>(effects)[0].lease, LeaseId{1});
  EXPECT_EQ(Only<AskOrchestrator>(effects).size(), 1u);
  // The group that comes after that is stale, and tells how slow its worker is.
  const auto late = Sent<OutcomeRecord>(Step(9'000, GroupCame{Node(1), LeaseId{1}, {}, 90}));
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].outcome, Outcome::kStale);
}

TEST_F(LeaseBookTest, AWorkerThatIsNoFasterTakesNothingOver) {
  for (const std::uint32_t rate : {0u, 1u, 5u}) {  // unknown; and a group in 256 s, in 51 s
    const auto node = static_cast<std::uint8_t>(2 + rate);
    static_cast<void>(book_.Step(now_, WorkerJoined{Node(node), rate}));
    static_cast<void>(Step(now_, WorkRequested{Node(node), 8}));
  }
  for (Milliseconds now = now_; now < 9'000; now += 250) {
    for (const auto& ask : Only<AskOrchestrator>(Step(now, TimePassed{})))
      EXPECT_TRUE(Only<TakeBack>(Step(now, WorkOffered{ask.worker, {}})).empty()) << now;
  }
}

// Else a crowd of them would take the same leases from one another for ever.
TEST_F(LeaseBookTest, WhoeverMissesDeadlinesGetsLongerOnes) {
  static_cast<void>(book_.Step(now_, WorkerJoined{Node(2), 9'000}));
  std::vector<std::uint32_t> deadlines;
  for (std::uint64_t lease = 10; lease < 14; ++lease) {
    const auto granted = Sent<LeaseGrant>(Grant(now_, 2, lease));
    deadlines.push_back(granted.at(0).leases.at(0).deadline_ms);
    for (std::uint32_t passed = 0; passed < deadlines.back(); passed += 10'000)  // missed
      static_cast<void>(Step(now_ + 10'000, WorkerHeard{Node(2)}));
  }
  EXPECT_EQ(deadlines, (std::vector<std::uint32_t>{10'000, 20'000, 40'000, 60'000}));
  const auto granted = Sent<LeaseGrant>(Grant(now_, 2, 20));
  static_cast<void>(Answer(now_ + 50, 2, 20));
  EXPECT_EQ(Sent<LeaseGrant>(Grant(now_, 2, 21)).at(0).leases.at(0).deadline_ms, 10'000u);
}

TEST_F(LeaseBookTest, WhatIsNeverAnsweredExpiresOnce) {
  EXPECT_TRUE(Sent<OutcomeRecord>(Step(60'000 + 599'999, TimePassed{})).empty());
  const auto effects = Step(60'000 + 600'000, TimePassed{});
  EXPECT_EQ(Sent<OutcomeRecord>(effects).at(0).outcome, Outcome::kExpired);
  EXPECT_EQ(Only<TakeBack>(effects).size(), 1u);
  EXPECT_TRUE(Step(9'000'000, TimePassed{}).empty());
}

TEST_F(LeaseBookTest, EveryVerdictHasItsOutcome) {
  const auto outcome = [&](Verdict verdict, std::uint64_t lease) {
    Join(static_cast<std::uint8_t>(lease));
    static_cast<void>(Grant(now_, static_cast<std::uint8_t>(lease), lease));
    return Sent<OutcomeRecord>(Answer(now_, static_cast<std::uint8_t>(lease), lease, verdict))
        .at(0);
  };
  const auto rejected = outcome(Reject{RejectReason::kWrongTask, "no\n"}, 2);
  EXPECT_EQ(rejected.outcome, Outcome::kRejected);
  EXPECT_EQ(rejected.reason, RejectReason::kWrongTask);
  EXPECT_EQ(rejected.text, "no?");
  EXPECT_EQ(outcome(Reject{RejectReason::kStalePolicy, ""}, 3).outcome, Outcome::kStale);
  EXPECT_EQ(outcome(Fault{"disk"}, 4).outcome, Outcome::kFault);
  const auto back = Step(now_, LeasesReturned{Node(1), {.leases = {LeaseId{1}, LeaseId{1}}}});
  EXPECT_EQ(Sent<OutcomeRecord>(back).size(), 1u);
  EXPECT_EQ(Sent<OutcomeRecord>(back)[0].outcome, Outcome::kReturned);
}

TEST_F(LeaseBookTest, WhoeverCrashesWithLeasesWaitsTwiceAsLongEachTime) {
  Join(2);
  Milliseconds now = 0, expected = 1'000;
  for (std::uint64_t i = 0; i < 12; ++i) {
    static_cast<void>(Grant(now, 2, 100 + i));
    static_cast<void>(Step(now, WorkerLeft{Node(2)}));
    static_cast<void>(Step(now, WorkerJoined{Node(2)}));
    const auto told = Sent<SlowDown>(Step(now, WorkRequested{Node(2), 100}));
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].cause, SlowDownCause::kHoldOff);
    EXPECT_EQ(told[0].retry_after_ms, expected);
    now += expected;
    expected = std::min<Milliseconds>(expected * 2, 600'000);
  }
  static_cast<void>(Grant(now, 2, 200));
  static_cast<void>(Answer(now + 1, 2, 200));  // an honest group wipes the slate
  static_cast<void>(Grant(now + 1, 2, 201));
  static_cast<void>(Step(now + 1, WorkerLeft{Node(2)}));
  static_cast<void>(Step(now + 1, WorkerJoined{Node(2)}));
  EXPECT_EQ(Sent<SlowDown>(Step(now + 1, WorkRequested{Node(2), 1})).at(0).retry_after_ms, 1'000u);
}

TEST_F(LeaseBookTest, ASilentWorkerIsGoneAndMustSayHello) {
  EXPECT_TRUE(Step(60'000, TimePassed{}).empty());
  static_cast<void>(Step(60'001, TimePassed{}));
  EXPECT_EQ(book_.counts().present, 0u);
  EXPECT_EQ(Sent<Refusal>(Step(60'002, WorkerHeard{Node(1)})).at(0).kind,
            RefusalKind::kNotRegistered);
  static_cast<void>(Step(60'003, WorkerJoined{Node(1)}));
  EXPECT_EQ(Sent<OutcomeRecord>(Answer(60'004, 1, 1)).at(0).outcome, Outcome::kAccepted);
}

TEST_F(LeaseBookTest, TheUnknownGetOneLeaseAndTheProvenWhatTheyCanDo) {
  Join(2);
  const auto room = [&](Milliseconds now) {
    return Only<AskOrchestrator>(Step(now, WorkRequested{Node(2), 1000})).at(0).rollouts_max;
  };
  EXPECT_EQ(room(0), 1u);
  static_cast<void>(Step(0, WorkOffered{WorkerId{2}, {Lease{.id = LeaseId{50}, .group_size = 4}}}));
  EXPECT_EQ(Sent<SlowDown>(Step(0, WorkRequested{Node(2), 1000})).at(0).cause,
            SlowDownCause::kQuota);
  static_cast<void>(Answer(256, 2, 50));  // 256 tokens in 256 ms
  EXPECT_EQ(book_.RateOf(Node(2)), 1000u);
  EXPECT_EQ(room(256), 64u);  // 1000/s for 30 s at 64 a rollout are 468; one message carries 64
}

TEST_F(LeaseBookTest, TheQueueIsFirstComeFirstServedAndOnceEach) {
  for (std::uint8_t node = 2; node <= 4; ++node) Join(node);
  EXPECT_EQ(Only<AskOrchestrator>(Step(1, WorkRequested{Node(2), 9})).at(0).worker, WorkerId{2});
  EXPECT_TRUE(Step(1, WorkOffered{WorkerId{2}, {}}).empty());
  for (int i = 0; i < 3; ++i) {
    for (const std::uint8_t node : {2, 3, 4}) {
      for (const auto& ask : Only<AskOrchestrator>(Step(2, WorkRequested{Node(node), 9})))
        static_cast<void>(Step(2, WorkOffered{ask.worker, {}}));
    }
  }
  EXPECT_EQ(book_.counts().waiting, 3u);
  auto effects = Step(3, WorkMayExist{});
  for (std::uint64_t worker = 2; worker <= 4; ++worker) {
    ASSERT_EQ(Only<AskOrchestrator>(effects).at(0).worker.value, worker);
    effects = Step(3, WorkOffered{WorkerId{worker}, {Lease{.id = LeaseId{worker * 10}}}});
  }
  EXPECT_EQ(book_.counts().waiting, 0u);
}

TEST_F(LeaseBookTest, WhoWaitsTooLongIsToldSo) {
  Join(2);
  static_cast<void>(Step(0, WorkRequested{Node(2), 9}));
  static_cast<void>(Step(0, WorkOffered{WorkerId{2}, {}}));
  static_cast<void>(Step(59'000, WorkerHeard{Node(2)}));
  for (const auto& ask : Only<AskOrchestrator>(Step(59'000, WorkMayExist{})))
    static_cast<void>(Step(59'000, WorkOffered{ask.worker, {}}));
  const auto told = Sent<SlowDown>(Step(60'001, TimePassed{}));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].cause, SlowDownCause::kNoWork);
  EXPECT_EQ(book_.counts().waiting, 0u);
}

TEST_F(LeaseBookTest, ADrainingRunGrantsNothing) {
  Join(2);
  static_cast<void>(Step(0, WorkRequested{Node(2), 9}));
  static_cast<void>(Step(0, WorkOffered{WorkerId{2}, {}}));
  EXPECT_EQ(Sent<SlowDown>(Step(1, RunDraining{})).at(0).cause, SlowDownCause::kDraining);
  EXPECT_EQ(Sent<SlowDown>(Step(2, WorkRequested{Node(2), 9})).at(0).cause,
            SlowDownCause::kDraining);
  EXPECT_EQ(Sent<OutcomeRecord>(Answer(3, 1, 1)).at(0).outcome, Outcome::kAccepted);
}

TEST_F(LeaseBookTest, AFullBookForgetsWhoIsGoneAndNobodyElse) {
  LeaseBook book({.workers_max = 2});
  static_cast<void>(book.Step(0, WorkerJoined{Node(1)}));
  static_cast<void>(book.Step(0, WorkerJoined{Node(2)}));
  EXPECT_EQ(Sent<Refusal>(book.Step(0, WorkerJoined{Node(3)})).at(0).kind, RefusalKind::kFull);
  static_cast<void>(book.Step(0, WorkRequested{Node(1), 9}));
  static_cast<void>(book.Step(0, WorkOffered{WorkerId{1}, {Lease{.id = LeaseId{7}}}}));
  static_cast<void>(book.Step(1, WorkerLeft{Node(1)}));
  const auto effects = book.Step(2, WorkerJoined{Node(3)});
  EXPECT_EQ(Only<TakeBack>(effects).at(0).lease, LeaseId{7});
  EXPECT_EQ(Sent<OutcomeRecord>(effects).at(0).outcome, Outcome::kExpired);
  EXPECT_EQ(book.counts().present, 2u);
}

TEST(LeaseCrowd, NoLeaseIsLostAndNoGrantEndsTwice) {
  std::set<Outcome> outcomes;
  std::set<SlowDownCause> causes;
  std::set<RefusalKind> refusals;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    LeaseCrowd crowd(seed, kSmall, /*nodes=*/seed % 2 == 0 ? 8 : 40,
                     /*ahead=*/seed % 3 == 0 ? 3 : 64);
    for (int i = 0; i < 50'000; ++i) {
      crowd.RandomOperation();
      if (i % 16 == 0) crowd.CheckInvariants();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " operation " << i;
    }
    crowd.FinishWith(0);
    EXPECT_GT(crowd.source().done(), 1000u);
    EXPECT_EQ(crowd.outcomes(), crowd.book().counts().granted);
    for (const auto& [outcome, n] : crowd.outcomes_by_kind()) outcomes.insert(outcome);
    for (const auto& [cause, n] : crowd.slow_downs()) causes.insert(cause);
    for (const auto& [kind, n] : crowd.refusals()) refusals.insert(kind);
  }
  EXPECT_EQ(outcomes.size(), 6u);
  EXPECT_EQ(causes.size(), 4u);  // not kBusy, which is the transport's to say
  EXPECT_EQ(refusals.size(), 3u);
}

}  // namespace
}  // namespace waggle
