#include "http/server.h"

#include <algorithm>
#include <thread>

#include "http/session.h"

namespace waggle {
namespace {

using asio::ip::tcp;

constexpr std::int64_t kAcceptPauseMs = 100;  // when the system has no descriptor left

Result<tcp::endpoint> Resolve(asio::io_context& io, const std::string& address) {
  WG_ASSIGN(const HostPort place, ParseHostPort(address));
  tcp::resolver resolver(io);
  ErrorCode error;
  const auto found =
      resolver.resolve(place.host, std::to_string(place.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty())
    return Fail(Blame::kOperator, "cannot listen on {}: {}", address, error.message());
  return found.begin()->endpoint();
}

}  // namespace

Status CheckLimits(const HttpLimits& limits) {
  const auto positive = [](std::int64_t value, const char* name) -> Status {
    if (value > 0) return {};
    return Fail(Blame::kOperator, "HttpLimits: {} must be above 0", name);
  };
  WG_TRY(positive(static_cast<std::int64_t>(limits.connections_max), "connections_max"));
  WG_TRY(positive(static_cast<std::int64_t>(limits.connections_per_address_max),
                  "connections_per_address_max"));
  WG_TRY(positive(static_cast<std::int64_t>(limits.piece_bytes), "piece_bytes"));
  WG_TRY(positive(limits.header_ms_max, "header_ms_max"));
  WG_TRY(positive(limits.idle_ms_max, "idle_ms_max"));
  WG_TRY(positive(limits.body_ms_max, "body_ms_max"));
  WG_TRY(positive(limits.piece_ms_max, "piece_ms_max"));
  if (limits.header_bytes_max < 256 || limits.header_bytes_max > (1u << 20))
    return Fail(Blame::kOperator, "HttpLimits: header_bytes_max is within 256 bytes and 1 MiB");
  return {};
}

class HttpServer::Impl {
 public:
  Impl(const HttpLimits& limits, Clock& clock, Handler handler)
      : acceptor_(io_),
        pause_(io_),
        hive_(std::make_shared<HttpHive>(limits, clock, std::move(handler))) {}

  Status Listen(const std::string& address) {
    WG_ASSIGN(const tcp::endpoint endpoint, Resolve(io_, address));
    ErrorCode error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (error) return Fail(Blame::kOperator, "cannot listen on {}: {}", address, error.message());
    port_ = acceptor_.local_endpoint().port();
    Accept();
    thread_ = std::thread([this] { io_.run(); });
    return {};
  }

  void Stop() {
    if (!thread_.joinable()) return;
    io_.stop();
    thread_.join();
    ErrorCode ignored;
    acceptor_.close(ignored);
    // Not handler by handler: closing the sockets is what peers notice.
    for (const auto& [number, session] : hive_->sessions) session->Close();
  }

  std::uint16_t port() const { return port_; }
  const HttpHive& hive() const { return *hive_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](ErrorCode error, tcp::socket socket) {
      if (!error) return Admit(std::move(socket));
      pause_.expires_after(std::chrono::milliseconds(kAcceptPauseMs));
      pause_.async_wait([this](ErrorCode stopped) {
        if (!stopped) Accept();
      });
    });
  }

  void Admit(tcp::socket socket) {
    ErrorCode gone;
    const tcp::endpoint remote = socket.remote_endpoint(gone);
    if (!gone) {
      PeerAddress peer = AddressOf(remote);
      ++hive_->accepted;
      if (MakeRoom(peer.host)) {
        socket.set_option(tcp::no_delay(true), gone);
        std::make_shared<HttpSession>(std::move(socket), std::move(peer), hive_)->Start();
      } else {
        ++hive_->turned_away;
      }
    }
    Accept();
  }

  // Whether a newcomer from `address` may stay. Closes the session that was silent longest among
  // those that share the limit.
  bool MakeRoom(const std::string& address) {
    std::size_t alike = 0, all = 0;
    HttpSession *oldest = nullptr, *oldest_alike = nullptr;
    const auto older = [](HttpSession* a, HttpSession* b) {
      return a == nullptr || b->since() < a->since() ? b : a;
    };
    for (const auto& [number, session] : hive_->sessions) {
      if (session->closed()) continue;
      const bool same = session->address() == address;
      ++all;
      alike += same ? 1 : 0;
      if (!session->silent()) continue;
      oldest = older(oldest, session);
      if (same) oldest_alike = older(oldest_alike, session);
    }
    HttpSession* leaves = nullptr;
    if (alike >= hive_->limits.connections_per_address_max) {
      leaves = oldest_alike;
    } else if (all >= hive_->limits.connections_max) {
      leaves = oldest;
    } else {
      return true;
    }
    if (leaves == nullptr) return false;
    leaves->Close();
    ++hive_->turned_away;
    return true;
  }

  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::shared_ptr<HttpHive> hive_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Stop(); }

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                      const HttpLimits& limits, Clock& clock,
                                                      Handler handler) {
  WG_TRY(CheckLimits(limits));
  auto impl = std::make_unique<Impl>(limits, clock, std::move(handler));
  WG_TRY(impl->Listen(address));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::uint16_t HttpServer::port() const { return impl_->port(); }
void HttpServer::Stop() { impl_->Stop(); }

HttpServer::Counts HttpServer::counts() const {
  const HttpHive& hive = impl_->hive();
  return {.connections = hive.connections,
          .accepted = hive.accepted,
          .turned_away = hive.turned_away,
          .requests = hive.requests,
          .body_bytes = hive.body_bytes};
}

}  // namespace waggle
