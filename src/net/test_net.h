// What the tests of this folder share: a clock that stands still, a server and its clients on
// loopback, and a caller that speaks TLS but not our language.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "net/client.h"
#include "net/server.h"

namespace waggle {

// Long enough for a loaded machine; nothing waits so long unless it fails.
inline constexpr std::int64_t kPatienceMs = 60'000;

class ManualClock final : public Clock {
 public:
  std::int64_t MonotonicNs() override { return now_ns_; }
  double UnixSeconds() override { return 0; }
  void AdvanceMs(std::int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  std::atomic<std::int64_t> now_ns_{1'000'000'000};
};

inline std::span<const std::uint8_t> AsFrame(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline const Certificate& TestCertificate() {
  static const Certificate certificate = MakeCertificate().value();
  return certificate;
}

class NetTest : public testing::Test {
 protected:
  void StartServer(const NetLimits& limits, BlobSource* blobs = nullptr) {
    limits_ = limits;
    server_ = NodeServer::Start("127.0.0.1:0", TestCertificate(), limits, blobs, clock_).value();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  std::unique_ptr<NodeClient> Client() { return Client(limits_); }
  std::unique_ptr<NodeClient> Client(const NetLimits& limits) {
    return NodeClient::Connect(address(), TestCertificate().pin, limits, clock_).value();
  }

  // The next event of either end; a kind that is not `kind` fails the test.
  template <class End>
  Event Expect(End& end, Event::Kind kind) {
    Event event;
    if (!end.Next(event, kPatienceMs)) {
      ADD_FAILURE() << "no event";
    } else if (event.kind != kind) {
      ADD_FAILURE() << "kind " << int(event.kind) << ", not " << int(kind) << ": " << event.text;
    }
    return event;
  }
  Event ServerGets(Event::Kind kind) { return Expect(*server_, kind); }

  // Waits for a condition that the server's threads bring about.
  template <class Holds>
  bool Eventually(Holds holds) {
    Event event;
    for (int i = 0; i < kPatienceMs / 10; ++i) {
      if (holds()) return true;
      if (server_->Next(event, 10)) unexpected_.push_back(std::move(event));
    }
    return false;
  }

  ManualClock clock_;
  NetLimits limits_;
  std::unique_ptr<NodeServer> server_;
  std::vector<Event> unexpected_;
};

// A TCP connection that says what a test likes, below gRPC.
class RawCaller {
 public:
  explicit RawCaller(std::uint16_t port);
  ~RawCaller();
  RawCaller(const RawCaller&) = delete;
  bool StartTls();  // with ALPN "h2"
  bool Say(std::string_view bytes);
  // Reads until the server closes; false if it did not within kPatienceMs.
  bool WaitForEnd();

 private:
  int fd_ = -1;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
};

}  // namespace waggle
