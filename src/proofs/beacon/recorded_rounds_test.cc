#include "proofs/beacon/recorded_rounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/files.h"
#include "base/hex.h"

namespace waggle {
namespace {

std::string Fixture(const std::string& name) {
  const char* source = std::getenv("WAGGLE_SOURCE");
  const auto text = ReadFile(
      std::string(source == nullptr ? "." : source) + "/tests/golden/beacons/" + name, 1 << 20);
  return text ? *text : text.error().what;
}

std::string Refusal(const std::string& text) {
  const auto rounds = RecordedRounds::Parse(DrandQuicknet(), text);
  if (rounds) return "";
  EXPECT_EQ(rounds.error().blame, Blame::kPeer);
  return rounds.error().what;
}

TEST(RecordedRounds, BothNetworksAndBothForms) {
  const auto quicknet = RecordedRounds::Parse(DrandQuicknet(), Fixture("quicknet.jsonl"));
  ASSERT_TRUE(quicknet.has_value()) << quicknet.error().what;
  EXPECT_EQ(quicknet->size(), 2u);
  ASSERT_NE(quicknet->Find(1000), nullptr);
  EXPECT_EQ(ToHex(quicknet->Find(1000)->randomness),
            "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd");
  EXPECT_EQ(quicknet->Find(1001), nullptr);
  const auto chained = RecordedRounds::Parse(DrandDefault(), Fixture("default.jsonl"));
  ASSERT_TRUE(chained.has_value()) << chained.error().what;
  EXPECT_EQ(chained->size(), 2u);
  EXPECT_FALSE(RecordedRounds::Parse(DrandDefault(), Fixture("quicknet.jsonl")).has_value());
}

TEST(RecordedRounds, ABadOneIsRefusedWithItsLine) {
  const std::string good = Fixture("quicknet.jsonl");
  const std::string first = good.substr(0, good.find('\n') + 1);
  EXPECT_EQ(Refusal("\n" + first + "  \r\n"), "");
  EXPECT_THAT(Refusal(first + first),
              ::testing::HasSubstr("line 2: round 1000 stands there twice"));

  std::string forged = first;
  forged.replace(forged.find("1000"), 4, "1001");
  EXPECT_THAT(Refusal(good + "\n" + forged), ::testing::HasSubstr("line 4: round 1001"));

  std::string other = first;
  const std::size_t at = other.find("fe290b");
  other[at] = '0';
  EXPECT_THAT(Refusal(other), ::testing::HasSubstr("line 1: round 1000: field 'randomness'"));
}

TEST(RecordedRounds, RefusesWhatIsNoRound) {
  for (const char* line :
       {"x", "[]", "1", "{}", R"({"round":1000})", R"({"round":-1,"signature":""})",
        R"({"round":1000.0,"signature":""})", R"({"round":"1000","signature":""})",
        R"({"round":1000,"signature":7})", R"({"round":1000,"signature":"zz"})",
        R"({"round":1000,"signature":""})", R"({"round":99999999999999999999,"signature":""})",
        R"({"round":1000,"signature":{"a":1}})"})
    EXPECT_THAT(Refusal(line), ::testing::HasSubstr("line 1: ")) << line;
  EXPECT_THAT(Refusal(std::string(3000, '[')), ::testing::HasSubstr("limit 2048"));
  EXPECT_THAT(Refusal(std::string(2000, '[')), ::testing::HasSubstr("flat"));
}

}  // namespace
}  // namespace waggle
