#include "net/gate.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace waggle {
namespace {

constexpr int kTickMs = 20;
constexpr int kBacklog = 256;
// Two system calls each: ten thousand sockets must not cost a core.
constexpr std::size_t kLooksPerTick = 256;
constexpr std::uint32_t kQuietLooks = 8;
constexpr int kTicksPerTick = 5;  // of ours, to one of those above us
constexpr std::int64_t kNsPerMs = 1'000'000;

// What TLS, HTTP/2 and gRPC add: a part of the bytes, something per frame, and what may lie in
// buffers and windows (1 MiB a stream, server.cc) without being part of the frame that is read now.
constexpr std::uint64_t kOverheadShare = 32, kOverheadPerFrame = 128;
constexpr std::uint64_t kSlackBytes = std::uint64_t{4} << 20;

std::uint64_t Inode(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

// Ends the socket, whose number may be somebody else's by the time we look: a duplicate cannot
// change hands between the check and the act.
void Shut(const Socket& socket) {
  const int fd = ::fcntl(socket.fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return;
  if (Inode(fd) == socket.inode) ::shutdown(fd, SHUT_RDWR);
  ::close(fd);
}

void Kill(Socket& socket, CloseReason reason) {
  std::int16_t alive = -1;
  socket.killed.compare_exchange_strong(alive, static_cast<std::int16_t>(reason));
  Shut(socket);
}

Result<int> ListenOn(const addrinfo& place, const std::string& address) {
  const int fd = ::socket(place.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Fail(Blame::kMachine, "cannot make a socket: {}", std::strerror(errno));
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, place.ai_addr, place.ai_addrlen) != 0 || ::listen(fd, kBacklog) != 0) {
    const int why = errno;
    ::close(fd);
    return Fail(Blame::kOperator, "cannot listen on {}: {}", address, std::strerror(why));
  }
  return fd;
}

std::uint16_t PortOf(int fd) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size);
  if (own.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(own).sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in&>(own).sin_port);
}

}  // namespace

Result<std::unique_ptr<Gate>> Gate::Listen(const std::string& address, const NetLimits& limits,
                                           Clock& clock) {
  WG_ASSIGN(const HostPort parsed, ParseHostPort(address));
  addrinfo hints{.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_family = AF_UNSPEC};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed =
      ::getaddrinfo(parsed.host.c_str(), std::to_string(parsed.port).c_str(), &hints, &found);
  if (failed != 0)
    return Fail(Blame::kOperator, "address '{}': {}", address, ::gai_strerror(failed));
  const auto listener = ListenOn(*found, address);
  ::freeaddrinfo(found);
  if (!listener) return Forward(listener.error());
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) {
    ::close(*listener);
    return Fail(Blame::kMachine, "cannot make an eventfd: {}", std::strerror(errno));
  }
  return std::unique_ptr<Gate>(new Gate(*listener, wake, PortOf(*listener), limits, clock));
}

Gate::Gate(int listener, int wake, std::uint16_t port, const NetLimits& limits, Clock& clock)
    : limits_(limits), clock_(clock), wake_(wake), port_(port), listener_(listener) {}

Gate::~Gate() {
  StopAccepting();
  Stop();
  ::close(wake_);
}

void Gate::Start(Handle handle, Tick tick) {
  handle_ = std::move(handle);
  tick_ = std::move(tick);
  thread_ = std::thread([this] { Loop(); });
}

void Gate::StopAccepting() {
  const std::scoped_lock lock(listener_mutex_);
  if (listener_ >= 0) ::close(std::exchange(listener_, -1));
}

void Gate::Stop() {
  stop_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(wake_, &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

void Gate::Loop() {
  int ticks = 0;
  while (!stop_) {
    int listener = -1;
    {
      const std::scoped_lock lock(listener_mutex_);
      listener = listener_;
    }
    pollfd waits[] = {{.fd = wake_, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    const int ready = ::poll(waits, 2, kTickMs);  // a negative descriptor is skipped
    if (ready > 0 && waits[1].revents != 0) AcceptAll();
    LookAtSockets();
    if (++ticks % kTicksPerTick == 0) tick_();
    // Out of descriptors, the listener stays readable: no faster than the tick in any case.
    if (ready > 0 && waits[1].revents != 0) ::poll(waits, 1, 1);
  }
}

void Gate::AcceptAll() {
  const std::scoped_lock lock(listener_mutex_);
  // A batch at a time, or a flood of connections would starve the ticks that end them.
  for (int i = 0; listener_ >= 0 && i < kBacklog; ++i) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const int fd = ::accept4(listener_, reinterpret_cast<sockaddr*>(&from), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    auto socket = std::make_shared<Socket>();
    socket->peer = ToPeerAddress(reinterpret_cast<const sockaddr*>(&from), size);
    socket->fd = fd;
    socket->inode = Inode(fd);
    socket->accepted_ns = clock_.MonotonicNs();
    {
      const std::scoped_lock sockets_lock(mutex_);
      if (!Admit(socket->peer)) {
        ::close(fd);
        continue;
      }
      ++per_host_[socket->peer.host];
      auto& place = sockets_[socket->peer.text];
      if (place != nullptr) Forget(*place);  // gone, not yet noticed
      place = std::move(socket);
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    handle_(fd);
  }
}

bool Gate::Admit(const PeerAddress& peer) const {
  if (sockets_.size() >= limits_.sockets_max) return false;
  const auto host = per_host_.find(peer.host);
  return host == per_host_.end() || host->second < limits_.sockets_per_address_max;
}

std::uint64_t Gate::PartialBytes(const Socket& socket, std::uint64_t received,
                                 std::uint64_t sent) const {
  const std::uint64_t whole = socket.frame_bytes;
  // Acknowledgements of what we sent (window updates, pings) are not frames either.
  const std::uint64_t accounted =
      whole + whole / kOverheadShare + socket.frames * kOverheadPerFrame + sent / kOverheadShare;
  return received > accounted ? received - accounted : 0;
}

bool Gate::Expired(Socket& socket, std::int64_t now_ns) const {
  if (!socket.spoken) return now_ns - socket.accepted_ns > limits_.first_frame_ms_max * kNsPerMs;
  if (socket.conversations + socket.fetches > 0) {
    socket.unused_since_ns = now_ns;
    return false;
  }
  return now_ns - socket.unused_since_ns > limits_.idle_ms_max * kNsPerMs;
}

// Some of them at each tick, in turn: all of them, up to kLooksPerTick.
void Gate::LookAtSockets() {
  const std::int64_t now_ns = clock_.MonotonicNs();
  const std::scoped_lock lock(mutex_);
  auto at = sockets_.upper_bound(looked_at_);
  for (std::size_t left = std::min(sockets_.size(), kLooksPerTick); left > 0; --left) {
    if (at == sockets_.end()) at = sockets_.begin();
    looked_at_ = at->first;
    if (LookAt(*at->second, now_ns)) {
      ++at;
    } else {
      Forget(*at->second);
      at = sockets_.erase(at);
    }
  }
  if (partial_bytes_ > limits_.partial_bytes_max) KillTheLargest();
}

bool Gate::LookAt(Socket& socket, std::int64_t now_ns) {
  tcp_info info{};
  socklen_t size = sizeof info;
  const bool known = ::getsockopt(socket.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
  // After the question: if the number is still this socket's, so was the answer. Nothing new has
  // come of most of them, and another's count would hardly be the same: those are asked less often.
  const bool quiet = known && info.tcpi_bytes_received == socket.received;
  if ((!quiet || ++socket.looks % kQuietLooks == 0) && Inode(socket.fd) != socket.inode)
    return false;
  socket.received = info.tcpi_bytes_received;
  const std::uint64_t partial =
      known ? PartialBytes(socket, info.tcpi_bytes_received, info.tcpi_bytes_acked) : 0;
  partial_bytes_ += partial - socket.partial_bytes;
  socket.partial_bytes = partial;
  const std::uint64_t frame_max = limits_.frame_bytes_max;
  if (partial > frame_max + frame_max / kOverheadShare + kSlackBytes) {
    Kill(socket, CloseReason::kFrameTooLarge);
  } else if (Expired(socket, now_ns)) {
    Kill(socket, socket.spoken ? CloseReason::kIdle : CloseReason::kNoFirstFrame);
  }
  return true;
}

// In the accounts; the caller takes it out of sockets_.
void Gate::Forget(const Socket& socket) {
  partial_bytes_ -= socket.partial_bytes;
  const auto host = per_host_.find(socket.peer.host);
  if (--host->second == 0) per_host_.erase(host);
}

void Gate::KillTheLargest() {
  const auto largest =
      std::max_element(sockets_.begin(), sockets_.end(), [](const auto& a, const auto& b) {
        return a.second->partial_bytes < b.second->partial_bytes;
      });
  Kill(*largest->second, CloseReason::kPartialBytes);
}

std::shared_ptr<Socket> Gate::Find(std::string_view grpc_peer) const {
  const std::string text = PeerTextFromGrpc(grpc_peer);
  const std::scoped_lock lock(mutex_);
  const auto at = sockets_.find(text);
  return at == sockets_.end() ? nullptr : at->second;
}

std::size_t Gate::sockets() const {
  const std::scoped_lock lock(mutex_);
  return sockets_.size();
}

}  // namespace waggle
