#include "telemetry/tensorboard.h"

#include <array>
#include <bit>
#include <fstream>

namespace waggle {
namespace {

constexpr std::array<std::uint32_t, 256> MakeCrcTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr auto kCrcTable = MakeCrcTable();

void PutLittleEndian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// Protobuf wire format: varints, and fields of type 0 (varint), 1 (64 bit), 2 (bytes), 5 (32 bit).
void PutVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}
void PutTag(std::string& out, unsigned field, unsigned type) { PutVarint(out, field << 3 | type); }
void PutDouble(std::string& out, unsigned field, double value) {
  PutTag(out, field, 1);
  PutLittleEndian(out, std::bit_cast<std::uint64_t>(value), 8);
}
void PutFloat(std::string& out, unsigned field, float value) {
  PutTag(out, field, 5);
  PutLittleEndian(out, std::bit_cast<std::uint32_t>(value), 4);
}
void PutInteger(std::string& out, unsigned field, std::uint64_t value) {
  PutTag(out, field, 0);
  PutVarint(out, value);
}
void PutBytes(std::string& out, unsigned field, std::string_view bytes) {
  PutTag(out, field, 2);
  PutVarint(out, bytes.size());
  out += bytes;
}

// Field numbers of tensorflow.Event, Summary, Summary.Value and SessionLog.
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr unsigned kSummaryValue = 1, kTag = 1, kSimpleValue = 2;
constexpr unsigned kSessionStatus = 1, kSessionStart = 1;

Status Append(const std::filesystem::path& file, std::string_view bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::app);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.flush();
  if (!out) return Fail(Blame::kMachine, "cannot append to {}", file.string());
  return {};
}

}  // namespace

std::uint32_t Crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xff];
  return ~crc;
}

std::uint32_t MaskedCrc32c(std::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xa282ead8u;
}

std::string TfRecord(std::string_view payload) {
  std::string record;
  PutLittleEndian(record, payload.size(), 8);
  PutLittleEndian(record, MaskedCrc32c(record), 4);
  record += payload;
  PutLittleEndian(record, MaskedCrc32c(payload), 4);
  return record;
}

std::string FileVersionEvent(double wall_time) {
  std::string event;
  PutDouble(event, kWallTime, wall_time);
  PutBytes(event, kFileVersion, "brain.Event:2");
  return event;
}

std::string SessionStartEvent(double wall_time, std::uint64_t step) {
  std::string log, event;
  PutInteger(log, kSessionStatus, kSessionStart);
  PutDouble(event, kWallTime, wall_time);
  PutInteger(event, kStep, step);
  PutBytes(event, kSessionLog, log);
  return event;
}

std::string ScalarsEvent(double wall_time, std::uint64_t step,
                         const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string entry;
    PutBytes(entry, kTag, tag);
    PutFloat(entry, kSimpleValue, static_cast<float>(value));
    PutBytes(summary, kSummaryValue, entry);
  }
  std::string event;
  PutDouble(event, kWallTime, wall_time);
  PutInteger(event, kStep, step);
  PutBytes(event, kSummary, summary);
  return event;
}

Result<TensorBoardWriter> TensorBoardWriter::Create(const std::filesystem::path& directory,
                                                    double wall_time, std::uint64_t step) {
  TensorBoardWriter writer(directory /
                           fmt::format("events.out.tfevents.{:010.0f}.waggle.{}", wall_time, step));
  WG_TRY(Append(writer.file_, TfRecord(FileVersionEvent(wall_time)) +
                                  TfRecord(SessionStartEvent(wall_time, step))));
  return writer;
}

Status TensorBoardWriter::Write(double wall_time, std::uint64_t step,
                                const std::vector<std::pair<std::string, double>>& scalars) {
  return Append(file_, TfRecord(ScalarsEvent(wall_time, step, scalars)));
}

}  // namespace waggle
