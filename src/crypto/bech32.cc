#include "crypto/bech32.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::string_view kAlphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
constexpr std::uint32_t kBech32mConstant = 0x2bc830a3;

bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
char Lower(char c) { return IsUpper(c) ? static_cast<char>(c - 'A' + 'a') : c; }

// The remainder of BIP-173's code over GF(32), one value at a time.
class Checksum {
 public:
  explicit Checksum(std::string_view prefix) {
    for (const char c : prefix) Add(static_cast<std::uint8_t>(c) >> 5);
    Add(0);
    for (const char c : prefix) Add(static_cast<std::uint8_t>(c) & 31);
  }
  void Add(std::uint32_t value) {
    static constexpr std::uint32_t kGenerator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                                   0x2a1462b3};
    const std::uint32_t top = state_ >> 25;
    state_ = (state_ & 0x1ffffff) << 5 ^ value;
    for (int i = 0; i < 5; ++i) {
      if (top >> i & 1) state_ ^= kGenerator[i];
    }
  }
  std::uint32_t state() const { return state_; }

 private:
  std::uint32_t state_ = 1;
};

// Characters of the alphabet, in either case, as bytes. Straight into `out`: a copy would be one
// more place for a secret.
Status Unpack(std::string_view text, std::span<std::uint8_t> out) {
  std::uint32_t held = 0, bits = 0;
  std::size_t at = 0;
  for (const char c : text) {
    held = (held << 5 | static_cast<std::uint32_t>(kAlphabet.find(Lower(c)))) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    out[at++] = static_cast<std::uint8_t>(held >> bits);
  }
  if ((held & ((1u << bits) - 1)) != 0)
    return Fail(Blame::kOperator, "the last character is not one that this encoding writes");
  return {};
}

}  // namespace

void Base32Encode(std::span<const std::uint8_t> bytes, std::span<char> out) {
  Check(out.size() == Base32Length(bytes.size()), "room for the text");
  std::uint32_t held = 0, bits = 0;
  std::size_t at = 0;
  for (const std::uint8_t byte : bytes) {
    held = held << 8 | byte;
    for (bits += 8; bits >= 5; bits -= 5) out[at++] = kAlphabet[held >> (bits - 5) & 31];
    held &= 0xff;
  }
  if (bits > 0) out[at++] = kAlphabet[held << (5 - bits) & 31];
}

Status Base32Decode(std::string_view text, std::span<std::uint8_t> out) {
  Check(out.size() == Base32Bytes(text.size()), "room for the bytes");
  if (Base32Length(out.size()) != text.size())
    return Fail(Blame::kOperator, "{} characters are no number of bytes", text.size());
  if (const std::size_t at = text.find_first_not_of(kAlphabet); at != std::string_view::npos)
    return Fail(Blame::kOperator, "character {} does not belong there", at + 1);
  return Unpack(text, out);
}

void Bech32mEncode(std::string_view prefix, std::span<const std::uint8_t> bytes,
                   std::span<char> out) {
  Check(out.size() == Bech32mLength(prefix, bytes.size()), "room for the text");
  std::copy(prefix.begin(), prefix.end(), out.begin());
  out[prefix.size()] = '1';
  const auto data = out.subspan(prefix.size() + 1, Base32Length(bytes.size()));
  Base32Encode(bytes, data);
  Checksum checksum(prefix);
  for (const char c : data) checksum.Add(static_cast<std::uint32_t>(kAlphabet.find(c)));
  for (int i = 0; i < 6; ++i) checksum.Add(0);
  const std::uint32_t sum = checksum.state() ^ kBech32mConstant;
  for (std::size_t i = 0; i < 6; ++i) out[out.size() - 6 + i] = kAlphabet[sum >> 5 * (5 - i) & 31];
}

std::string Bech32mText(std::string_view prefix, std::span<const std::uint8_t> bytes) {
  std::string text(Bech32mLength(prefix, bytes.size()), '\0');
  Bech32mEncode(prefix, bytes, text);
  return text;
}

Status Bech32mDecode(std::string_view text, std::string_view prefix, std::span<std::uint8_t> out) {
  const bool mixed = std::any_of(text.begin(), text.end(), IsUpper) &&
                     std::any_of(text.begin(), text.end(), IsLower);
  if (mixed) return Fail(Blame::kOperator, "upper and lower case are mixed");
  const auto begins = [&](std::size_t n) {
    return std::equal(prefix.begin(), prefix.begin() + static_cast<std::ptrdiff_t>(n), text.begin(),
                      [](char a, char b) { return a == Lower(b); });
  };
  const std::size_t shared = std::min(prefix.size(), text.size());
  const bool marked = text.size() > prefix.size() ? text[prefix.size()] == '1' : true;
  if (!begins(shared) || !marked)
    return Fail(Blame::kOperator, "it does not begin with {}1", prefix);
  const std::size_t wanted = Bech32mLength(prefix, out.size());
  if (text.size() < wanted)
    return Fail(Blame::kOperator, "it is cut off: {} characters of {}", text.size(), wanted);
  if (text.size() > wanted)
    return Fail(Blame::kOperator, "it is too long: {} characters, not {}", text.size(), wanted);
  Checksum checksum(prefix);
  const std::string_view data = text.substr(prefix.size() + 1);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::size_t value = kAlphabet.find(Lower(data[i]));
    if (value == std::string_view::npos) {
      return Fail(Blame::kOperator, "character {} does not belong there",
                  prefix.size() + 1 + i + 1);
    }
    checksum.Add(static_cast<std::uint32_t>(value));
  }
  if (checksum.state() != kBech32mConstant)
    return Fail(Blame::kOperator, "the checksum is wrong: a character is mistyped");
  return Unpack(data.substr(0, Base32Length(out.size())), out);
}

}  // namespace waggle
