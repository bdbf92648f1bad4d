#include "delegation/party_line.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace waggle {
namespace {

constexpr std::int64_t kRetryNs = 300'000'000;

NetLimits LineLimits() {
  NetLimits limits;
  limits.frame_bytes_max = kDisputeFrameBytesMax;
  limits.connect_ms_max = 5'000;
  return limits;
}

}  // namespace

PartyLine::PartyLine(Invite invite, Clock& clock) : invite_(std::move(invite)), clock_(clock) {}

void PartyLine::Connect() {
  const Endpoint& host = invite_.hosts[host_++ % invite_.hosts.size()];
  auto client = NodeClient::Connect(fmt::format("{}:{}", host.host, host.port), invite_.pin,
                                    LineLimits(), clock_);
  retry_ns_ = clock_.MonotonicNs() + kRetryNs;
  if (client) client_ = std::move(*client);
}

PartyLine::Heard PartyLine::Next(const Signer& judge, std::int64_t timeout_ms) {
  Heard heard;
  if (!client_ && clock_.MonotonicNs() >= retry_ns_) Connect();
  if (!client_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(timeout_ms));
    return heard;
  }
  Event event;
  if (!client_->Next(event, timeout_ms)) return heard;
  switch (event.kind) {
    case Event::Kind::kOpened:
      open_ = heard.opened = true;
      break;
    case Event::Kind::kReceived:
      // What is not signed by anybody is nobody's word.
      if (auto frame = OpenFrame(event.frame(), judge)) heard.frame = std::move(*frame);
      break;
    case Event::Kind::kClosed:
      open_ = false;
      client_.reset();
      retry_ns_ = clock_.MonotonicNs() + kRetryNs;
      break;
  }
  return heard;
}

bool PartyLine::Send(const Bytes& frame) { return open_ && client_ && client_->Send(frame); }

}  // namespace waggle
