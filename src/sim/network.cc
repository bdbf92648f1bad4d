#include "sim/network.h"

namespace waggle {
namespace {

constexpr Micros kConnectPatience = 3 * kSecond;  // until a dial that hears nothing gives up
constexpr Micros kUnacknowledged = 15 * kSecond;  // until an end notices that nobody hears it

}  // namespace

SimNetwork::SimNetwork(const NetworkSettings& settings, std::uint64_t seed, EventQueue& queue,
                       NetworkUser& user)
    : settings_(settings), rng_(seed, /*stream=*/0x11e7), queue_(queue), user_(user) {}

PeerIndex SimNetwork::AddPeer(std::uint32_t address) {
  lines_.push_back({.address = address});
  return static_cast<PeerIndex>(lines_.size() - 1);
}

Micros SimNetwork::Latency(PeerIndex peer) {
  const Micros jitter = rng_.Below(settings_.jitter_ms * 1'000 + 1);
  return settings_.latency_ms * kMilli + jitter + lines_[peer].lag;
}

// A frame goes after those before it, at the speed of the line.
Micros SimNetwork::Arrival(Link& link, Way& way, std::size_t bytes) {
  const Micros now = queue_.now();
  const Micros wire = bytes * kSecond / (std::uint64_t{settings_.kib_per_second} << 10);
  way.line_free = std::max(way.line_free, now) + wire;
  Micros arrival = way.line_free + Latency(link.peer);
  while (settings_.loss > 0 && rng_.Unit() < settings_.loss)
    arrival += settings_.retransmit_ms * kMilli;
  return way.last = std::max(way.last, arrival);
}

LinkId SimNetwork::Dial(PeerIndex peer) {
  links_.push_back({.peer = peer});
  const LinkId id{links_.size()};
  ++stats_.links;
  // A handshake is three ways; who is cut off waits and hears nothing.
  if (queue_.now() < lines_[peer].cut_until) {
    queue_.After(kConnectPatience, [this, id, peer] { user_.PeerDown(peer, id, "no answer"); });
  } else {
    queue_.After(3 * Latency(peer), [this, id] { Open(id); });
  }
  return id;
}

std::string SimNetwork::WhyNot(const Link& link) const {
  const Line& line = lines_[link.peer];
  if (queue_.now() < line.cut_until) return "no answer";
  if (!host_alive_) return "nobody listens there";
  if (host_open_ >= settings_.connections_max) return "the host is full";
  const auto at = open_at_.find(line.address);
  if (at != open_at_.end() && at->second >= settings_.connections_per_address_max)
    return "too many from one address";
  return "";
}

void SimNetwork::Open(LinkId id) {
  Link& link = At(id);
  if (const std::string why = WhyNot(link); !why.empty()) {
    ++stats_.refused;
    user_.PeerDown(link.peer, id, why);
    return;
  }
  link.host_end = link.peer_end = link.opened = true;
  link.heard = link.spoke = queue_.now();
  ++host_open_;
  ++open_at_[lines_[link.peer].address];
  stats_.open_peak = std::max(stats_.open_peak, host_open_);
  queue_.After(settings_.first_frame_ms_max * kMilli, [this, id] {
    if (!At(id).host_end || At(id).said) return;
    HostCloses(id);
    user_.HostClosed(id);
  });
  Watch(id);
  if (settings_.breaks_per_hour > 0) {
    const auto mean = static_cast<std::uint64_t>(3600.0 / settings_.breaks_per_hour * 1e3);
    const Micros life =
        rng_.Below(static_cast<std::uint32_t>(std::min<std::uint64_t>(2 * mean + 1, ~0u))) * kMilli;
    const bool told = rng_.Below(2) == 0;
    queue_.After(life, [this, id, told] { Break(id, told); });
  }
  user_.HostOpened(id);
  queue_.After(Latency(link.peer), [this, id] {
    if (At(id).peer_end) user_.PeerUp(At(id).peer, id);
  });
}

// Hangs up on who has been silent for too long.
void SimNetwork::Watch(LinkId id) {
  const Micros due = At(id).heard + settings_.idle_ms_max * kMilli;
  queue_.At(due, [this, id] {
    const Link& link = At(id);
    if (!link.host_end) return;
    if (queue_.now() < link.heard + settings_.idle_ms_max * kMilli) return Watch(id);
    HostCloses(id);
    user_.HostClosed(id);
  });
}

void SimNetwork::SendUp(LinkId id, Bytes bytes) {
  Link& link = At(id);
  if (!link.peer_end) return;
  ++stats_.frames_up;
  stats_.bytes_up += bytes.size();
  if (lose_every_ > 0 && stats_.frames_up % lose_every_ == 0) return;
  if (Forgotten(link)) return GiveUp(id, /*host=*/false);
  queue_.At(Arrival(link, link.up, bytes.size()), [this, id] { Deliver(id, /*up=*/true); });
  link.up.bytes += bytes.size();
  queued_ += bytes.size();
  link.up.frames.push_back(std::move(bytes));
}

void SimNetwork::SendDown(LinkId id, Bytes bytes) {
  Link& link = At(id);
  if (!link.host_end) return;
  ++stats_.frames_down;
  stats_.bytes_down += bytes.size();
  if (Forgotten(link)) return GiveUp(id, /*host=*/true);
  if (link.down.bytes + bytes.size() > std::size_t{settings_.outbound_kib_max} << 10) {
    // It does not read. As the real transport does: the event comes later, never inside a send.
    HostCloses(id);
    link.overran = true;
    ++untold_;
    queue_.After(0, [this, id] {
      --untold_;
      user_.HostClosed(id);
    });
    return;
  }
  queue_.At(Arrival(link, link.down, bytes.size()), [this, id] { Deliver(id, /*up=*/false); });
  link.down.bytes += bytes.size();
  queued_ += bytes.size();
  stats_.queued_peak = std::max(stats_.queued_peak, queued_);
  link.down.frames.push_back(std::move(bytes));
}

void SimNetwork::Deliver(LinkId id, bool up) {
  Link& link = At(id);
  Way& way = up ? link.up : link.down;
  if (way.frames.empty()) return;  // they went down with the link
  const Line& line = lines_[link.peer];
  if (queue_.now() < line.stalled_until) {
    queue_.At(line.stalled_until, [this, id, up] { Deliver(id, up); });
    return;
  }
  Bytes bytes = std::move(way.frames.front());
  way.frames.pop_front();
  way.bytes -= bytes.size();
  queued_ -= bytes.size();
  if (up) {
    if (!link.host_end) return;
    link.heard = queue_.now();
    link.said = true;
    user_.HostHeard(id, std::move(bytes));
  } else if (link.peer_end) {
    user_.PeerHeard(link.peer, id, std::move(bytes));
  }
}

// Asked by whoever sends: the NAT hears that too, unless it is too late.
bool SimNetwork::Forgotten(Link& link) {
  const Micros patience = settings_.nat_forgets_ms * kMilli;
  if (patience > 0 && queue_.now() > link.spoke + patience) link.forgotten = true;
  link.spoke = queue_.now();
  return link.forgotten;
}

void SimNetwork::GiveUp(LinkId id, bool host) {
  queue_.After(kUnacknowledged, [this, id, host] {
    Link& link = At(id);
    if (host && link.host_end) {
      EndHost(link);
      Drop(link.up);
      user_.HostClosed(id);
    } else if (!host && link.peer_end) {
      link.peer_end = false;
      user_.PeerDown(link.peer, id, "nobody acknowledges");
    }
  });
}

Micros SimNetwork::FetchTime(LinkId id, std::uint64_t bytes) {
  Link& link = At(id);
  if (Forgotten(link)) {
    GiveUp(id, /*host=*/false);
    return queue_.now() + 2 * kUnacknowledged;  // the link ends before that
  }
  stats_.fetched += bytes;
  const Micros arrival = Arrival(link, link.down, bytes) + Latency(link.peer);
  return std::max(arrival, lines_[link.peer].stalled_until);
}

void SimNetwork::Drop(Way& way) {
  queued_ -= way.bytes;
  way.bytes = 0;
  way.frames.clear();
}

void SimNetwork::EndHost(Link& link) {
  if (!link.host_end) return;
  link.host_end = false;
  --host_open_;
  const auto at = open_at_.find(lines_[link.peer].address);
  if (--at->second == 0) open_at_.erase(at);
}

// What was said before arrives, then the end.
void SimNetwork::PeerCloses(LinkId id) {
  Link& link = At(id);
  if (!link.peer_end) return;
  link.peer_end = false;
  if (Forgotten(link)) return;  // the end is a message too
  const Micros end = std::max(link.up.last, queue_.now() + Latency(link.peer));
  queue_.At(std::max(end, lines_[link.peer].stalled_until), [this, id] {
    Link& ended = At(id);
    if (!ended.host_end) return;
    EndHost(ended);
    user_.HostClosed(id);
  });
}

void SimNetwork::HostCloses(LinkId id) {
  Link& link = At(id);
  if (!link.host_end) return;
  EndHost(link);
  Drop(link.up);
  if (Forgotten(link)) return;  // the end is a message too
  const Micros end = std::max(link.down.last, queue_.now() + Latency(link.peer));
  queue_.At(std::max(end, lines_[link.peer].stalled_until), [this, id] {
    Link& ended = At(id);
    if (!ended.peer_end) return;
    ended.peer_end = false;
    user_.PeerDown(ended.peer, id, "the host hung up");
  });
}

void SimNetwork::HostDies() {
  host_alive_ = false;
  for (std::uint64_t i = 1; i <= links_.size(); ++i) HostCloses(LinkId{i});
}

void SimNetwork::Break(LinkId id, bool host_is_told) {
  Link& link = At(id);
  Drop(link.up);
  Drop(link.down);
  if (link.host_end && host_is_told) {
    queue_.After(Latency(link.peer), [this, id] {
      if (!At(id).host_end) return;
      EndHost(At(id));
      user_.HostClosed(id);
    });
  }
  if (!link.peer_end) return;
  link.peer_end = false;
  queue_.After(0, [this, id] { user_.PeerDown(At(id).peer, id, "the line broke"); });
}

}  // namespace waggle
