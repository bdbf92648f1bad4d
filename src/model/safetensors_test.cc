// Every rule of the container (engine sheet 6.1): what breaks it is refused, and the error names
// the place.
#include "model/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

namespace waggle {
namespace {

std::vector<std::byte> File(std::string header, std::size_t data_bytes) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  text += header + std::string(data_bytes, '\1');
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::string Refusal(const std::string& header, std::size_t data_bytes) {
  const auto parsed = ParseSafetensors(File(header, data_bytes));
  return parsed ? "accepted" : parsed.error().what;
}

constexpr const char* kPair =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,3],"data_offsets":[8,14]}})";

TEST(Safetensors, ReadsTensorsInOrderOfTheirOffsets) {
  const auto header = ParseSafetensors(File(kPair, 14)).value();
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].shape, (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(header.tensors[1].begin, 8u);
  EXPECT_TRUE(ParseSafetensors(File(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4))
                  .has_value());
  EXPECT_TRUE(
      ParseSafetensors(File(R"({"x":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}})", 0))
          .has_value());
  EXPECT_EQ(ParseSafetensors(File(R"({"__metadata__":{"format":"pt"}}   )", 0))
                .value()
                .metadata.at("format"),
            "pt");
}

TEST(Safetensors, RefusesEveryBrokenRule) {
  const auto expect = [](const std::string& header, std::size_t bytes, const char* words) {
    EXPECT_NE(Refusal(header, bytes).find(words), std::string::npos) << Refusal(header, bytes);
  };
  expect(kPair, 15, "1 bytes of data at offset 14 belong to no tensor");
  expect(kPair, 13, "tensor \"b\": offsets [8, 14)");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, "hole at offset 4");
  expect(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      12, "overlap at offset 4");
  expect(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
      8, "stands twice");
  expect(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "do not hold its shape");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "offsets [8, 0)");
  expect(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
         "shape overflows");
  expect(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}})", 0, "shape entry");
  expect(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,0]}})", 0, "shape entry");
  expect(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype");
  expect(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "expected dtype, shape and data_offsets");
  expect(R"({"__metadata__":{"a":1}})", 0, "__metadata__ \"a\" is not a text");
  expect(" {}", 0, "does not start with");
  expect("{\"a\":", 0, "not a JSON object");
  expect("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}", 0, "nested too deep");
}

TEST(Safetensors, RefusesALengthThatTheFileDoesNotHave) {
  std::vector<std::byte> file = File("{}", 0);
  for (std::size_t n = 0; n < file.size(); ++n) {
    EXPECT_FALSE(ParseSafetensors(std::span(file).first(n)).has_value()) << n;
  }
  for (int i = 0; i < 8; ++i) file[i] = std::byte{0xFF};
  EXPECT_NE(ParseSafetensors(file).error().what.find("the limit is"), std::string::npos);
}

}  // namespace
}  // namespace waggle
