#include "ledger/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hex.h"

namespace waggle {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kTempo = 360;

WeightsSpeaker SpeakerOf(std::uint16_t uid) {
  WeightsSpeaker speaker{.uid = uid, .stake = 100, .permit = true};
  speaker.who.fill(static_cast<std::uint8_t>(uid + 1));
  return speaker;
}
WeightsPayload PayloadOf(const WeightsSpeaker& speaker, std::vector<std::uint16_t> values,
                         std::uint8_t salt = 7) {
  WeightsPayload payload{.who = speaker.who, .version = 3};
  for (std::uint16_t j = 0; j < values.size(); ++j) payload.uids.push_back(j + 2);
  payload.values = std::move(values);
  payload.salt.fill(salt);
  return payload;
}
WeightsBook BookOf(bool commit_reveal, WeightsSettings settings = {}) {
  settings.version = 3;
  settings.stake_min = 10;
  settings.weights_min = 2;
  settings.commit_reveal = commit_reveal;
  WeightsBook book(settings);
  for (std::uint16_t uid = 0; uid < 5; ++uid) EXPECT_TRUE(book.Register(uid, 5).has_value());
  return book;
}
std::string Why(const Status& status) { return status ? "" : status.error().what; }

TEST(Weights, InTheOpen) {
  WeightsBook book = BookOf(false);
  const WeightsSpeaker a = SpeakerOf(0);
  EXPECT_EQ(Why(book.Set(a, PayloadOf(a, {1, 2, 4}), 100)), "");
  YumaEpoch epoch = book.Epoch(360, 0);
  EXPECT_EQ(epoch.weights[0], (YumaRow{{2, 16383}, {3, 32767}, {4, 65535}}));
  EXPECT_EQ(epoch.neurons[0].last_update, 100u);
  EXPECT_EQ(epoch.neurons[1].last_update, 5u);
  EXPECT_THAT(Why(book.Set(a, PayloadOf(a, {1, 2, 3}), 199)), HasSubstr("one in 100 blocks"));
  EXPECT_EQ(Why(book.Set(a, PayloadOf(a, {3, 0, 0}), 200)), "");
  EXPECT_THAT(Why(book.Commit(a, {}, 300)), HasSubstr("in the open"));
}

TEST(Weights, Refusals) {
  WeightsBook book = BookOf(false, {.share_max = 40000});
  const WeightsSpeaker a = SpeakerOf(0);
  const auto why = [&](const WeightsSpeaker& speaker, const WeightsPayload& payload) {
    const Status status = book.Set(speaker, payload, 100);
    EXPECT_TRUE(status || status.error().blame == Blame::kPeer);
    return Why(status);
  };
  WeightsSpeaker other = a;
  other.uid = 9;
  EXPECT_THAT(why(other, PayloadOf(a, {1, 1})), HasSubstr("nobody"));
  other = a;
  other.stake = 9;
  EXPECT_THAT(why(other, PayloadOf(a, {1, 1})), HasSubstr("at least 10"));
  EXPECT_THAT(why(SpeakerOf(1), PayloadOf(a, {1, 1})), HasSubstr("somebody else"));
  other = a;
  other.permit = false;
  EXPECT_THAT(why(other, PayloadOf(a, {1, 1})), HasSubstr("no permit"));
  WeightsPayload payload = PayloadOf(a, {1, 1});
  payload.version = 2;
  EXPECT_THAT(why(a, payload), HasSubstr("scoring code"));
  payload = PayloadOf(a, {1, 1});
  payload.uids[1] = 2;
  EXPECT_THAT(why(a, payload), HasSubstr("twice"));
  payload.uids[1] = 5;
  EXPECT_THAT(why(a, payload), HasSubstr("uid 5 is nobody"));
  payload.uids.pop_back();
  EXPECT_THAT(why(a, payload), HasSubstr("1 uids and 2 values"));
  EXPECT_THAT(why(a, PayloadOf(a, {1})), HasSubstr("at least 2"));
  EXPECT_THAT(why(a, PayloadOf(a, {9, 1})), HasSubstr("40000 of 65535"));
  EXPECT_THAT(why(a, PayloadOf(a, std::vector<std::uint16_t>(6, 1))), HasSubstr("5 neurons"));
  EXPECT_TRUE(book.Epoch(360, 0).weights[0].empty());
  EXPECT_EQ(Why(book.Register(6, 9)), "uid 6 is not the next one");
}

TEST(Weights, OneMayWeighOneselfWithoutAPermit) {
  WeightsBook book = BookOf(false);
  WeightsSpeaker a = SpeakerOf(0);
  a.permit = false;
  WeightsPayload payload = PayloadOf(a, {5});
  payload.uids = {0};
  EXPECT_THAT(Why(book.Set(a, payload, 100)), HasSubstr("at least 2"));
  WeightsBook loose(WeightsSettings{.commit_reveal = false});
  ASSERT_TRUE(loose.Register(0, 0).has_value());
  EXPECT_EQ(Why(loose.Set(a, payload, 100)), "");
}

TEST(Weights, CommitAndReveal) {
  WeightsBook book = BookOf(true);
  const WeightsSpeaker a = SpeakerOf(0);
  const WeightsPayload payload = PayloadOf(a, {1, 2, 4});
  EXPECT_THAT(Why(book.Set(a, payload, 100)), HasSubstr("committed to first"));
  ASSERT_EQ(Why(book.Commit(a, CommitOf(payload), 100)), "");
  EXPECT_EQ(book.Epoch(200, 0).neurons[0].oldest_commit, 100u);
  EXPECT_EQ(book.Epoch(200, 0).neurons[0].last_update, 100u);
  EXPECT_THAT(Why(book.Reveal(a, payload, 359)), HasSubstr("epoch 0, it belongs in 1"));
  WeightsPayload changed = payload;
  changed.values[0] = 9;
  EXPECT_THAT(Why(book.Reveal(a, changed, 400)), HasSubstr("no such commit"));
  EXPECT_TRUE(book.Epoch(400, 0).weights[0].empty());
  EXPECT_EQ(Why(book.Reveal(a, payload, 719)), "");
  EXPECT_EQ(book.Epoch(719, 0).weights[0].size(), 3u);
  EXPECT_EQ(book.Epoch(719, 0).neurons[0].oldest_commit, std::nullopt);
  EXPECT_THAT(Why(book.Reveal(a, payload, 719)), HasSubstr("no such commit"));  // once
}

TEST(Weights, TooLateIsNever) {
  WeightsBook book = BookOf(true);
  const WeightsSpeaker a = SpeakerOf(0);
  const WeightsPayload payload = PayloadOf(a, {1, 2, 4});
  ASSERT_EQ(Why(book.Commit(a, CommitOf(payload), 100)), "");
  EXPECT_THAT(Why(book.Reveal(a, payload, 720)), HasSubstr("too old"));
  EXPECT_EQ(book.Epoch(720, 0).neurons[0].oldest_commit, std::nullopt);
}

// A copied commit is worth nothing: the key is inside.
TEST(Weights, ACopiedCommitCannotBeRevealed) {
  WeightsBook book = BookOf(true);
  const WeightsSpeaker a = SpeakerOf(0), thief = SpeakerOf(1);
  const WeightsPayload payload = PayloadOf(a, {1, 2, 4});
  ASSERT_EQ(Why(book.Commit(a, CommitOf(payload), 100)), "");
  ASSERT_EQ(Why(book.Commit(thief, CommitOf(payload), 101)), "");
  ASSERT_EQ(Why(book.Reveal(a, payload, 400)), "");
  EXPECT_THAT(Why(book.Reveal(thief, payload, 401)), HasSubstr("somebody else"));
  WeightsPayload renamed = payload;
  renamed.who = thief.who;
  EXPECT_THAT(Why(book.Reveal(thief, renamed, 401)), HasSubstr("no such commit"));
}

TEST(Weights, FewUnrevealed) {
  WeightsBook book = BookOf(true);
  const WeightsSpeaker a = SpeakerOf(0);
  for (std::uint8_t k = 0; k < 10; ++k)
    ASSERT_EQ(Why(book.Commit(a, CommitOf(PayloadOf(a, {1, 2, 4}, k)), k)), "");
  EXPECT_THAT(Why(book.Commit(a, CommitOf(PayloadOf(a, {1, 2, 4}, 10)), 10)),
              HasSubstr("limit 10"));
  // A later one supersedes those before it; two epochs on, all are forgotten.
  EXPECT_EQ(Why(book.Reveal(a, PayloadOf(a, {1, 2, 4}, 4), 400)), "");
  EXPECT_EQ(book.Epoch(400, 0).neurons[0].oldest_commit, 5u);
  EXPECT_EQ(Why(book.Commit(a, CommitOf(PayloadOf(a, {1, 2, 4}, 11)), 2 * kTempo)), "");
  EXPECT_EQ(book.Epoch(2 * kTempo, 0).neurons[0].oldest_commit, 2 * kTempo);
}

TEST(Weights, ANewNeuronStartsWithNothing) {
  WeightsBook book = BookOf(true);
  const WeightsSpeaker a = SpeakerOf(0);
  const WeightsPayload payload = PayloadOf(a, {1, 2, 4});
  ASSERT_EQ(Why(book.Commit(a, CommitOf(payload), 100)), "");
  ASSERT_TRUE(book.Register(0, 200).has_value());
  EXPECT_THAT(Why(book.Reveal(a, payload, 400)), HasSubstr("no such commit"));
  EXPECT_EQ(book.Epoch(400, 0).neurons[0].registered_at, 200u);
}

// One encoding, so one commit: written here so that another implementation can be held to it.
TEST(Weights, TheCommitIsPinned) {
  const WeightsPayload payload = PayloadOf(SpeakerOf(0), {1, 2, 4});
  const auto decoded = WireDecode<WeightsPayload>(WireEncode(payload, kWeightsPayloadBytesMax),
                                                  kWeightsPayloadBytesMax);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(*decoded, payload);
  EXPECT_EQ(ToHex(CommitOf(payload)),
            "9faaf7fc37224b9adf8420aabbe181296f0e5fe42de892ab6674286085d9348c");
}

}  // namespace
}  // namespace waggle
