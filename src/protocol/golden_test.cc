// Bytes that were sent once must be read for ever. tests/golden/protocol/<Name>.hex is one sealed
// envelope per message; WAGGLE_UPDATE=1 writes those that are missing, and never changes one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/hex.h"
#include "base/test_source.h"
#include "protocol/limits.h"
#include "protocol/test_messages.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

Bytes BytesOf(std::string hex) {
  std::erase_if(hex, [](char c) { return c == '\n' || c == ' '; });
  const std::string raw = FromHex(hex).value();
  return {raw.begin(), raw.end()};
}

// 32 bytes a line.
std::string Lines(const Bytes& bytes) {
  const std::string hex = ToHex(bytes);
  std::string lines;
  for (std::size_t at = 0; at < hex.size(); at += 64) lines += hex.substr(at, 64) + "\n";
  return lines;
}

Bytes Sealed(const NodeMessage& message) {
  return SealEnvelope({.version = kProtocolVersion,
                       .kind = static_cast<std::uint8_t>(KindOf(message)),
                       .run = TestBytes<32>(0x20),
                       .session = TestBytes<16>(0x90),
                       .sequence = static_cast<std::uint64_t>(KindOf(message)),
                       .payload = Encode(message)},
                      TestKey(1));
}

TEST(Golden, EveryMessageHasItsBytes) {
  const auto messages = TestMessages();
  ASSERT_EQ(messages.size(), MessageRules().size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const MessageRule& rule = MessageRules()[i];
    const fs::path path =
        TestSource() / "tests/golden/protocol" / (std::string(rule.name) + ".hex");
    const Bytes sealed = Sealed(messages[i]);
    if (!fs::exists(path) && std::getenv("WAGGLE_UPDATE") != nullptr) {
      fs::create_directories(path.parent_path());
      ASSERT_TRUE(WriteFileAtomic(path, Lines(sealed)));
    }
    const auto stored = ReadFile(path, 1 << 20);
    ASSERT_TRUE(stored.has_value()) << stored.error().what;
    EXPECT_EQ(Lines(sealed), *stored) << rule.name;
    const Bytes golden = BytesOf(*stored);
    const auto envelope = DecodeEnvelope(golden);
    ASSERT_TRUE(envelope.has_value());
    EXPECT_TRUE(SignatureHolds(golden, *envelope));
    EXPECT_EQ(DecodeMessage(rule.kind, envelope->payload).value(), messages[i]);
    EXPECT_EQ(Encode(*envelope), golden);
  }
}

// The example that docs/protocol.md takes apart is what the program writes today.
TEST(Golden, TheExampleInTheDocumentIsTrue) {
  const auto page = ReadFile(TestSource() / "docs/protocol.md", 1 << 20);
  ASSERT_TRUE(page.has_value()) << page.error().what;
  const std::string begin = "```hex\n";
  const std::size_t at = page->find(begin);
  ASSERT_NE(at, std::string::npos);
  std::string hex;
  const std::string block = page->substr(at + begin.size());
  for (std::size_t i = 0; i < block.find("```"); ++i) {
    if (block[i] == '#') i = block.find('\n', i);  // remarks
    hex += block[i];
  }
  EXPECT_EQ(Lines(BytesOf(hex)),
            Lines(Sealed(SlowDown{.retry_after_ms = 1500, .cause = SlowDownCause::kQuota})));
}

// The tables of messages, limits and refusals say what the code does.
TEST(Golden, TheDocumentNamesEveryMessageLimitAndRefusal) {
  const auto page = ReadFile(TestSource() / "docs/protocol.md", 1 << 20);
  ASSERT_TRUE(page.has_value()) << page.error().what;
  const auto says = [&](const std::string& row) {
    EXPECT_NE(page->find(row), std::string::npos) << row;
  };
  for (const MessageRule& rule : MessageRules()) {
    const char* who = rule.sender == Sender::kInitiator  ? "worker"
                      : rule.sender == Sender::kAcceptor ? "orchestrator"
                                                         : "either";
    says(fmt::format("| {} | {} | {} | {} |", static_cast<int>(rule.kind), rule.name, who,
                     rule.payload_bytes_max));
  }
  for (std::uint8_t kind = 1; kind <= kRefusalKinds; ++kind)
    says(fmt::format("| {} | {} |", kind, ToString(static_cast<RefusalKind>(kind))));
  const std::pair<const char*, std::size_t> limits[] = {
      {"envelope_bytes_max", kProtocol.envelope_bytes_max},
      {"leases_max", kProtocol.leases_max},
      {"text_bytes_max", kProtocol.text_bytes_max},
      {"software_bytes_max", kProtocol.software_bytes_max},
      {"environments_max", kProtocol.environments_max},
      {"kinds_max", kProtocol.kinds_max},
      {"sources_max", kProtocol.sources_max},
      {"source_bytes_max", kProtocol.source_bytes_max},
      {"duration_ms_max", kProtocol.duration_ms_max}};
  for (const auto& [name, value] : limits) says(fmt::format("| `{}` | {} |", name, value));
}

}  // namespace
}  // namespace waggle
