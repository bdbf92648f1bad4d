#include "protocol/invite.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/wire.h"
#include "crypto/bech32.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

constexpr std::string_view kScheme = "waggle://";
constexpr std::string_view kChecksumDomain = "WGL-INVITE";
constexpr std::uint8_t kInviteVersion = 1, kHasExpiry = 1;
constexpr std::size_t kBodyBytes = 2 + 32 + 32, kExpiryBytes = 8, kChecksumBytes = 5;
constexpr std::size_t kChecksumCharacters = Base32Length(kChecksumBytes);

using InviteResult = tl::expected<Invite, InviteError>;

tl::unexpected<InviteError> Wrong(InviteProblem problem, std::string what) {
  return tl::unexpected(InviteError{problem, std::move(what)});
}
constexpr const char* kAskAgain = "copy it again, to its end";

std::string Base32(std::span<const std::uint8_t> bytes) {
  std::string text(Base32Length(bytes.size()), '\0');
  Base32Encode(bytes, text);
  return text;
}

std::string ChecksumOf(std::string_view text) {
  const Digest256 digest = Sha256Hasher()
                               .Update(std::as_bytes(std::span(kChecksumDomain)))
                               .Update(std::as_bytes(std::span(text)))
                               .Finish();
  return Base32(std::span(digest).first<kChecksumBytes>());
}

std::size_t CodeCharacters(std::uint8_t flags) {
  return Base32Length(kBodyBytes + (flags & kHasExpiry ? kExpiryBytes : 0)) + kChecksumCharacters;
}

tl::expected<Endpoint, InviteError> ParseEndpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const std::size_t bracket = text.rfind(']');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket)) {
    return Wrong(InviteProblem::kPort, fmt::format("the invite's host '{}' has no port", text));
  }
  Endpoint endpoint{.host = std::string(text.substr(0, colon))};
  if (!IsHost(endpoint.host))
    return Wrong(InviteProblem::kHost, "the invite's host is not the name of a host");
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (error != std::errc{} || end != port.data() + port.size() || port.front() == '0')
    return Wrong(InviteProblem::kPort, "the invite's port is not a number from 1 to 65535");
  return endpoint;
}

tl::expected<std::vector<Endpoint>, InviteError> ParseHosts(std::string_view text) {
  std::vector<Endpoint> hosts;
  for (;;) {
    if (hosts.size() == kInvite.hosts_max)
      return Wrong(InviteProblem::kHost,
                   fmt::format("the invite names more than {} hosts", kInvite.hosts_max));
    const std::size_t plus = std::min(text.find('+'), text.size());
    auto endpoint = ParseEndpoint(text.substr(0, plus));
    if (!endpoint) return tl::unexpected(std::move(endpoint.error()));
    hosts.push_back(std::move(*endpoint));
    if (plus == text.size()) return hosts;
    text.remove_prefix(plus + 1);
  }
}

// The code after the last slash; `before` is all that precedes it.
InviteResult ParseCode(std::string_view before, std::string_view code) {
  const auto cut_off = [&] {
    return Wrong(InviteProblem::kCutOff, fmt::format("the invite is cut off: {}", kAskAgain));
  };
  if (code.size() < Base32Length(2)) return cut_off();
  const std::string_view sum =
      code.substr(code.size() - std::min(code.size(), kChecksumCharacters));
  const std::string_view body = code.substr(0, code.size() - sum.size());
  const bool intact = !body.empty() && ChecksumOf(std::string(before) + std::string(body)) == sum;
  // Version and flags are in the first characters, whatever became of the rest.
  std::string front(code.substr(0, 8));
  front.resize(8, 'q');
  std::array<std::uint8_t, Base32Bytes(8)> head{};
  if (!Base32Decode(front, head)) {
    return Wrong(InviteProblem::kCode,
                 fmt::format("the invite has a wrong character: {}", kAskAgain));
  }
  const bool known = head[0] == kInviteVersion && (head[1] & ~kHasExpiry) == 0;
  if (!known && intact)
    return Wrong(InviteProblem::kVersion,
                 fmt::format("this is an invite of version {}: update waggle", head[0]));
  if (known && code.size() < CodeCharacters(head[1])) return cut_off();
  if (known && code.size() > CodeCharacters(head[1]))
    return Wrong(InviteProblem::kCode, "the invite goes on after its end");
  if (!intact)
    return Wrong(InviteProblem::kChecksum,
                 fmt::format("a character of the invite is wrong: {}", kAskAgain));
  Bytes bytes(Base32Bytes(body.size()));
  if (!Base32Decode(body, bytes))
    return Wrong(InviteProblem::kCode, "the invite has characters that none has");
  Invite invite;
  std::copy_n(bytes.begin() + 2, 32, invite.pin.begin());
  std::copy_n(bytes.begin() + 34, 32, invite.run.begin());
  if (head[1] & kHasExpiry) {
    std::uint64_t expires = 0;
    for (std::size_t i = 0; i < kExpiryBytes; ++i)
      expires |= std::uint64_t{bytes[kBodyBytes + i]} << (8 * i);
    invite.expires_unix_s = expires;
  }
  return invite;
}

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}
bool IsIpv6Character(char c) {
  return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9') || c == ':' || c == '.';
}

}  // namespace

bool IsHost(std::string_view host) {
  if (host.empty() || host.size() > kInvite.host_bytes_max) return false;
  if (host.front() != '[')
    return host.front() != '-' && host.front() != '.' &&
           std::all_of(host.begin(), host.end(), IsHostCharacter);
  const std::string_view inside =
      host.substr(1, host.size() - std::min<std::size_t>(host.size(), 2));
  return host.back() == ']' && inside.find(':') != std::string_view::npos &&
         std::all_of(inside.begin(), inside.end(), IsIpv6Character);
}

tl::expected<Invite, InviteError> ParseInvite(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  if (text.size() > kInvite.text_bytes_max)
    return Wrong(InviteProblem::kTooLong,
                 fmt::format("no invite is longer than {} characters", kInvite.text_bytes_max));
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const std::string_view whole = lower;
  const std::size_t shared = std::min(whole.size(), kScheme.size());
  if (whole.empty() || whole.substr(0, shared) != kScheme.substr(0, shared))
    return Wrong(InviteProblem::kNotAnInvite,
                 fmt::format("this is not an invite: it does not begin with {}", kScheme));
  const std::size_t slash = whole.find('/', shared);
  if (slash == std::string_view::npos)
    return Wrong(InviteProblem::kCutOff,
                 fmt::format("the invite is cut off, before its code: {}", kAskAgain));
  auto hosts = ParseHosts(whole.substr(kScheme.size(), slash - kScheme.size()));
  if (!hosts) return tl::unexpected(std::move(hosts.error()));
  auto invite = ParseCode(whole.substr(0, slash + 1), whole.substr(slash + 1));
  if (invite) invite->hosts = std::move(*hosts);
  return invite;
}

std::string ToText(const Invite& invite) {
  Check(!invite.hosts.empty() && invite.hosts.size() <= kInvite.hosts_max, "an invite has hosts");
  std::string text(kScheme);
  for (const Endpoint& endpoint : invite.hosts) {
    Check(IsHost(endpoint.host) && endpoint.port != 0, "an invite names hosts and ports");
    if (&endpoint != &invite.hosts.front()) text += '+';
    text += fmt::format("{}:{}", endpoint.host, endpoint.port);
  }
  text += '/';
  Bytes body = {kInviteVersion, invite.expires_unix_s ? kHasExpiry : std::uint8_t{0}};
  body.insert(body.end(), invite.pin.begin(), invite.pin.end());
  body.insert(body.end(), invite.run.begin(), invite.run.end());
  for (std::size_t i = 0; invite.expires_unix_s && i < kExpiryBytes; ++i)
    body.push_back(static_cast<std::uint8_t>(*invite.expires_unix_s >> (8 * i)));
  text += Base32(body);
  text += ChecksumOf(text);
  Check(text.size() <= kInvite.text_bytes_max, "an invite is within its limit");
  return text;
}

bool IsExpired(const Invite& invite, std::uint64_t now_unix_s) {
  return invite.expires_unix_s && now_unix_s > *invite.expires_unix_s;
}

}  // namespace waggle
