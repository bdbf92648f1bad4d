// The transport over loopback with TLS, both ends in this process: what a node spends on carrying
// frames and blobs, network aside. Usage: net_bench [CONNECTIONS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/client.h"
#include "net/server.h"

namespace {

using waggle::Event;
using waggle::NodeClient;
using waggle::NodeServer;
using Clients = std::vector<std::unique_ptr<NodeClient>>;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Zeros final : public waggle::BlobSource {
 public:
  static constexpr std::uint64_t kBytes = std::uint64_t{512} << 20;
  waggle::Result<std::unique_ptr<waggle::Blob>> Open(const waggle::Digest256&) override {
    struct Blob final : waggle::Blob {
      std::uint64_t size() const override { return kBytes; }
      waggle::Status Read(std::uint64_t, std::span<std::byte> out) override {
        std::memset(out.data(), 0, out.size());
        return {};
      }
    };
    return std::unique_ptr<waggle::Blob>(std::make_unique<Blob>());
  }
};

// Sends back what comes, until every client has gone.
void Echo(NodeServer& server, std::size_t clients) {
  Event event;
  while (clients > 0) {
    if (!server.Next(event, 1000)) continue;
    if (event.kind == Event::Kind::kReceived) server.Send(event.connection, event.frame());
    if (event.kind == Event::Kind::kClosed) --clients;
  }
}

bool Take(NodeClient& client) {
  Event event;
  return client.Next(event, 60'000) && event.kind != Event::Kind::kClosed;
}

// Every client keeps `window` frames under way; returns round trips a second.
double Throughput(Clients& clients, std::size_t bytes, int rounds, int window) {
  const std::vector<std::uint8_t> frame(bytes, 7);
  const double begin = Now();
  for (int round = 0; round < rounds; ++round) {
    for (auto& client : clients) {
      for (int i = 0; i < window; ++i) client->Send(frame);
    }
    for (auto& client : clients) {
      for (int i = 0; i < window; ++i) {
        if (!Take(*client)) return 0;
      }
    }
  }
  return static_cast<double>(clients.size()) * rounds * window / (Now() - begin);
}

// One frame at a time, in turn over all connections. Microseconds, sorted.
std::vector<double> RoundTrips(Clients& clients, std::size_t bytes, int count) {
  const std::vector<std::uint8_t> frame(bytes, 7);
  std::vector<double> took;
  for (int i = 0; i < count; ++i) {
    NodeClient& client = *clients[static_cast<std::size_t>(i) % clients.size()];
    const double begin = Now();
    client.Send(frame);
    if (!Take(client)) break;
    took.push_back((Now() - begin) * 1e6);
  }
  std::sort(took.begin(), took.end());
  return took;
}

int MeasureFrames(const waggle::Certificate& certificate, const waggle::NetLimits& limits,
                  std::size_t connections) {
  auto server =
      NodeServer::Start("127.0.0.1:0", certificate, limits, nullptr, waggle::SystemClock());
  if (!server) return std::fprintf(stderr, "%s\n", server.error().what.c_str()), 1;
  const std::string address = "127.0.0.1:" + std::to_string((*server)->port());
  std::thread echo([&] { Echo(**server, connections); });
  Clients clients;
  const double begin = Now();
  for (std::size_t i = 0; i < connections; ++i)
    clients.push_back(
        *NodeClient::Connect(address, certificate.pin, limits, waggle::SystemClock()));
  bool opened = true;
  for (auto& client : clients) opened = Take(*client) && opened;
  if (!opened) std::fprintf(stderr, "not every connection was opened\n");
  std::printf("%4zu connections  opened in %6.1f ms\n", connections, (Now() - begin) * 1e3);
  for (const std::size_t bytes : {std::size_t{256}, std::size_t{64} << 10, std::size_t{1} << 20}) {
    const bool large = bytes >= (std::size_t{1} << 20);
    const int per_client = std::max<int>(1, (large ? 128 : 8192) / static_cast<int>(connections));
    const int window = std::min(per_client, large ? 2 : 16);
    const double rate = Throughput(clients, bytes, std::max(1, per_client / window), window);
    const std::vector<double> took = RoundTrips(clients, bytes, large ? 100 : 2000);
    if (took.empty()) continue;
    const auto percentile = [&](double p) {
      return took[static_cast<std::size_t>(p * static_cast<double>(took.size() - 1))];
    };
    std::printf(
        "     %7zu bytes  %8.0f echoes/s  %7.1f MB/s each way   round trip us: p50 %6.0f  p90 %6.0f"
        "  p99 %6.0f  max %6.0f\n",
        bytes, rate, rate * static_cast<double>(bytes) * 1e-6, percentile(0.5), percentile(0.9),
        percentile(0.99), took.back());
  }
  clients.clear();
  echo.join();
  return 0;
}

int MeasureFetch(const waggle::Certificate& certificate, const waggle::NetLimits& limits) {
  Zeros blobs;
  auto server =
      NodeServer::Start("127.0.0.1:0", certificate, limits, &blobs, waggle::SystemClock());
  if (!server) return std::fprintf(stderr, "%s\n", server.error().what.c_str()), 1;
  const std::string address = "127.0.0.1:" + std::to_string((*server)->port());
  auto client = *NodeClient::Connect(address, certificate.pin, limits, waggle::SystemClock());
  for (int i = 0; i < 3; ++i) {
    const double begin = Now();
    const auto got =
        client->FetchBlob({}, 0, Zeros::kBytes, [](auto, auto) -> waggle::Status { return {}; });
    if (!got) return std::fprintf(stderr, "%s\n", got.error().error.what.c_str()), 1;
    std::printf("fetch  %8.1f MB/s\n", static_cast<double>(*got) * 1e-6 / (Now() - begin));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t most = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 64;
  if (most == 0 || most > 4096) return std::fprintf(stderr, "1 to 4096 connections\n"), 2;
  const auto certificate = waggle::MakeCertificate();
  if (!certificate) return std::fprintf(stderr, "%s\n", certificate.error().what.c_str()), 1;
  waggle::NetLimits limits;
  limits.connections_max = limits.connections_per_address_max = most;
  limits.sockets_max = limits.sockets_per_address_max = 2 * most;
  if (const int failed = MeasureFrames(*certificate, limits, 1); failed != 0) return failed;
  if (most > 1) {
    if (const int failed = MeasureFrames(*certificate, limits, most); failed != 0) return failed;
  }
  return MeasureFetch(*certificate, limits);
}
