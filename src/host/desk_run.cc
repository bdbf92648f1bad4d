#include "host/desk_run.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "base/folders.h"
#include "crypto/random.h"
#include "host/desk_shelf.h"
#include "host/host_core.h"
#include "host/host_log.h"
#include "host/host_status.h"
#include "host/listening.h"
#include "net/server.h"
#include "roles/desk_core.h"
#include "store/desk_store.h"

namespace waggle {
namespace {

constexpr int kPollMs = 10;
constexpr std::int64_t kSyncMs = 20;   // how often the host is heard
constexpr std::int64_t kTickMs = 250;  // of HostCore's time
constexpr std::int64_t kBatchMs = 8;   // of events that share one commit
constexpr std::int64_t kGoodbyeMs = 3'000;
constexpr std::uint32_t kTargetMax = 1 << 16;  // rollouts

// What outlives a registration.
struct DeskPlace {
  const DeskOptions& options;
  const KeyPair& key;
  Clock& clock;
  DeskShelf& shelf;
  const Certificate certificate;
  const NetLimits limits;
  std::string listen;  // with the port that it had at first
  HostLog log;
  DeskSummary summary;

  std::int64_t NowMs() const { return clock.MonotonicNs() / 1'000'000; }
  void Say(const std::string& line) const {
    if (options.say) options.say(line);
  }
  bool EndWanted() const { return options.wants_to_end && options.wants_to_end(); }
};

// One registration, from its first word to its last. Single-threaded.
class Registration {
 public:
  explicit Registration(DeskPlace& place) : place_(place) {}
  // Returns why it ended.
  Result<std::string> Run();
  bool closed() const { return store_ && store_->closed(); }

 private:
  Status Start();
  Status AwaitPolicies();
  Status Listen();
  void Step(const HostEvent& event);
  Status Settle();
  Status Commit(std::vector<HostEffect>& effects);
  Status Perform(HostEffect effect);
  void Hear(const Event& event);
  std::uint32_t Target() const;
  Status Sync();
  void TakeOrders();
  Status Pump();

  DeskPlace& place_;
  std::unique_ptr<DeskStore> store_;
  std::unique_ptr<NodeServer> server_;
  DeskCore* queue_ = nullptr;  // core_'s
  std::optional<HostCore> core_;
  std::unique_ptr<HostBoard> status_;
  std::vector<HostEffect> pending_;  // not performed yet
  std::vector<Lease> first_leases_;
  std::int64_t ticked_ms_ = 0, synced_ms_ = 0;
  bool over_ = false, drained_ = false, end_said_ = false;
};

Status Registration::Start() {
  const DeskOptions& options = place_.options;
  RunSite& site = place_.shelf.site();
  WG_ASSIGN(store_, DeskStore::Open(options.store, options.invite.run, place_.key.id()));
  WG_TRY(AwaitPolicies());
  if (drained_) return {};
  const Recipe& recipe = site.description.recipe;
  HostSettings settings{.software = options.software,
                        .sources = options.mirrors,
                        .chain = place_.shelf.Chain(),
                        .older_chain = true};
  settings.leases.workers_max = options.volunteers_max + options.volunteers_max / 4;
  auto queue = std::make_unique<DeskCore>(recipe, *site.codec, site.description.model.vocab,
                                          settings.chain.back().version);
  queue_ = queue.get();
  core_.emplace(place_.key, options.invite.run, settings, std::move(queue), Hash256{},
                RandomBytes<16>);
  WG_ASSIGN(status_, HostBoard::Open(options.http, options.folder, options.invite.run, recipe,
                                     place_.clock, &place_.shelf));
  Step(HostHeard{{.leases = std::move(first_leases_)}});
  WG_ASSIGN(auto open_grants, store_->OpenGrants());
  Step(HostRestarted{std::move(open_grants)});
  WG_TRY(Settle());
  return Listen();
}

// Newcomers are told of nothing that they could not get here.
Status Registration::AwaitPolicies() {
  DeskShelf& shelf = place_.shelf;
  while (shelf.newest() == std::nullopt || !shelf.complete()) {
    WG_ASSIGN(HostNews news, store_->Sync(0, shelf.newest()));
    std::ranges::move(news.leases, std::back_inserter(first_leases_));
    shelf.Tell(news.policies);
    shelf.Take();
    if (drained_ = place_.EndWanted(); drained_) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(kSyncMs));
  }
  return {};
}

Status Registration::Listen() {
  WG_ASSIGN(server_, NodeServer::Start(place_.listen, place_.certificate, place_.limits,
                                       &place_.shelf, place_.clock));
  const std::string host = place_.listen.substr(0, place_.listen.rfind(':'));
  place_.listen = fmt::format("{}:{}", host, server_->port());
  Invite invite = place_.options.invite;
  invite.pin = place_.certificate.pin;
  WG_ASSIGN(invite.hosts, EndpointsFor(place_.listen, place_.options.hosts, server_->port()));
  place_.Say(fmt::format("desk {} of the run", store_->id().value));
  place_.log.Started(place_.options.invite.run, place_.key.id(), place_.options.software,
                     place_.listen);
  if (place_.options.listening) place_.options.listening(invite, status_->url());
  return {};
}

void Registration::Step(const HostEvent& event) {
  for (HostEffect& effect : core_->Step(static_cast<Milliseconds>(place_.NowMs()), event))
    pending_.push_back(std::move(effect));
}

// As the host: what is to be kept is on disk before anybody hears of it.
Status Registration::Settle() {
  while (!pending_.empty()) {
    std::vector<HostEffect> effects = std::exchange(pending_, {});
    WG_TRY(Commit(effects));
    WG_TRY(PerformAll(server_.get(), *status_, std::move(effects),
                      [this](HostEffect effect) { return Perform(std::move(effect)); }));
  }
  return {};
}

Status Registration::Commit(std::vector<HostEffect>& effects) {
  StoreBatch batch;
  for (HostEffect& effect : effects) {
    auto* keep = std::get_if<Keep>(&effect);
    if (keep != nullptr) batch.push_back(std::move(keep->entry));
  }
  WG_TRY(store_->Commit(batch));
  for (const StoreEntry& entry : batch) {
    status_->Kept(entry);
    place_.log.Kept(entry);
    const auto* record = std::get_if<OutcomeRecord>(&entry);
    if (record == nullptr || record->outcome != Outcome::kAccepted) continue;
    ++place_.summary.accepted;
    place_.summary.tokens += record->tokens;
  }
  return {};
}

Status Registration::Perform(HostEffect effect) {
  if (auto* close = std::get_if<CloseLink>(&effect)) {
    place_.log.Closed(*close);
    server_->Close(ConnectionId{close->link.value});
  } else if (auto* broken = std::get_if<RunBroken>(&effect)) {
    return Forward(std::move(broken->error));
  } else if (std::holds_alternative<RunFinished>(effect)) {
    over_ = true;
  } else if (std::holds_alternative<RunDrained>(effect)) {
    drained_ = true;
  }  // Keep, SendFrame: PerformAll. A desk has no trainer, and no checkpoint.
  return {};
}

void Registration::Hear(const Event& event) {
  const LinkId link{static_cast<std::uint64_t>(event.connection)};
  switch (event.kind) {
    case Event::Kind::kOpened:
      place_.log.Opened(event);
      return Step(LinkOpened{link});
    case Event::Kind::kReceived:
      return Step(FrameCame{link, Bytes(event.frame().begin(), event.frame().end())});
    case Event::Kind::kClosed:
      place_.log.Closed(link, *core_, event.text);
      return Step(LinkClosed{link});
  }
}

// What it holds, and as much more as those who wait here could take beyond what waits for them.
std::uint32_t Registration::Target() const {
  const std::uint64_t waiting = queue_->rollouts_waiting();
  const std::uint64_t wanted = std::max<std::uint64_t>(core_->WorkWanted(kTargetMax), waiting);
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(kTargetMax, queue_->rollouts_held() - waiting + wanted));
}

// The newest version counts at once; volunteers hear of it when it can be fetched here.
Status Registration::Sync() {
  if (place_.NowMs() < synced_ms_ + kSyncMs) return {};
  synced_ms_ = place_.NowMs();
  WG_ASSIGN(HostNews news, store_->Sync(Target(), place_.shelf.newest()));
  place_.shelf.Tell(news.policies);
  Step(HostHeard{std::move(news)});
  for (const PolicyTold& came : place_.shelf.Take()) {
    Step(PolicyOut{.version = came.version,
                   .manifest = came.update.value_or(Hash256{}),
                   .snapshot = came.snapshot});
  }
  return {};
}

void Registration::TakeOrders() {
  std::vector<HostEvent> orders = status_->TakeOrders();
  if (!end_said_ && place_.EndWanted()) {
    end_said_ = true;
    orders.emplace_back(DrainRun{});
  }
  for (const HostEvent& order : orders) {
    if (std::holds_alternative<DrainRun>(order) && !core_->draining()) {
      place_.Say("leaving: no more leases; what is held ends first, the rest goes to others");
      place_.log.Draining();
    }
    Step(order);
  }
}

Status Registration::Pump() {
  Event event;
  int wait = kPollMs;
  for (std::int64_t until = 0; server_->Next(event, wait); wait = 0) {
    Hear(event);
    const std::int64_t now = place_.NowMs();
    if (until == 0) until = now + kBatchMs;
    if (now >= until) break;
  }
  WG_TRY(Settle());
  if (!over_) WG_TRY(Sync());
  if (const std::int64_t now = place_.NowMs(); now >= ticked_ms_ + kTickMs) {
    ticked_ms_ = now;
    Step(HostTick{});
    TakeOrders();
    status_->Tick(*core_, /*trainer_busy=*/false, server_->load());
  }
  return Settle();
}

Result<std::string> Registration::Run() {
  WG_TRY(Start());
  while (!over_ && !drained_) WG_TRY(Pump());
  if (!over_) {
    WG_TRY(store_->Leave());
    return "asked to leave";
  }
  // The good-byes: workers hang up when they have heard them.
  const std::int64_t deadline = place_.NowMs() + kGoodbyeMs;
  while (core_->links() > 0 && place_.NowMs() < deadline) WG_TRY(Pump());
  return "the run is over";
}

}  // namespace

Result<DeskSummary> TendDesk(const DeskOptions& options, const KeyPair& key, Clock& clock) {
  WG_TRY(CheckReachable(options.listen, options.hosts));
  WG_ASSIGN(const NetLimits limits,
            LimitsFor(options.volunteers_max, options.volunteers_per_address_max));
  DeskShelfOptions place{.folder = options.folder,
                         .invite = options.invite,
                         .mirrors = options.relays,
                         .disk_bytes = options.disk_bytes,
                         .say = options.say};
  std::memcpy(&place.seed, key.id().value.data(), sizeof place.seed);
  WG_ASSIGN(const auto shelf, DeskShelf::Open(std::move(place), clock));
  const auto tls = options.folder / "tls";
  WG_TRY(MakeFolder(tls));
  WG_ASSIGN(Certificate certificate,
            LoadOrMakeCertificate(tls / "certificate.pem", tls / "key.pem"));
  WG_ASSIGN(HostLog log, HostLog::Open(options.folder, "desk", clock));
  DeskPlace desk{options,        key, clock, *shelf, std::move(certificate), limits, options.listen,
                 std::move(log), {}};
  while (true) {
    Registration registration(desk);
    auto why = registration.Run();
    if (why) {
      desk.log.Ended(*why);
      desk.summary.why = std::move(*why);
      return desk.summary;
    }
    if (!registration.closed()) return Forward(std::move(why.error()));
    desk.Say(
        "the host has closed this desk, it was silent for too long: its volunteers begin "
        "anew, and so does it");
  }
}

}  // namespace waggle
