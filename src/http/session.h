// One connection of the HTTP server. (Internal to http/.)
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "http/asio.h"
#include "http/limits.h"
#include "http/message.h"
#include "http/server.h"

namespace waggle {

class HttpSession;

// What the sessions of one server share. Lives as long as any of them.
struct HttpHive {
  HttpHive(const HttpLimits& l, Clock& c, HttpServer::Handler h)
      : limits(l), clock(c), handler(std::move(h)) {}

  const HttpLimits limits;
  Clock& clock;
  const HttpServer::Handler handler;
  std::map<std::uint64_t, HttpSession*> sessions;  // by number; on the I/O thread only
  std::uint64_t moments = 0;                       // orders what the sessions do
  std::atomic<std::uint64_t> connections{0}, accepted{0}, turned_away{0}, requests{0},
      body_bytes{0};
};

// Kept alive by the operation that it waits for; when there is none, it ends.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(asio::ip::tcp::socket socket, PeerAddress peer, std::shared_ptr<HttpHive> hive);
  ~HttpSession();

  void Start();
  void Close();
  // Nothing whole has come that waits for an answer: it may give its place to a newcomer.
  bool silent() const { return !answering_; }
  bool closed() const { return closed_; }  // and about to be gone
  std::uint64_t since() const { return since_; }
  const std::string& address() const { return peer_.host; }

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;
  void AwaitRequest();
  void ReadHeader();
  void OnHeader(ErrorCode error);
  void ReadBody();
  void OnBody(ErrorCode error);
  void Refuse(ErrorCode error);
  void Answer(const HttpRequest& request);
  void Reply(HttpResponse response, bool with_body, const HttpRequest* request);
  void SendPiece();
  void OnSent(ErrorCode error);
  bool AddPiece();
  void Linger();

  beast::tcp_stream stream_;
  const PeerAddress peer_;
  const std::shared_ptr<HttpHive> hive_;
  std::uint64_t number_ = 0, since_ = 0;
  std::size_t requests_ = 0;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  bool answering_ = false, keep_alive_ = false, closed_ = false;

  // The response under way.
  std::unique_ptr<HttpBody> body_;
  std::uint64_t at_ = 0, end_ = 0;
  std::vector<std::byte> out_;
};

}  // namespace waggle
