// What a numeric fault leaves behind: the batch it happened on and the hash of the state before it,
// as one JSON file with exact numbers. Together with the checkpoint of that state the step can be
// repeated.
#pragma once

#include <filesystem>
#include <string>

#include "training/trainer.h"

namespace waggle {

struct FaultBatch {  // one of the two is empty
  std::vector<SftSample> sft;
  std::vector<ScoredGroup> groups;
  std::optional<PolicyVersion> current;
};
struct FaultBatchView {
  const std::vector<SftSample>* sft = nullptr;
  const std::vector<ScoredGroup>* groups = nullptr;
  std::optional<PolicyVersion> current = std::nullopt;
};

struct FaultDump {
  std::uint64_t step = 0;  // of the state before the fault
  Hash256 state{};
  std::string error;
  FaultBatch batch;
};

// directory / "fault-step-<step>.json"
std::filesystem::path FaultDumpPath(const std::filesystem::path& directory, std::uint64_t step);
Status WriteFaultDump(const std::filesystem::path& directory, std::uint64_t step,
                      const Hash256& state, const std::string& error, const FaultBatchView& batch);
Result<FaultDump> ReadFaultDump(const std::filesystem::path& file);
Result<FaultDump> ParseFaultDump(std::string_view json, const std::string& name);

}  // namespace waggle
