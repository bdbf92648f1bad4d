// Payloads of policies given from node to node with BitTorrent (libtorrent, behind this header:
// nobody else includes its). One more source of bytes that needs nobody's trust: what has come is
// checked against the manifest, and who sends other bytes is banned.
//
// A torrent is known by its infohash. Memory does not grow with payloads: what is on its way lies
// in a file without a name, what is given is read from where the caller has it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "torrent/magnet.h"

namespace waggle {

struct SwarmOptions {
  std::string listen = "0.0.0.0:0";  // address:port, for TCP and uTP; port 0 takes a free one
  std::filesystem::path scratch;     // a folder; for what is on its way
  std::uint64_t upload_per_second_max = 0, download_per_second_max = 0;  // 0: any
  int connections_max = 200;
  int uploads_max = 8;     // peers that are given something at a time
  bool map_ports = false;  // ask the router (UPnP, NAT-PMP) to let others in
  // The distributed hash table: finds peers when nobody told of any. dht_nodes: "host:port" to
  // begin from; none: the usual public ones.
  bool dht = false;
  std::vector<std::string> dht_nodes;
};

// The bytes of one payload, wherever they are. Any thread, one call at a time.
class PayloadSource {
 public:
  virtual ~PayloadSource() = default;
  // Fills all of `out`, which lies within the chunk.
  virtual Status Read(std::size_t chunk, std::uint64_t offset, std::span<std::uint8_t> out) = 0;
};

// How long a fetch waits before it leaves the rest to others.
struct SwarmPatience {
  std::int64_t contact_ms_max = 3'000;   // without one peer that answers
  std::int64_t silence_ms_max = 10'000;  // without a byte, of peers that do
  std::uint64_t bytes_per_second_min = 16 << 10;
  std::int64_t grace_ms = 10'000;  // until the rate counts
};

// The newest policy of a run, for the hash table.
struct RunNews {
  std::array<std::uint8_t, 32> key_seed{};  // of the run's key there: a secret
  std::string salt;                         // at most 64 bytes
  PolicyVersion version;
  Digest256 manifest{};
  Magnet torrent;
};
// The link that leads there (BEP 46).
std::string NewsLink(const std::array<std::uint8_t, 32>& key_seed, const std::string& salt);

class Swarm {
 public:
  // Blame::kOperator: it cannot listen there. `clock` outlives the swarm.
  static Result<std::unique_ptr<Swarm>> Open(const SwarmOptions& options, Clock& clock);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  std::uint16_t port() const;

  // Any thread. From here on gives the payload to whoever asks, until Retain leaves it out. All of
  // it must be there and right. REQUIRES an info dictionary that is the manifest's.
  Status Give(const PolicyManifest& manifest, std::span<const std::uint8_t> info,
              std::shared_ptr<PayloadSource> source);
  // Any thread. Forgets torrents that are not of these infohashes and not being fetched.
  void Retain(const std::set<Infohash>& infohashes);

  // Any thread. Tells the hash table, if SwarmOptions::dht; returns at once.
  void Publish(const RunNews& news);
  // What the table has under such a link, its signature checked; blocks, asking again and again.
  // Nothing within timeout_ms, or no such link. Without key_seed.
  std::optional<RunNews> ReadNews(std::string_view link, std::int64_t timeout_ms);

  struct Wanted {
    const PolicyManifest& manifest;
    std::span<const std::uint8_t> info;
    std::vector<std::string> peers;      // "host:port", beside those that it met before
    std::vector<std::string> web_seeds;  // mirrors: http(s) URLs that have <url>/blob/<hash>
    std::vector<std::size_t> chunks;     // those that are missing
    SwarmPatience patience{};
    std::function<bool()> stop = nullptr;
  };
  // Called with each chunk as it comes, with exactly the bytes that the manifest names.
  using Take = std::function<Status(std::size_t chunk, std::span<const std::uint8_t> bytes)>;
  // Blocks; one fetch at a time. True: all have come. False: patience ended, the rest is to be had
  // elsewhere. Blame::kPeer: the info dictionary is not the manifest's, or promises other bytes.
  // What came is given to others meanwhile, and until Retain.
  Result<bool> Fetch(const Wanted& wanted, const Take& take);

  struct Counts {
    std::uint64_t given = 0, taken = 0;   // bytes of payloads, to and from anybody
    std::uint64_t taken_from_web = 0;     // of them from web seeds
    std::uint64_t bad_pieces = 0;         // who sent them is banned
    std::size_t torrents = 0, peers = 0;  // now
  };
  Counts counts() const;

 private:
  class Impl;
  explicit Swarm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
