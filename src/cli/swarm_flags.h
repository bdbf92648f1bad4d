// The flags of whoever takes part in a run's swarm: waggle run, join, relay.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "torrent/swarm.h"

namespace waggle {

struct SwarmFlags {
  std::string listen;  // empty: no swarm
  std::uint64_t upload_per_second_max = 0;
  bool map_port = false, dht = false;
  std::vector<std::string> dht_nodes;

  // Returns --swarm, whose default is what `listen` is then.
  CLI::Option* Define(CLI::App& app, const std::string& about) {
    auto* swarm = app.add_option("--swarm", listen, about);
    app.add_option("--swarm-upload", upload_per_second_max,
                   "Bytes a second given to others with BitTorrent at most, or 500KB, 2MB "
                   "(default: any).")
        ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
    app.add_flag("--map-port", map_port,
                 "Ask the router (UPnP, NAT-PMP) to let other nodes' BitTorrent in.");
    app.add_flag("--dht", dht,
                 "Find peers in BitTorrent's public hash table too: everybody can see there that "
                 "this address takes part.");
    app.add_option("--dht-node", dht_nodes,
                   "host:port where the hash table is entered (default: the usual ones); "
                   "repeatable.");
    return swarm;
  }
  std::optional<SwarmOptions> Options() const {
    if (listen.empty()) return std::nullopt;
    return SwarmOptions{.listen = listen,
                        .scratch = {},
                        .upload_per_second_max = upload_per_second_max,
                        .map_ports = map_port,
                        .dht = dht,
                        .dht_nodes = dht_nodes};
  }
};

}  // namespace waggle
