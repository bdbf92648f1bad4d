// What the tests of this folder share: a server on loopback with a few pages, and a caller that
// sends any bytes.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "base/check.h"
#include "base/clock.h"
#include "http/client.h"
#include "http/server.h"

namespace waggle {

// Long enough for a loaded machine; nothing waits so long unless it fails.
inline constexpr int kPatienceSeconds = 60;

class Caller {
 public:
  explicit Caller(std::uint16_t port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in place{.sin_family = AF_INET, .sin_port = htons(port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Check(::connect(fd_, reinterpret_cast<sockaddr*>(&place), sizeof place) == 0, "loopback");
    timeval patience{.tv_sec = kPatienceSeconds};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() { ::close(fd_); }

  bool Say(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
  }
  void HalfClose() { ::shutdown(fd_, SHUT_WR); }
  // What comes until `text` is among it, or the end; the end may be a reset.
  std::string HearUntil(std::string_view text) {
    char piece[4096];
    while (heard_.find(text) == std::string::npos) {
      const auto got = ::recv(fd_, piece, sizeof piece, 0);
      if (got <= 0) {
        ended_ = got == 0 || errno == ECONNRESET;
        break;
      }
      heard_.append(piece, static_cast<std::size_t>(got));
    }
    return heard_;
  }
  // All that comes; fails the test if the other side does not hang up.
  std::string HearAll() {
    HearUntil("\1 nothing holds this");
    EXPECT_TRUE(ended_) << "the server did not hang up";
    return heard_;
  }

 private:
  int fd_ = -1;
  std::string heard_;
  bool ended_ = false;
};

// Bytes that depend on their place; cannot be read past `broken_at`.
class Stripes final : public HttpBody {
 public:
  explicit Stripes(std::uint64_t size, std::uint64_t broken_at = UINT64_MAX)
      : size_(size), broken_at_(broken_at) {}
  static char At(std::uint64_t i) { return static_cast<char>('a' + (i * i + i / 977) % 26); }
  std::uint64_t size() const override { return size_; }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset + out.size() > broken_at_) return Fail(Blame::kMachine, "a bad sector");
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::byte(At(offset + i));
    return {};
  }

 private:
  const std::uint64_t size_, broken_at_;
};

inline constexpr std::uint64_t kBigBytes = 3'000'000;
// More than the buffers of both sides take: whoever does not read it all keeps being answered.
inline constexpr std::uint64_t kEndlessBytes = std::uint64_t{1} << 40;

class HttpTest : public testing::Test {
 protected:
  void StartServer(const HttpLimits& limits = {}) {
    server_ = HttpServer::Start("127.0.0.1:0", limits, SystemClock(), [](const HttpRequest& r) {
                HttpResponse response;
                if (r.path == "/hello") {
                  response.text = "hello " + r.query.at("name");
                } else if (r.path == "/echo" && r.method == HttpMethod::kPost) {
                  response.text = r.body;
                } else if (r.path == "/big") {
                  response.body = std::make_unique<Stripes>(kBigBytes);
                  response.headers.emplace_back("ETag", "\"v1\"");
                } else if (r.path == "/endless") {
                  response.body = std::make_unique<Stripes>(kEndlessBytes);
                } else if (r.path == "/broken") {
                  response.body = std::make_unique<Stripes>(kBigBytes, 1'000'000);
                } else {
                  response.status = 404;
                  response.text = "nothing is here\n";
                }
                return response;
              }).value();
  }
  std::string Url(const std::string& target) const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + target;
  }
  // What the server answers to these bytes, up to its hanging up.
  std::string Exchange(std::string_view bytes) {
    Caller caller(server_->port());
    caller.Say(bytes);
    return caller.HearAll();
  }
  // The server still serves an honest caller.
  void ExpectAlive() {
    const auto text = CallForText({.url = Url("/hello?name=bee")}, {});
    ASSERT_TRUE(text) << text.error().what;
    EXPECT_EQ(*text, "hello bee");
  }
  template <class Holds>
  bool Eventually(Holds holds) {
    for (int i = 0; i < kPatienceSeconds * 100; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  std::unique_ptr<HttpServer> server_;
};

}  // namespace waggle
