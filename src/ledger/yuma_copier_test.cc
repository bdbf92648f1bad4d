// What copying the others' weights earns, with commit-reveal and without (sheet grail.md 9.2): the
// reason why weights are first a hash.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "base/philox.h"
#include "ledger/test_yuma.h"
#include "ledger/weights.h"

namespace waggle {
namespace {

constexpr std::uint16_t kHonest = 5, kValidators = 6, kMiners = 8;
constexpr std::uint64_t kTempo = 360;
constexpr int kEpochs = 200;

class Simulation {
 public:
  // `drift`: how far a miner's quality moves in an epoch.
  Simulation(bool commit_reveal, std::uint32_t drift, YumaVersion version)
      : drift_(drift),
        settings_{.version = version, .commit_reveal = commit_reveal},
        book_({.tempo = kTempo, .rate_limit = 100, .commit_reveal = commit_reveal}),
        rng_(1, 1) {
    for (std::uint16_t uid = 0; uid < kValidators + kMiners; ++uid)
      EXPECT_TRUE(book_.Register(uid, 0).has_value());
    for (auto& quality : quality_) quality = 500 + rng_.Below(500);
  }

  // What the copier earned of what an honest validator of equal stake did, in percent.
  std::uint64_t Percent() {
    for (int epoch = 1; epoch <= kEpochs; ++epoch) Step(static_cast<std::uint64_t>(epoch));
    return earned_[kHonest] * 100 * kHonest / honest_;
  }

 private:
  static WeightsSpeaker SpeakerOf(std::uint16_t uid) {
    WeightsSpeaker speaker{.uid = uid, .stake = 1, .permit = true};
    speaker.who.fill(static_cast<std::uint8_t>(uid));
    return speaker;
  }

  // An honest validator measures, with an error of its own of 2 %.
  std::vector<std::uint16_t> Measured() {
    std::vector<std::uint16_t> values;
    for (const std::uint32_t quality : quality_)
      values.push_back(static_cast<std::uint16_t>(quality * (980 + rng_.Below(41)) / 100));
    return values;
  }
  // What everybody can see now: the mean of what stands in the book.
  std::vector<std::uint16_t> Visible(std::uint64_t now) {
    std::vector<std::uint32_t> sums(kMiners, 0);
    const YumaEpoch seen = book_.Epoch(now, 1);
    for (std::uint16_t uid = 0; uid < kHonest; ++uid)
      for (const YumaEntry& entry : seen.weights[uid]) sums[entry.uid - kValidators] += entry.value;
    std::vector<std::uint16_t> values;
    for (const std::uint32_t sum : sums)
      values.push_back(static_cast<std::uint16_t>(sum / kHonest));
    return values;
  }

  void Say(std::uint16_t uid, std::vector<std::uint16_t> values, std::uint64_t now) {
    WeightsPayload payload{.who = SpeakerOf(uid).who};
    for (std::uint16_t j = 0; j < kMiners; ++j)
      payload.uids.push_back(static_cast<std::uint16_t>(kValidators + j));
    payload.values = std::move(values);
    if (!settings_.commit_reveal) {
      EXPECT_TRUE(book_.Set(SpeakerOf(uid), payload, now).has_value());
      return;
    }
    if (!secret_[uid].uids.empty()) {
      EXPECT_TRUE(book_.Reveal(SpeakerOf(uid), secret_[uid], now).has_value());
    }
    payload.salt.fill(static_cast<std::uint8_t>(rng_.NextU32()));
    EXPECT_TRUE(book_.Commit(SpeakerOf(uid), CommitOf(payload), now).has_value());
    secret_[uid] = payload;
  }

  void Step(std::uint64_t number) {
    for (auto& quality : quality_) {
      const std::uint32_t moved = quality + rng_.Below(2 * drift_ + 1) - drift_;
      quality = std::clamp<std::uint32_t>(moved, 100, 1000);
    }
    const std::uint64_t start = number * kTempo;
    for (std::uint16_t uid = 0; uid < kHonest; ++uid) Say(uid, Measured(), start + 10 + uid);
    Say(kHonest, Visible(start + 200), start + 200);  // does no work, waits, copies
    YumaEpoch epoch = book_.Epoch(start + kTempo - 1, start);
    for (std::uint16_t uid = 0; uid < kValidators; ++uid) {
      epoch.neurons[uid].stake = kYumaTestStake;
      epoch.neurons[uid].permit = true;
    }
    epoch.bonds = bonds_;
    const auto outcome = RunYuma(settings_, epoch);
    ASSERT_TRUE(outcome.has_value()) << outcome.error().what;
    bonds_ = outcome->bonds;
    const YumaEmission paid = SplitEmission(*outcome, 1'000'000'000);
    for (std::uint16_t uid = 0; uid < kValidators; ++uid) {
      earned_[uid] += paid.validator[uid];
      if (uid < kHonest) honest_ += paid.validator[uid];
    }
  }

  const std::uint32_t drift_;
  const YumaSettings settings_;
  WeightsBook book_;
  Rng rng_;
  std::array<std::uint32_t, kMiners> quality_{};
  std::array<WeightsPayload, kValidators> secret_{};
  std::vector<YumaRow> bonds_;
  std::array<std::uint64_t, kValidators> earned_{};
  std::uint64_t honest_ = 0;
};

std::uint64_t Percent(bool commit_reveal, std::uint32_t drift, YumaVersion version) {
  return Simulation(commit_reveal, drift, version).Percent();
}

// Equal stake, eight miners, 200 epochs. In the open, copying earns what work earns.
TEST(Copier, EarnsAsMuchInTheOpen) {
  for (const YumaVersion version : {YumaVersion::k2, YumaVersion::k3})
    for (const std::uint32_t drift : {0, 50, 150, 400})
      EXPECT_GE(Percent(false, drift, version), 99u) << drift;
}

// Behind commits it says what was true an epoch ago, and earns the less the more miners change.
TEST(Copier, EarnsLessBehindCommits) {
  for (const YumaVersion version : {YumaVersion::k2, YumaVersion::k3}) {
    std::uint64_t before = 100;
    for (const std::uint32_t drift : {0, 50, 150, 400}) {
      const std::uint64_t percent = Percent(true, drift, version);
      EXPECT_LT(percent, before) << drift;
      before = percent;
    }
    EXPECT_LE(before, 86u);
  }
}

}  // namespace
}  // namespace waggle
