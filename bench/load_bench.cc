// How many volunteers one host bears: opens many connections to a run that listens, each with a key
// and a session of its own and the volunteer's real core behind it; only the sampling is made up.
// Usage: load_bench INVITE WORKERS SECONDS [SAMPLING_MS]
//
// It signs all that it says, and does not check the host's signatures: it has one core for all.
//
// Every worker takes a lease, waits SAMPLING_MS, hands in a group of one-token answers, and takes
// the next. Latency: from the hand-in, which goes out together with the next request, to the grant.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "crypto/random.h"
#include "protocol/invite.h"
#include "protocol/limits.h"
#include "roles/join_core.h"
#include "run/run_site.h"

namespace {

using waggle::JoinCore;
using waggle::JoinEffect;
using waggle::JoinEvent;
using waggle::NodeClient;

double NowMs() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class Trusting final : public waggle::Signer {
 public:
  const waggle::NodeId& id() const override { return key_.id(); }
  waggle::Signature Sign(std::string_view domain,
                         std::span<const std::uint8_t> message) const override {
    return key_.Sign(domain, message);
  }
  bool Holds(const waggle::NodeId&, std::string_view, std::span<const std::uint8_t>,
             const waggle::Signature&) const override {
    return true;
  }

 private:
  const waggle::KeyPair key_ = waggle::KeyPair::Generate();
};

struct Totals {
  std::uint64_t accepted = 0, other = 0, links_lost = 0;
  std::vector<double> latency_ms;
};

class FakeWorker {
 public:
  FakeWorker(const waggle::Invite& invite, const waggle::RunSite& site, double sampling_ms,
             Totals& totals)
      : invite_(invite), site_(site), sampling_ms_(sampling_ms), totals_(totals) {
    const waggle::JoinSettings settings{
        .software = "load_bench",
        .environment = std::string(site.environment->name()),
        .rollouts_max = site.description.recipe.orchestrator.group_size,
        .response_tokens_max = site.description.model.max_positions};
    core_.emplace(key_, invite.run, std::nullopt, settings, *site.codec, waggle::RandomBytes<16>);
  }

  bool connected() const { return core_->connected(); }

  // Whatever is due. False: nothing was.
  bool Live(double now, bool go) {
    bool busy = false;
    waggle::Event event;
    while (client_ && client_->Next(event, 0)) {
      busy = true;
      if (event.kind == waggle::Event::Kind::kOpened) Step(waggle::LinkUp{});
      if (event.kind == waggle::Event::Kind::kReceived)
        Step(waggle::FrameHeard{{event.frame().begin(), event.frame().end()}});
      if (event.kind == waggle::Event::Kind::kClosed) {
        if (totals_.links_lost++ < 3) std::fprintf(stderr, "lost: %s\n", event.text.c_str());
        client_.reset();
        Step(waggle::LinkDown{event.text});
        break;
      }
    }
    if (fetched_ && go) {  // from here on it asks for work
      fetched_ = false;
      Step(waggle::PolicyLoaded{version_});
    }
    if (!sampling_.empty() && now >= done_at_) {
      busy = true;
      HandIn(now);
    }
    if (now >= tick_at_) {
      tick_at_ = now + 1000;
      Step(waggle::JoinTick{});  // says nothing of how fast it is
    }
    return busy;
  }

 private:
  void HandIn(double now) {
    waggle::TokensSampled sampled;
    for (const auto& [request, samples] : std::exchange(sampling_, {})) {
      for (std::uint32_t i = 0; i < samples; ++i) {
        sampled.tokens.push_back({.request = request,
                                  .sample = i,
                                  .token = site_.description.model.eos.front(),
                                  .logp = -1,
                                  .version = version_,
                                  .finish = waggle::FinishReason::kStop});
      }
    }
    asked_ms_ = now;
    Step(std::move(sampled));
  }

  void Step(const JoinEvent& event) {
    for (JoinEffect& effect : core_->Step(static_cast<waggle::Milliseconds>(NowMs()), event)) {
      if (std::holds_alternative<waggle::Dial>(effect)) {
        const auto& host = invite_.hosts.front();
        waggle::NetLimits limits;
        limits.connect_ms_max = 120'000;
        client_ = *NodeClient::Connect(host.host + ":" + std::to_string(host.port), invite_.pin,
                                       limits, waggle::SystemClock());
      } else if (auto* out = std::get_if<waggle::SendOut>(&effect)) {
        if (client_) client_->Send(out->bytes);
      } else if (auto* hang_up = std::get_if<waggle::HangUp>(&effect)) {
        std::fprintf(stderr, "hangs up: %s\n", hang_up->why.c_str());
        if (client_) client_->Close();
      } else if (auto* wanted = std::get_if<waggle::FetchPolicy>(&effect)) {
        version_ = wanted->version;  // weights are not needed to make answers up
        fetched_ = true;
      } else if (auto* start = std::get_if<waggle::StartSampling>(&effect)) {
        if (asked_ms_ > 0) totals_.latency_ms.push_back(NowMs() - asked_ms_);
        asked_ms_ = 0;
        done_at_ = NowMs() + sampling_ms_;
        sampling_.emplace_back(++requests_, start->samples);
        Step(waggle::SamplingStarted{start->lease, start->first_sample, requests_});
      } else if (auto* ended = std::get_if<waggle::LeaseEnded>(&effect)) {
        ++(ended->record.outcome == waggle::Outcome::kAccepted ? totals_.accepted : totals_.other);
      }
    }
  }

  const waggle::Invite& invite_;
  const waggle::RunSite& site_;
  const double sampling_ms_;
  Totals& totals_;
  const Trusting key_;
  std::optional<JoinCore> core_;
  std::unique_ptr<NodeClient> client_;
  std::vector<std::pair<waggle::RequestId, std::uint32_t>> sampling_;
  waggle::RequestId requests_ = 0;
  waggle::PolicyVersion version_;
  bool fetched_ = false;
  double asked_ms_ = 0, done_at_ = 0, tick_at_ = 0;
};

void Report(const char* what, Totals& totals, double seconds) {
  auto& latency = totals.latency_ms;
  std::sort(latency.begin(), latency.end());
  const auto at = [&](double p) {
    return latency.empty()
               ? 0
               : latency[static_cast<std::size_t>(p * static_cast<double>(latency.size() - 1))];
  };
  std::printf(
      "%s: %.0f groups/s accepted, %llu otherwise, %llu links lost; lease latency ms: p50 %.1f  "
      "p90 %.1f  p99 %.1f  max %.1f\n",
      what, static_cast<double>(totals.accepted) / seconds,
      static_cast<unsigned long long>(totals.other),
      static_cast<unsigned long long>(totals.links_lost), at(0.5), at(0.9), at(0.99), at(1));
  std::fflush(stdout);
  totals = {};
}

waggle::Result<std::unique_ptr<waggle::RunSite>> Site(const waggle::Invite& invite) {
  const auto& host = invite.hosts.front();
  WG_ASSIGN(const auto client, NodeClient::Connect(host.host + ":" + std::to_string(host.port),
                                                   invite.pin, {}, waggle::SystemClock()));
  waggle::Event event;
  client->Next(event, 10'000);
  return waggle::FetchRunSite(*client, invite.run);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "load_bench INVITE WORKERS SECONDS [MS]\n"), 2;
  const auto invite = waggle::ParseInvite(argv[1]);
  if (!invite) return std::fprintf(stderr, "that is no invite\n"), 2;
  const std::size_t count = std::strtoul(argv[2], nullptr, 10);
  const double seconds = std::atof(argv[3]), sampling_ms = argc > 4 ? std::atof(argv[4]) : 5000;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const auto site = Site(*invite);
  if (!site) return std::fprintf(stderr, "%s\n", site.error().what.c_str()), 1;

  // Everybody arrives first, and begins to work at moments of their own; the clock starts when the
  // last of them has had a first group.
  Totals totals;
  std::vector<std::unique_ptr<FakeWorker>> workers;
  const double begin = NowMs();
  std::size_t connected = 0;
  double said = begin, all_there = 0, measured = 0;
  for (double now = begin; measured == 0 || now < measured + seconds * 1000; now = NowMs()) {
    // A few dial at a time.
    if (workers.size() < count && workers.size() < connected + 64)
      workers.push_back(std::make_unique<FakeWorker>(*invite, **site, sampling_ms, totals));
    bool busy = false;
    connected = 0;
    for (std::size_t i = 0; i < workers.size(); ++i) {
      const double begins =
          all_there + sampling_ms * static_cast<double>(i) / static_cast<double>(count);
      busy = workers[i]->Live(now, all_there > 0 && now >= begins) || busy;
      connected += workers[i]->connected() ? 1 : 0;
    }
    if (all_there == 0 && connected == count) {
      all_there = now;
      std::printf("%zu workers connected after %.1f s\n", count, (now - begin) * 1e-3);
    } else if (all_there > 0 && measured == 0 && now > all_there + 2 * sampling_ms + 1000) {
      totals = {};
      measured = now;
      std::printf("measuring\n");
    } else if (all_there == 0 && now > said + 10'000) {
      std::printf("%zu of %zu connected\n", connected, count);
      said = now;
    }
    std::fflush(stdout);
    if (!busy) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Report("measured", totals, (NowMs() - measured) * 1e-3);
  std::quick_exit(0);  // ten thousand farewells would only take time
}
