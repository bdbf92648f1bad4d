// Bets are fair to the honest, tell cheats apart, and add up over a node's life: honest nodes are
// not found in tens of thousands of batches, small cheats are, also after a long honest life.
#include "proofs/fingerprint/node_record.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/test_engine.h"
#include "proofs/fingerprint/test_views.h"
#include "proofs/fingerprint/tier.h"

namespace waggle {
namespace {

constexpr std::size_t kVocab = 12;
constexpr double kRace = 0.01;

// A distribution like a model's: some tokens certain, some not.
std::vector<double> AnyDistribution(Rng& rng) {
  std::vector<double> p(kVocab);
  const double sharpness = 6 * rng.Unit();
  double sum = 0;
  for (double& q : p) sum += q = std::exp(sharpness * (rng.Unit() - 0.5) * 2);
  for (double& q : p) q /= sum;
  return p;
}

std::vector<double> Tilted(std::vector<double> p, double exponent) {
  double sum = 0;
  for (double& q : p) sum += q = std::pow(q, exponent);
  for (double& q : p) q /= sum;
  return p;
}

TokenId Draw(const std::vector<double>& p, Rng& rng) {
  double left = rng.Unit();
  for (std::size_t i = 0; i + 1 < p.size(); ++i) {
    left -= p[i];
    if (left < 0) return static_cast<TokenId>(i);
  }
  return static_cast<TokenId>(p.size() - 1);
}

TokenView ViewOf(const std::vector<double>& p, TokenId token, bool lost) {
  const double mass = p[static_cast<std::size_t>(token)];
  return {.gap = lost ? 1.0 : 0.0,
          .mass_before = Pit(p, token, 0.0),
          .mass = mass,
          .top = *std::max_element(p.begin(), p.end()),
          .tilts = TiltsOf(p, token)};
}

using Sampler = std::function<std::vector<double>(const std::vector<double>&)>;

// A batch of `tokens`, drawn as `sampler` makes of the validator's probabilities; each race is lost
// with `loss` times 4 m(1-m).
SamplingBets Batch(Rng& rng, std::size_t tokens, const Sampler& sampler, double loss = 0) {
  RolloutView view;
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::vector<double> p = AnyDistribution(rng);
    const double m = std::max(*std::max_element(p.begin(), p.end()), .5);
    view.tokens.push_back(ViewOf(p, Draw(sampler(p), rng), rng.Unit() < loss * 4 * m * (1 - m)));
  }
  Digest256 challenge{};
  for (std::uint8_t& byte : challenge) byte = static_cast<std::uint8_t>(rng.Below(256));
  return SamplingBetsOf(view, challenge, kRace);
}

const Sampler kHonest = [](const std::vector<double>& p) { return p; };
Sampler AtTemperature(double t) {
  return [t](const std::vector<double>& p) { return Tilted(p, 1 / t); };
}
const Sampler kTopP = [](std::vector<double> p) {
  std::vector<std::size_t> order(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
  double kept = 0;
  for (const std::size_t i : order) {
    const double mass = p[i];
    if (kept >= 0.95) p[i] = 0;
    kept += mass;
  }
  return Tilted(p, 1);
};

NodeId Node(std::uint8_t number) {
  NodeId node;
  node.value.fill(number);
  return node;
}

// The mean of what each tilt pays, when `q` is drawn from and `p` is the validator's: exactly.
std::array<double, kTiltBets> MeanPay(const std::vector<double>& p, const std::vector<double>& q) {
  std::array<double, kTiltBets> mean{};
  for (std::size_t token = 0; token < p.size(); ++token) {
    const TokenTilts tilts = TiltsOf(p, static_cast<TokenId>(token));
    for (std::size_t i = 0; i < kTiltBets; ++i) mean[i] += q[token] * std::exp(tilts[i]);
  }
  return mean;
}

TEST(SamplingBets, TiltsAreFairAtTheEdgeAndALossWithin) {
  Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<double> p = AnyDistribution(rng);
    const auto up = MeanPay(p, Tilted(p, 1 + 1. / 64)), down = MeanPay(p, Tilted(p, 1 - 1. / 64)),
               none = MeanPay(p, p);
    for (std::size_t i = 0; i < kTiltBets; ++i) {
      EXPECT_NEAR((i < 4 ? up : down)[i], 1, 1e-9);
      EXPECT_LE(none[i], 1 + 1e-12);
      EXPECT_LE((i < 4 ? down : up)[i], none[i] + 1e-12);  // farther on the honest side: less
    }
    // Whom a bet is made for loses to it.
    EXPECT_GE(MeanPay(p, Tilted(p, 1.125))[1], 1);
    EXPECT_GE(MeanPay(p, Tilted(p, 0.875))[5], 1);
  }
}

TEST(SamplingBets, TokensOfNoProbabilityPayNothingToTilts) {
  const std::vector<double> p = {0.5, 0.5, 0};
  EXPECT_EQ(TiltsOf(p, 2), TokenTilts{});
  RolloutView view;
  view.tokens = {ViewOf(p, 2, true)};
  const SamplingBets bets = SamplingBetsOf(view, {}, kRace);
  for (std::size_t i = 0; i < kTiltBets + kTailBets; ++i) EXPECT_EQ(bets.won[i], 0) << i;
  EXPECT_GT(bets.won[kSamplingBets - 1], 0);  // but its race was lost
  EXPECT_EQ(bets.lost, 1u);
}

// Payments of tails and races, by the chances that they are fair at: u is uniform, a race is lost
// with e c.
TEST(SamplingBets, TailsAndRacesAreFair) {
  const std::vector<double> p(16, 1. / 16);
  const auto pay = [&](TokenId token, bool lost, std::uint8_t challenge) {
    RolloutView view;
    view.tokens = {ViewOf(p, token, lost)};
    return SamplingBetsOf(view, {challenge}, kRace);
  };
  std::array<double, kSamplingBets> mean{};
  constexpr int kRounds = 64;
  for (TokenId token = 0; token < 16; ++token) {
    for (int c = 0; c < kRounds; ++c) {
      const auto bets = pay(token, false, static_cast<std::uint8_t>(c));
      for (std::size_t i = kTiltBets; i < kTiltBets + kTailBets; ++i)
        mean[i] += std::exp(1e-6 * static_cast<double>(bets.won[i])) / (16 * kRounds);
    }
  }
  // Within the margin of an eighth honest nodes lose; a tail of a sixteenth is one token here, so
  // its mean is exact, and that of a 64th is over the variates.
  for (std::size_t i = kTiltBets; i < kTiltBets + kTailBets; ++i) EXPECT_LE(mean[i], 1.05) << i;
  EXPECT_NEAR(mean[kTiltBets + 1],
              1. / 16 * (.125 / .875) + 15. / 16 * (1 - .125 / 16) / (1 - .875 / 16), 1e-5);
  for (std::size_t i = kTiltBets + kTailBets; i < kSamplingBets; ++i) {
    const double won = std::exp(1e-6 * static_cast<double>(pay(3, true, 0).won[i])),
                 lost = std::exp(1e-6 * static_cast<double>(pay(3, false, 0).won[i]));
    EXPECT_NEAR(kRace * won + (1 - kRace) * lost, 1, 1e-4) << i;
    EXPECT_LE(kRace * won + (1 - kRace) * lost, 1) << i;  // rounded down
  }
}

// 40 nodes of 500 batches each, engines with a logit error as large as the tolerance and a
// temperature off by a per cent among them: nobody is found.
TEST(NodeRecords, HonestNodesAreNotFound) {
  NodeRecords records;
  Rng rng(7);
  for (std::uint64_t epoch = 1; epoch <= 500; ++epoch) {
    for (std::uint8_t node = 1; node <= 40; ++node) {
      const bool noisy = node % 2 == 0;
      const double off = node % 4 == 0 ? 1.01 : 0.99;
      const auto bets = Batch(rng, 8, noisy ? AtTemperature(off) : kHonest, noisy ? kRace : 0);
      ASSERT_FALSE(records.Feed(Node(node), epoch, bets)) << int{node} << " " << epoch;
    }
  }
  EXPECT_EQ(records.size(), 40u);
}

// How many batches of 200 tokens it takes.
std::uint64_t BatchesUntilFound(const Sampler& sampler, double loss, std::uint64_t most,
                                std::string* what = nullptr) {
  NodeRecords records;
  Rng rng(11);
  for (std::uint64_t epoch = 1; epoch <= most; ++epoch) {
    const auto found = records.Feed(Node(1), epoch, Batch(rng, 200, sampler, loss));
    if (!found) continue;
    if (what != nullptr) *what = found->what;
    EXPECT_EQ(found->batches, epoch);
    return epoch;
  }
  return most + 1;
}

TEST(NodeRecords, SmallCheatsAreFound) {
  std::string what;
  EXPECT_LE(BatchesUntilFound(AtTemperature(0.9), 0, 100, &what), 100u);
  EXPECT_NE(what.find("colder"), std::string::npos) << what;
  EXPECT_LE(BatchesUntilFound(AtTemperature(1.12), 0, 100, &what), 100u);
  EXPECT_NE(what.find("hotter"), std::string::npos) << what;
  EXPECT_LE(BatchesUntilFound(kTopP, 0, 30, &what), 30u);
  EXPECT_LE(BatchesUntilFound(kHonest, 4 * kRace, 30, &what), 30u);
  EXPECT_NE(what.find("race"), std::string::npos) << what;
  // And the first of them by nothing that one batch shows.
  EXPECT_GT(BatchesUntilFound(AtTemperature(0.9), 0, 100), 3u);
}

// A long honest life is no credit: after 5,000 batches a cheat is found with a few more than at
// first. And who mends leaves the limit behind.
TEST(NodeRecords, NobodySavesUpAndWhoMendsIsLeftAlone) {
  NodeRecords records;
  Rng rng(13);
  std::uint64_t epoch = 0;
  for (; epoch < 5000; ++epoch)
    ASSERT_FALSE(records.Feed(Node(1), epoch + 1, Batch(rng, 4, kHonest)));
  std::uint64_t cheated = 0;
  while (!records.Feed(Node(1), ++epoch, Batch(rng, 200, AtTemperature(0.8))))
    ASSERT_LT(++cheated, 60u);
  EXPECT_GE(cheated, 3u);
  EXPECT_EQ(records.DistanceOf(Node(1)), 0.0);
  std::uint64_t found = 0;
  for (int i = 0; i < 20; ++i)
    found += records.Feed(Node(1), ++epoch, Batch(rng, 200, AtTemperature(0.8))) ? 1 : 0;
  EXPECT_GE(found, 12u);  // nearly every batch of who goes on
  for (int i = 0; i < 60; ++i)
    static_cast<void>(records.Feed(Node(1), ++epoch, Batch(rng, 200, kHonest)));
  EXPECT_GT(*records.DistanceOf(Node(1)), 5.0);
  EXPECT_FALSE(records.Feed(Node(1), ++epoch, Batch(rng, 200, kHonest)));
}

SamplingBets Won(std::int64_t nats) {
  SamplingBets bets{.tokens = 1};
  bets.won[0] = nats * 1'000'000;
  return bets;
}

TEST(NodeRecords, ABatchCountsOnce) {
  NodeRecords records;
  EXPECT_FALSE(records.Feed(Node(1), 5, Won(10)));
  const Bytes once = records.Encode();
  EXPECT_FALSE(records.Feed(Node(1), 5, Won(10)));         // again
  EXPECT_FALSE(records.Feed(Node(1), 4, Won(100)));        // older
  EXPECT_FALSE(records.Feed(Node(1), 6, SamplingBets{}));  // of an exact run
  EXPECT_EQ(records.Encode(), once);
  // ln(18e6) = 16.7 nats, and ln(1*2) for the first batch.
  EXPECT_FALSE(records.Feed(Node(1), 6, Won(7)));
  EXPECT_TRUE(records.Feed(Node(1), 7, Won(1)));
  EXPECT_TRUE(records.Feed(Node(1), 7, Won(0)));  // the same answer again
  EXPECT_FALSE(records.Feed(Node(2), 7, Won(1)));
}

TEST(NodeRecords, ARecordThatIsSavedGoesOnAsItWas) {
  NodeRecords records;
  Rng rng(3);
  for (std::uint64_t epoch = 1; epoch < 20; ++epoch)
    for (std::uint8_t node = 1; node < 5; ++node)
      static_cast<void>(records.Feed(Node(node), epoch, Batch(rng, 50, AtTemperature(0.85))));
  const Bytes bytes = records.Encode();
  NodeRecords again = NodeRecords::Decode(bytes).value();
  EXPECT_EQ(again.Encode(), bytes);
  for (std::uint64_t epoch = 20; epoch < 60; ++epoch) {
    const SamplingBets bets = Batch(rng, 50, AtTemperature(0.85));
    EXPECT_EQ(records.Feed(Node(2), epoch, bets).has_value(),
              again.Feed(Node(2), epoch, bets).has_value());
  }
  EXPECT_EQ(records.Encode(), again.Encode());
  // What nobody wrote: each byte off, each length.
  for (std::size_t i = 0; i < bytes.size(); i += 7) {
    Bytes other = bytes;
    other[i] ^= 0x80;
    if (const auto read = NodeRecords::Decode(other)) {
      EXPECT_EQ(read->Encode(), other);
    } else {
      EXPECT_EQ(read.error().blame, Blame::kMachine);
    }
    EXPECT_FALSE(NodeRecords::Decode(std::span(bytes).first(i)));
  }
}

TEST(NodeRecords, MemoryIsBounded) {
  NodeRecords records;
  for (std::uint32_t i = 0; i < kRecordsMax + 10; ++i) {
    NodeId node;
    node.value[0] = static_cast<std::uint8_t>(i), node.value[1] = static_cast<std::uint8_t>(i >> 8);
    static_cast<void>(records.Feed(node, 1, Won(-1)));
  }
  EXPECT_EQ(records.size(), kRecordsMax);
  EXPECT_FALSE(records.DistanceOf(NodeId{}));  // the first went first
  EXPECT_LE(records.Encode().size(), kRecordBytesMax);
  EXPECT_TRUE(NodeRecords::Decode(records.Encode()));
}

// On a model: the key's own answers win nothing, colder ones do; the tiers that keep records.
TEST(NodeRecords, OfRolloutsOfAModel) {
  testing_views::SmallRun run(2, 1, 70);
  const RolloutClaim claim = testing_views::HonestClaim(run, 0);
  const auto model = testing_models::MakeModel(run.config, run.parameters, BestOps());
  const RolloutView view = LookAt(*model, run.pool, claim).value();
  const SamplingBets bets = SamplingBetsOf(view, {}, kRace);
  EXPECT_EQ(bets.tokens, claim.response());
  EXPECT_EQ(bets.lost, 0u);
  for (std::size_t i = kTiltBets + kTailBets; i < kSamplingBets; ++i) EXPECT_LT(bets.won[i], 0);
  const FingerprintScope scope = ScopeOf(Hash256{9}, Lease{}, 0);
  for (const TierDoc& doc : FingerprintTiers()) {
    const auto tier =
        FingerprintTier::Make(doc.name, std::vector<std::string>{"record=0.02"}).value();
    const Bytes posted = tier->Prove(scope, view).value();
    const Digest256 challenge{};
    for (const bool greedy : {false, true}) {
      const auto finding = tier->Judge({.scope = scope,
                                        .posted = posted,
                                        .challenge = challenge,
                                        .logps = claim.logps,
                                        .own = view,
                                        .greedy = greedy});
      const bool keeps = doc.name == "toploc+" || doc.name == "dense";
      EXPECT_EQ(finding->bets.tokens, keeps && !greedy ? claim.response() : 0) << doc.name;
    }
  }
  for (const std::string text : {"record=", "record=0", "record=1", "record=x", "record=0.1/0.1"})
    EXPECT_FALSE(FingerprintTier::Make("dense", std::vector<std::string>{text})) << text;
}

}  // namespace
}  // namespace waggle
