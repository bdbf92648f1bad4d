// A small HTTP/1.1 server: GET, HEAD and POST, keep-alive, ranges of large bodies. Everything that
// a stranger can make it spend is bounded by HttpLimits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "http/limits.h"
#include "http/message.h"

namespace waggle {

// All connections live on one thread, which also runs the handler and reads the bodies: a handler
// takes its answer from what is at hand and does not wait. Start and Stop are for the owner's
// thread.
class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;

  // `address`: "host:port"; port 0 takes a free one. Blame::kOperator for address and limits.
  // `clock` (for the Date header) and whatever the handler uses outlive the server.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                   const HttpLimits& limits, Clock& clock,
                                                   Handler handler);
  ~HttpServer();  // Stop
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  // Ends every connection, wherever it stands. The handler is not called any more once it returns.
  void Stop();

  // Any thread.
  struct Counts {
    std::uint64_t connections = 0;  // now
    std::uint64_t accepted = 0, turned_away = 0, requests = 0, body_bytes = 0;
  };
  Counts counts() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
