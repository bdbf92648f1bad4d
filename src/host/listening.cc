#include "host/listening.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "protocol/limits.h"

namespace waggle {

Result<std::vector<Endpoint>> EndpointsFor(const std::string& listen,
                                           std::vector<std::string> hosts, std::uint16_t port) {
  if (hosts.empty())
    hosts.push_back(fmt::format("{}:{}", listen.substr(0, listen.rfind(':')), port));
  std::vector<Endpoint> endpoints;
  for (const std::string& text : hosts) {
    const std::size_t colon = text.rfind(':');
    const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (port.empty() || port.size() > 5 ||
        port.find_first_not_of("0123456789") != std::string::npos || std::stoul(port) == 0 ||
        std::stoul(port) > 65535 || !IsHost(text.substr(0, colon)))
      return Fail(Blame::kOperator, "'{}' is no host:port for an invite", text);
    endpoints.push_back({text.substr(0, colon), static_cast<std::uint16_t>(std::stoul(port))});
  }
  return endpoints;
}

Status CheckReachable(const std::string& listen, const std::vector<std::string>& hosts) {
  const std::string host = listen.substr(0, listen.rfind(':'));
  if (!hosts.empty() || (host != "0.0.0.0" && host != "[::]")) return {};
  return Fail(Blame::kOperator,
              "--listen {} hears on every address of this machine: say with --host NAME:PORT under "
              "which one volunteers reach it",
              listen);
}

Result<NetLimits> LimitsFor(std::size_t volunteers_max, std::size_t volunteers_per_address_max) {
  NetLimits limits;
  limits.frame_bytes_max = kProtocol.envelope_bytes_max;
  limits.connections_max = volunteers_max;
  limits.connections_per_address_max = volunteers_per_address_max;
  // Beside a volunteer's own: what only fetches, and what has not said yet what it wants.
  limits.sockets_max = limits.connections_max + limits.connections_max / 8 + 64;
  limits.sockets_per_address_max = 2 * limits.connections_per_address_max;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t wanted = limits.sockets_max + 256;
  if (files.rlim_cur < wanted) {
    files.rlim_cur = std::min(wanted, files.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (files.rlim_cur >= wanted) return limits;
  return Fail(Blame::kOperator,
              "{} volunteers need {} open files and the system allows {}: raise the hard limit "
              "(ulimit -Hn, LimitNOFILE=) or let fewer in (--volunteers)",
              volunteers_max, wanted, files.rlim_max);
}

Status PerformAll(NodeServer* server, HostBoard& board, std::vector<HostEffect> effects,
                  const std::function<Status(HostEffect)>& perform) {
  std::erase_if(effects,
                [](const HostEffect& effect) { return std::holds_alternative<Keep>(effect); });
  std::vector<std::span<const std::uint8_t>> frames;
  for (std::size_t i = 0; i < effects.size();) {
    const auto* frame = std::get_if<SendFrame>(&effects[i]);
    if (frame == nullptr) {
      WG_TRY(perform(std::move(effects[i++])));
      continue;
    }
    const LinkId link = frame->link;
    for (frames.clear(); frame != nullptr && frame->link == link;) {
      frames.emplace_back(frame->bytes);
      board.Sent(frame->bytes.size());
      frame = ++i < effects.size() ? std::get_if<SendFrame>(&effects[i]) : nullptr;
    }
    server->Send(ConnectionId{link.value}, frames);
  }
  return {};
}

}  // namespace waggle
