#include "torrent/swarm_peers.h"

#include <algorithm>
#include <cstring>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/entry.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_connection_interface.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <optional>
#include <utility>

namespace waggle {
namespace {

constexpr char kName[] = "wg_peers";
constexpr int kOurNumber = 57;
constexpr char kExtended = 20;       // BEP 10
constexpr int kMessagesPerPeer = 1;  // heard of one; it sends no more
constexpr std::size_t kBytesMax = kPeersTold * 19;
constexpr int kPortMin = 1024;

// One connection.
class TellingPeer final : public lt::peer_plugin {
 public:
  using Others = std::function<std::vector<lt::tcp::endpoint>(const TellingPeer*)>;

  TellingPeer(lt::peer_connection_handle connection, lt::torrent_handle torrent,
              std::shared_ptr<PeerBook> book, std::shared_ptr<Traffic> traffic, Others others)
      : connection_(std::move(connection)),
        torrent_(std::move(torrent)),
        book_(std::move(book)),
        traffic_(std::move(traffic)),
        others_(std::move(others)) {}

  // Where others reach it; nothing while that is not known.
  const std::optional<lt::tcp::endpoint>& reached_at() const { return reached_at_; }

  void add_handshake(lt::entry& handshake) override { handshake["m"][kName] = kOurNumber; }

  bool on_extension_handshake(const lt::bdecode_node& handshake) override {
    if (handshake.type() != lt::bdecode_node::dict_t) return false;
    lt::tcp::endpoint at = connection_.remote();
    const auto port = handshake.dict_find_int_value("p", 0);
    if (!connection_.is_outgoing()) at.port(static_cast<std::uint16_t>(port));
    if (connection_.is_outgoing() || (port >= kPortMin && port <= 65535)) {
      reached_at_ = at;
      book_->Met(at);
    }
    const lt::bdecode_node messages = handshake.dict_find_dict("m");
    const auto number = messages ? messages.dict_find_int_value(kName, 0) : 0;
    if (number < 1 || number > 255) return false;
    if (std::exchange(told_, true)) return true;
    Tell(static_cast<char>(number), others_(this));
    return true;
  }

  void sent_payload(int bytes) override { traffic_->given += static_cast<std::uint64_t>(bytes); }
  bool on_piece(const lt::peer_request& piece, lt::span<const char>) override {
    traffic_->taken += static_cast<std::uint64_t>(piece.length);
    if (connection_.type() != lt::connection_type::bittorrent)
      traffic_->taken_from_web += static_cast<std::uint64_t>(piece.length);
    return false;
  }

  bool on_extended(int length, int message, lt::span<const char> body) override {
    if (message != kOurNumber) return false;
    if (length < 0 || static_cast<std::size_t>(length) > kBytesMax || heard_ >= kMessagesPerPeer) {
      connection_.disconnect(
          lt::error_code(boost::system::errc::bad_message, lt::generic_category()),
          lt::operation_t::bittorrent, lt::peer_connection_interface::peer_error);
      return true;
    }
    if (body.size() < length) return true;  // more of it is coming
    ++heard_;
    const bool here = connection_.remote().address().is_loopback();
    for (const lt::tcp::endpoint& peer : DecodePeers(body)) {
      if (peer.port() < kPortMin || peer.address().is_multicast() ||
          peer.address().is_unspecified() || (peer.address().is_loopback() && !here))
        continue;
      torrent_.connect_peer(peer, lt::peer_info::pex);
    }
    return true;
  }

 private:
  void Tell(char number, const std::vector<lt::tcp::endpoint>& peers) {
    if (peers.empty()) return;
    const std::vector<char> body = EncodePeers(peers);
    const auto length = static_cast<std::uint32_t>(body.size() + 2);
    std::vector<char> message;
    for (int shift = 24; shift >= 0; shift -= 8)
      message.push_back(static_cast<char>(length >> shift & 0xff));
    message.push_back(kExtended);
    message.push_back(number);
    message.insert(message.end(), body.begin(), body.end());
    connection_.send_buffer(message.data(), static_cast<int>(message.size()));
  }

  lt::peer_connection_handle connection_;
  const lt::torrent_handle torrent_;
  const std::shared_ptr<PeerBook> book_;
  const std::shared_ptr<Traffic> traffic_;
  const Others others_;
  std::optional<lt::tcp::endpoint> reached_at_;
  bool told_ = false;
  int heard_ = 0;
};

// One torrent. The session's thread only.
class TellingTorrent final : public lt::torrent_plugin,
                             public std::enable_shared_from_this<TellingTorrent> {
 public:
  TellingTorrent(lt::torrent_handle torrent, std::shared_ptr<PeerBook> book,
                 std::shared_ptr<Traffic> traffic)
      : torrent_(std::move(torrent)), book_(std::move(book)), traffic_(std::move(traffic)) {}

  std::shared_ptr<lt::peer_plugin> new_connection(
      const lt::peer_connection_handle& connection) override {
    std::erase_if(peers_, [](const auto& peer) { return peer.expired(); });
    const auto others = [weak = weak_from_this()](const TellingPeer* self) {
      const auto torrent = weak.lock();
      return torrent ? torrent->Others(self) : std::vector<lt::tcp::endpoint>();
    };
    auto peer = std::make_shared<TellingPeer>(connection, torrent_, book_, traffic_, others);
    peers_.push_back(peer);
    return peer;
  }

 private:
  std::vector<lt::tcp::endpoint> Others(const TellingPeer* self) const {
    std::vector<lt::tcp::endpoint> others;
    for (auto at = peers_.rbegin(); at != peers_.rend() && others.size() < kPeersTold; ++at) {
      const auto peer = at->lock();
      if (peer && peer.get() != self && peer->reached_at()) others.push_back(*peer->reached_at());
    }
    return others;
  }

  const lt::torrent_handle torrent_;
  const std::shared_ptr<PeerBook> book_;
  const std::shared_ptr<Traffic> traffic_;
  std::vector<std::weak_ptr<TellingPeer>> peers_;
};

}  // namespace

void PeerBook::Met(const lt::tcp::endpoint& peer) {
  const std::lock_guard lock(mutex_);
  std::erase(peers_, peer);
  peers_.push_back(peer);
  if (peers_.size() > kPeersRemembered) peers_.pop_front();
}

std::vector<lt::tcp::endpoint> PeerBook::peers() const {
  const std::lock_guard lock(mutex_);
  return {peers_.begin(), peers_.end()};
}

std::vector<char> EncodePeers(const std::vector<lt::tcp::endpoint>& peers) {
  std::vector<char> out;
  const auto append = [&](const auto& bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
  for (const lt::tcp::endpoint& peer : peers) {
    out.push_back(peer.address().is_v4() ? 4 : 6);
    if (peer.address().is_v4()) {
      append(peer.address().to_v4().to_bytes());
    } else {
      append(peer.address().to_v6().to_bytes());
    }
    out.push_back(static_cast<char>(peer.port() >> 8));
    out.push_back(static_cast<char>(peer.port() & 0xff));
  }
  return out;
}

std::vector<lt::tcp::endpoint> DecodePeers(lt::span<const char> bytes) {
  std::vector<lt::tcp::endpoint> peers;
  const auto size = static_cast<std::size_t>(bytes.size());
  for (std::size_t at = 0; at < size && peers.size() < kPeersTold;) {
    const char family = bytes[static_cast<std::ptrdiff_t>(at++)];
    if (family != 4 && family != 6) break;
    const std::size_t length = family == 4 ? 4 : 16;
    if (size - at < length + 2) break;
    const char* begin = bytes.data() + at;
    lt::tcp::endpoint peer;
    if (family == 4) {
      lt::address_v4::bytes_type raw;
      std::memcpy(raw.data(), begin, raw.size());
      peer.address(lt::address_v4(raw));
    } else {
      lt::address_v6::bytes_type raw;
      std::memcpy(raw.data(), begin, raw.size());
      peer.address(lt::address_v6(raw));
    }
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(begin[length + i]); };
    peer.port(static_cast<std::uint16_t>(byte(0) << 8 | byte(1)));
    peers.push_back(peer);
    at += length + 2;
  }
  return peers;
}

TorrentPlugins TellPeersAtOnce(std::shared_ptr<PeerBook> book, std::shared_ptr<Traffic> traffic) {
  return [book = std::move(book), traffic = std::move(traffic)](
             const lt::torrent_handle& torrent,
             lt::client_data_t) -> std::shared_ptr<lt::torrent_plugin> {
    return std::make_shared<TellingTorrent>(torrent, book, traffic);
  };
}

}  // namespace waggle
