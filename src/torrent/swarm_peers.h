// Who else is there: peer exchange (BEP 11) tells a newcomer after seconds, here it is told at
// once, by a message of our own beside it ("wg_peers"), in the first breath of a connection.
// And peers that were met for one payload are tried for the next.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <libtorrent/extensions.hpp>
#include <libtorrent/socket.hpp>
#include <memory>
#include <mutex>
#include <vector>

namespace waggle {

inline constexpr std::size_t kPeersTold = 50;        // in one message
inline constexpr std::size_t kPeersRemembered = 64;  // beyond one payload

// Thread-safe. Peers that answered lately, the newest last.
class PeerBook {
 public:
  void Met(const lt::tcp::endpoint& peer);
  std::vector<lt::tcp::endpoint> peers() const;

 private:
  mutable std::mutex mutex_;
  std::deque<lt::tcp::endpoint> peers_;
};

// Bytes of payloads, to and from anybody.
struct Traffic {
  std::atomic<std::uint64_t> given = 0, taken = 0, taken_from_web = 0;
};

using TorrentPlugins = std::function<std::shared_ptr<lt::torrent_plugin>(const lt::torrent_handle&,
                                                                         lt::client_data_t)>;
TorrentPlugins TellPeersAtOnce(std::shared_ptr<PeerBook> book, std::shared_ptr<Traffic> traffic);

// The message: for each peer 4 or 6, its address, its port, as the network has them. For tests.
std::vector<char> EncodePeers(const std::vector<lt::tcp::endpoint>& peers);
// Up to where it makes sense.
std::vector<lt::tcp::endpoint> DecodePeers(lt::span<const char> bytes);

}  // namespace waggle
