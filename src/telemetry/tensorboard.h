// Scalars in TensorBoard's event-file format: TFRecord framing (length, masked CRC-32C, payload,
// masked CRC-32C) around Event protobuf messages, written by hand since five fields do not justify
// a dependency.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace waggle {

// CRC-32C (Castagnoli), and TensorFlow's masked form of it.
std::uint32_t Crc32c(std::string_view bytes);
std::uint32_t MaskedCrc32c(std::string_view bytes);

std::string TfRecord(std::string_view payload);
// Event payloads: the file header, the mark of a (re)start at `step`, and the scalars of one step.
std::string FileVersionEvent(double wall_time);
std::string SessionStartEvent(double wall_time, std::uint64_t step);
std::string ScalarsEvent(double wall_time, std::uint64_t step,
                         const std::vector<std::pair<std::string, double>>& scalars);

// Appends to one events.out.tfevents.* file in `directory`. A resumed run opens another file and
// marks its start, which is how TensorBoard learns to drop steps that were done twice.
class TensorBoardWriter {
 public:
  static Result<TensorBoardWriter> Create(const std::filesystem::path& directory, double wall_time,
                                          std::uint64_t step);
  Status Write(double wall_time, std::uint64_t step,
               const std::vector<std::pair<std::string, double>>& scalars);

 private:
  explicit TensorBoardWriter(std::filesystem::path file) : file_(std::move(file)) {}
  std::filesystem::path file_;
};

}  // namespace waggle
