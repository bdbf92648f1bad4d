// Which batches a trainer can sign where they form by arrival: runs in which groups come in any
// order that leases allow, and what is left of them when something is changed.
#include "audit/steps/arrival_order.h"

#include <gtest/gtest.h>

#include "audit/test_keys.h"
#include "base/philox.h"
#include "run/lease_maker.h"

namespace waggle {
namespace {

const Hash256 kRun{7};

struct Said {
  SignedStep step;
  void Sign(const KeyPair& key) {
    StepClaim claim = step.step.claim;
    claim.leases = LeasesHash(step.leases);
    step.step = SignClaim(claim, key);
    WindowClaim window = step.window->window.claim;
    window.items = static_cast<std::uint32_t>(step.window->leases.size());
    window.order->leases = LeasesHash(step.window->leases);
    step.window->window = SignClaim(window, key);
  }
};

class ArrivalOrderTest : public ::testing::Test {
 protected:
  // A run of honest steps: before each, some of the leases that are out come back, in any order, at
  // least as many as the batch needs.
  std::vector<Said> Run(std::uint64_t steps, std::uint64_t seed) const {
    Rng rng(seed);
    std::vector<LeaseId> out, queue;
    std::vector<Said> said;
    std::uint64_t waves = 0, accepted = 0;
    for (std::uint64_t v = 0; v < steps; ++v) {
      for (; waves <= v + terms_.ahead && waves < steps; ++waves) {
        for (std::uint32_t i = 0; i < terms_.groups; ++i) out.push_back(LeaseIdOf(waves, i));
      }
      Said one;
      one.step.window.emplace();
      one.step.step.claim = {.run = kRun, .version = PolicyVersion{v}};
      one.step.window->window.claim = {
          .run = kRun, .version = PolicyVersion{v}, .order = WindowOrder{accepted, {}}};
      const std::size_t needed = terms_.groups - std::min<std::size_t>(queue.size(), terms_.groups);
      const std::size_t come = needed + rng.Below(out.size() - needed + 1);
      for (std::size_t i = 0; i < come; ++i, ++accepted) {
        const std::size_t at = rng.Below(out.size());
        one.step.window->leases.push_back(out[at]);
        queue.push_back(out[at]);
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(at));
      }
      const auto end = queue.begin() + static_cast<std::ptrdiff_t>(terms_.groups);
      one.step.leases.assign(queue.begin(), end);
      queue.erase(queue.begin(), end);
      one.Sign(key_);
      said.push_back(std::move(one));
    }
    return said;
  }
  // What somebody says who hears of all steps from `first` on.
  std::optional<ArrivalOrder::Lie> Follow(const std::vector<Said>& said,
                                          std::size_t first = 0) const {
    ArrivalOrder order(terms_, kRun);
    for (std::size_t i = first; i < said.size(); ++i) {
      EXPECT_TRUE(WindowHolds(said[i].step, key_.id()));
      if (auto lie = order.Note(said[i].step, key_.id())) return lie;
    }
    return std::nullopt;
  }
  void ExpectProved(const std::vector<Said>& said, const std::string& why) const {
    const auto lie = Follow(said);
    ASSERT_TRUE(lie && lie->proof);
    EXPECT_NE(lie->why.find(why), std::string::npos) << lie->why;
    const OrderShown shown = ShowOrder(*lie->proof, terms_, kRun, key_.id());
    EXPECT_EQ(shown.kind, OrderShown::Kind::kLie) << shown.why;
    // And to nobody about anybody else.
    EXPECT_EQ(ShowOrder(*lie->proof, terms_, kRun, Key(9).id()).kind, OrderShown::Kind::kNothing);
    EXPECT_EQ(ShowOrder(*lie->proof, terms_, Hash256{8}, key_.id()).kind,
              OrderShown::Kind::kNothing);
  }

  const KeyPair key_ = Key(3);
  ArrivalTerms terms_{.groups = 4, .ahead = 2, .steps = 100};
};

TEST_F(ArrivalOrderTest, WhateverComesFirstAnHonestTrainerIsBelieved) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    terms_.ahead = seed % 4;
    const std::vector<Said> said = Run(12, seed);
    for (const std::size_t first : {0, 1, 5}) {
      const auto lie = Follow(said, first);
      EXPECT_FALSE(lie) << "seed " << seed << ": " << lie->why;
    }
  }
}

TEST_F(ArrivalOrderTest, AGroupThatIsLeftOutOrMovedIsProved) {
  std::vector<Said> said = Run(12, 1);
  said[6].step.leases.pop_back();
  said[6].Sign(key_);
  ExpectProved(said, "is due in its place 3 and is not there");
  said = Run(12, 1);
  std::swap(said[6].step.leases[0], said[6].step.leases[1]);
  said[6].Sign(key_);
  ExpectProved(said, "is due in its place 0");
  said = Run(12, 1);
  said[6].step.leases.push_back(LeaseIdOf(6, 9));
  said[6].Sign(key_);
  ExpectProved(said, "is in it and is not due");
  // What a filter may do, and what it may not.
  terms_.whole = false;
  said = Run(12, 1);
  said[6].step.leases.erase(said[6].step.leases.begin());
  said[6].Sign(key_);
  EXPECT_FALSE(Follow(said));
  std::swap(said[7].step.leases[0], said[7].step.leases[1]);
  said[7].Sign(key_);
  ExpectProved(said, "is in it and is not due");
}

TEST_F(ArrivalOrderTest, WindowsThatDoNotGoOnFromOneAnotherAreProved) {
  std::vector<Said> said = Run(12, 2);
  for (std::size_t i = 5; i < said.size(); ++i) {  // one group less was accepted, from here on
    ++said[i].step.window->window.claim.order->first;
    said[i].Sign(key_);
  }
  ExpectProved(said, "begins at place");
  said = Run(12, 2);
  said[0].step.window->window.claim.order->first = 1;
  said[0].Sign(key_);
  ExpectProved(said, "0 groups were accepted before it");
  // Windows that name less than the batch.
  said = Run(3, 2);
  for (Said& one : said) {
    one.step.window->leases.clear();
    one.step.window->window.claim.order->first = 0;
    one.Sign(key_);
  }
  ExpectProved(said, "windows name places 0 to 0");
}

TEST_F(ArrivalOrderTest, NumbersPastTheRunAreNoProof) {
  Said one;
  one.step.window.emplace();
  for (const std::uint64_t version : {std::uint64_t{100}, ~std::uint64_t{0} / 4}) {
    const PolicyVersion last{version};
    one.step.step.claim = {.run = kRun, .version = last};
    one.step.leases = {LeaseIdOf(1, 1)};
    OrderProof proof;
    for (std::uint64_t v = version - terms_.ahead; v <= version; ++v) {
      one.step.window->window.claim = {.run = kRun,
                                       .version = PolicyVersion{v},
                                       .order = WindowOrder{~std::uint64_t{0} - 1, {}}};
      one.step.window->leases = {LeaseIdOf(1, 1), LeaseIdOf(1, 2)};
      one.Sign(key_);
      proof.windows.push_back({one.step.window->window, one.step.window->leases});
    }
    proof.step = one.step.step;
    proof.leases = one.step.leases;
    const OrderShown shown = ShowOrder(proof, terms_, kRun, key_.id());
    EXPECT_EQ(shown.kind, OrderShown::Kind::kNothing) << shown.why;
  }
}

TEST_F(ArrivalOrderTest, AStepWithoutOrderIsRefusedAndProvesNothing) {
  std::vector<Said> said = Run(3, 2);
  said[1].step.window->window.claim.order.reset();
  said[1].step.window->window = SignClaim(said[1].step.window->window.claim, key_);
  const auto lie = Follow(said);
  ASSERT_TRUE(lie);
  EXPECT_FALSE(lie->proof);
  // Where batches are waves nothing is looked at.
  terms_ = {};
  EXPECT_FALSE(Follow(said));
}

}  // namespace
}  // namespace waggle
