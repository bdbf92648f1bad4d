#include "torrent/swarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/ip_filter.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_info.hpp>
#include <libtorrent/torrent_status.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/check.h"
#include "base/folders.h"
#include "torrent/swarm_dht.h"
#include "torrent/swarm_disk.h"
#include "torrent/swarm_peers.h"

namespace waggle {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr std::int64_t kLookMs = 200;   // at connections, which costs more
constexpr std::int64_t kAskMs = 1'000;  // until the hash table is asked again
constexpr std::int64_t kListenMs = 5'000;
constexpr std::size_t kAddressesPerPeer = 4;  // of a name
constexpr int kPortMin = 1024;
constexpr std::size_t kPiecesMax = std::size_t{1} << 17;  // of the largest torrent that there is

lt::sha1_hash TheirHash(const Infohash& infohash) {
  return lt::sha1_hash(reinterpret_cast<const char*>(infohash.data()));
}

lt::settings_pack SettingsFor(const SwarmOptions& options) {
  using S = lt::settings_pack;
  S s;
  const auto rate = [](std::uint64_t bytes) {
    return static_cast<int>(std::min<std::uint64_t>(bytes, INT32_MAX));
  };
  s.set_str(S::listen_interfaces, options.listen);
  s.set_bool(S::listen_system_port_fallback, false);
  s.set_int(S::max_retry_port_bind, 0);
  s.set_str(S::user_agent, "waggle");
  s.set_str(S::peer_fingerprint, "-WG0100-");
  s.set_int(S::alert_mask, lt::alert_category::error | lt::alert_category::status |
                               lt::alert_category::port_mapping | lt::alert_category::dht);
  s.set_int(S::alert_queue_size, 512);
  s.set_bool(S::enable_dht, options.dht);
  std::string nodes;
  for (const std::string& node : options.dht_nodes) {
    if (!nodes.empty()) nodes += ',';
    nodes += node;
  }
  if (!nodes.empty()) s.set_str(S::dht_bootstrap_nodes, nodes);
  if (options.listen.starts_with("127.")) {  // a hash table of one machine
    for (const int one :
         {S::dht_restrict_routing_ips, S::dht_restrict_search_ips, S::dht_prefer_verified_node_ids,
          S::dht_enforce_node_id, S::dht_ignore_dark_internet})
      s.set_bool(one, false);
  }
  s.set_bool(S::enable_lsd, false);  // nobody on the local network asked for it
  s.set_bool(S::enable_upnp, options.map_ports);
  s.set_bool(S::enable_natpmp, options.map_ports);
  s.set_int(S::upload_rate_limit, rate(options.upload_per_second_max));
  s.set_int(S::download_rate_limit, rate(options.download_per_second_max));
  s.set_int(S::connections_limit, options.connections_max);
  s.set_int(S::unchoke_slots_limit, options.uploads_max);
  // A laboratory behind one router is many nodes.
  s.set_bool(S::allow_multiple_connections_per_ip, true);
  s.set_bool(S::ssrf_mitigation, true);
  s.set_int(S::tick_interval, 100);  // of which new connections are made; the usual is 500 ms
  // Little is asked for in advance: what waits in the origin's queue can be had from a neighbour
  // soon.
  s.set_int(S::request_queue_time, 1);
  s.set_int(S::max_out_request_queue, 100);
  s.set_int(S::max_peerlist_size, 500);
  s.set_int(S::peer_connect_timeout, 5);
  s.set_int(S::min_reconnect_time, 5);
  s.set_int(S::inactivity_timeout, 30);
  s.set_int(S::max_queued_disk_bytes, 8 << 20);
  s.set_int(S::aio_threads, 0);
  s.set_int(S::hashing_threads, 0);
  return s;
}

// Ours from theirs: peers "host:port" that may be names.
std::vector<lt::tcp::endpoint> Resolve(const std::vector<std::string>& peers) {
  std::vector<lt::tcp::endpoint> endpoints;
  lt::io_context context;
  boost::asio::ip::tcp::resolver resolver(context);
  for (const std::string& peer : peers) {
    const std::size_t colon = peer.rfind(':');
    if (colon == std::string::npos) continue;
    std::string host = peer.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    boost::system::error_code error;
    const auto found = resolver.resolve(host, peer.substr(colon + 1),
                                        boost::asio::ip::resolver_base::numeric_service, error);
    if (error) continue;
    std::size_t taken = 0;
    for (const auto& entry : found) {
      if (++taken > kAddressesPerPeer) break;
      if (entry.endpoint().port() >= kPortMin) endpoints.push_back(entry.endpoint());
    }
  }
  return endpoints;
}

std::vector<std::string> WebSeeds(const std::vector<std::string>& mirrors) {
  std::vector<std::string> seeds;
  for (std::string url : mirrors) {
    if (!url.starts_with("http://") && !url.starts_with("https://")) continue;
    while (url.ends_with('/')) url.pop_back();
    seeds.push_back(url + "/");  // then the torrent's name, "blob", and the file's, the hash
  }
  return seeds;
}

}  // namespace

class Swarm::Impl {
 public:
  Impl(const SwarmOptions& options, Clock& clock)
      : options_(options), clock_(clock), session_(Parameters(options, storages_)) {
    // libtorrent does not count those near us among the limited; a limit is a limit.
    lt::ip_filter everybody;
    constexpr std::uint32_t kGlobal =
        1u << static_cast<std::uint32_t>(lt::session_handle::global_peer_class_id);
    everybody.add_rule(lt::address_v4::any(), lt::address_v4::broadcast(), kGlobal);
    lt::address_v6::bytes_type last;
    last.fill(0xff);
    everybody.add_rule(lt::address_v6::any(), lt::address_v6(last), kGlobal);
    session_.set_peer_class_filter(everybody);
    // What a stranger names must not make us knock at a service of the system. (Not by the setting
    // no_connect_privileged_ports: it shuts out web seeds at 80 and 443.)
    lt::port_filter ports;
    ports.add_rule(0, kPortMin - 1, lt::port_filter::blocked);
    ports.add_rule(80, 80, 0);
    ports.add_rule(443, 443, 0);
    session_.set_port_filter(ports);
    session_.add_extension(TellPeersAtOnce(book_, traffic_));
  }
  ~Impl() { session_.abort(); }

  Status Listen();
  std::uint16_t port() const { return port_; }
  Status Give(const PolicyManifest& manifest, std::span<const std::uint8_t> info,
              std::shared_ptr<PayloadSource> source);
  void Retain(const std::set<Infohash>& infohashes);
  Result<bool> Fetch(const Wanted& wanted, const Take& take);
  void Publish(const RunNews& news) {
    if (options_.dht) PutNews(session_, news);
  }
  std::optional<RunNews> ReadNews(std::string_view link, std::int64_t timeout_ms);
  Counts counts();

 private:
  struct Torrent {
    lt::torrent_handle handle;
    std::shared_ptr<SwarmStorage> storage;
    bool fetching = false, whole = false;
  };
  static lt::session_params Parameters(const SwarmOptions& options,
                                       const std::shared_ptr<SwarmStorages>& storages) {
    lt::session_params parameters(SettingsFor(options));
    parameters.disk_io_constructor = SwarmDisk(storages);
    return parameters;
  }
  Result<Torrent*> Add(const lt::sha1_hash& infohash, std::span<const std::uint8_t> info,
                       std::shared_ptr<SwarmStorage> storage, lt::add_torrent_params parameters);
  void Drop(const lt::sha1_hash& infohash);
  Result<lt::torrent_handle> Begin(const Wanted& wanted, const lt::sha1_hash& infohash,
                                   TorrentLayout layout);
  struct Watch;
  bool Impatient(Watch& watch, const lt::torrent_handle& handle, const lt::torrent_status& status,
                 const SwarmPatience& patience);
  void Hear();
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }

  const SwarmOptions options_;
  Clock& clock_;
  const std::shared_ptr<SwarmStorages> storages_ = std::make_shared<SwarmStorages>();
  const std::shared_ptr<Traffic> traffic_ = std::make_shared<Traffic>();
  const std::shared_ptr<PeerBook> book_ = std::make_shared<PeerBook>();
  lt::session session_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;  // of what follows
  std::map<lt::sha1_hash, Torrent> torrents_;
  std::uint64_t bad_pieces_ = 0;
  std::optional<HeardNews> news_;  // under the link that is being read
};

Status Swarm::Impl::Listen() {
  const std::int64_t begin = NowMs();
  std::string why = "no word of it";
  std::vector<lt::alert*> alerts;
  while (NowMs() - begin < kListenMs) {
    session_.wait_for_alert(std::chrono::milliseconds(100));
    session_.pop_alerts(&alerts);
    for (const lt::alert* alert : alerts) {
      if (const auto* ok = lt::alert_cast<lt::listen_succeeded_alert>(alert)) {
        if (ok->socket_type == lt::socket_type_t::tcp) port_ = static_cast<std::uint16_t>(ok->port);
      } else if (const auto* failed = lt::alert_cast<lt::listen_failed_alert>(alert)) {
        why = failed->error.message();
        if (port_ == 0)
          return Fail(Blame::kOperator, "cannot listen on {} for BitTorrent: {}", options_.listen,
                      why);
      }
    }
    if (port_ != 0) return {};
  }
  return Fail(Blame::kOperator, "cannot listen on {} for BitTorrent: {}", options_.listen, why);
}

// REQUIRES the lock.
Result<Swarm::Impl::Torrent*> Swarm::Impl::Add(const lt::sha1_hash& infohash,
                                               std::span<const std::uint8_t> info,
                                               std::shared_ptr<SwarmStorage> storage,
                                               lt::add_torrent_params parameters) {
  // The dictionary alone makes no file; it does as "info" of one.
  std::string file = "d4:info";
  file.append(reinterpret_cast<const char*>(info.data()), info.size());
  file += "e";
  lt::error_code error;
  lt::load_torrent_limits limits;
  limits.max_buffer_size = static_cast<int>(file.size());
  limits.max_pieces = static_cast<int>(kPiecesMax);
  try {
    parameters.ti = std::make_shared<lt::torrent_info>(
        lt::span<const char>(file.data(), static_cast<std::ptrdiff_t>(file.size())), limits,
        lt::from_span);
  } catch (const std::exception& e) {
    return Fail(Blame::kBug, "our own torrent: {}", e.what());
  }
  if (parameters.ti->info_hashes().v1 != infohash)
    return Fail(Blame::kBug, "libtorrent reads another torrent than was written");
  parameters.save_path = "/nowhere";  // the disk knows the payload by the infohash
  parameters.flags &= ~(lt::torrent_flags::paused | lt::torrent_flags::auto_managed);
  parameters.flags |= lt::torrent_flags::override_web_seeds;
  storages_->Put(infohash, storage);
  Torrent torrent{session_.add_torrent(std::move(parameters), error), std::move(storage)};
  if (error) {
    storages_->Remove(infohash);
    return Fail(Blame::kMachine, "a torrent: {}", error.message());
  }
  for (const lt::tcp::endpoint& peer : book_->peers()) torrent.handle.connect_peer(peer);
  return &(torrents_[infohash] = std::move(torrent));
}

// REQUIRES the lock.
void Swarm::Impl::Drop(const lt::sha1_hash& infohash) {
  const auto found = torrents_.find(infohash);
  if (found == torrents_.end()) return;
  session_.remove_torrent(found->second.handle);
  storages_->Remove(infohash);
  torrents_.erase(found);
}

Status Swarm::Impl::Give(const PolicyManifest& manifest, std::span<const std::uint8_t> info,
                         std::shared_ptr<PayloadSource> source) {
  WG_ASSIGN(TorrentLayout layout, TorrentLayout::Of(manifest));
  WG_TRY(layout.CheckInfo(info));
  const lt::sha1_hash infohash = TheirHash(InfohashOf(info));
  const std::lock_guard lock(mutex_);
  if (const auto found = torrents_.find(infohash); found != torrents_.end()) {
    if (found->second.whole) {
      found->second.storage->ReadFrom(std::move(source));
      return {};
    }
    Drop(infohash);
  }
  auto storage = std::make_shared<SwarmStorage>(std::move(layout));
  storage->ReadFrom(std::move(source));
  lt::add_torrent_params parameters;
  // Each piece is hashed before it is given for the first time. (Super-seeding, where a peer is
  // told of one piece at a time, begins after 10 s in libtorrent: too late for us.)
  parameters.flags |= lt::torrent_flags::seed_mode;
  WG_ASSIGN(Torrent * torrent, Add(infohash, info, std::move(storage), std::move(parameters)));
  torrent->whole = true;
  return {};
}

void Swarm::Impl::Retain(const std::set<Infohash>& infohashes) {
  const std::lock_guard lock(mutex_);
  std::set<lt::sha1_hash> kept;
  for (const Infohash& infohash : infohashes) kept.insert(TheirHash(infohash));
  std::vector<lt::sha1_hash> gone;
  for (const auto& [infohash, torrent] : torrents_)
    if (!torrent.fetching && !kept.contains(infohash)) gone.push_back(infohash);
  for (const lt::sha1_hash& infohash : gone) Drop(infohash);
}

// What a fetch has seen so far.
struct Swarm::Impl::Watch {
  std::int64_t begin, heard = begin, looked = begin;  // when, in ms
  std::int64_t bytes = 0;
  bool met = false;
};

Result<lt::torrent_handle> Swarm::Impl::Begin(const Wanted& wanted, const lt::sha1_hash& infohash,
                                              TorrentLayout layout) {
  const std::vector<lt::tcp::endpoint> peers = Resolve(wanted.peers);
  const std::lock_guard lock(mutex_);
  Drop(infohash);
  lt::add_torrent_params parameters;
  parameters.url_seeds = WebSeeds(wanted.web_seeds);
  parameters.piece_priorities.assign(layout.pieces(), lt::dont_download);
  for (const std::size_t chunk : wanted.chunks) {
    const auto [begin, end] = layout.PiecesOf(layout.FileOf(chunk));
    for (std::size_t piece = begin; piece < end; ++piece)
      parameters.piece_priorities[piece] = lt::default_priority;
  }
  auto storage = std::make_shared<SwarmStorage>(std::move(layout));
  WG_TRY(MakeFolder(options_.scratch));
  WG_TRY(storage->OpenScratch(options_.scratch));
  WG_ASSIGN(Torrent * torrent,
            Add(infohash, wanted.info, std::move(storage), std::move(parameters)));
  torrent->fetching = true;
  for (const lt::tcp::endpoint& peer : peers) torrent->handle.connect_peer(peer);
  return torrent->handle;
}

bool Swarm::Impl::Impatient(Watch& watch, const lt::torrent_handle& handle,
                            const lt::torrent_status& status, const SwarmPatience& patience) {
  const std::int64_t now = NowMs();
  const std::int64_t good =
      status.total_payload_download - status.total_failed_bytes - status.total_redundant_bytes;
  if (good > watch.bytes) {
    watch.bytes = good;
    watch.heard = now;
  }
  if (now - watch.looked >= kLookMs) {
    watch.looked = now;
    std::vector<lt::peer_info> peers;
    handle.get_peer_info(peers);
    bool met = false;
    for (const lt::peer_info& peer : peers) {
      met = met || !(peer.flags & (lt::peer_info::connecting | lt::peer_info::handshake));
    }
    watch.met = met;
  }
  const std::int64_t silent = now - watch.heard, ms = now - watch.begin;
  if (silent > (watch.met ? patience.silence_ms_max : patience.contact_ms_max)) return true;
  return ms > patience.grace_ms &&
         static_cast<std::uint64_t>(watch.bytes) * 1000 <
             static_cast<std::uint64_t>(ms) * patience.bytes_per_second_min;
}

Result<bool> Swarm::Impl::Fetch(const Wanted& wanted, const Take& take) {
  WG_ASSIGN(TorrentLayout layout, TorrentLayout::Of(wanted.manifest));
  WG_TRY(layout.CheckInfo(wanted.info));
  const lt::sha1_hash infohash = TheirHash(InfohashOf(wanted.info));
  WG_ASSIGN(const lt::torrent_handle handle, Begin(wanted, infohash, layout));
  std::shared_ptr<SwarmStorage> storage = storages_->Find(infohash);
  std::set<std::size_t> missing(wanted.chunks.begin(), wanted.chunks.end());
  Watch watch{.begin = NowMs()};
  Status taken;
  // Hands on the file's chunks, if its bytes are those of the manifest.
  const auto hand_on = [&](std::size_t file) -> Status {
    Bytes bytes(layout.FileSize(file));
    WG_TRY(storage->Read(layout.FileOffset(file), bytes));
    if (Sha256(bytes) != layout.files()[file].hash)
      return Fail(Blame::kPeer, "a torrent promises other bytes than the manifest");
    for (const std::size_t chunk : layout.files()[file].chunks)
      if (missing.erase(chunk) > 0) WG_TRY(take(chunk, bytes));
    return {};
  };
  const auto came = [&](std::size_t file, const lt::torrent_status& status) {
    const auto [begin, end] = layout.PiecesOf(file);
    for (std::size_t piece = begin; piece < end; ++piece) {
      const lt::piece_index_t index(static_cast<int>(piece));
      if (index >= status.pieces.end_index() || !status.pieces.get_bit(index)) return false;
    }
    return true;
  };
  while (!missing.empty() && taken) {
    const lt::torrent_status status = handle.status(lt::torrent_handle::query_pieces);
    std::set<std::size_t> files;
    for (const std::size_t chunk : missing) files.insert(layout.FileOf(chunk));
    for (const std::size_t file : files)
      if (taken && came(file, status)) taken = hand_on(file);
    if (missing.empty() || !taken) break;
    Hear();
    if (status.errc || Impatient(watch, handle, status, wanted.patience) ||
        (wanted.stop && wanted.stop()))
      break;
    std::this_thread::sleep_for(kPoll);
  }
  Hear();
  const std::lock_guard lock(mutex_);
  Torrent& torrent = torrents_[infohash];
  torrent.fetching = false;
  torrent.whole = missing.empty() && wanted.chunks.size() == wanted.manifest.chunks.size();
  if (!torrent.whole) Drop(infohash);
  if (!taken) return Forward(std::move(taken.error()));
  return missing.empty();
}

std::optional<RunNews> Swarm::Impl::ReadNews(std::string_view link, std::int64_t timeout_ms) {
  const auto place = PlaceOf(link);
  if (!place || !options_.dht) return std::nullopt;
  {
    const std::lock_guard lock(mutex_);
    news_.reset();
  }
  const std::int64_t begin = NowMs();
  for (std::int64_t asked = -kAskMs; NowMs() - begin < timeout_ms;) {
    if (NowMs() - begin - asked >= kAskMs) {
      asked = NowMs() - begin;
      session_.dht_get_item(place->key, place->salt);
    }
    session_.wait_for_alert(kPoll);
    Hear();
    const std::lock_guard lock(mutex_);
    if (news_ && news_->place == *place) return news_->news;
  }
  return std::nullopt;
}

// Takes note of what libtorrent has to say.
void Swarm::Impl::Hear() {
  const std::lock_guard lock(mutex_);
  std::vector<lt::alert*> alerts;
  session_.pop_alerts(&alerts);
  for (const lt::alert* alert : alerts) {
    if (lt::alert_cast<lt::hash_failed_alert>(alert) != nullptr) ++bad_pieces_;
    if (const auto* item = lt::alert_cast<lt::dht_mutable_item_alert>(alert)) {
      auto news = NewsFrom(*item);
      if (news && (!news_ || news->sequence > news_->sequence)) news_ = std::move(news);
    }
  }
}

Swarm::Counts Swarm::Impl::counts() {
  Hear();
  const std::lock_guard lock(mutex_);
  Counts counts{.given = traffic_->given,
                .taken = traffic_->taken,
                .taken_from_web = traffic_->taken_from_web,
                .bad_pieces = bad_pieces_,
                .torrents = torrents_.size()};
  for (const auto& [infohash, torrent] : torrents_)
    counts.peers += static_cast<std::size_t>(torrent.handle.status({}).num_peers);
  return counts;
}

Result<std::unique_ptr<Swarm>> Swarm::Open(const SwarmOptions& options, Clock& clock) {
  try {
    auto impl = std::make_unique<Impl>(options, clock);
    WG_TRY(impl->Listen());
    return std::unique_ptr<Swarm>(new Swarm(std::move(impl)));
  } catch (const std::exception& e) {
    return Fail(Blame::kMachine, "BitTorrent: {}", e.what());
  }
}

Swarm::Swarm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Swarm::~Swarm() = default;
std::uint16_t Swarm::port() const { return impl_->port(); }
Status Swarm::Give(const PolicyManifest& manifest, std::span<const std::uint8_t> info,
                   std::shared_ptr<PayloadSource> source) {
  return impl_->Give(manifest, info, std::move(source));
}
void Swarm::Retain(const std::set<Infohash>& infohashes) { impl_->Retain(infohashes); }
Result<bool> Swarm::Fetch(const Wanted& wanted, const Take& take) {
  return impl_->Fetch(wanted, take);
}
void Swarm::Publish(const RunNews& news) { impl_->Publish(news); }
std::optional<RunNews> Swarm::ReadNews(std::string_view link, std::int64_t timeout_ms) {
  return impl_->ReadNews(link, timeout_ms);
}
Swarm::Counts Swarm::counts() const { return impl_->counts(); }

}  // namespace waggle
