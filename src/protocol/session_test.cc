#include "protocol/session.h"

#include <gtest/gtest.h>

#include <set>

#include "base/philox.h"
#include "protocol/limits.h"
#include "protocol/test_messages.h"

namespace waggle {
namespace {

RefusalKind Why(const tl::expected<NodeMessage, Refused>& opened) {
  EXPECT_FALSE(opened.has_value());
  return opened ? RefusalKind{} : opened.error().refusal.kind;
}
NodeMessage Beat(std::uint32_t leases) { return Heartbeat{.leases = leases}; }

// An envelope of this session with something changed and the signature made anew.
Bytes Resealed(const Bytes& bytes, const KeyPair& key, auto&& change) {
  Envelope envelope = DecodeEnvelope(bytes).value();
  change(envelope);
  return SealEnvelope(std::move(envelope), key);
}

TEST(Session, BothSidesTalk) {
  TestSession both;
  EXPECT_TRUE(both.initiator.established());
  EXPECT_EQ(both.initiator.peer(), both.orchestrator.id());
  EXPECT_EQ(both.acceptor.peer(), both.worker.id());
  const auto messages = TestMessages();
  for (const NodeMessage& message : messages) {
    Session& from = both.initiator.may_send(KindOf(message)) ? both.initiator : both.acceptor;
    Session& to = &from == &both.initiator ? both.acceptor : both.initiator;
    if (!from.may_send(KindOf(message))) continue;  // Hello, Welcome
    EXPECT_EQ(to.Open(from.Seal(message)).value(), message);
  }
}

TEST(Session, AWorkerIsProvenByWhatItSaysAfterTheWelcome) {
  TestSession both;
  EXPECT_TRUE(both.initiator.proven());
  EXPECT_FALSE(both.acceptor.proven());
  ASSERT_TRUE(both.acceptor.Open(both.initiator.Seal(Beat(0))));
  EXPECT_TRUE(both.acceptor.proven());
}

TEST(Session, ARecordedConversationCannotBePlayedAgain) {
  TestSession both;
  const Bytes beat = both.initiator.Seal(Beat(1));
  ASSERT_TRUE(both.acceptor.Open(beat));
  Session again = Session::Acceptor(both.orchestrator, both.run, TestBytes<16>(0xb0));
  ASSERT_TRUE(again.Open(both.hello));  // opens, and leads nowhere
  static_cast<void>(again.Seal(TestMessages()[1]));
  EXPECT_EQ(Why(again.Open(beat)), RefusalKind::kWrongSession);
  EXPECT_FALSE(again.proven());
  Session worker = Session::Initiator(both.worker, both.run, TestBytes<16>(0xc0));
  static_cast<void>(worker.Seal(TestMessages()[0]));
  EXPECT_EQ(Why(worker.Open(both.welcome)), RefusalKind::kWrongSession);
}

// An orchestrator in the middle cannot answer with its own name in somebody else's session.
TEST(Session, ASessionBindsBothNames) {
  const KeyPair worker = TestKey(1), honest = TestKey(2), middle = TestKey(3);
  const Hash256 run = TestBytes<32>(0x20);
  Session initiator = Session::Initiator(worker, run, TestBytes<16>(1));
  Session acceptor = Session::Acceptor(honest, run, TestBytes<16>(2));
  ASSERT_TRUE(acceptor.Open(initiator.Seal(TestMessages()[0])));
  const Bytes welcome = acceptor.Seal(TestMessages()[1]);
  ASSERT_TRUE(initiator.Open(Resealed(welcome, middle, [](Envelope&) {})));
  EXPECT_EQ(initiator.peer(), middle.id());
  EXPECT_EQ(Why(acceptor.Open(initiator.Seal(Beat(1)))), RefusalKind::kWrongSession);
}

TEST(Session, ReplayedAndReordered) {
  TestSession both;
  std::vector<Bytes> sent;
  for (std::uint32_t i = 0; i < 200; ++i) sent.push_back(both.initiator.Seal(Beat(i)));
  ASSERT_TRUE(both.acceptor.Open(sent[0]));
  EXPECT_EQ(Why(both.acceptor.Open(sent[0])), RefusalKind::kReplayed);
  ASSERT_TRUE(both.acceptor.Open(sent[5]));  // gaps are fine
  const auto late = both.acceptor.Open(sent[3]);
  EXPECT_EQ(Why(late), RefusalKind::kReordered);
  EXPECT_TRUE(late.error().attributable);
  EXPECT_EQ(late.error().refusal.sequence, 4u);  // the Hello was 0
  EXPECT_EQ(Why(both.acceptor.Open(sent[0])), RefusalKind::kReplayed);
  ASSERT_TRUE(both.acceptor.Open(sent[199]));
  EXPECT_EQ(Why(both.acceptor.Open(sent[198])), RefusalKind::kReordered);
  EXPECT_EQ(Why(both.acceptor.Open(sent[5])), RefusalKind::kReplayed);
  EXPECT_EQ(Why(both.acceptor.Open(sent[100])), RefusalKind::kReplayed);  // too old to tell
}

TEST(Session, EveryOrderOfArrivalOpensEachMessageAtMostOnce) {
  Rng rng(/*seed=*/12);
  for (int round = 0; round < 200; ++round) {
    TestSession both;
    std::vector<Bytes> sent;
    for (std::uint32_t i = 0; i < 12; ++i) sent.push_back(both.initiator.Seal(Beat(i)));
    std::int64_t highest = -1;
    for (int i = 0; i < 40; ++i) {
      const std::uint32_t pick = rng.Below(12);
      const auto opened = both.acceptor.Open(sent[pick]);
      ASSERT_EQ(opened.has_value(), static_cast<std::int64_t>(pick) > highest);
      if (opened) highest = pick;
    }
  }
}

TEST(Session, EachRefusalHasItsCause) {
  TestSession both;
  std::set<RefusalKind> provoked;
  const Bytes good = both.initiator.Seal(Beat(1));
  const auto expect = [&](RefusalKind kind, bool attributable, const Bytes& bytes) {
    const auto opened = both.acceptor.Open(bytes);
    ASSERT_EQ(Why(opened), kind) << ToString(kind);
    EXPECT_EQ(opened.error().attributable, attributable) << ToString(kind);
    EXPECT_EQ(Problem(opened.error().refusal), "");
    provoked.insert(kind);
  };
  const auto with = [&](auto&& change) { return Resealed(good, both.worker, change); };
  expect(RefusalKind::kTruncated, false, Bytes(good.begin(), good.end() - 1));
  expect(RefusalKind::kOversized, false, Bytes(kProtocol.envelope_bytes_max + 1));
  expect(RefusalKind::kOversized, false,
         with([](Envelope& e) { e.payload.resize(kProtocol.payload_bytes_max + 1); }));
  Bytes longer = good;
  longer.push_back(0);
  expect(RefusalKind::kMalformed, false, longer);
  expect(RefusalKind::kMalformed, true, with([](Envelope& e) { e.payload.pop_back(); }));
  expect(RefusalKind::kWrongVersion, false, with([](Envelope& e) { e.version = 2; }));
  expect(RefusalKind::kWrongVersion, false, {1, 2, 0, 0, 0, 2, 0, 'n', 'e', 'w'});
  expect(RefusalKind::kUnknownKind, false, with([](Envelope& e) { e.kind = 0; }));
  expect(RefusalKind::kUnknownKind, false, with([](Envelope& e) { e.kind = 23; }));
  expect(RefusalKind::kWrongRun, false, with([](Envelope& e) { e.run[31] ^= 1; }));
  expect(RefusalKind::kWrongSender, false, Resealed(good, TestKey(9), [](Envelope&) {}));
  expect(RefusalKind::kWrongSender, false, Resealed(good, both.orchestrator, [](Envelope&) {}));
  expect(RefusalKind::kWrongSession, false, with([](Envelope& e) { e.session[0] ^= 1; }));
  Bytes missigned = good;
  missigned.back() ^= 1;
  expect(RefusalKind::kBadSignature, false, missigned);
  expect(RefusalKind::kReplayed, true, with([](Envelope& e) { e.sequence = 0; }));
  expect(RefusalKind::kUnexpected, true, with([](Envelope& e) { e.kind = 1; }));  // Hello again
  expect(RefusalKind::kUnexpected, true, with([](Envelope& e) { e.kind = 4; }));  // not a worker's
  EXPECT_TRUE(both.acceptor.Open(good));  // none of this did any harm
  static_cast<void>(both.initiator.Seal(Beat(2)));
  ASSERT_TRUE(both.acceptor.Open(both.initiator.Seal(Beat(3))));
  expect(RefusalKind::kReordered, true, with([](Envelope& e) { e.sequence = 2; }));
  EXPECT_EQ(provoked.size(), 12u);  // 13 to 15 are the lease book's
}

TEST(Session, EveryFlippedBitAndEveryCutIsRefused) {
  for (const NodeMessage& message : TestMessages()) {
    TestSession both;
    if (KindOf(message) == MessageKind::kHello || KindOf(message) == MessageKind::kWelcome)
      continue;
    Session& from = both.initiator.may_send(KindOf(message)) ? both.initiator : both.acceptor;
    Session& to = &from == &both.initiator ? both.acceptor : both.initiator;
    const Bytes good = from.Seal(message);
    for (std::size_t n = 0; n < good.size(); ++n) {
      EXPECT_EQ(Why(to.Open(std::span(good).first(n))), RefusalKind::kTruncated) << n;
      Bytes changed = good;
      changed[n] ^= static_cast<std::uint8_t>(1u << n % 8);
      const auto opened = to.Open(changed);
      ASSERT_FALSE(opened.has_value()) << n;
      EXPECT_FALSE(opened.error().attributable) << n;
    }
    EXPECT_EQ(to.Open(good).value(), message);
  }
}

TEST(Session, TheFirstWordIsHello) {
  const KeyPair worker = TestKey(1), orchestrator = TestKey(2), stranger = TestKey(5);
  const Hash256 run = TestBytes<32>(0x20);
  Session initiator = Session::Initiator(worker, run, TestBytes<16>(1), orchestrator.id());
  EXPECT_TRUE(initiator.may_send(MessageKind::kHello));
  EXPECT_FALSE(initiator.may_send(MessageKind::kHeartbeat));
  Session acceptor = Session::Acceptor(orchestrator, run, TestBytes<16>(2));
  EXPECT_FALSE(acceptor.may_send(MessageKind::kWelcome));
  TestSession other;
  EXPECT_EQ(Why(acceptor.Open(other.initiator.Seal(Beat(0)))), RefusalKind::kUnexpected);
  // An acceptor that cannot read the Hello says so, and the initiator hears it.
  static_cast<void>(initiator.Seal(TestMessages()[0]));
  const auto refusal =
      initiator.Open(acceptor.Seal(Refusal{.kind = RefusalKind::kWrongVersion, .text = "update"}));
  EXPECT_EQ(std::get<Refusal>(refusal.value()).kind, RefusalKind::kWrongVersion);
  EXPECT_FALSE(initiator.established());
  Session imposter = Session::Acceptor(stranger, run, TestBytes<16>(2));
  EXPECT_EQ(Why(initiator.Open(imposter.Seal(Refusal{}))), RefusalKind::kWrongSender);
}

}  // namespace
}  // namespace waggle
