#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace waggle {
namespace {

constexpr std::size_t kAddressBytesMax = 300;

std::string UndoPercent(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr ==
            text.data() + i + 3) {
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

PeerAddress FromV4(const in_addr& address, std::uint16_t port) {
  char text[INET_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET, &address, text, sizeof text);
  return {.text = fmt::format("{}:{}", text, port), .host = text};
}

}  // namespace

Result<HostPort> ParseHostPort(std::string_view text) {
  const auto bad = [&](const char* why) {
    return Fail(Blame::kOperator, "address '{}': {}; expected host:port",
                text.substr(0, kAddressBytesMax), why);
  };
  if (text.size() > kAddressBytesMax) return bad("too long");
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad("an IPv6 address goes in brackets");
  }
  if (host.empty()) return bad("no host");
  for (const char c : host) {
    // No URI schemes or paths: gRPC would follow them ("unix:", "xds:").
    if (c <= ' ' || c > '~' || std::strchr("/[]@?#\\,", c) != nullptr) return bad("odd character");
  }
  HostPort parsed{.host = std::string(host)};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), parsed.port);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty())
    return bad("the port is not 0 to 65535");
  return parsed;
}

PeerAddress ToPeerAddress(const sockaddr* address, socklen_t size) {
  if (address->sa_family == AF_INET && size >= socklen_t{sizeof(sockaddr_in)}) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return FromV4(v4.sin_addr, ntohs(v4.sin_port));
  }
  if (address->sa_family != AF_INET6 || size < socklen_t{sizeof(sockaddr_in6)})
    return {.text = "unknown", .host = "unknown"};
  sockaddr_in6 v6{};
  std::memcpy(&v6, address, sizeof v6);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    in_addr v4{};
    std::memcpy(&v4, v6.sin6_addr.s6_addr + 12, sizeof v4);
    return FromV4(v4, ntohs(v6.sin6_port));
  }
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  PeerAddress peer{.text = fmt::format("[{}]:{}", text, ntohs(v6.sin6_port))};
  // One subscriber usually owns a whole /64; ::1 is the exception that stays itself.
  if (!IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) std::memset(v6.sin6_addr.s6_addr + 8, 0, 8);
  ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  peer.host = text;
  return peer;
}

std::string PeerTextFromGrpc(std::string_view peer) {
  const std::size_t scheme = peer.find(':');
  if (scheme == std::string_view::npos) return std::string(peer);
  const auto parsed = ParseHostPort(UndoPercent(peer.substr(scheme + 1)));
  if (!parsed) return std::string(peer);
  const std::string host = parsed->host.substr(0, parsed->host.find('%'));  // without its scope
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(parsed->port)};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1)
    return ToPeerAddress(reinterpret_cast<const sockaddr*>(&v4), sizeof v4).text;
  sockaddr_in6 v6{.sin6_family = AF_INET6, .sin6_port = htons(parsed->port)};
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1)
    return ToPeerAddress(reinterpret_cast<const sockaddr*>(&v6), sizeof v6).text;
  return std::string(peer);
}

}  // namespace waggle
