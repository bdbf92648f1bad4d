// A desk's driver: takes volunteers of its own for somebody's run, over one PostgreSQL with the
// run's host (docs/adr/0017-desks.md). Performs the effects of a HostCore, behind which stands a
// DeskCore.
//
// Its folder: tls/ (so that its invite outlives a restart), description, blob/ (policies) and, as
// long as it answers HTTP, control.json.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "crypto/identity.h"
#include "protocol/invite.h"

namespace waggle {

struct DeskOptions {
  Invite invite;      // of the run's host
  std::string store;  // postgresql://..., the host's
  std::string listen = "127.0.0.1:0";
  std::vector<std::string> hosts;  // "host:port" for its own invite; empty: where it listens
  std::filesystem::path folder;
  std::vector<std::string> relays;   // URLs where it looks for policies before it asks the host
  std::vector<std::string> mirrors;  // URLs that its volunteers are told
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::string software;
  std::size_t volunteers_max = 1024, volunteers_per_address_max = 64;
  std::string http = "127.0.0.1:0";
  std::function<void(const std::string&)> say;
  // Told its invite and where it answers HTTP (empty: nowhere), once it listens.
  std::function<void(const Invite&, const std::string& http_url)> listening;
  std::function<bool()> wants_to_end;  // asked often
};

struct DeskSummary {
  std::string why;  // it ended
  std::uint64_t accepted = 0, tokens = 0;
};

// Until the run is over or it is asked to leave. A desk that was closed for its silence registers
// anew.
Result<DeskSummary> TendDesk(const DeskOptions& options, const KeyPair& key, Clock& clock);

}  // namespace waggle
