#include "roles/host_run.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include "crypto/hash.h"
#include "crypto/random.h"
#include "net/server.h"
#include "protocol/limits.h"
#include "roles/host_core.h"
#include "roles/run_description.h"
#include "roles/train_thread.h"

namespace waggle {
namespace {

constexpr int kPollMs = 10;            // the trainer's results are looked for this often
constexpr std::int64_t kTickMs = 250;  // of HostCore's time
constexpr std::int64_t kGoodbyeMs = 3'000;
constexpr char kNewsSalt[] = "waggle";
constexpr int kEventsMax = 512;  // that share one commit

}  // namespace

// Everything but the run's own parts. Single-threaded, apart from the trainer's thread.
struct HostRun::Loop {
  Loop(std::unique_ptr<RunParts> p, KeyPair k)
      : parts(std::move(p)), run(*parts), key(std::move(k)), shelf(run.run_id, run.pool) {}

  std::unique_ptr<RunParts> parts;
  RunParts& run;
  const KeyPair key;
  std::unique_ptr<Swarm> swarm;  // none: policies leave by gRPC and mirrors alone
  std::optional<SwarmChannel> swarm_channel;
  std::vector<std::string> swarm_peers;  // host:port of this very node, for magnet links
  PolicyShelf shelf;
  Invite invite;
  std::unique_ptr<RunStore> store;
  std::unique_ptr<NodeServer> server;  // none while the host catches up
  std::optional<HostCore> core;
  std::optional<TrainThread> training;
  std::unique_ptr<HostDesk> desk;
  std::function<bool()> wants_to_end;
  std::vector<HostEffect> pending;  // not performed yet
  std::int64_t ticked_ms = 0;
  bool catching_up = true, finished = false, drained = false, end_said = false;

  std::int64_t NowMs() const { return run.clock.MonotonicNs() / 1'000'000; }
  Status Start(const HostOptions& options);
  Status OpenSwarm(const HostOptions& options);
  Status OpenStore(const HostOptions& options);
  std::vector<PolicyAnnouncement> Chain() const;
  PolicyOut OutOf(const PolicyShelf::Manifests& manifests) const;
  void TellHashTable(PolicyVersion version, const Digest256& manifest, const std::string& torrent);
  Status CatchUp();
  Status Remember(std::uint64_t first, std::uint64_t end);
  Status Listen(const HostOptions& options);
  void Step(const HostEvent& event);
  Status Settle();
  Status Commit(std::vector<HostEffect>& effects);
  Status Perform(HostEffect effect);
  Status Perform(std::vector<TrainerEffect> effects, PolicyOut& out);
  Status Train(TrainOn batch);
  Status Trained(StepDone done);
  Status Publish(const PolicyOut& out);
  void Hear(const Event& event);
  Status Pump();
  void TakeOrders();
  bool StopDue(PolicyVersion version) const {
    return run.options.stop_after != 0 && version.value >= run.options.stop_after;
  }
};

namespace {

Result<std::vector<Endpoint>> EndpointsOf(const std::vector<std::string>& hosts) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : hosts) {
    const std::size_t colon = text.rfind(':');
    const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (port.empty() || port.size() > 5 ||
        port.find_first_not_of("0123456789") != std::string::npos || std::stoul(port) == 0 ||
        std::stoul(port) > 65535 || !IsHost(text.substr(0, colon)))
      return Fail(Blame::kOperator, "'{}' is no host:port for an invite", text);
    endpoints.push_back({text.substr(0, colon), static_cast<std::uint16_t>(std::stoul(port))});
  }
  return endpoints;
}

// An invite that nobody can follow is worse than none.
Status CheckReachable(const HostOptions& options) {
  const std::string host = options.listen.substr(0, options.listen.rfind(':'));
  if (!options.hosts.empty() || (host != "0.0.0.0" && host != "[::]")) return {};
  return Fail(Blame::kOperator,
              "--listen {} hears on every address of this machine: say with --host NAME:PORT under "
              "which one volunteers reach it",
              options.listen);
}

// The addresses of an invite with another port.
std::vector<std::string> PeersOf(const HostOptions& options, std::uint16_t port) {
  std::vector<std::string> addresses = options.hosts;
  if (addresses.empty()) addresses.push_back(options.listen);
  std::vector<std::string> peers;
  for (const std::string& address : addresses)
    peers.push_back(fmt::format("{}:{}", address.substr(0, address.rfind(':')), port));
  return peers;
}

// The run's key in BitTorrent's hash table: nobody else can make it, and it signs nothing else.
std::array<std::uint8_t, 32> DhtKeySeed(const KeyPair& key, const Hash256& run) {
  constexpr std::string_view kDomain = "WGL-DHT-KEY-1";
  return Sha256Hasher()
      .Update(std::as_bytes(std::span(kDomain)))
      .Update(std::span<const std::uint8_t>(run))
      .Update(std::span<const std::uint8_t>(key.seed()))
      .Finish();
}

// With as many peers as a source may be long.
std::string LinkOf(const std::optional<Magnet>& torrent, const std::vector<std::string>& peers) {
  if (!torrent) return "";
  Magnet magnet = *torrent;
  for (const std::string& peer : peers) {
    magnet.peers.push_back(peer);
    if (magnet.peers.size() > kMagnetPeersMax ||
        ToText(magnet).size() > kProtocol.source_bytes_max) {
      magnet.peers.pop_back();
      break;
    }
  }
  return ToText(magnet);
}

// As many files as a full house needs, if the system lets us.
Result<NetLimits> LimitsFor(const HostOptions& options) {
  NetLimits limits;
  limits.frame_bytes_max = kProtocol.envelope_bytes_max;
  limits.connections_max = options.volunteers_max;
  limits.connections_per_address_max = options.volunteers_per_address_max;
  // Beside a volunteer's own: what only fetches, and what has not said yet what it wants.
  limits.sockets_max = limits.connections_max + limits.connections_max / 8 + 64;
  limits.sockets_per_address_max = 2 * limits.connections_per_address_max;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t wanted = limits.sockets_max + 256;
  if (files.rlim_cur < wanted) {
    files.rlim_cur = std::min(wanted, files.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (files.rlim_cur >= wanted) return limits;
  return Fail(Blame::kOperator,
              "{} volunteers need {} open files and the system allows {}: raise the hard limit "
              "(ulimit -Hn, LimitNOFILE=) or let fewer in (--volunteers)",
              options.volunteers_max, wanted, files.rlim_max);
}

PolicyKind DeltaKindOf(const Recipe& recipe) {
  return recipe.trainer.lora.rank > 0 ? PolicyKind::kAdapter : PolicyKind::kDelta;
}

}  // namespace

Status HostRun::Loop::Start(const HostOptions& options) {
  WG_TRY(CheckJoinable(run.recipe));
  const WeightFormat format = run.numerics.weights;
  WG_TRY(OpenSwarm(options));
  WG_TRY(shelf.Open(run.folder.root() / "policies"));
  WG_TRY(shelf.Put(run.conduct->version(), ImageOfTrainer(*run.trainer, format, run.pool, nullptr),
                   DeltaKindOf(run.recipe)));
  shelf.PutDescription(
      EncodeDescription(run.recipe, run.base->model.config, run.base->tokenizer, run.start));
  WG_TRY(OpenStore(options));
  HostSettings settings{.software = options.software,
                        .sources = options.mirrors,
                        .chain = Chain(),
                        .older_chain = true};
  settings.leases.workers_max = options.volunteers_max + options.volunteers_max / 4;
  wants_to_end = options.wants_to_end;
  WG_ASSIGN(desk,
            HostDesk::Open(options.http, run.folder.root(), run.run_id, run.recipe, run.clock));
  const PolicyAnnouncement& newest = settings.chain.back();
  TellHashTable(newest.version, newest.manifest,
                newest.sources.empty() ? "" : newest.sources.front());
  core.emplace(key, run.run_id, settings, std::move(*run.orchestrator),
               settings.chain.back().manifest, RandomBytes<16>);
  training.emplace(*run.trainer, shelf, run.pool, format, DeltaKindOf(run.recipe), run.clock);
  WG_TRY(CatchUp());
  return Listen(options);
}

Status HostRun::Loop::OpenSwarm(const HostOptions& options) {
  if (!options.swarm) return {};
  if (options.mirrors.size() >= kProtocol.sources_max)
    return Fail(Blame::kOperator, "with a swarm, {} mirrors at most", kProtocol.sources_max - 1);
  WG_ASSIGN(swarm, Swarm::Open(*options.swarm, run.clock));
  swarm_channel.emplace(*swarm, run.pool, run.clock);
  swarm_peers = PeersOf(options, swarm->port());
  shelf.GiveTo(&*swarm_channel);
  run.telemetry->Say(fmt::format("BitTorrent on port {}", swarm->port()));
  if (options.swarm->dht)
    run.telemetry->Say("the newest policy in BitTorrent's hash table: " +
                       NewsLink(DhtKeySeed(key, run.run_id), kNewsSalt));
  return {};
}

// Of a snapshot where there is one: it needs nothing else.
void HostRun::Loop::TellHashTable(PolicyVersion version, const Digest256& manifest,
                                  const std::string& torrent) {
  const auto magnet = ParseMagnet(torrent);
  if (!magnet || !swarm) return;
  swarm->Publish({.key_seed = DhtKeySeed(key, run.run_id),
                  .salt = kNewsSalt,
                  .version = version,
                  .manifest = manifest,
                  .torrent = *magnet});
}

// What newcomers are told: two ways to the version where a newer chain begins.
std::vector<PolicyAnnouncement> HostRun::Loop::Chain() const {
  std::vector<PolicyAnnouncement> chain;
  const auto add = [&](PolicyVersion version, const std::optional<Digest256>& manifest,
                       const std::optional<Magnet>& torrent) {
    if (!manifest) return;
    chain.push_back({.version = version, .manifest = *manifest, .sources = {}});
    if (torrent) chain.back().sources.push_back(LinkOf(torrent, swarm_peers));
  };
  for (const PolicyShelf::Manifests& one : shelf.Published()) {
    add(one.version, one.update, one.update_torrent);
    add(one.version, one.snapshot, one.snapshot_torrent);
  }
  return chain;
}

PolicyOut HostRun::Loop::OutOf(const PolicyShelf::Manifests& manifests) const {
  return {.manifest = manifests.update.value_or(Hash256{}),
          .snapshot = manifests.snapshot,
          .torrent = LinkOf(manifests.update_torrent, swarm_peers),
          .snapshot_torrent = LinkOf(manifests.snapshot_torrent, swarm_peers)};
}

Status HostRun::Loop::OpenStore(const HostOptions& options) {
  if (!options.store.empty()) WG_TRY(run.folder.RememberStore(options.store));
  WG_ASSIGN(const std::string place, run.folder.StorePlace());
  WG_ASSIGN(store, RunStore::Open(place, run.run_id, RunStore::Access::kWrite));
  return {};
}

// From the checkpoint to where the host was when it ended: the batches that were complete are
// trained on again, and nobody notices more than a pause. Groups are read as their turn comes.
Status HostRun::Loop::CatchUp() {
  const std::uint64_t from = run.conduct->version().value;
  WG_TRY(Remember(from, from + run.recipe.orchestrator.ahead + 1));
  WG_ASSIGN(auto open_grants, store->OpenGrants());
  Step(HostRestarted{std::move(open_grants)});
  WG_TRY(Settle());
  while (training->busy() && !finished) {
    if (auto done = training->Take(kTickMs)) WG_TRY(Trained(std::move(*done)));
    WG_TRY(Settle());
  }
  catching_up = false;
  if (const std::uint64_t now = run.conduct->version().value; now > from) {
    run.telemetry->Say(fmt::format(
        "caught up: {} step{} since the checkpoint, from groups that were accepted before",
        now - from, now == from + 1 ? "" : "s"));
  }
  return {};
}

Status HostRun::Loop::Remember(std::uint64_t first, std::uint64_t end) {
  WG_ASSIGN(auto records, store->Groups(first, end));
  return core->Remember(std::move(records));
}

Status HostRun::Loop::Listen(const HostOptions& options) {
  const auto tls = run.folder.tls();
  std::error_code error;
  std::filesystem::create_directories(tls, error);
  if (error) return Fail(Blame::kMachine, "{}: {}", tls.string(), error.message());
  WG_ASSIGN(const Certificate certificate,
            LoadOrMakeCertificate(tls / "certificate.pem", tls / "key.pem"));
  WG_ASSIGN(const NetLimits limits, LimitsFor(options));
  WG_ASSIGN(server, NodeServer::Start(options.listen, certificate, limits, &shelf, run.clock));
  std::vector<std::string> hosts = options.hosts;
  if (hosts.empty()) {
    hosts.push_back(
        fmt::format("{}:{}", options.listen.substr(0, options.listen.rfind(':')), server->port()));
  }
  WG_ASSIGN(invite.hosts, EndpointsOf(hosts));
  invite.pin = certificate.pin;
  invite.run = run.run_id;
  run.telemetry->Say(NeedText(run.recipe.orchestrator, run.recipe.sampling.tokens_max));
  return {};
}

void HostRun::Loop::Step(const HostEvent& event) {
  for (HostEffect& effect : core->Step(static_cast<Milliseconds>(NowMs()), event))
    pending.push_back(std::move(effect));
}

// Performs what is pending, and what comes of it. What is to be kept is on disk before anybody
// hears of it.
Status HostRun::Loop::Settle() {
  while (!pending.empty()) {
    std::vector<HostEffect> effects = std::exchange(pending, {});
    WG_TRY(Commit(effects));
    for (HostEffect& effect : effects) WG_TRY(Perform(std::move(effect)));
  }
  return {};
}

Status HostRun::Loop::Commit(std::vector<HostEffect>& effects) {
  StoreBatch batch;
  for (HostEffect& effect : effects) {
    auto* keep = std::get_if<waggle::Keep>(&effect);
    if (keep == nullptr) continue;
    if (const auto* record = std::get_if<OutcomeRecord>(&keep->entry))
      run.times.sampled_tokens += record->tokens;
    desk->Kept(keep->entry);
    batch.push_back(std::move(keep->entry));
  }
  return store->Commit(batch);
}

Status HostRun::Loop::Perform(HostEffect effect) {
  if (auto* send = std::get_if<SendFrame>(&effect)) {
    server->Send(ConnectionId{send->link.value}, send->bytes);
    desk->Sent(send->bytes.size());
  } else if (auto* close = std::get_if<CloseLink>(&effect)) {
    server->Close(ConnectionId{close->link.value});
  } else if (auto* train = std::get_if<TrainOn>(&effect)) {
    return Train(std::move(*train));
  } else if (auto* evaluated = std::get_if<Evaluated>(&effect)) {
    return run.Evaluated(evaluated->evaluation);
  } else if (auto* save = std::get_if<SaveCheckpointNow>(&effect)) {
    if (run.conduct->version() == run.saved_version) return {};
    return run.Checkpoint(save->state, run.conduct->version());
  } else if (std::holds_alternative<RunFinished>(effect)) {
    finished = true;
  } else if (std::holds_alternative<RunDrained>(effect)) {
    drained = true;
  }  // Keep: committed
  return {};
}

Status HostRun::Loop::Train(TrainOn batch) {
  WG_TRY(run.KeepBatch(batch));
  const PolicyVersion current = run.conduct->version();
  desk->Batch(batch, current);
  std::vector<TrainerEffect> effects = run.conduct->Step(BatchReady{std::move(batch)});
  if (auto* step = std::get_if<RunStep>(&effects.front())) {
    training->Start(std::move(step->groups), current);
    return {};
  }
  // Nothing to learn from: the version moves all the same, and so do its (equal) weights.
  WG_ASSIGN(const auto manifests,
            shelf.Put(PolicyVersion{current.value + 1}, *shelf.newest(), DeltaKindOf(run.recipe)));
  PolicyOut out = OutOf(manifests);
  WG_TRY(Perform(std::move(effects), out));
  return Publish(out);
}

Status HostRun::Loop::Trained(StepDone done) {
  for (const LeaseId lease : done.forged) {
    run.telemetry->Say(fmt::format(
        "lease {:x}: log-probs that the weights do not give; left out of the batch", lease.value));
  }
  run.times.train_seconds = done.seconds;
  if (const std::string line = desk->Stepped(done.seconds); !line.empty()) run.telemetry->Say(line);
  PolicyOut out = OutOf(done.manifests);
  if (!done.report) {
    WG_TRY(Perform(run.conduct->Step(StepFailed{done.report.error()}), out));
  } else {
    WG_TRY(Perform(run.conduct->Step(StepFinished{std::move(*done.report)}), out));
  }
  return Publish(out);
}

Status HostRun::Loop::Publish(const PolicyOut& out) {
  const std::uint64_t last = out.version.value + run.recipe.orchestrator.ahead;
  if (catching_up) WG_TRY(Remember(last, last + 1));
  TellHashTable(out.version, out.snapshot.value_or(out.manifest),
                out.snapshot ? out.snapshot_torrent : out.torrent);
  Step(out);
  return {};
}

Status HostRun::Loop::Perform(std::vector<TrainerEffect> effects, PolicyOut& out) {
  for (TrainerEffect& effect : effects) {
    if (auto* publish = std::get_if<PublishPolicy>(&effect)) {
      WG_TRY(run.Stepped(*publish));
      out.version = publish->version;
      out.save = out.save || publish->version.value == run.options.stop_after;
    } else if (std::holds_alternative<SaveCheckpoint>(effect)) {
      out.save = true;
    } else if (auto* abort = std::get_if<AbortRun>(&effect)) {
      return Forward(std::move(abort->error));
    }
  }
  return {};
}

void HostRun::Loop::Hear(const Event& event) {
  const LinkId link{static_cast<std::uint64_t>(event.connection)};
  switch (event.kind) {
    case Event::Kind::kOpened:
      return Step(LinkOpened{link});
    case Event::Kind::kReceived:
      return Step(FrameCame{link, Bytes(event.frame().begin(), event.frame().end())});
    case Event::Kind::kClosed:
      return Step(LinkClosed{link});
  }
}

Status HostRun::Loop::Pump() {
  Event event;
  int wait = kPollMs;
  for (int i = 0; i < kEventsMax && server->Next(event, wait); ++i, wait = 0) Hear(event);
  if (auto done = training->Take()) WG_TRY(Trained(std::move(*done)));
  if (const std::int64_t now = NowMs(); now >= ticked_ms + kTickMs) {
    ticked_ms = now;
    Step(HostTick{});
    TakeOrders();
    desk->Tick(*core, training->busy(), server->load());
  }
  return Settle();
}

// From the operator: by HTTP, or by a signal.
void HostRun::Loop::TakeOrders() {
  std::vector<HostEvent> orders = desk->TakeOrders();
  if (!end_said && wants_to_end()) {
    end_said = true;
    orders.emplace_back(DrainRun{});
  }
  for (const HostEvent& order : orders) {
    if (std::holds_alternative<DrainRun>(order) && !core->draining())
      run.telemetry->Say("draining: no more leases; what is held ends first, then a checkpoint");
    Step(order);
  }
}

Result<std::unique_ptr<HostRun>> HostRun::Around(std::unique_ptr<RunParts> parts, HostOptions host,
                                                 KeyPair key) {
  auto loop = std::make_unique<Loop>(std::move(parts), std::move(key));
  WG_TRY(loop->Start(host));
  return std::unique_ptr<HostRun>(new HostRun(std::move(loop)));
}

Result<std::unique_ptr<HostRun>> HostRun::Open(const Recipe& recipe, const RunOptions& options,
                                               HostOptions host, KeyPair key, Clock& clock) {
  WG_TRY(CheckReachable(host));
  WG_TRY(LimitsFor(host));
  WG_TRY(CheckJoinable(recipe));
  WG_ASSIGN(auto parts, RunParts::Open(recipe, options, clock));
  return Around(std::move(parts), std::move(host), std::move(key));
}

Result<std::unique_ptr<HostRun>> HostRun::Resume(const RunOptions& options, HostOptions host,
                                                 KeyPair key, Clock& clock) {
  WG_TRY(CheckReachable(host));
  WG_TRY(LimitsFor(host));
  WG_ASSIGN(auto parts, RunParts::Resume(options, clock));
  return Around(std::move(parts), std::move(host), std::move(key));
}

HostRun::HostRun(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HostRun::~HostRun() = default;

const Invite& HostRun::invite() const { return loop_->invite; }
std::string HostRun::http_url() const { return loop_->desk->url(); }
bool HostRun::drained() const { return loop_->drained; }
HostTimes HostRun::times() const { return loop_->desk->times(); }

Result<RunSummary> HostRun::Drive() {
  Loop& loop = *loop_;
  const std::int64_t begin = loop.run.clock.MonotonicNs();
  while (!loop.finished && !loop.drained && !loop.StopDue(loop.run.saved_version))
    WG_TRY(loop.Pump());
  // The good-byes: workers hang up when they have heard them.
  const std::int64_t deadline = loop.NowMs() + kGoodbyeMs;
  while (loop.finished && loop.core->links() > 0 && loop.NowMs() < deadline) WG_TRY(loop.Pump());
  loop.server->Stop();
  loop.training.reset();
  loop.run.telemetry->Say(fmt::format("policies: {} bytes served", loop.shelf.bytes_served()));
  if (loop.swarm)
    loop.run.telemetry->Say(fmt::format("swarm: {} bytes given", loop.swarm->counts().given));
  WG_ASSIGN(RunSummary summary, loop.run.Finish());
  summary.seconds = static_cast<double>(loop.run.clock.MonotonicNs() - begin) * 1e-9;
  return summary;
}

}  // namespace waggle
