// How many groups of a node it takes until its record shows what it does: honest engines, which
// shall never be found, and cheats too small for one group.
#pragma once

#include <span>
#include <string>

#include "proofs/fingerprint/cases.h"

namespace waggle {

// Honest ones first, under the names of CalibrationCases.
std::span<const CaseDoc> RecordCases();

struct RecordPlan {
  std::uint32_t groups = 0;  // of each case; a prompt's samples are one
  double race_tolerance = kRaceToleranceDefault;
};

struct RecordReport {
  CaseDoc doc;
  std::uint64_t groups = 0, tokens = 0;
  // A record that begins anew with every finding: how often it came to one, and after how many
  // groups, on average of those.
  std::uint64_t findings = 0;
  double groups_needed = 0;
  std::string by;             // the bet that won oftenest
  double race_loss = 0;       // races lost over the sum of c: what a tolerance has to exceed
  double nats_per_group = 0;  // of the bet that won most of all: its drift
};

// Deterministic. Errors as RunCase's.
Result<RecordReport> RunRecordCase(const CalibrationPlan& plan, const RecordPlan& record,
                                   const CaseDoc& doc);
std::string RecordText(const RecordPlan& record, std::span<const RecordReport> reports);

}  // namespace waggle
