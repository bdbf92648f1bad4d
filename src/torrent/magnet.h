// How an announcement says which torrent has its policy: a magnet link (BEP 9) among the sources,
// which any BitTorrent client can open.
//   magnet:?xt=urn:btih:<infohash>&x.info=<SHA-256 of the info dictionary>&x.pe=<host:port>...
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "torrent/layout.h"

namespace waggle {

struct Magnet {
  Infohash infohash{};
  Digest256 info{};                // the blob that is the info dictionary
  std::vector<std::string> peers;  // "host:port", who has it for certain
  bool operator==(const Magnet&) const = default;
};

inline constexpr std::size_t kMagnetPeersMax = 4;

std::string ToText(const Magnet& magnet);
// Nothing: no such link. Parameters that we do not know, and peers that are no host:port, are left
// out; it is a stranger's, so nothing of it is an error.
std::optional<Magnet> ParseMagnet(std::string_view text);

}  // namespace waggle
