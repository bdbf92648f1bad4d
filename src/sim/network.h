// The network between a host and its volunteers, under virtual time. A link carries frames in order
// or breaks, as TCP does: loss is delay. Only volunteers dial, so all of them may sit behind NATs;
// a NAT forgets a link that was silent for long, and then each end talks to nobody until it gives
// up: the other one is not told.
// The host's side keeps the limits of the real transport (net/limits.h): how many may talk, how
// long they may be silent, how much may wait for them.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/wire.h"
#include "host/host_core.h"
#include "sim/event_queue.h"

namespace waggle {

using PeerIndex = std::uint32_t;

// Who is told; each call is an event of its own.
class NetworkUser {
 public:
  virtual ~NetworkUser() = default;
  virtual void HostOpened(LinkId link) = 0;
  virtual void HostHeard(LinkId link, Bytes bytes) = 0;
  virtual void HostClosed(LinkId link) = 0;
  virtual void PeerUp(PeerIndex peer, LinkId link) = 0;
  virtual void PeerHeard(PeerIndex peer, LinkId link, Bytes bytes) = 0;
  virtual void PeerDown(PeerIndex peer, LinkId link, const std::string& why) = 0;
};

class SimNetwork {
 public:
  SimNetwork(const NetworkSettings& settings, std::uint64_t seed, EventQueue& queue,
             NetworkUser& user);

  // One volunteer's line.
  struct Line {
    std::uint32_t address = 0;
    Micros lag = 0;            // on top of the latency
    Micros cut_until = 0;      // nobody gets through
    Micros stalled_until = 0;  // what is on the way waits
  };
  PeerIndex AddPeer(std::uint32_t address);
  Line& line(PeerIndex peer) { return lines_[peer]; }

  // The peer's side. Ends in PeerUp, or PeerDown with the link that this returns.
  LinkId Dial(PeerIndex peer);
  void SendUp(LinkId link, Bytes bytes);
  void PeerCloses(LinkId link);  // its process too, if it died
  // When `bytes` more would have come down this link, if it holds until then.
  Micros FetchTime(LinkId link, std::uint64_t bytes);
  // The peer holds it open, the host did not give up on it for not reading, and no NAT forgot it.
  bool PeerEndOpen(LinkId link) const {
    return At(link).peer_end && !At(link).overran && !At(link).forgotten;
  }

  // The host's side.
  void HostBorn() { host_alive_ = true; }
  void HostDies();
  void SendDown(LinkId link, Bytes bytes);
  void HostCloses(LinkId link);

  // What happens to lines. A link that breaks takes with it what was on the way.
  void Break(LinkId link, bool host_is_told);

  struct Stats {
    std::uint64_t frames_up = 0, frames_down = 0, bytes_up = 0, bytes_down = 0, fetched = 0;
    std::uint64_t links = 0, refused = 0;
    std::size_t open_peak = 0, queued_peak = 0;  // conversations of the host; bytes that wait
  };
  const Stats& stats() const { return stats_; }
  std::size_t host_open() const { return host_open_; }
  std::size_t queued() const { return queued_; }
  std::size_t untold() const { return untold_; }  // ended, and the host hears of it in a moment
  PeerIndex PeerOf(LinkId link) const { return At(link).peer; }
  // One frame in so many is lost without a trace: a planted bug.
  void LoseSilently(std::uint32_t every) { lose_every_ = every; }

 private:
  struct Way {  // one direction of a link
    std::list<Bytes> frames;
    std::size_t bytes = 0;
    Micros line_free = 0, last = 0;
  };
  struct Link {
    PeerIndex peer = 0;
    bool host_end = false, peer_end = false, opened = false;
    bool said = false, overran = false;
    bool forgotten = false;  // by the NAT between
    Micros heard = 0, spoke = 0;
    Way up, down;
  };

  Link& At(LinkId link) { return links_[link.value - 1]; }
  const Link& At(LinkId link) const { return links_[link.value - 1]; }
  Micros Latency(PeerIndex peer);
  Micros Arrival(Link& link, Way& way, std::size_t bytes);
  void Open(LinkId id);
  void Deliver(LinkId id, bool up);
  void Watch(LinkId id);
  void EndHost(Link& link);
  void Drop(Way& way);
  bool Forgotten(Link& link);
  void GiveUp(LinkId id, bool host);
  std::string WhyNot(const Link& link) const;

  const NetworkSettings settings_;
  Rng rng_;
  EventQueue& queue_;
  NetworkUser& user_;
  std::vector<Line> lines_;
  std::deque<Link> links_;                          // by id, from 1; those that ended are empty
  std::map<std::uint32_t, std::uint32_t> open_at_;  // by address
  bool host_alive_ = false;
  std::size_t host_open_ = 0, queued_ = 0, untold_ = 0;
  std::uint32_t lose_every_ = 0;
  Stats stats_;
};

}  // namespace waggle
