#include "protocol/invite.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "crypto/bech32.h"
#include "crypto/hash.h"
#include "protocol/qr_code.h"

namespace waggle {
namespace {

Invite SomeInvite() {
  Invite invite{
      .hosts = {{"hive.example.org", 7420}, {"10.0.0.5", 7421}, {"[2001:db8::1]", 65535}}};
  for (std::size_t i = 0; i < 32; ++i) {
    invite.pin[i] = static_cast<std::uint8_t>(i);
    invite.run[i] = static_cast<std::uint8_t>(0x80 + i);
  }
  return invite;
}
std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}
// Any text, with the checksum that belongs to it.
std::string Summed(const std::string& text) {
  const std::string all = "WGL-INVITE" + text;
  const Digest256 digest = Sha256({reinterpret_cast<const std::uint8_t*>(all.data()), all.size()});
  std::string sum(8, '\0');
  Base32Encode(std::span(digest).first<5>(), sum);
  return text + sum;
}
InviteProblem Why(const std::string& text) {
  const auto invite = ParseInvite(text);
  EXPECT_FALSE(invite.has_value()) << text;
  return invite ? InviteProblem{} : invite.error().problem;
}

// A printed invite must be read for ever.
TEST(Invite, Golden) {
  const Invite invite{
      .hosts = {{"hive.example.org", 7420}}, .pin = SomeInvite().pin, .run = SomeInvite().run};
  EXPECT_EQ(ToText(invite),
            "waggle://hive.example.org:7420/"
            "qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg"
            "8py9s6rc3zv23wxgmr50jzge9yu5jktf0xyen2dee8v7nu7m9950x8");
  EXPECT_EQ(ParseInvite(ToText(invite)).value(), invite);
}

TEST(Invite, AnyInviteReadsBackInEitherCase) {
  EXPECT_TRUE(rc::check("an invite reads back", [] {
    Invite invite;
    invite.hosts.resize(*rc::gen::inRange<std::size_t>(1, kInvite.hosts_max + 1));
    for (Endpoint& endpoint : invite.hosts) {
      const auto n = *rc::gen::inRange<std::size_t>(1, kInvite.host_bytes_max + 1);
      endpoint.host = *rc::gen::container<std::string>(n, rc::gen::inRange<char>('a', 'z'));
      endpoint.port = *rc::gen::inRange<std::uint16_t>(1, 65535);
    }
    for (auto& byte : invite.pin) byte = *rc::gen::arbitrary<std::uint8_t>();
    for (auto& byte : invite.run) byte = *rc::gen::arbitrary<std::uint8_t>();
    if (*rc::gen::arbitrary<bool>()) invite.expires_unix_s = *rc::gen::arbitrary<std::uint64_t>();
    RC_ASSERT(ParseInvite(ToText(invite)).value() == invite);
    RC_ASSERT(ParseInvite(" " + Upper(ToText(invite)) + "\r\n").value() == invite);
  }));
}

TEST(Invite, EveryCutSaysSo) {
  for (const bool expires : {false, true}) {
    Invite invite = SomeInvite();
    if (expires) invite.expires_unix_s = 1800000000;
    const std::string text = ToText(invite);
    for (std::size_t n = 1; n < text.size(); ++n) {
      ASSERT_EQ(Why(text.substr(0, n)), InviteProblem::kCutOff) << text.substr(0, n);
    }
  }
}

TEST(Invite, EveryChangedCharacterIsNoticed) {
  const std::string text = ToText(SomeInvite());
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'q', 'p', '7', '.', 'b', ':', '+', '/', ' '}) {
      std::string changed = text;
      changed[i] = c;
      if (changed != text) Why(changed);
    }
  }
}

TEST(Invite, SaysWhichPartIsWrong) {
  const std::string text = ToText(SomeInvite());
  std::set<InviteProblem> provoked;
  const auto expect = [&](InviteProblem problem, const std::string& bad, std::string_view says) {
    const auto invite = ParseInvite(bad);
    ASSERT_FALSE(invite.has_value()) << bad;
    EXPECT_EQ(invite.error().problem, problem) << bad << ": " << invite.error().what;
    EXPECT_NE(invite.error().what.find(says), std::string::npos) << invite.error().what;
    EXPECT_EQ(AsError(invite.error()).blame, Blame::kOperator);
    provoked.insert(problem);
  };
  const std::string code = text.substr(text.rfind('/'));
  expect(InviteProblem::kNotAnInvite, "https://hive.example.org", "waggle://");
  expect(InviteProblem::kNotAnInvite, "", "waggle://");
  expect(InviteProblem::kTooLong, text + std::string(640, 'q'), "640");
  expect(InviteProblem::kCutOff, text.substr(0, text.size() - 1), "cut off");
  expect(InviteProblem::kHost, "waggle://:7420" + code, "host");
  expect(InviteProblem::kHost, "waggle://a_b:7420" + code, "host");
  expect(InviteProblem::kHost, "waggle://[zz]:7420" + code, "host");
  expect(InviteProblem::kHost, "waggle://a:1+a:1+a:1+a:1+a:1" + code, "more than 4");
  expect(InviteProblem::kPort, "waggle://host" + code, "no port");
  expect(InviteProblem::kPort, "waggle://[::1]" + code, "no port");
  for (const char* port : {"0", "65536", "07", "-1", "", "7x"})
    expect(InviteProblem::kPort, std::string("waggle://host:") + port + code, "port");
  expect(InviteProblem::kCode, text + "q", "after its end");
  expect(InviteProblem::kCode, "waggle://host:1/bbbb", "wrong character");
  std::string typo = text;
  typo[typo.size() - 20] = typo[typo.size() - 20] == 'q' ? 'p' : 'q';
  expect(InviteProblem::kChecksum, typo, "wrong");
  expect(InviteProblem::kChecksum, "waggle://mallory.example.org:7420" + code, "wrong");
  std::string newer(Base32Length(3), '\0');
  Base32Encode(std::array<std::uint8_t, 3>{2, 0, 0}, newer);
  expect(InviteProblem::kVersion, Summed("waggle://host:1/" + newer), "of version 2: update");
  EXPECT_EQ(provoked.size(), kInviteProblems);
}

TEST(Invite, Expires) {
  Invite invite = SomeInvite();
  EXPECT_FALSE(IsExpired(invite, ~std::uint64_t{0}));
  invite.expires_unix_s = 1800000000;
  EXPECT_FALSE(IsExpired(invite, 1800000000));
  EXPECT_TRUE(IsExpired(invite, 1800000001));
}

// The three large squares of every QR code, by the standard: a ring of 7, a ring of light, a core
// of 3.
TEST(QrCode, HasItsFinderPatternsAndFitsATerminal) {
  const Invite invite{
      .hosts = {{"hive.example.org", 7420}}, .pin = SomeInvite().pin, .run = SomeInvite().run};
  const QrModules code = EncodeQr(Upper(ToText(invite))).value();
  EXPECT_LE(code.side, 45u);  // version 7: 45 + 8 columns, 27 lines
  for (const auto& [left, top] :
       {std::pair<std::size_t, std::size_t>{0, 0}, {code.side - 7, 0}, {0, code.side - 7}}) {
    for (std::size_t y = 0; y < 7; ++y) {
      for (std::size_t x = 0; x < 7; ++x) {
        const std::size_t ring = std::min({x, y, 6 - x, 6 - y});
        EXPECT_EQ(code.At(left + x, top + y), ring != 1) << x << ' ' << y;
      }
    }
  }
}

// The drawing, read back.
TEST(QrCode, HalfBlocksShowEveryModule) {
  const QrModules code = EncodeQr("WAGGLE").value();
  for (const bool light : {false, true}) {
    const std::string text = QrText(code, light);
    std::vector<std::vector<bool>> rows(1);
    std::vector<bool> lower;
    for (std::size_t at = 0; at < text.size();) {
      if (text[at] == '\n') {
        rows.push_back(lower);
        rows.emplace_back();
        lower.clear();
        ++at;
        continue;
      }
      const bool blank = text[at] == ' ';
      const std::string block = blank ? " " : text.substr(at, 3);
      rows.back().push_back(block == "\u2580" || block == "\u2588");
      lower.push_back(block == "\u2584" || block == "\u2588");
      at += blank ? 1 : 3;
    }
    ASSERT_GE(rows.size(), code.side + 8);
    for (std::size_t y = 0; y < code.side + 8; ++y) {
      ASSERT_EQ(rows[y].size(), code.side + 8);
      for (std::size_t x = 0; x < code.side + 8; ++x) {
        const bool inside = x >= 4 && y >= 4 && x < code.side + 4 && y < code.side + 4;
        EXPECT_EQ(rows[y][x] != light, inside && code.At(x - 4, y - 4));
      }
    }
  }
}

TEST(QrCode, TextThatFitsNoCodeIsAnError) {
  EXPECT_FALSE(EncodeQr(std::string(10000, 'x')).has_value());
}

}  // namespace
}  // namespace waggle
