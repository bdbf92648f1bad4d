// What a stranger finds in a log that was tampered with, by its sequencer or by anybody else.
#include "ledger/log.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"
#include "base/test_source.h"
#include "ledger/scenario.h"

namespace waggle {
namespace {

ScenarioReport Sample() {
  const auto text =
      ReadFile(TestSource() / "tests/ledger/accusation_guilty.scenario", kScenarioBytesMax);
  return *RunScenario(*text, "sample");
}
// "" if all of it is fine, else the complaint.
std::string Complaint(const LedgerGenesis& genesis, const std::vector<LogRecord>& log) {
  LedgerReplay replay(genesis);
  for (const LogRecord& record : log) {
    if (const auto fed = replay.Feed(record); !fed) return fed.error().what;
  }
  return "";
}
// The records anew, chained and signed by somebody.
std::vector<LogRecord> Signed(const LedgerGenesis& genesis, const std::vector<LogRecord>& log,
                              const KeyPair& key) {
  std::vector<LogRecord> out = log;
  LedgerHead head{IdOf(genesis), 0, 0, IdOf(genesis).value, std::nullopt, {}};
  for (LogRecord& record : out) {
    const auto entry = DecodeEntry(record.entry);
    head.sequence = entry->sequence;
    head.at_ms = entry->at_ms;
    head.chain = NextChain(head.chain, record.entry);
    head.root = record.root;
    SignHead(key, head);
    record.head_signature = head.signature;
  }
  return out;
}

TEST(LedgerLog, AnHonestLogIsFine) {
  const ScenarioReport sample = Sample();
  ASSERT_GT(sample.log.size(), 15u);
  EXPECT_EQ(Complaint(sample.genesis, sample.log), "");
}

TEST(LedgerLog, EveryFlippedBitIsNoticed) {
  const ScenarioReport sample = Sample();
  for (std::size_t i = 0; i < sample.log.size(); i += 3) {
    for (std::size_t byte = 0; byte < sample.log[i].entry.size(); byte += 29) {
      std::vector<LogRecord> log = sample.log;
      log[i].entry[byte] ^= 4;
      EXPECT_NE(Complaint(sample.genesis, log), "") << i << " " << byte;
    }
    std::vector<LogRecord> log = sample.log;
    log[i].head_signature[3] ^= 1;
    EXPECT_NE(Complaint(sample.genesis, log), "");
    log = sample.log;
    log[i].root = Digest256{1};
    EXPECT_NE(Complaint(sample.genesis, log), "");
  }
}

TEST(LedgerLog, NothingIsLeftOutSwappedOrRepeated) {
  const ScenarioReport sample = Sample();
  for (std::size_t i = 0; i + 1 < sample.log.size(); ++i) {
    std::vector<LogRecord> log = sample.log;
    log.erase(log.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_NE(Complaint(sample.genesis, log), "");
    log = sample.log;
    std::swap(log[i], log[i + 1]);
    EXPECT_NE(Complaint(sample.genesis, log), "");
    log = sample.log;
    log.insert(log.begin() + static_cast<std::ptrdiff_t>(i), log[i]);
    EXPECT_NE(Complaint(sample.genesis, log), "");
  }
}

// Somebody who is not the sequencer has no say; a sequencer cannot forge an author, nor a root.
TEST(LedgerLog, WhatASequencerCannotDo) {
  const ScenarioReport sample = Sample();
  const KeyPair sequencer = ScenarioKey("sequencer"), mallory = ScenarioKey("mallory");
  EXPECT_EQ(Complaint(sample.genesis, Signed(sample.genesis, sample.log, sequencer)), "");
  EXPECT_NE(Complaint(sample.genesis, Signed(sample.genesis, sample.log, mallory))
                .find("the sequencer did not sign"),
            std::string::npos);
  std::vector<LogRecord> log = sample.log;
  auto entry = DecodeEntry(log[0].entry);
  std::get<Deposit>(entry->request.body).amount = Credits{1};
  log[0].entry = Encode(*entry);
  EXPECT_NE(Complaint(sample.genesis, Signed(sample.genesis, log, sequencer)).find("bad-signature"),
            std::string::npos);
  log = sample.log;
  log.back().root = Digest256{9};
  EXPECT_NE(Complaint(sample.genesis, Signed(sample.genesis, log, sequencer)).find("another root"),
            std::string::npos);
  LedgerGenesis other = sample.genesis;
  other.name = "elsewhere";
  EXPECT_NE(Complaint(other, Signed(other, sample.log, sequencer)).find("bad-signature"),
            std::string::npos);
}

}  // namespace
}  // namespace waggle
