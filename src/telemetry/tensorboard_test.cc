#include "telemetry/tensorboard.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/files.h"

namespace waggle {
namespace {

TEST(TensorBoard, Crc32cKnownAnswers) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);            // the check value of CRC-32C
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
}

// A reader written from the format's description, independent of the writer.
struct Field {
  unsigned number = 0, type = 0;
  std::uint64_t integer = 0;
  std::string bytes;
};
std::uint64_t Little(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  return value;
}
std::vector<Field> Parse(std::string_view message) {
  std::vector<Field> fields;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(message.at(at++));
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const std::uint64_t tag = varint();
    Field field{.number = static_cast<unsigned>(tag >> 3), .type = static_cast<unsigned>(tag & 7)};
    const std::size_t size = field.type == 1 ? 8 : field.type == 5 ? 4 : 0;
    if (field.type == 0) {
      field.integer = varint();
    } else if (field.type == 2) {
      const std::size_t length = varint();
      field.bytes = std::string(message.substr(at, length));
      at += length;
    } else {
      field.integer = Little(message.substr(at, size));
      at += size;
    }
    fields.push_back(field);
  }
  return fields;
}

TEST(TensorBoard, FileReadsBackWithEveryChecksumRight) {
  const auto directory = std::filesystem::temp_directory_path() / "waggle_tensorboard_test";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  auto writer = TensorBoardWriter::Create(directory, 1700000000.5, 7);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(
      writer->Write(1700000001.0, 8, {{"reward/mean", 0.25}, {"policy/kl", -1.5}}).has_value());

  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) file = entry.path();
  EXPECT_EQ(file.filename().string().rfind("events.out.tfevents.1700000000.waggle", 0), 0u) << file;
  const std::string bytes = ReadFile(file, 1 << 20).value();
  std::vector<std::string> payloads;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::string_view length = std::string_view(bytes).substr(at, 8);
    ASSERT_EQ(Little(std::string_view(bytes).substr(at + 8, 4)), MaskedCrc32c(length));
    const std::size_t n = Little(length);
    payloads.push_back(bytes.substr(at + 12, n));
    ASSERT_EQ(Little(std::string_view(bytes).substr(at + 12 + n, 4)),
              MaskedCrc32c(payloads.back()));
    at += 12 + n + 4;
  }
  ASSERT_EQ(payloads.size(), 3u);
  EXPECT_EQ(Parse(payloads[0]).at(1).bytes, "brain.Event:2");
  EXPECT_EQ(Parse(payloads[1]).at(1).integer, 7u);
  const auto event = Parse(payloads[2]);
  EXPECT_EQ(std::bit_cast<double>(event.at(0).integer), 1700000001.0);
  EXPECT_EQ(event.at(1).integer, 8u);
  std::map<std::string, float> scalars;
  for (const Field& value : Parse(event.at(2).bytes)) {
    const auto entry = Parse(value.bytes);
    scalars[entry.at(0).bytes] =
        std::bit_cast<float>(static_cast<std::uint32_t>(entry.at(1).integer));
  }
  EXPECT_EQ(scalars, (std::map<std::string, float>{{"reward/mean", 0.25f}, {"policy/kl", -1.5f}}));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace waggle
