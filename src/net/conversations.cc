#include "net/conversations.h"

#include <chrono>
#include <utility>

#include "base/check.h"

namespace waggle {
namespace {

// What a waiting frame costs besides its bytes, so that empty frames are not free.
constexpr std::size_t kFrameOverheadBytes = 128;
// How long a line that is to end may take to deliver what is under way.
constexpr std::int64_t kLingerNs = 1'000'000'000;
constexpr std::int64_t kNsPerMs = 1'000'000;

std::size_t Cost(std::size_t frame_bytes) { return frame_bytes + kFrameOverheadBytes; }

}  // namespace

Conversations::Conversations(Side side, const NetLimits& limits, Clock& clock)
    : side_(side), limits_(limits), clock_(clock) {}

Conversations::Connection* Conversations::Find(ConnectionId id) {
  const auto at = connections_.find(id);
  return at == connections_.end() ? nullptr : &at->second;
}

void Conversations::Push(Event event) {
  events_.push_back(std::move(event));
  events_ready_.notify_one();
}

tl::expected<ConnectionId, CloseReason> Conversations::Open(Line& line,
                                                            const std::string& address) {
  const std::scoped_lock lock(mutex_);
  if (stopping_) return tl::unexpected(stop_reason_);
  if (connections_.size() >= limits_.connections_max)
    return tl::unexpected(CloseReason::kTooManyConnections);
  std::size_t& from_address = per_address_[address];  // bounded: as many as connections, or erased
  if (from_address >= limits_.connections_per_address_max)
    return tl::unexpected(CloseReason::kTooManyFromAddress);
  ++from_address;
  const ConnectionId id{next_id_++};
  Connection& connection = connections_[id];
  connection.id = id;
  connection.line = &line;
  connection.address = address;
  connection.opened_ns = connection.heard_ns = clock_.MonotonicNs();
  ++lines_;
  return id;
}

void Conversations::Begin(ConnectionId id, std::string peer) {
  const std::scoped_lock lock(mutex_);
  Connection* connection = Find(id);
  if (connection == nullptr || connection->begun) return;
  connection->begun = true;
  connection->opened_ns = connection->heard_ns = clock_.MonotonicNs();
  if (!connection->told)
    Push({.kind = Event::Kind::kOpened, .connection = id, .text = std::move(peer)});
  ReadIfRoom(*connection);
}

void Conversations::OnRead(ConnectionId id, bool good, std::string bytes) {
  const std::scoped_lock lock(mutex_);
  Connection* connection = Find(id);
  if (connection == nullptr) return;
  connection->reading = false;
  if (!good) {
    connection->read_over = true;
    return NoteOver(*connection);
  }
  if (!connection->closing && bytes.size() > limits_.frame_bytes_max)
    BeginClose(id, *connection, CloseReason::kFrameTooLarge);
  if (!connection->closing) {
    connection->heard_ns = clock_.MonotonicNs();
    ++connection->frames;
    connection->inbound_bytes += Cost(bytes.size());
    inbound_bytes_ += Cost(bytes.size());
    Push({.kind = Event::Kind::kReceived, .connection = id, .bytes = std::move(bytes)});
  }
  ReadIfRoom(*connection);
}

void Conversations::OnWrite(ConnectionId id, bool good) {
  const std::scoped_lock lock(mutex_);
  Connection* connection = Find(id);
  if (connection == nullptr) return;
  connection->writing = false;
  connection->outbound_bytes -= connection->writing_bytes;
  outbound_bytes_ -= std::exchange(connection->writing_bytes, 0);
  if (!good) return NoteOver(*connection);
  WriteNext(*connection);
  EndIfIdle(*connection);
}

void Conversations::OnBroken(ConnectionId id) {
  const std::scoped_lock lock(mutex_);
  if (Connection* connection = Find(id)) NoteOver(*connection);
}

void Conversations::OnDone(ConnectionId id, CloseReason reason, std::string text) {
  const std::scoped_lock lock(mutex_);
  const auto at = connections_.find(id);
  Check(at != connections_.end(), "a line is done once");
  Connection& connection = at->second;
  connection.line = nullptr;
  connection.closing = connection.ended = true;
  connection.reading = connection.writing = false;
  connection.outbound_bytes -= connection.writing_bytes;
  outbound_bytes_ -= std::exchange(connection.writing_bytes, 0);
  DropOutbound(connection);
  if (!connection.told) {
    connection.reason = reason;
    Tell(id, connection, std::move(text));
  }
  --lines_;
  line_gone_.notify_all();
  EraseIfGone(at);
}

bool Conversations::Next(Event& event, std::int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return !events_.empty(); };
  // A wait of no time at all is a system call all the same.
  if (timeout_ms <= 0 && !ready()) return false;
  if (!events_ready_.wait_for(lock, std::chrono::milliseconds(timeout_ms), ready)) return false;
  event = std::move(events_.front());
  events_.pop_front();
  const auto at = connections_.find(event.connection);
  Check(at != connections_.end(), "a connection lives until its Closed is taken");
  Connection& connection = at->second;
  if (event.kind == Event::Kind::kReceived) {
    connection.inbound_bytes -= Cost(event.bytes.size());
    inbound_bytes_ -= Cost(event.bytes.size());
    ResumePaused();
  } else if (event.kind == Event::Kind::kClosed) {
    connection.drained = true;
    EraseIfGone(at);
  }
  return true;
}

bool Conversations::Send(ConnectionId id, std::span<const std::span<const std::uint8_t>> frames) {
  std::size_t cost = 0;
  for (const auto& frame : frames) {
    Check(frame.size() <= limits_.frame_bytes_max, "a frame that is sent fits frame_bytes_max");
    cost += Cost(frame.size());
  }
  const std::scoped_lock lock(mutex_);
  Connection* connection = Find(id);
  if (connection == nullptr || connection->closing) return false;
  if (connection->outbound_bytes + cost > limits_.outbound_bytes_max ||
      outbound_bytes_ + cost > limits_.queued_bytes_max / 2) {
    BeginClose(id, *connection, CloseReason::kOutboundFull);
    return false;
  }
  connection->outbound_bytes += cost;
  outbound_bytes_ += cost;
  for (const auto& frame : frames)
    connection->outbound.emplace_back(reinterpret_cast<const char*>(frame.data()), frame.size());
  WriteNext(*connection);
  return true;
}

void Conversations::Close(ConnectionId id) {
  const std::scoped_lock lock(mutex_);
  if (Connection* connection = Find(id)) BeginClose(id, *connection, CloseReason::kClosedHere);
}

void Conversations::Tell(ConnectionId id, Connection& connection, std::string text) {
  connection.told = true;
  if (text.empty()) text = ToString(connection.reason);
  Push({.kind = Event::Kind::kClosed,
        .connection = id,
        .reason = connection.reason,
        .text = std::move(text)});
}

void Conversations::BeginClose(ConnectionId id, Connection& connection, CloseReason reason) {
  if (connection.told || connection.line == nullptr) return;
  connection.closing = true;
  connection.closing_ns = clock_.MonotonicNs();
  connection.reason = reason;
  Tell(id, connection, {});
  // Only an orderly end delivers what still waits.
  if (reason != CloseReason::kClosedHere) DropOutbound(connection);
  // A peer that does not read would keep the pending write for ever.
  if (reason == CloseReason::kOutboundFull) connection.line->Cancel();
  WriteNext(connection);
  EndIfIdle(connection);
}

// The peer ended, or the line did; which of the two, OnDone will know.
void Conversations::NoteOver(Connection& connection) {
  if (!connection.closing) connection.closing_ns = clock_.MonotonicNs();
  connection.closing = true;
  DropOutbound(connection);
  EndIfIdle(connection);
}

void Conversations::EndIfIdle(Connection& connection) {
  if (!connection.closing || connection.ended || connection.writing || connection.line == nullptr)
    return;
  connection.ended = true;
  connection.line->End(connection.told ? connection.reason : CloseReason::kClosedByPeer);
  ReadIfRoom(connection);
  connection.line->Release();
}

void Conversations::DropOutbound(Connection& connection) {
  connection.outbound.clear();
  const std::size_t dropped = connection.outbound_bytes - connection.writing_bytes;
  connection.outbound_bytes -= dropped;
  outbound_bytes_ -= dropped;
}

void Conversations::ReadIfRoom(Connection& connection) {
  if (connection.line == nullptr || !connection.begun || connection.reading || connection.read_over)
    return;
  // What a closed line still says is read, and forgotten, only where the line needs it to end.
  if (connection.closing) {
    if (side_ == Side::kServer || !connection.ended) return;
  } else if (connection.inbound_bytes >= limits_.inbound_bytes_max ||
             inbound_bytes_ >= limits_.queued_bytes_max / 2) {
    if (!std::exchange(connection.paused, true)) paused_.push_back(connection.id);
    return;
  }
  // Time during which we did not listen is not the peer's silence.
  if (std::exchange(connection.paused, false)) connection.heard_ns = clock_.MonotonicNs();
  connection.reading = true;
  connection.line->StartRead();
}

void Conversations::ResumePaused() {
  for (std::size_t left = paused_.size(); left > 0; --left) {
    if (inbound_bytes_ >= limits_.queued_bytes_max / 2) return;
    const ConnectionId id = paused_.front();
    paused_.pop_front();
    Connection* connection = Find(id);
    if (connection == nullptr || !connection->paused) continue;
    ReadIfRoom(*connection);
    if (connection->paused) paused_.push_back(id);
  }
}

void Conversations::WriteNext(Connection& connection) {
  if (connection.writing || connection.ended || connection.line == nullptr ||
      connection.outbound.empty())
    return;
  std::string frame = std::move(connection.outbound.front());
  connection.outbound.pop_front();
  connection.writing = true;
  connection.writing_bytes = Cost(frame.size());
  connection.line->StartWrite(std::move(frame), /*more=*/!connection.outbound.empty());
}

// The slot of a connection counts until both gRPC and the consumer are done with it: neither a peer
// that hangs up and comes back nor a slow consumer makes the queue of Opened and Closed grow.
void Conversations::EraseIfGone(Map::iterator at) {
  if (at->second.line != nullptr || !at->second.drained) return;
  const auto address = per_address_.find(at->second.address);
  if (--address->second == 0) per_address_.erase(address);
  connections_.erase(at);
}

void Conversations::Tick() {
  const std::scoped_lock lock(mutex_);
  const std::int64_t now_ns = clock_.MonotonicNs();
  for (auto& [id, connection] : connections_) TickOne(id, connection, now_ns);
}

void Conversations::TickOne(ConnectionId id, Connection& connection, std::int64_t now_ns) {
  if (connection.line == nullptr) return;
  if (connection.closing) {
    if (now_ns - connection.closing_ns > kLingerNs) connection.line->Cancel();
    return;
  }
  if (side_ == Side::kClient) {
    if (!connection.begun && now_ns - connection.opened_ns > limits_.connect_ms_max * kNsPerMs)
      BeginClose(id, connection, CloseReason::kNoAnswer);
    return;
  }
  if (connection.paused) return;
  const bool first = connection.frames == 0;
  const std::int64_t allowed_ms = first ? limits_.first_frame_ms_max : limits_.idle_ms_max;
  if (now_ns - connection.heard_ns > allowed_ms * kNsPerMs)
    BeginClose(id, connection, first ? CloseReason::kNoFirstFrame : CloseReason::kIdle);
}

void Conversations::CloseAll(CloseReason reason) {
  const std::scoped_lock lock(mutex_);
  stopping_ = true;
  stop_reason_ = reason;
  for (auto& [id, connection] : connections_) BeginClose(id, connection, reason);
}

void Conversations::CancelAll() {
  const std::scoped_lock lock(mutex_);
  for (auto& [id, connection] : connections_) {
    if (connection.line != nullptr) connection.line->Cancel();
  }
}

bool Conversations::WaitForLines(std::int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return line_gone_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                             [&] { return lines_ == 0; });
}

std::size_t Conversations::queued_bytes() const {
  const std::scoped_lock lock(mutex_);
  return inbound_bytes_ + outbound_bytes_;
}

}  // namespace waggle
