#include "net/limits.h"

namespace waggle {

Status CheckLimits(const NetLimits& limits) {
  const auto at_least = [](const char* name, auto value, auto least) -> Status {
    if (value < least) return Fail(Blame::kOperator, "{} is {}, at least {}", name, value, least);
    return {};
  };
  const auto at_most = [](const char* name, auto value, auto most) -> Status {
    if (value > most) return Fail(Blame::kOperator, "{} is {}, at most {}", name, value, most);
    return {};
  };
  constexpr std::size_t one = 1;
  WG_TRY(at_least("connections_max", limits.connections_max, one));
  WG_TRY(at_least("connections_per_address_max", limits.connections_per_address_max, one));
  WG_TRY(at_least("sockets_max", limits.sockets_max, limits.connections_max));
  WG_TRY(at_least("sockets_per_address_max", limits.sockets_per_address_max,
                  limits.connections_per_address_max));
  WG_TRY(at_least("frame_bytes_max", limits.frame_bytes_max, one));
  WG_TRY(at_most("frame_bytes_max", limits.frame_bytes_max, std::size_t{1} << 30));
  // A frame of the greatest size, with its cost, must be sendable to a peer that has read all
  // others.
  WG_TRY(at_least("outbound_bytes_max", limits.outbound_bytes_max, limits.frame_bytes_max + 1024));
  WG_TRY(at_least("inbound_bytes_max", limits.inbound_bytes_max, one));
  WG_TRY(at_least("queued_bytes_max", limits.queued_bytes_max / 2, limits.outbound_bytes_max));
  WG_TRY(at_least("partial_bytes_max", limits.partial_bytes_max, limits.frame_bytes_max));
  WG_TRY(at_least("fetch_threads", limits.fetch_threads, one));
  WG_TRY(at_most("fetch_threads", limits.fetch_threads, std::size_t{64}));
  WG_TRY(at_most("fetches_per_connection_max", limits.fetches_per_connection_max, std::size_t{64}));
  for (const std::int64_t duration_ms :
       {limits.first_frame_ms_max, limits.idle_ms_max, limits.connect_ms_max}) {
    WG_TRY(at_least("a duration in ms", duration_ms, std::int64_t{1}));
    WG_TRY(at_most("a duration in ms", duration_ms, std::int64_t{24} * 3600 * 1000));
  }
  return {};
}

}  // namespace waggle
