// The bookkeeping of conversations: queues, limits, timeouts, who is told what. It knows lines, not
// gRPC; server.cc and client.cc put gRPC's streams behind Line. (Internal to net/.)
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <string>

#include "base/clock.h"
#include "net/event.h"
#include "net/limits.h"

namespace waggle {

// One stream as Conversations drives it. Every method returns at once and is called with the lock
// of Conversations held: an implementation must not call back from inside.
class Line {
 public:
  virtual ~Line() = default;
  virtual void StartRead() = 0;  // answered by OnRead
  // Answered by OnWrite. more: another follows at once, so this one may wait to share a packet.
  virtual void StartWrite(std::string frame, bool more) = 0;
  virtual void End(CloseReason reason) = 0;  // once, no write pending; leads to OnDone
  virtual void Cancel() = 0;                 // hurries what is pending
  virtual void Release() = 0;  // after End: from now on only answers to OnRead, or Cancel
};

// Thread-safe. The consumer's side is for one thread, the line's side for any.
class Conversations {
 public:
  enum class Side : std::uint8_t {
    kServer,  // ends a stream by its status: reads nothing after End
    kClient,  // ends by saying that it will write no more: reads on until the server has ended
  };
  Conversations(Side side, const NetLimits& limits, Clock& clock);

  // --- the line's side ------------------------------------------------------------------------
  // Admits a line, which must live until its OnDone. Nothing is read before Begin.
  tl::expected<ConnectionId, CloseReason> Open(Line& line, const std::string& address);
  void Begin(ConnectionId id, std::string peer);  // Opened to the consumer, first read
  void OnRead(ConnectionId id, bool good, std::string bytes);
  void OnWrite(ConnectionId id, bool good);
  void OnBroken(ConnectionId id);  // cancelled or lost, also when nothing is pending
  // The last call for a line, which may be destroyed afterwards. The reason and text count only if
  // this side had none of its own.
  void OnDone(ConnectionId id, CloseReason reason, std::string text);

  // --- the consumer's side; see NodeServer ----------------------------------------------------
  bool Next(Event& event, std::int64_t timeout_ms);
  bool Send(ConnectionId id, std::span<const std::span<const std::uint8_t>> frames);
  void Close(ConnectionId id);

  // --- time and ending ------------------------------------------------------------------------
  void Tick();                        // closes what is too slow
  void CloseAll(CloseReason reason);  // and admits nothing from now on
  void CancelAll();
  bool WaitForLines(std::int64_t timeout_ms);  // until no line is left
  std::size_t queued_bytes() const;

 private:
  struct Connection {
    ConnectionId id{};
    Line* line = nullptr;  // until OnDone
    std::string address;
    bool begun = false, reading = false, writing = false, paused = false;
    bool read_over = false;  // a read failed: there is nothing more to read
    bool ended = false;      // End was called
    bool closing = false;    // `reason` holds
    bool told = false;       // Closed is queued
    bool drained = false;    // Closed was taken
    CloseReason reason = CloseReason::kLost;
    std::int64_t opened_ns = 0, heard_ns = 0, closing_ns = 0;
    std::uint64_t frames = 0;
    std::size_t inbound_bytes = 0, outbound_bytes = 0;
    std::size_t writing_bytes = 0;
    std::deque<std::string> outbound;
  };
  using Map = std::map<ConnectionId, Connection>;

  Connection* Find(ConnectionId id);
  void Tell(ConnectionId id, Connection& connection, std::string text);
  void BeginClose(ConnectionId id, Connection& connection, CloseReason reason);
  void NoteOver(Connection& connection);
  void EndIfIdle(Connection& connection);
  void DropOutbound(Connection& connection);
  void ReadIfRoom(Connection& connection);
  void ResumePaused();
  void WriteNext(Connection& connection);
  void EraseIfGone(Map::iterator at);
  void TickOne(ConnectionId id, Connection& connection, std::int64_t now_ns);
  void Push(Event event);

  const Side side_;
  const NetLimits limits_;
  Clock& clock_;

  mutable std::mutex mutex_;
  std::condition_variable events_ready_, line_gone_;
  std::uint64_t next_id_ = 1;
  bool stopping_ = false;
  CloseReason stop_reason_ = CloseReason::kStopping;
  Map connections_;
  std::map<std::string, std::size_t> per_address_;
  std::deque<Event> events_;
  std::deque<ConnectionId> paused_;  // who waits for room to be read, in turn
  std::size_t inbound_bytes_ = 0, outbound_bytes_ = 0, lines_ = 0;
};

}  // namespace waggle
