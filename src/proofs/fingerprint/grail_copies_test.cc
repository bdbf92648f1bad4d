// Copies between workers, and who pays for them: before 0.0.60 the victim too, since then the later
// alone, and whoever can date its file is the author.
#include "proofs/fingerprint/grail_copies.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace waggle {
namespace {

// Completions from..to-1, all different.
std::vector<Digest256> Completions(TokenId from, TokenId to) {
  std::vector<Digest256> out;
  for (TokenId i = from; i < to; ++i)
    out.push_back(GrailCompletionDigest(std::vector<TokenId>{i, 4, 5}));
  return out;
}
GrailFile File(const std::string& worker, std::optional<std::uint64_t> time, TokenId from,
               TokenId to, TokenId copied_from = 0, TokenId copied_to = 0) {
  GrailFile file{worker, time, Completions(from, to)};
  const auto copied = Completions(copied_from, copied_to);
  file.completions.insert(file.completions.end(), copied.begin(), copied.end());
  return file;
}
using Names = std::set<std::string>;

TEST(GrailCopies, TheDigestIsThePublishedOne) {
  EXPECT_EQ(ToHex(Completions(3, 4)[0]),
            "251e3c94506e86df03eedb498e73490db6ee18a5218e27977f64c8399006937a");
}

// 5 of 100 is a copy in a window, 4 is not.
TEST(GrailCopies, TheThresholdOfAWindow) {
  for (const TokenId copied : {4, 5}) {
    CopyWatch watch(CopyGate::kLater);
    const auto found =
        watch.Window({File("ann", 10, 0, 200), File("bob", 20, 1000, 1100 - copied, 0, copied)});
    ASSERT_EQ(found.pairs.size(), 1u) << "4 of 100 is more than 3 % of an interval of one window";
    EXPECT_EQ(found.pairs[0].interval, copied == 4);
    EXPECT_EQ(found.pairs[0].shared, static_cast<std::uint64_t>(copied));
    EXPECT_EQ(found.pairs[0].smaller, 100u);
    EXPECT_EQ(found.gated, Names{"bob"});
  }
  CopyWatch watch(CopyGate::kLater);
  EXPECT_TRUE(
      watch.Window({File("ann", 10, 0, 200), File("bob", 20, 1000, 1098, 0, 2)}).pairs.empty());
}

TEST(GrailCopies, VictimsWerePunishedToo) {
  const std::vector<GrailFile> files = {File("copier", 20, 1000, 1050, 0, 50),
                                        File("victim", 10, 0, 100), File("third", 15, 2000, 2100)};
  EXPECT_EQ(CopyWatch(CopyGate::kBoth).Window(files).gated, (Names{"copier", "victim"}));
  EXPECT_EQ(CopyWatch(CopyGate::kLater).Window(files).gated, Names{"copier"});
}

TEST(GrailCopies, BothAreSparedWithoutTimes) {
  for (const std::optional<std::uint64_t> time : {std::optional<std::uint64_t>(10), {}}) {
    CopyWatch watch(CopyGate::kLater);
    const auto found = watch.Window({File("ann", 10, 0, 100), File("bob", time, 0, 100)});
    EXPECT_EQ(found.pairs.size(), 1u);
    EXPECT_TRUE(found.gated.empty());
  }
}

// The time is the worker's own bucket's: a copier that dates back has its victim gated. Places in a
// ledger cannot be chosen.
TEST(GrailCopies, WhoDatesBackIsTheAuthor) {
  const auto gated = [](std::uint64_t victim, std::uint64_t copier) {
    return CopyWatch(CopyGate::kLater)
        .Window({File("victim", victim, 0, 100), File("copier", copier, 0, 100)})
        .gated;
  };
  EXPECT_EQ(gated(10, 9), Names{"victim"});
  EXPECT_EQ(gated(1, 2), Names{"copier"});  // entries 1 and 2
}

// 4 % each window is below the threshold of none, and above that of twelve; the interval forgets.
TEST(GrailCopies, TheIntervalCatchesWhatAWindowDoesNot) {
  CopyWatch watch(CopyGate::kLater);
  // A window in which half is copied, then clean ones: the share of the interval falls.
  EXPECT_EQ(watch.Window({File("ann", 1, 0, 100), File("bob", 2, 1000, 1080, 0, 20)}).gated,
            Names{"bob"});
  std::size_t gated = 0;
  for (TokenId w = 1; w < 12; ++w) {
    const TokenId base = 10'000 * w;
    // Times the other way round: who was later is told where they shared.
    const auto found =
        watch.Window({File("ann", 9, base, base + 100), File("bob", 3, base + 1000, base + 1100)});
    for (const CopyPair& pair : found.pairs) EXPECT_TRUE(pair.interval);
    EXPECT_TRUE(found.gated.empty() || found.gated == Names{"bob"});
    gated += found.gated.size();
  }
  EXPECT_EQ(gated, 5u);  // 20 of 200 .. of 600
  // Once the window is forgotten, nothing is left of it.
  EXPECT_TRUE(watch.Window({File("ann", 9, 1, 2), File("bob", 3, 5, 6)}).pairs.empty());
}

// As multisets: the same completion ten times is shared as often as the other has it.
TEST(GrailCopies, CountsAreMinima) {
  GrailFile ann{"ann", 1, std::vector<Digest256>(10, Completions(0, 1)[0])},
      bob = File("bob", 2, 0, 10);
  const auto found = CopyWatch(CopyGate::kLater).Window({ann, bob});
  ASSERT_EQ(found.pairs.size(), 1u);
  EXPECT_EQ(found.pairs[0].shared, 1u);
  EXPECT_EQ(found.pairs[0].smaller, 10u);
  EXPECT_TRUE(CopyWatch(CopyGate::kLater).Window({{"ann", 1, {}}, {"bob", 2, {}}}).pairs.empty());
}

// Tasks with few answers: honest workers share them. The check is for long texts.
TEST(GrailCopies, FewPossibleAnswersLookLikeCopies) {
  const auto found =
      CopyWatch(CopyGate::kLater).Window({File("ann", 1, 0, 41), File("bob", 2, 0, 41)});
  EXPECT_EQ(found.gated, Names{"bob"});
}

}  // namespace
}  // namespace waggle
