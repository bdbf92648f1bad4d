#include "torrent/magnet.h"

#include <algorithm>

#include "base/hex.h"

namespace waggle {
namespace {

constexpr std::string_view kScheme = "magnet:?";
constexpr std::string_view kTopic = "xt=urn:btih:", kInfo = "x.info=", kPeer = "x.pe=";
constexpr std::size_t kPeerBytesMax = 260;

// False: not exactly these bytes in hex, or it was there before.
template <std::size_t kSize>
bool Read(std::string_view hex, std::array<std::uint8_t, kSize>& out, bool& there) {
  const auto bytes = FromHex(hex);
  if (there || !bytes || bytes->size() != kSize) return false;
  std::ranges::copy(*bytes, out.begin());
  return there = true;
}

bool IsPeer(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || text.size() > kPeerBytesMax) return false;
  const std::string_view port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5) return false;
  if (!std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; })) return false;
  const std::string_view host = text.substr(0, colon);
  return std::ranges::all_of(host, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == ':' || c == '[' || c == ']';
  });
}

}  // namespace

std::string ToText(const Magnet& magnet) {
  std::string text(kScheme);
  text += std::string(kTopic) + ToHex(magnet.infohash);
  text += "&" + std::string(kInfo) + ToHex(magnet.info);
  for (const std::string& peer : magnet.peers) text += "&" + std::string(kPeer) + peer;
  return text;
}

std::optional<Magnet> ParseMagnet(std::string_view text) {
  if (!text.starts_with(kScheme)) return std::nullopt;
  text.remove_prefix(kScheme.size());
  Magnet magnet;
  bool topic = false, info = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.starts_with(kPeer)) {
      const std::string_view peer = one.substr(kPeer.size());
      if (IsPeer(peer) && magnet.peers.size() < kMagnetPeersMax) magnet.peers.emplace_back(peer);
    } else if (one.starts_with(kTopic)) {
      if (!Read(one.substr(kTopic.size()), magnet.infohash, topic)) return std::nullopt;
    } else if (one.starts_with(kInfo)) {
      if (!Read(one.substr(kInfo.size()), magnet.info, info)) return std::nullopt;
    }
  }
  if (!topic || !info) return std::nullopt;
  return magnet;
}

}  // namespace waggle
