// For tests: one message of each kind, keys from fixed seeds, and a session that is already open.
#pragma once

#include <vector>

#include "protocol/messages.h"
#include "protocol/session.h"

namespace waggle {

inline KeyPair TestKey(std::uint8_t fill) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(fill);
  return KeyPair::FromSeed(seed);
}
template <std::size_t N>
std::array<std::uint8_t, N> TestBytes(std::uint8_t first) {
  std::array<std::uint8_t, N> bytes{};
  for (std::size_t i = 0; i < N; ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return bytes;
}

inline Lease TestLease() {
  return {.id = LeaseId{(5u << 24) | 3},
          .environment = "sort",
          .task_seed = 0x0123456789abcdefull,
          .group_size = 2,
          .version = PolicyVersion{4},
          .key = {0x11111111u, 0x22222222u},
          .sampling = {.temperature = 0.75f, .top_p = 1.0f, .tokens_max = 5}};
}
inline Group TestGroup() {
  Group group{.lease = TestLease().id, .prompt = {1, 5, 9}, .rollouts = {}};
  group.rollouts.push_back({.tokens = {4, 2},
                            .logps = {-0.25f, -1.5f},
                            .loss_mask = {1, 1},
                            .spans = {{0, PolicyVersion{4}}},
                            .finish = FinishReason::kStop,
                            .reward = 1.0f});
  group.rollouts.push_back({.tokens = {8},
                            .logps = {-0.5f},
                            .loss_mask = {1},
                            .spans = {{0, PolicyVersion{4}}},
                            .finish = FinishReason::kLength});
  return group;
}

// Kinds 1 to 22.
inline std::vector<NodeMessage> TestFirstMessages() {
  return {Hello{.software = "waggle 0.1.0",
                .capabilities = {.tokens_per_second = 250,
                                 .memory_bytes = 8ull << 30,
                                 .rollouts_max = 32,
                                 .kinds = {WorkKind::kSample, WorkKind::kRelay},
                                 .environments = {"countdown", "sort"}}},
          Welcome{.software = "waggle 0.1.0",
                  .nonce = TestBytes<16>(0xa0),
                  .version = PolicyVersion{4},
                  .heartbeat_ms = 10000},
          LeaseRequest{.rollouts_max = 16, .tokens_per_second = 240, .version = PolicyVersion{4}},
          LeaseGrant{.leases = {{.lease = TestLease(), .deadline_ms = 60000}}},
          GroupSubmission{.group = TestGroup(), .rollouts_max = 24},
          LeaseReturn{
              .leases = {TestLease().id}, .cause = ReturnCause::kFault, .text = "out of memory"},
          OutcomeRecord{.lease = TestLease().id,
                        .worker = TestKey(1).id(),
                        .outcome = Outcome::kRejected,
                        .reason = RejectReason::kWrongTask,
                        .group = TestBytes<32>(0x40),
                        .text = "the prompt is not the one the lease names"},
          Heartbeat{.leases = 2, .tokens_per_second = 230, .version = PolicyVersion{4}},
          SlowDown{.retry_after_ms = 1500, .cause = SlowDownCause::kQuota},
          PolicyAnnouncement{.version = PolicyVersion{5},
                             .manifest = TestBytes<32>(0x60),
                             .sources = {"https://hive.example.org/v5"}},
          Drain{.finish_ms = 30000, .text = "the run moves to another host"},
          Refusal{.kind = RefusalKind::kReplayed, .sequence = 9, .text = "sequence 9 after 12"},
          BatchProposal{
              .ledger = LedgerId{TestBytes<32>(0x10)},
              .claim = {.run = LedgerRun{TestBytes<32>(0x20)},
                        .epoch = 7,
                        .worker = TestKey(1).id(),
                        .root = TestBytes<32>(0x30),
                        .items = 2,
                        .work = {.rollouts = 4, .rollout_weight = 40'000, .token_weight = 900'000}},
              .leases = {LeaseId{3}, TestLease().id}},
          BatchSignature{.epoch = 7, .signature = TestBytes<64>(0x01)},
          LedgerAsk{.from = 12},
          LedgerEntries{.genesis = LedgerGenesis{"hive", TestKey(2).id(), TestKey(3).id()},
                        .first = 12,
                        .entries = {{1, 2, 3}, {4, 5}},
                        .heads = {TestBytes<64>(0x03), TestBytes<64>(0x04)}},
          LedgerSubmission{.request = {9, 8, 7, 6}},
          LedgerDeclined{.nonce = 3, .text = "the epoch is sealed"},
          PolicySigned{.version = PolicyVersion{5},
                       .root = TestBytes<32>(0x50),
                       .description = TestBytes<32>(0x70),
                       .signature = TestBytes<64>(0x02)},
          AuditAsk{.epoch = 7, .worker = TestKey(1).id(), .index = 1},
          AuditItem{.epoch = 7,
                    .worker = TestKey(1).id(),
                    .index = 1,
                    .batch_signature = TestBytes<64>(0x01),
                    .siblings = {TestBytes<32>(0x80)},
                    .lease = TestLease(),
                    .group = TestGroup()},
          EvidenceSubmission{.evidence = {1, 1, 2, 3, 5, 8}}};
}

// Those about training steps and past policies.
inline std::vector<NodeMessage> TestStepMessages() {
  return {StepSigned{.version = PolicyVersion{4},
                     .before = TestBytes<32>(0x11),
                     .after = TestBytes<32>(0x12),
                     .batch = TestBytes<32>(0x13),
                     .previous = TestBytes<32>(0x14),
                     .signature = TestBytes<64>(0x15),
                     .leases = {TestLease().id, LeaseId{3}},
                     .window = TestBytes<32>(0x16),
                     .window_signature = TestBytes<64>(0x17),
                     .window_leases = {LeaseId{3}, TestLease().id},
                     .window_groups = {TestBytes<32>(0x18), TestBytes<32>(0x19)}},
          StepAsk{.version = PolicyVersion{4}},
          StepShown{.version = PolicyVersion{4},
                    .begin = PolicyVersion{2},
                    .state = TestBytes<32>(0x1a),
                    .text = ""},
          StepFound{.version = PolicyVersion{4}, .finding = StepFinding::kHolds},
          PolicyAsk{.version = PolicyVersion{3}},
          PolicyShown{.version = PolicyVersion{3},
                      .manifests = {TestBytes<32>(0x1b), TestBytes<32>(0x1c)}}};
}

// In the order of their kinds.
inline std::vector<NodeMessage> TestMessages() {
  std::vector<NodeMessage> messages = TestFirstMessages();
  for (NodeMessage& message : TestStepMessages()) messages.push_back(std::move(message));
  return messages;
}

// Both ends of one session, after Hello and Welcome.
struct TestSession {
  KeyPair worker = TestKey(1), orchestrator = TestKey(2);
  Hash256 run = TestBytes<32>(0x20);
  Session initiator = Session::Initiator(worker, run, TestBytes<16>(0x90));
  Session acceptor = Session::Acceptor(orchestrator, run, TestBytes<16>(0xa0));
  Bytes hello, welcome;

  TestSession() {
    const auto messages = TestMessages();
    hello = initiator.Seal(messages[0]);
    Check(acceptor.Open(hello).has_value(), "a Hello opens");
    welcome = acceptor.Seal(messages[1]);
    Check(initiator.Open(welcome).has_value(), "a Welcome opens");
  }
  TestSession(const TestSession&) = delete;
};

}  // namespace waggle
