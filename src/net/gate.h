// The listening socket, and an account of every TCP connection behind it. (Internal to net/.)
//
// gRPC accepts what comes and gathers a message until it is complete, whatever length the peer
// claims; its size limit looks at complete messages only. So the gate accepts by itself, within
// limits, hands the sockets to gRPC, and asks the kernel what has arrived on each: bytes that have
// not become a frame are an unfinished frame, and there is a limit to those.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "net/event.h"
#include "net/limits.h"

namespace waggle {

// One TCP connection. The counters are for the calls on it, from any thread.
struct Socket {
  PeerAddress peer;
  std::atomic<std::uint64_t> frames{0}, frame_bytes{0};  // received whole
  std::atomic<std::uint32_t> conversations{0}, fetches{0};
  std::atomic<bool> spoken{false};       // a first frame or a fetch has come
  std::atomic<std::int16_t> killed{-1};  // the CloseReason, if the gate ended it

  // gRPC owns the descriptor and does not say when it closes it; the number may then belong to
  // something else. The inode tells: the kernel gives each socket its own.
  int fd = -1;
  std::uint64_t inode = 0;
  std::int64_t accepted_ns = 0, unused_since_ns = 0;
  // At the gate's last look.
  std::uint64_t received = 0, partial_bytes = 0;
  std::uint32_t looks = 0;
};

class Gate {
 public:
  // `handle` takes over a descriptor, on the gate's thread. `tick` runs there every few
  // milliseconds.
  using Handle = std::function<void(int fd)>;
  using Tick = std::function<void()>;

  // Binds and listens; nothing is accepted before Start. Blame::kOperator.
  static Result<std::unique_ptr<Gate>> Listen(const std::string& address, const NetLimits& limits,
                                              Clock& clock);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  std::uint16_t port() const { return port_; }
  void Start(Handle handle, Tick tick);
  void StopAccepting();  // the port is free when it returns; ticks go on
  void Stop();           // joins the thread

  // The connection of a call, by gRPC's name of the peer; null if it is already gone.
  std::shared_ptr<Socket> Find(std::string_view grpc_peer) const;
  std::size_t sockets() const;
  std::size_t partial_bytes() const { return partial_bytes_; }  // at the last looks

 private:
  Gate(int listener, int wake, std::uint16_t port, const NetLimits& limits, Clock& clock);
  void Loop();
  void AcceptAll();
  bool Admit(const PeerAddress& peer) const;
  void LookAtSockets();
  bool LookAt(Socket& socket, std::int64_t now_ns);  // false: it is gone
  void Forget(const Socket& socket);
  void KillTheLargest();
  bool Expired(Socket& socket, std::int64_t now_ns) const;
  std::uint64_t PartialBytes(const Socket& socket, std::uint64_t received,
                             std::uint64_t sent) const;

  const NetLimits limits_;
  Clock& clock_;
  const int wake_;
  const std::uint16_t port_;
  Handle handle_;
  Tick tick_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::atomic<std::size_t> partial_bytes_{0};
  std::mutex listener_mutex_;  // the listener is not closed while it accepts
  int listener_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Socket>, std::less<>> sockets_;  // by peer text
  std::map<std::string, std::size_t> per_host_;
  std::string looked_at_;  // the last of them, in the order of sockets_
};

}  // namespace waggle
