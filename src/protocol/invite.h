// An invite: one line of text that is all a volunteer needs to join a run.
//
//   waggle://host:port[+host:port...]/CODE
//
// CODE is base32 (crypto/bech32.h's alphabet) of  version u8 | flags u8 | pin 32 | run 32 |
// expiry u64 LE, if flag 0 is set,  and then 8 characters of checksum: the first 40 bits of
// SHA-256("WGL-INVITE" | everything before them). In every version the first character pair is the
// version and the last 8 characters are this checksum, so an older program can tell a newer invite
// from a damaged one. Hosts are tried in order. Case does not matter, writing is in lower case; in
// upper case the whole line fits the dense alphabet of a QR code.
//
// The pin is the SHA-256 of the SubjectPublicKeyInfo (DER) of the certificate that the host shows
// in TLS: no certificate authority has a say in whom a volunteer talks to.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "rollout/rollout.h"

namespace waggle {

struct InviteLimits {
  std::size_t text_bytes_max = 640;
  std::size_t hosts_max = 4;
  std::size_t host_bytes_max = 100;
};
inline constexpr InviteLimits kInvite{};

struct Endpoint {
  std::string host;  // a name, an IPv4 address, or an IPv6 address in brackets; lower case
  std::uint16_t port = 0;
  bool operator==(const Endpoint&) const = default;
};

struct Invite {
  std::vector<Endpoint> hosts;  // at least one
  Hash256 pin{};
  Hash256 run{};
  std::optional<std::uint64_t> expires_unix_s;  // the last second in which it is good
  bool operator==(const Invite&) const = default;
};

enum class InviteProblem : std::uint8_t {
  kNotAnInvite,  // something else altogether
  kTooLong,
  kCutOff,    // a beginning of an invite
  kHost,      // empty, too many, or characters that no host has
  kPort,      // not 1..65535
  kCode,      // characters that no invite has, or more than there should be
  kVersion,   // of a newer program
  kChecksum,  // damaged: a character was changed
};
inline constexpr std::uint8_t kInviteProblems = 8;

struct InviteError {
  InviteProblem problem = InviteProblem::kNotAnInvite;
  std::string what;  // which part, and what to do
};
// An invite is typed or pasted by the person who runs the node.
inline Error AsError(InviteError error) { return {Blame::kOperator, std::move(error.what)}; }

// White space around it is ignored.
tl::expected<Invite, InviteError> ParseInvite(std::string_view text);
// REQUIRES hosts that ParseInvite would take (IsHost), within the limits, ports that are not 0.
std::string ToText(const Invite& invite);
bool IsHost(std::string_view host);

// Time comes in from the caller.
bool IsExpired(const Invite& invite, std::uint64_t now_unix_s);

}  // namespace waggle
