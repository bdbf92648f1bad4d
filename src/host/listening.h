// What host and desk share in listening to volunteers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "host/host_core.h"
#include "host/host_status.h"
#include "net/limits.h"
#include "net/server.h"
#include "protocol/invite.h"

namespace waggle {

// "host:port" each, for an invite; none: where the process listens, on this port.
Result<std::vector<Endpoint>> EndpointsFor(const std::string& listen,
                                           std::vector<std::string> hosts, std::uint16_t port);

// An invite that nobody can follow is worse than none.
Status CheckReachable(const std::string& listen, const std::vector<std::string>& hosts);

// As many files as a full house needs, if the system lets us.
Result<NetLimits> LimitsFor(std::size_t volunteers_max, std::size_t volunteers_per_address_max);

// Performs effects in order. Frames that go to one node together (an outcome and the next grant)
// share a packet; `perform` has the rest but Keep, which is committed by then.
Status PerformAll(NodeServer* server, HostBoard& board, std::vector<HostEffect> effects,
                  const std::function<Status(HostEffect)>& perform);

}  // namespace waggle
