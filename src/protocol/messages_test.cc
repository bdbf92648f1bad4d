#include "protocol/messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>

#include "base/philox.h"
#include "protocol/limits.h"
#include "protocol/test_messages.h"

namespace waggle {
namespace {

// Values drawn by rapidcheck's size-free generators: any number, texts and lists within the limits.
template <class T>
T Any() {
  return *rc::gen::arbitrary<T>();
}
std::string AnyText(std::size_t bytes_max, std::size_t bytes_min = 0) {
  const auto n = *rc::gen::inRange(bytes_min, bytes_max + 1);
  return *rc::gen::container<std::string>(n, rc::gen::inRange<char>(0x20, 0x7f));
}
std::vector<std::string> AnyTexts(std::size_t count_max, std::size_t bytes_max) {
  std::vector<std::string> texts(
      *rc::gen::inRange<std::size_t>(0, std::min<std::size_t>(count_max, 6) + 1));
  for (auto& text : texts) text = AnyText(std::min<std::size_t>(bytes_max, 40), 1);
  return texts;
}
template <std::size_t N>
std::array<std::uint8_t, N> AnyBytes() {
  std::array<std::uint8_t, N> bytes{};
  for (auto& byte : bytes) byte = Any<std::uint8_t>();
  return bytes;
}
std::uint32_t AnyDuration() { return *rc::gen::inRange(0u, kProtocol.duration_ms_max + 1); }
PolicyVersion AnyVersion() { return PolicyVersion{Any<std::uint64_t>()}; }
float AnyFloat() { return static_cast<float>(Any<std::int32_t>()) / 1024.0f; }
template <class T>
std::vector<T> AnyNumbers() {
  return *rc::gen::container<std::vector<T>>(*rc::gen::inRange<std::size_t>(0, 20),
                                             rc::gen::arbitrary<T>());
}

Lease AnyLease() {
  return {.id = LeaseId{Any<std::uint64_t>()},
          .environment = AnyText(kWire.name_bytes_max),
          .task_seed = Any<std::uint64_t>(),
          .group_size = Any<std::uint32_t>(),
          .version = AnyVersion(),
          .key = {Any<std::uint32_t>(), Any<std::uint32_t>()},
          .sampling = {.temperature = AnyFloat(),
                       .top_p = AnyFloat(),
                       .min_p = AnyFloat(),
                       .top_k = Any<std::uint32_t>(),
                       .tokens_max = Any<std::uint32_t>()},
          .evaluation = Any<bool>()};
}
Group AnyGroup() {
  Group group{.lease = LeaseId{Any<std::uint64_t>()}, .prompt = AnyNumbers<TokenId>()};
  group.rollouts.resize(*rc::gen::inRange<std::size_t>(0, 4));
  for (Rollout& rollout : group.rollouts) {
    rollout.tokens = AnyNumbers<TokenId>();
    for (std::size_t i = 0; i < rollout.tokens.size(); ++i) rollout.logps.push_back(AnyFloat());
    rollout.loss_mask = AnyNumbers<std::uint8_t>();
    rollout.spans.resize(*rc::gen::inRange<std::size_t>(0, 3));
    for (VersionSpan& span : rollout.spans) span = {Any<std::uint32_t>(), AnyVersion()};
    rollout.finish = static_cast<FinishReason>(*rc::gen::inRange(0, 3));
    rollout.reward = AnyFloat();
  }
  return group;
}
OutcomeRecord AnyOutcome() {
  OutcomeRecord x{.lease = LeaseId{Any<std::uint64_t>()},
                  .worker = NodeId{AnyBytes<32>()},
                  .outcome = static_cast<Outcome>(*rc::gen::inRange(1, 7)),
                  .text = AnyText(kProtocol.text_bytes_max)};
  if (x.outcome == Outcome::kRejected)
    x.reason = *rc::gen::elementOf(
        std::vector<RejectReason>(AllRejectReasons().begin(), AllRejectReasons().end()));
  if (x.outcome == Outcome::kAccepted) x.tokens = Any<std::uint64_t>();
  if (x.outcome == Outcome::kAccepted && Any<bool>()) x.place = Any<std::uint64_t>();
  const bool answered = x.outcome != Outcome::kExpired && x.outcome != Outcome::kReturned;
  if (answered && (x.outcome == Outcome::kAccepted || Any<bool>())) x.group = AnyBytes<32>();
  return x;
}
NodeMessage AnySmallMessage(MessageKind kind) {
  switch (kind) {
    case MessageKind::kHello:
      return Hello{AnyText(kProtocol.software_bytes_max),
                   {.tokens_per_second = Any<std::uint32_t>(),
                    .memory_bytes = Any<std::uint64_t>(),
                    .rollouts_max = Any<std::uint32_t>(),
                    .kinds = {WorkKind::kSample, WorkKind::kValidate},
                    .environments = AnyTexts(kProtocol.environments_max, kWire.name_bytes_max)}};
    case MessageKind::kWelcome:
      return Welcome{AnyText(kProtocol.software_bytes_max), AnyBytes<16>(), AnyVersion(),
                     AnyDuration()};
    case MessageKind::kLeaseRequest:
      return LeaseRequest{Any<std::uint32_t>(), Any<std::uint32_t>(), AnyVersion()};
    case MessageKind::kHeartbeat:
      return Heartbeat{Any<std::uint32_t>(), Any<std::uint32_t>(), AnyVersion()};
    case MessageKind::kSlowDown:
      return SlowDown{AnyDuration(), static_cast<SlowDownCause>(*rc::gen::inRange(1, 6))};
    case MessageKind::kPolicyAnnouncement:
      return PolicyAnnouncement{AnyVersion(), AnyBytes<32>(),
                                AnyTexts(kProtocol.sources_max, kProtocol.source_bytes_max)};
    case MessageKind::kDrain:
      return Drain{AnyDuration(), AnyText(kProtocol.text_bytes_max)};
    default:
      return Refusal{static_cast<RefusalKind>(*rc::gen::inRange(1, kRefusalKinds + 1)),
                     Any<std::uint64_t>(), AnyText(kProtocol.text_bytes_max)};
  }
}
BatchClaim AnyClaim(std::uint32_t items) {
  return {.run = LedgerRun{AnyBytes<32>()},
          .epoch = Any<std::uint64_t>(),
          .worker = NodeId{AnyBytes<32>()},
          .root = AnyBytes<32>(),
          .items = items,
          .work = {Any<std::uint32_t>(), Any<std::uint64_t>(), Any<std::uint64_t>()}};
}
// Of those about audits and money.
NodeMessage AnyPaidMessage(MessageKind kind) {
  switch (kind) {
    case MessageKind::kBatchProposal: {
      BatchProposal x{.ledger = LedgerId{AnyBytes<32>()}};
      const auto items = *rc::gen::inRange<std::uint32_t>(1, 9);
      x.claim = AnyClaim(items);
      for (std::uint32_t i = 0; i < items; ++i)
        x.leases.push_back(LeaseId{i * 100 + *rc::gen::inRange<std::uint64_t>(0, 100)});
      return x;
    }
    case MessageKind::kBatchSignature:
      return BatchSignature{Any<std::uint64_t>(), AnyBytes<64>()};
    case MessageKind::kLedgerAsk:
      return LedgerAsk{Any<std::uint64_t>()};
    case MessageKind::kLedgerEntries: {
      LedgerEntries x{.first = Any<std::uint64_t>()};
      if (Any<bool>())
        x.genesis = LedgerGenesis{AnyText(40), NodeId{AnyBytes<32>()}, NodeId{AnyBytes<32>()}};
      x.entries.resize(*rc::gen::inRange<std::size_t>(0, 4));
      for (Bytes& entry : x.entries) entry = AnyNumbers<std::uint8_t>();
      x.heads.resize(x.entries.size());
      for (Signature& head : x.heads) head = AnyBytes<64>();
      return x;
    }
    case MessageKind::kLedgerSubmission:
      return LedgerSubmission{AnyNumbers<std::uint8_t>()};
    case MessageKind::kLedgerDeclined:
      return LedgerDeclined{Any<std::uint64_t>(), AnyText(kProtocol.text_bytes_max)};
    case MessageKind::kPolicySigned:
      return PolicySigned{AnyVersion(), AnyBytes<32>(), AnyBytes<32>(), AnyBytes<64>()};
    case MessageKind::kAuditAsk:
      return AuditAsk{Any<std::uint64_t>(), NodeId{AnyBytes<32>()}, Any<std::uint32_t>()};
    case MessageKind::kAuditItem: {
      AuditItem x{.epoch = Any<std::uint64_t>(),
                  .worker = NodeId{AnyBytes<32>()},
                  .index = Any<std::uint32_t>(),
                  .batch_signature = AnyBytes<64>()};
      x.siblings.resize(*rc::gen::inRange<std::size_t>(0, 5));
      for (Digest256& sibling : x.siblings) sibling = AnyBytes<32>();
      if (Any<bool>()) {
        x.lease = AnyLease();
        x.group = AnyGroup();
      }
      return x;
    }
    default:
      return EvidenceSubmission{AnyNumbers<std::uint8_t>()};
  }
}
// Of those about training steps and past policies.
NodeMessage AnyStepMessage(MessageKind kind) {
  switch (kind) {
    case MessageKind::kStepSigned: {
      StepSigned x{.version = AnyVersion(),
                   .before = AnyBytes<32>(),
                   .after = AnyBytes<32>(),
                   .batch = AnyBytes<32>(),
                   .previous = AnyBytes<32>(),
                   .signature = AnyBytes<64>()};
      x.leases.resize(*rc::gen::inRange<std::size_t>(0, 4));
      for (LeaseId& lease : x.leases) lease = LeaseId{Any<std::uint64_t>()};
      x.window_leases.resize(*rc::gen::inRange<std::size_t>(0, 4));
      x.window_groups.resize(x.window_leases.size());
      for (Hash256& group : x.window_groups) group = AnyBytes<32>();
      if (!x.window_groups.empty()) {
        x.window = TestBytes<32>(1);
        x.window_signature = AnyBytes<64>();
        if (Any<bool>()) x.window_first = Any<std::uint64_t>();
      }
      return x;
    }
    case MessageKind::kStepAsk:
      return StepAsk{AnyVersion()};
    case MessageKind::kStepShown: {
      StepShown x{.version = AnyVersion(), .text = AnyText(kProtocol.text_bytes_max)};
      x.begin = PolicyVersion{x.version.value / 2};
      if (Any<bool>()) x.state = AnyBytes<32>();
      return x;
    }
    case MessageKind::kStepFound:
      return StepFound{AnyVersion(), static_cast<StepFinding>(*rc::gen::inRange(1, 5))};
    case MessageKind::kPolicyAsk:
      return PolicyAsk{AnyVersion()};
    default: {
      PolicyShown x{.version = AnyVersion()};
      x.manifests.resize(*rc::gen::inRange<std::size_t>(0, 4));
      for (Hash256& manifest : x.manifests) manifest = AnyBytes<32>();
      return x;
    }
  }
}
NodeMessage AnyMessage(MessageKind kind) {
  if (kind >= MessageKind::kStepSigned) return AnyStepMessage(kind);
  if (kind >= MessageKind::kBatchProposal) return AnyPaidMessage(kind);
  switch (kind) {
    case MessageKind::kLeaseGrant: {
      LeaseGrant grant;
      grant.leases.resize(*rc::gen::inRange<std::size_t>(1, 4));
      for (auto& granted : grant.leases) granted = {AnyLease(), AnyDuration()};
      return grant;
    }
    case MessageKind::kGroupSubmission:
      return GroupSubmission{AnyGroup()};
    case MessageKind::kLeaseReturn: {
      LeaseReturn back{.cause = Any<bool>() ? ReturnCause::kFault : ReturnCause::kDraining,
                       .text = AnyText(kProtocol.text_bytes_max)};
      back.leases.resize(*rc::gen::inRange<std::size_t>(1, kProtocol.leases_max + 1));
      for (LeaseId& id : back.leases) id = LeaseId{Any<std::uint64_t>()};
      return back;
    }
    case MessageKind::kOutcomeRecord:
      return AnyOutcome();
    default:
      return AnySmallMessage(kind);
  }
}

TEST(Messages, AnyValueReadsBack) {
  for (const MessageRule& rule : MessageRules()) {
    EXPECT_TRUE(rc::check(std::string(rule.name) + " reads back", [&] {
      const NodeMessage message = AnyMessage(rule.kind);
      RC_ASSERT(KindOf(message) == rule.kind);
      RC_ASSERT(DecodeMessage(rule.kind, Encode(message)).value() == message);
    }));
  }
}

// The other way: whatever bytes are accepted are the one encoding of what was read.
TEST(Messages, AcceptedBytesAreTheOneEncoding) {
  Rng rng(/*seed=*/8);
  for (const NodeMessage& message : TestMessages()) {
    const Bytes bytes = Encode(message);
    int accepted = 0;
    for (int i = 0; i < 4000; ++i) {
      Bytes changed = bytes;
      for (std::uint32_t edits = 1 + rng.Below(3); edits > 0; --edits)
        changed[rng.Below(static_cast<std::uint32_t>(changed.size()))] =
            static_cast<std::uint8_t>(rng.Below(2) == 0 ? rng.NextU32() : rng.Below(8));
      const auto read = DecodeMessage(KindOf(message), changed);
      if (!read) continue;
      ++accepted;
      ASSERT_EQ(Encode(*read), changed);
    }
    EXPECT_GT(accepted, 10) << MessageRules()[message.index()].name;
  }
}

TEST(Messages, EveryCutIsTruncated) {
  for (const NodeMessage& message : TestMessages()) {
    const Bytes bytes = Encode(message);
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      const auto cut = DecodeMessage(KindOf(message), std::span(bytes).first(n));
      ASSERT_FALSE(cut.has_value()) << n;
      EXPECT_EQ(cut.error().problem, WireProblem::kTruncated) << n << ": " << cut.error().what;
    }
    Bytes longer = bytes;
    longer.push_back(0);
    EXPECT_EQ(DecodeMessage(KindOf(message), longer).error().problem, WireProblem::kMalformed);
  }
}

TEST(Messages, RulesAreInOrderAndNamed) {
  ASSERT_EQ(MessageRules().size(), std::variant_size_v<NodeMessage>);
  std::uint8_t before = 0;  // numbers ascend; some are kept for others
  for (const MessageRule& rule : MessageRules()) {
    const auto kind = static_cast<std::uint8_t>(rule.kind);
    EXPECT_GT(kind, before);
    before = kind;
    EXPECT_EQ(FindRule(kind), &rule);
    EXPECT_LE(rule.payload_bytes_max + kEnvelopeFrameBytes, kProtocol.envelope_bytes_max);
  }
  EXPECT_EQ(FindRule(0), nullptr);
  EXPECT_EQ(FindRule(static_cast<std::uint8_t>(before + 1)), nullptr);
  for (std::uint8_t kind = 1; kind <= kRefusalKinds; ++kind)
    EXPECT_STRNE(ToString(static_cast<RefusalKind>(kind)), "?");
}

TEST(Messages, ContradictionsAreNoMessages) {
  const auto messages = TestMessages();
  auto outcome = std::get<OutcomeRecord>(messages[6]);
  EXPECT_EQ(Problem(outcome), "");
  outcome.reason.reset();
  EXPECT_NE(Problem(outcome), "");
  outcome = {.outcome = Outcome::kExpired, .group = TestBytes<32>(0)};
  EXPECT_NE(Problem(outcome), "");
  outcome = {.outcome = Outcome::kAccepted};
  EXPECT_NE(Problem(outcome), "");
  outcome = {.outcome = Outcome::kReturned, .place = 3};
  EXPECT_NE(Problem(outcome), "");
  outcome = {.outcome = Outcome::kStale, .tokens = 5};
  EXPECT_NE(Problem(outcome), "");
  EXPECT_NE(Problem(LeaseGrant{}), "");
  EXPECT_NE(Problem(LeaseReturn{}), "");
  EXPECT_NE(Problem(BatchProposal{}), "");
  EXPECT_NE(Problem(BatchProposal{.claim = {.items = 2}, .leases = {LeaseId{4}, LeaseId{4}}}), "");
  EXPECT_NE(Problem(AuditItem{.lease = TestLease()}), "");
  EXPECT_NE(Problem(SlowDown{.retry_after_ms = kProtocol.duration_ms_max + 1}), "");
  EXPECT_NE(Problem(Drain{.text = "\x1b[2J"}), "");  // would clear a terminal
  auto hello = std::get<Hello>(messages[0]);
  hello.capabilities.kinds = {WorkKind::kRelay, WorkKind::kSample};
  EXPECT_NE(Problem(hello), "");
  hello.capabilities.kinds = {WorkKind::kRelay, WorkKind::kRelay};
  EXPECT_NE(Problem(hello), "");
}

// Past a limit, in bytes that our own encoder would never write.
TEST(Messages, LimitsAreKept) {
  const auto text_field = [](std::size_t length) {
    Bytes bytes = {1, 4, 0, 0, 0, 0, 0, 0, 0, 2};
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<std::uint8_t>(length >> (8 * i)));
    bytes.insert(bytes.end(), length, 'x');
    return bytes;
  };
  EXPECT_TRUE(DecodeMessage(MessageKind::kDrain, text_field(kProtocol.text_bytes_max)));
  EXPECT_EQ(
      DecodeMessage(MessageKind::kDrain, text_field(kProtocol.text_bytes_max + 1)).error().problem,
      WireProblem::kOversized);
  EXPECT_EQ(
      DecodeMessage(MessageKind::kDrain, Bytes(kProtocol.payload_bytes_max + 1)).error().problem,
      WireProblem::kOversized);
  EXPECT_EQ(ForWire(std::string(1000, 'x')).size(), kProtocol.text_bytes_max);
  EXPECT_EQ(ForWire("a\nb\x80"), "a?b?");
}

TEST(Messages, AFullGroupOfARunFitsOrTheRunIsNotOpened) {
  EXPECT_TRUE(GroupsFitOneMessage(16, 32768, 4096));
  EXPECT_FALSE(GroupsFitOneMessage(1024, 32768, 4096));
  EXPECT_FALSE(GroupsFitOneMessage(kWire.group_size_max + 1, 1, 1));
  Group group{.prompt = std::vector<TokenId>(1000, 7)};
  group.rollouts.assign(8, {.tokens = std::vector<TokenId>(2000, 7),
                            .logps = std::vector<float>(2000, -1.0f),
                            .loss_mask = std::vector<std::uint8_t>(2000, 1),
                            .spans = std::vector<VersionSpan>(64)});
  const std::size_t bytes = Encode(NodeMessage(GroupSubmission{group})).size();
  EXPECT_LE(bytes, 8 * (2000 * 9 + 64 * 32 + 64) + 1000 * 4 + 64);
  const auto read =
      DecodeMessage(MessageKind::kGroupSubmission, Encode(NodeMessage(GroupSubmission{group})));
  EXPECT_EQ(std::get<GroupSubmission>(read.value()).group, group);
}

}  // namespace
}  // namespace waggle
