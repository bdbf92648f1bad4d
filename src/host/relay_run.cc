#include "host/relay_run.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

#include "base/files.h"
#include "channel/blob_pages.h"
#include "channel/relay_keeper.h"
#include "crypto/random.h"
#include "http/client.h"
#include "http/server.h"
#include "net/client.h"
#include "protocol/limits.h"
#include "protocol/session.h"

namespace waggle {
namespace {

constexpr std::int64_t kWaitMs = 50;
constexpr std::int64_t kPollMs = 1'000;  // of another relay's chain
constexpr std::int64_t kRetryMsMin = 500, kRetryMsMax = 30'000;

// How a relay hears of policies. Single-threaded.
class Feed {
 public:
  virtual ~Feed() = default;
  // Waits a moment for news; `chain` is changed by them. False: the run is over.
  virtual Result<bool> Listen(std::vector<AnnouncedPolicy>& chain) = 0;
  // To fetch from; may be null. Stays until Tend, which is called when nobody uses it.
  virtual NodeClient* host() = 0;
  virtual std::int64_t HeardMs() const = 0;  // when, last
  // Nobody uses host() at the moment.
  virtual Status Tend() { return {}; }
};

// A session with the run's host, of a node that offers no work.
class HostFeed final : public Feed {
 public:
  HostFeed(const RelayOptions& options, const KeyPair& key, Clock& clock)
      : options_(options), key_(key), clock_(clock), heard_ms_(NowMs()) {
    limits_.frame_bytes_max = kProtocol.envelope_bytes_max;
  }

  NodeClient* host() override { return open_ ? client_.get() : nullptr; }
  std::int64_t HeardMs() const override { return heard_ms_; }

  Result<bool> Listen(std::vector<AnnouncedPolicy>& chain) override {
    Event event;
    if (!client_ || !client_->Next(event, kWaitMs)) {
      if (!client_) std::this_thread::sleep_for(std::chrono::milliseconds(kWaitMs));
      if (open_ && session_->established() && NowMs() >= beat_ms_) Beat();
      return true;
    }
    if (event.kind == Event::Kind::kClosed) {
      Say("the link to the host ended: " + event.text);
      open_ = false;
      dead_ = true;
    } else if (event.kind == Event::Kind::kOpened) {
      session_.emplace(Session::Initiator(key_, options_.invite->run, RandomBytes<16>(), host_));
      open_ = fresh_ = true;
      Send(Hello{.software = options_.software, .capabilities = {}});
    } else {
      return Hear(event.frame(), chain);
    }
    return true;
  }

  Status Tend() override {
    if (client_ && !dead_) return {};
    client_.reset();
    if (NowMs() < dial_ms_) return {};
    const auto& hosts = options_.invite->hosts;
    const Endpoint& endpoint = hosts[dials_++ % hosts.size()];
    dial_ms_ = NowMs() + retry_ms_;
    retry_ms_ = std::min(kRetryMsMax, 2 * retry_ms_);
    dead_ = false;
    WG_ASSIGN(client_, NodeClient::Connect(fmt::format("{}:{}", endpoint.host, endpoint.port),
                                           options_.invite->pin, limits_, clock_));
    return {};
  }

 private:
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }
  void Say(const std::string& line) const {
    if (options_.say) options_.say(line);
  }
  void Send(NodeMessage message) {
    if (session_->may_send(KindOf(message))) client_->Send(session_->Seal(std::move(message)));
  }
  void Beat() {
    beat_ms_ = NowMs() + heartbeat_ms_ / 2;
    Send(Heartbeat{});
  }

  Result<bool> Hear(std::span<const std::uint8_t> frame, std::vector<AnnouncedPolicy>& chain) {
    const auto message = session_->Open(frame);
    if (!message) {
      Say(std::string("hanging up: the host's message: ") + ToString(message.error().refusal.kind));
      client_->Close();
      return true;
    }
    heard_ms_ = NowMs();
    if (const auto* welcome = std::get_if<Welcome>(&*message)) {
      host_ = session_->peer();
      heartbeat_ms_ = std::max<std::int64_t>(100, welcome->heartbeat_ms);
      retry_ms_ = kRetryMsMin;
      Beat();
    } else if (const auto* policy = std::get_if<PolicyAnnouncement>(&*message)) {
      if (std::exchange(fresh_, false)) chain.clear();  // each link tells the chain anew
      chain.push_back({policy->version, policy->manifest});
      for (const std::string& source : policy->sources)
        if (auto magnet = ParseMagnet(source)) chain.back().torrent = std::move(*magnet);
      if (chain.size() > kChainMax) chain.erase(chain.begin());
    } else if (std::holds_alternative<Drain>(*message)) {
      return false;
    }
    return true;
  }

  const RelayOptions& options_;
  const KeyPair& key_;
  Clock& clock_;
  NetLimits limits_;
  std::unique_ptr<NodeClient> client_;
  std::optional<Session> session_;
  std::optional<NodeId> host_;
  bool open_ = false, dead_ = false, fresh_ = false;
  std::size_t dials_ = 0;
  std::int64_t dial_ms_ = 0, retry_ms_ = kRetryMsMin;
  std::int64_t heard_ms_, beat_ms_ = 0, heartbeat_ms_ = 5'000;
};

// Another relay's chain, asked for again and again.
class RelayFeed final : public Feed {
 public:
  RelayFeed(std::string url, Clock& clock)
      : url_(std::move(url)), clock_(clock), heard_ms_(NowMs()) {}

  NodeClient* host() override { return nullptr; }
  std::int64_t HeardMs() const override { return heard_ms_; }

  Result<bool> Listen(std::vector<AnnouncedPolicy>& chain) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(kWaitMs));
    if (NowMs() < poll_ms_) return true;
    poll_ms_ = NowMs() + kPollMs;
    const HttpClientLimits limits{.body_bytes_max = kChainMax * 100};
    const auto text = CallForText({.url = url_ + "/chain"}, limits);
    if (!text) return true;  // patience decides
    WG_ASSIGN(chain, ParseChain(*text));
    heard_ms_ = NowMs();
    return true;
  }

 private:
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }

  const std::string url_;
  Clock& clock_;
  std::int64_t heard_ms_, poll_ms_ = 0;
};

// The blobs of the folder and the chain, over HTTP. Thread-safe.
class Pages {
 public:
  explicit Pages(BlobFolder& folder) : folder_(folder) {}
  void Tell(const std::vector<AnnouncedPolicy>& chain) {
    const std::lock_guard lock(mutex_);
    chain_ = ToText(chain);
  }
  HttpResponse Answer(const HttpRequest& request) {
    if (auto blob = AnswerBlob(folder_, request)) return std::move(*blob);
    HttpResponse response;
    if (request.path == "/chain") {
      const std::lock_guard lock(mutex_);
      response.text = chain_;
    } else {
      response.status = 404;
      response.text = "a waggle relay: /blob/<hash> and /chain\n";
    }
    return response;
  }

 private:
  BlobFolder& folder_;
  std::mutex mutex_;
  std::string chain_;
};

class Relaying {
 public:
  Relaying(const RelayOptions& options, const KeyPair& key, Clock& clock)
      : options_(options), clock_(clock), blobs_(clock, SeedOf(key.id())) {
    if (options.invite) {
      feed_ = std::make_unique<HostFeed>(options, key, clock);
    } else {
      std::string url = options.from;
      while (url.ends_with('/')) url.pop_back();
      blobs_.Tell({url});
      feed_ = std::make_unique<RelayFeed>(url, clock);
    }
  }

  Result<RelaySummary> Run();

 private:
  static std::uint64_t SeedOf(const NodeId& id) {
    std::uint64_t seed = 0;
    std::memcpy(&seed, id.value.data(), sizeof seed);
    return seed;
  }
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }
  void Say(const std::string& line) const {
    if (options_.say) options_.say(line);
  }
  void Fetch();
  void Fetched();

  const RelayOptions& options_;
  Clock& clock_;
  BlobFetcher blobs_;
  std::unique_ptr<Feed> feed_;
  std::unique_ptr<BlobFolder> folder_;
  ThreadPool pool_{1};
  std::unique_ptr<Swarm> swarm_;
  std::optional<SwarmChannel> swarm_channel_;
  std::optional<RelayKeeper> keeper_;
  std::vector<AnnouncedPolicy> chain_, followed_;  // heard; what the last fetch was about
  std::vector<AnnouncedPolicy> told_;              // what /chain says
  std::atomic<bool> stop_ = false;                 // the fetch under way: there is news
  std::future<Status> fetching_;                   // uses blobs_, keeper_ and the feed's host
  std::int64_t retry_ms_ = 0;
};

void Relaying::Fetch() {
  if (fetching_.valid() || chain_ == followed_ || NowMs() < retry_ms_) return;
  NodeClient* host = feed_->host();
  if (options_.invite && host == nullptr) return;
  followed_ = chain_;
  stop_ = false;
  fetching_ = std::async(std::launch::async, [this, host] {
    return keeper_->Follow(host, followed_, [this] { return stop_.load(); });
  });
}

void Relaying::Fetched() {
  if (!fetching_.valid()) return;
  if (chain_ != followed_) stop_ = true;
  if (fetching_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  const Status status = fetching_.get();
  if (status && !stop_) return;
  if (!status) {
    Say("policies: " + status.error().what);
    retry_ms_ = NowMs() + kRetryMsMin;
  }
  followed_.clear();  // again, from where it stopped
}

Result<RelaySummary> Relaying::Run() {
  WG_ASSIGN(folder_, BlobFolder::OpenAt(options_.folder));
  if (options_.swarm) {
    SwarmOptions swarm = *options_.swarm;
    swarm.scratch = options_.folder / "swarm";
    WG_ASSIGN(swarm_, Swarm::Open(swarm, clock_));
    swarm_channel_.emplace(*swarm_, pool_, clock_);
    Say(fmt::format("BitTorrent on port {}", swarm_->port()));
  }
  keeper_.emplace(*folder_, blobs_, options_.disk_bytes, swarm_ ? &*swarm_channel_ : nullptr);
  Pages pages(*folder_);
  WG_ASSIGN(const auto server,
            HttpServer::Start(options_.listen, HttpLimits{}, clock_,
                              [&](const HttpRequest& request) { return pages.Answer(request); }));
  if (options_.listening) options_.listening(server->port());
  std::string why;
  while (why.empty()) {
    if (!fetching_.valid()) WG_TRY(feed_->Tend());
    auto goes_on = feed_->Listen(chain_);
    if (!goes_on) {
      Say(goes_on.error().what);  // another relay's nonsense: patience decides
    } else if (!*goes_on) {
      why = "the run is over";
    }
    if (chain_ != told_) {  // the file: for static servers, also when this one is gone
      told_ = chain_;
      pages.Tell(chain_);
      WG_TRY(WriteFileAtomic(options_.folder / "chain", ToText(chain_)));
    }
    Fetched();
    Fetch();
    if (options_.wants_to_leave && options_.wants_to_leave()) why = "asked to leave";
    if (NowMs() - feed_->HeardMs() > options_.patience_ms)
      return Fail(Blame::kMachine, "no word for {} s: is the run still there?",
                  options_.patience_ms / 1000);
  }
  stop_ = true;
  if (fetching_.valid()) fetching_.wait();
  server->Stop();
  const BlobFetcher::Totals& fetched = blobs_.totals();
  const Swarm::Counts swarm = swarm_ ? swarm_->counts() : Swarm::Counts{};
  return RelaySummary{why, fetched.host_bytes + fetched.mirror_bytes, server->counts().body_bytes,
                      server->counts().requests, swarm};
}

}  // namespace

Result<RelaySummary> Relay(const RelayOptions& options, const KeyPair& key, Clock& clock) {
  return Relaying(options, key, clock).Run();
}

}  // namespace waggle
