// A policy to many receivers at once, each link limited: what the origin gives, and when everybody
// has it, beside a star and a chain (sheet gradient.md 1.8).
//
//   swarm_bench [receivers 16] [payload MiB 64] [link MB/s 8] [rounds 3] [chunk KiB 4096]
//
// The origin and every receiver is a process of its own with real sockets on loopback. Links are
// limited as libtorrent limits them: each node's upload, and its download, to the link's rate.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/test_folder.h"
#include "torrent/test_payload.h"

namespace waggle {
namespace {

using Clock = std::chrono::steady_clock;

struct Setting {
  int receivers = 16;
  std::size_t mib = 64;
  double megabytes_per_second = 8;
  int rounds = 3;
  std::uint32_t chunk_kib = 4096;
};

struct Report {  // of one receiver, through a pipe
  double seconds = 0;
  std::uint64_t taken = 0, given = 0;
  bool whole = false;
};

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::unique_ptr<Swarm> Node(const TempFolder& folder, double megabytes_per_second) {
  const auto rate = static_cast<std::uint64_t>(megabytes_per_second * 1e6);
  return Swarm::Open({.listen = "127.0.0.1:0",
                      .scratch = folder.path(),
                      .upload_per_second_max = rate,
                      .download_per_second_max = rate},
                     SystemClock())
      .value();
}

// In its own process: says "ready", waits for the origin's port, fetches, reports, goes on giving
// until the pipe is closed.
void Receive(const Setting& setting, const TestPayload& of, int in, int out) {
  const TempFolder folder;
  const auto node = Node(folder, setting.megabytes_per_second);
  std::uint16_t port = 0;
  if (::read(in, &port, sizeof port) != sizeof port) ::_exit(1);
  const auto begin = Clock::now();
  TestSink sink(of);
  const auto fetched = node->Fetch({.manifest = of.manifest,
                                    .info = of.info,
                                    .peers = {fmt::format("127.0.0.1:{}", port)},
                                    .web_seeds = {},
                                    .chunks = of.AllChunks(),
                                    .patience = {60'000, 60'000, 1, 600'000}},
                                   sink.take());
  Report report{.seconds = Since(begin),
                .whole = fetched && *fetched && sink.payload == of.payload};
  if (::write(out, &report, sizeof report) != sizeof report) ::_exit(1);
  char end = 0;
  while (::read(in, &end, 1) > 0) {
  }
  const Swarm::Counts counts = node->counts();
  report.taken = counts.taken;
  report.given = counts.given;
  if (::write(out, &report, sizeof report) != sizeof report) ::_exit(1);
  std::filesystem::remove_all(folder.path());
  ::_exit(0);
}

struct Child {
  pid_t pid = 0;
  int to = -1, from = -1;
};

Child Start(const Setting& setting, const TestPayload& of, const std::vector<Child>& others) {
  int to[2], from[2];
  if (::pipe(to) != 0 || ::pipe(from) != 0) std::exit(1);
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (const Child& other : others) {
      ::close(other.to);
      ::close(other.from);
    }
    ::close(to[1]);
    ::close(from[0]);
    Receive(setting, of, to[0], from[1]);
  }
  ::close(to[0]);
  ::close(from[1]);
  return {pid, to[1], from[0]};
}

Report ReadReport(const Child& child) {
  Report report;
  if (::read(child.from, &report, sizeof report) != sizeof report) std::exit(1);
  return report;
}

struct Round {
  double first = 0, median = 0, last = 0, origin = 0, given = 0;
};

Round Run(const Setting& setting, const TestPayload& of) {
  std::vector<Child> children;  // before this process has threads
  for (int i = 0; i < setting.receivers; ++i) children.push_back(Start(setting, of, children));
  const TempFolder folder;
  const auto origin = Node(folder, setting.megabytes_per_second);
  if (!origin->Give(of.manifest, of.info, std::make_shared<TestSource>(of))) std::exit(1);
  ::usleep(500'000);
  const std::uint16_t port = origin->port();
  for (const Child& child : children)
    if (::write(child.to, &port, sizeof port) != sizeof port) std::exit(1);
  std::vector<double> seconds;
  for (const Child& child : children) {
    const Report report = ReadReport(child);
    if (!report.whole) fmt::print("a receiver did not get it\n");
    seconds.push_back(report.seconds);
  }
  std::ranges::sort(seconds);
  const double bytes = static_cast<double>(of.payload.size());
  Round round{seconds.front(), seconds[seconds.size() / 2], seconds.back(),
              static_cast<double>(origin->counts().given) / bytes};
  for (const Child& child : children) {
    ::close(child.to);
    round.given += static_cast<double>(ReadReport(child).given) / bytes;
    ::close(child.from);
    ::waitpid(child.pid, nullptr, 0);
  }
  return round;
}

void Bench(const Setting& setting) {
  const TestPayload of(setting.mib << 20, setting.chunk_kib << 10);
  const double payload = static_cast<double>(setting.mib << 20);
  const double rate = setting.megabytes_per_second * 1e6, n = setting.receivers;
  const TorrentLayout layout = TorrentLayout::Of(of.manifest).value();
  fmt::print(
      "{} receivers, {} MiB in {} files and {} pieces of {} KiB, every link {} MB/s\n"
      "star  n*M/b               {:7.1f} s\n"
      "chain M/b + (n-1)*c/b     {:7.1f} s (c = 4 MiB), {:.1f} s (c = a piece)\n"
      "swarm, at least           {:7.1f} s\n\n"
      "round  first s  median s  last s  origin gave  receivers gave, payloads\n",
      setting.receivers, setting.mib, layout.files().size(), layout.pieces(),
      layout.piece_bytes() >> 10, setting.megabytes_per_second, n * payload / rate,
      (payload + (n - 1) * (4 << 20)) / rate, (payload + (n - 1) * layout.piece_bytes()) / rate,
      std::max(payload / rate, n * payload / (rate * (n + 1))));
  for (int i = 1; i <= setting.rounds; ++i) {
    const Round round = Run(setting, of);
    fmt::print("{:5}  {:7.1f}  {:8.1f}  {:6.1f}  {:11.2f}  {:.2f}\n", i, round.first, round.median,
               round.last, round.origin, round.given);
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace waggle

int main(int argc, char** argv) {
  waggle::Setting setting;
  if (argc > 1) setting.receivers = std::atoi(argv[1]);
  if (argc > 2) setting.mib = static_cast<std::size_t>(std::atoi(argv[2]));
  if (argc > 3) setting.megabytes_per_second = std::atof(argv[3]);
  if (argc > 4) setting.rounds = std::atoi(argv[4]);
  if (argc > 5) setting.chunk_kib = static_cast<std::uint32_t>(std::atoi(argv[5]));
  waggle::Bench(setting);
}
