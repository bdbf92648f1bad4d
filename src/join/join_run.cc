#include "join/join_run.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <thread>

#include "audit/prover.h"
#include "audit/public_inputs.h"
#include "base/check.h"
#include "base/hex.h"
#include "crypto/random.h"
#include "engine/engine.h"
#include "http/server.h"
#include "join/validator_metrics.h"
#include "join/work_journal.h"
#include "log/event_log.h"
#include "net/client.h"
#include "protocol/limits.h"
#include "run/base_model.h"
#include "run/run_site.h"

namespace waggle {
namespace {

constexpr std::int64_t kIdleMs = 20;   // wait for the host while there is nothing to sample
constexpr std::int64_t kTickMs = 100;  // of JoinCore's time
constexpr std::uint64_t kAuditedBytes = std::uint64_t{4} << 30;  // of past policies
constexpr std::int64_t kRestMsMin = 500, kRestMsMax = 30'000;    // between the first calls

NetLimits Limits() {
  NetLimits limits;
  limits.frame_bytes_max = kProtocol.envelope_bytes_max;
  return limits;
}

// For each run and key, so that several volunteers can share a machine.
std::string NameFor(const JoinOptions& options, const NodeId& self) {
  return ToHex(options.invite.run).substr(0, 16) + "-" + ToHex(self.value).substr(0, 16);
}

PolicyFetch::Places PlacesFor(const JoinOptions& options, const NodeId& self, bool audited) {
  PolicyFetch::Places places{
      .folder = options.cache_directory / "policies" / NameFor(options, self),
      .mirrors = options.mirrors,
      .swarm = options.swarm,
      .say = options.say,
      .falsify = options.falsify};
  if (audited) places.spare_bytes = kAuditedBytes;
  if (places.swarm) places.swarm->scratch = places.folder / "swarm";
  std::memcpy(&places.seed, self.value.data(), sizeof places.seed);
  return places;
}

class Volunteering {
 public:
  Volunteering(const JoinOptions& options, const KeyPair& key, Clock& clock)
      : options_(options), key_(key), clock_(clock), pool_(options.threads) {}

  Result<JoinSummary> Run();

 private:
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }
  void Say(const std::string& line) const {
    if (options_.say) options_.say(line);
  }
  const Ops& SamplingOps() const {
    return options_.engine != nullptr ? *options_.engine : *options_.ops;
  }
  Status Ask();
  Status Describe();
  Status PrepareToProve(JoinSettings& settings);
  Status PrepareToDefend();
  bool Defends() const;
  Status LookWhySentAway();
  Result<JoinSummary> Part();
  Status Connect();
  Status Step(const JoinEvent& event);
  Status Perform(JoinEffect effect);
  Status Submit(StartSampling start);
  Status Loaded(Result<PolicyFetch::Loaded> loaded);
  Status Hear(const Event& event);
  Status Sample();
  Status SayAll(Result<std::vector<NodeMessage>> messages);
  Status OpenMetrics();
  void SetMetrics();
  Status Pump();
  void LogEnd(const OutcomeRecord& record);
  std::uint32_t Rate() const;

  const JoinOptions& options_;
  const KeyPair& key_;
  Clock& clock_;
  ThreadPool pool_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<WorkJournal> journal_;
  std::map<std::uint64_t, std::int64_t> started_ms_;  // by lease, while it is sampled
  std::unique_ptr<NodeClient> client_;
  Bytes description_;
  std::unique_ptr<RunSite> site_;
  std::optional<JoinCore> core_;
  std::optional<Engine> engine_;
  std::unique_ptr<Prover> prover_;        // of a fingerprint tier
  std::unique_ptr<Defending> defending_;  // of an honest worker in an audited run
  std::optional<Validating> validating_;  // instead of an engine
  ValidatorMetrics metrics_;              // of it
  std::unique_ptr<HttpServer> http_;      // that tells them; null: nowhere
  std::unique_ptr<PolicyFetch> fetch_;    // before client_ is replaced, it has come to its end
  std::size_t host_ = 0;                  // of the invite, tried in order
  bool opened_ = false, drain_said_ = false;
  std::int64_t ticked_ms_ = 0, linked_ms_ = 0;
  double sampled_ = 0, sampling_seconds_ = 0;  // fading sums behind the rate
  std::optional<std::string> left_;
};

Status Volunteering::Connect() {
  const Endpoint& endpoint = options_.invite.hosts[host_++ % options_.invite.hosts.size()];
  if (fetch_) {
    while (fetch_->busy()) WG_TRY(Loaded(*fetch_->Take(1'000'000)));
  }
  if (validating_) validating_->Release();
  opened_ = false;
  WG_ASSIGN(client_, NodeClient::Connect(fmt::format("{}:{}", endpoint.host, endpoint.port),
                                         options_.invite.pin, Limits(), clock_));
  return {};
}

// Once through the hosts of the invite: what is the run?
Status Volunteering::Ask() {
  std::string why = "no answer";
  for (std::size_t i = 0; i < options_.invite.hosts.size(); ++i) {
    WG_TRY(Connect());
    Event event;
    while (client_->Next(event, 30'000) && event.kind == Event::Kind::kReceived) {
    }
    if (event.kind != Event::Kind::kOpened) {
      if (event.reason == CloseReason::kWrongPin) return Fail(Blame::kOperator, "{}", event.text);
      why = event.text;
      continue;
    }
    WG_ASSIGN(description_, FetchDescription(*client_, options_.invite.run));
    WG_ASSIGN(site_, MakeRunSite(description_, options_.invite.run));
    client_.reset();
    return {};
  }
  return Fail(Blame::kMachine, "cannot reach the host of this invite: {}", why);
}

// A host that is coming back is waited for from the first call on.
Status Volunteering::Describe() {
  const std::int64_t begin = NowMs();
  std::int64_t rest_ms = kRestMsMin;
  for (;;) {
    Status asked = Ask();
    if (asked || asked.error().blame != Blame::kMachine) return asked;
    if (NowMs() - begin + rest_ms > options_.patience_ms) return asked;
    Say(asked.error().what + "; trying again");
    for (const std::int64_t until = NowMs() + rest_ms; NowMs() < until;) {
      if (options_.wants_to_leave && options_.wants_to_leave()) return asked;
      std::this_thread::sleep_for(std::chrono::milliseconds(kTickMs));
    }
    rest_ms = std::min(2 * rest_ms, kRestMsMax);
  }
}

std::uint32_t Volunteering::Rate() const {
  return sampling_seconds_ > 0
             ? static_cast<std::uint32_t>(std::min(1e9, sampled_ / sampling_seconds_))
             : 0;
}

Status Volunteering::Step(const JoinEvent& event) {
  for (JoinEffect& effect : core_->Step(static_cast<Milliseconds>(NowMs()), event))
    WG_TRY(Perform(std::move(effect)));
  return {};
}

Status Volunteering::Perform(JoinEffect effect) {
  if (std::holds_alternative<Dial>(effect)) return Connect();
  if (auto* out = std::get_if<SendOut>(&effect)) {
    if (client_) client_->Send(out->bytes);
  } else if (auto* hang_up = std::get_if<HangUp>(&effect)) {
    Say("hanging up: " + hang_up->why);
    if (client_) client_->Close();
  } else if (auto* wanted = std::get_if<FetchPolicy>(&effect)) {
    if (client_) fetch_->Start(*client_, *wanted);
  } else if (auto* start = std::get_if<StartSampling>(&effect)) {
    return Submit(std::move(*start));
  } else if (auto* ended = std::get_if<LeaseEnded>(&effect)) {
    LogEnd(ended->record);
    if (defending_ && ended->record.outcome != Outcome::kAccepted)
      defending_->own().Drop(ended->record.lease);
    if (ended->record.outcome == Outcome::kRejected)
      Say(fmt::format("lease {} rejected: {}", LeaseName(ended->record.lease), ended->record.text));
  } else if (const auto* sent = std::get_if<JournalGroup>(&effect)) {
    return journal_->Add(*sent);
  } else if (const auto* batch = std::get_if<JournalBatch>(&effect)) {
    return journal_->Add(*batch);
  } else if (const auto* own = std::get_if<KeepOwn>(&effect)) {
    return defending_->own().Keep(own->record);
  } else if (const auto* receipt = std::get_if<KeepReceipt>(&effect)) {
    return defending_->Keep(*receipt);
  } else if (const auto* kept = std::get_if<KeepBatch>(&effect)) {
    return defending_->own().Keep(kept->work);
  } else if (const auto* refused = std::get_if<NotSigned>(&effect)) {
    Say(fmt::format("the host's batch of epoch {} is not signed: {}", refused->epoch,
                    refused->why));
  } else if (std::holds_alternative<LinkReady>(effect)) {
    if (validating_) return SayAll(validating_->Step(HostAnswered{*core_->host()}));
    if (defending_) return SayAll(defending_->Step(HostAnswered{*core_->host()}));
  } else if (auto* told = std::get_if<Told>(&effect)) {
    if (validating_) return SayAll(validating_->Step(HostSaid{std::move(told->message)}));
    if (defending_) return SayAll(defending_->Step(HostSaid{std::move(told->message)}));
  } else if (std::holds_alternative<Leave>(effect)) {
    left_ = std::get<Leave>(effect).why;
  }
  return {};
}

void Volunteering::LogEnd(const OutcomeRecord& record) {
  const auto started = started_ms_.find(record.lease.value);
  const double seconds =
      started == started_ms_.end() ? 0 : static_cast<double>(NowMs() - started->second) * 1e-3;
  if (started != started_ms_.end()) started_ms_.erase(started);
  log_->Write(LogEvent::kLeaseEnded, {{"lease", LeaseName(record.lease)},
                                      {"outcome", ToString(record.outcome)},
                                      {"tokens", record.tokens},
                                      {"reason", record.reason ? ToString(*record.reason) : ""},
                                      {"text", record.text},
                                      {"seconds", seconds}});
}

Status Volunteering::Submit(StartSampling start) {
  if (started_ms_.emplace(start.lease.value, NowMs()).second) {
    log_->Write(LogEvent::kLeaseStarted,
                {{"lease", LeaseName(start.lease)}, {"rollouts", std::uint64_t{start.samples}}});
  }
  const auto request =
      engine_->Submit(std::move(start.prompt), start.samples, start.options, start.first_sample);
  if (!request) return Step(SamplingRefused{start.lease, request.error().what});
  return Step(SamplingStarted{start.lease, start.first_sample, *request});
}

Status Volunteering::Loaded(Result<PolicyFetch::Loaded> loaded) {
  if (!loaded) {
    Say("policy: " + loaded.error().what);
    return Step(PolicyFailed{PolicyVersion{}, loaded.error().what});
  }
  if (validating_) {
    // Kept in the store; what is examined says which version it wants.
  } else if (!engine_) {
    const BlobFetcher::Totals& cost = fetch_->totals();
    Say(fmt::format("sampling, from version {} on, after {} bytes", loaded->version.value,
                    cost.host_bytes + cost.mirror_bytes + fetch_->swarm_counts().taken));
    EngineConfig config;
    config.kv_bytes = options_.kv_bytes;
    config.sequences_max = options_.rollouts_max;
    engine_.emplace(loaded->sampler, loaded->version, config, pool_);
  } else {
    engine_->Swap(loaded->sampler, loaded->version,
                  SwapPolicyOf(site_->description.recipe.sampling));
  }
  if (prover_) prover_->Loaded(loaded->version, options_.draft ? loaded->model : loaded->sampler);
  log_->Write(LogEvent::kPolicyLoaded, {{"version", loaded->version.value},
                                        {"host_bytes", fetch_->totals().host_bytes},
                                        {"mirror_bytes", fetch_->totals().mirror_bytes}});
  return Step(PolicyLoaded{loaded->version});
}

Status Volunteering::Hear(const Event& event) {
  switch (event.kind) {
    case Event::Kind::kOpened:
      opened_ = true;
      linked_ms_ = NowMs();
      log_->Write(LogEvent::kConnected, {{"address", event.text}});
      return Step(LinkUp{});
    case Event::Kind::kReceived:
      linked_ms_ = NowMs();
      return Step(FrameHeard{Bytes(event.frame().begin(), event.frame().end())});
    case Event::Kind::kClosed:
      Say("the link ended: " + event.text);
      log_->Write(LogEvent::kDisconnected, {{"why", event.text}});
      return Step(LinkDown{event.text});
  }
  return {};
}

Status Volunteering::Sample() {
  const std::int64_t begin = clock_.MonotonicNs();
  std::vector<TokenEvent> tokens = engine_->Step();
  const double seconds = static_cast<double>(clock_.MonotonicNs() - begin) * 1e-9;
  constexpr double kFade = 0.995;
  sampled_ = kFade * sampled_ + static_cast<double>(tokens.size());
  sampling_seconds_ = kFade * sampling_seconds_ + seconds;
  return Step(TokensSampled{std::move(tokens)});
}

Status Volunteering::SayAll(Result<std::vector<NodeMessage>> messages) {
  if (!messages) return Forward(std::move(messages.error()));
  for (NodeMessage& message : *messages) WG_TRY(Step(SayOnLink{std::move(message)}));
  return {};
}

Status Volunteering::OpenMetrics() {
  if (!options_.validate || options_.validate->metrics.empty()) return {};
  WG_ASSIGN(http_, HttpServer::Start(options_.validate->metrics, {}, clock_,
                                     [this](const HttpRequest& request) {
                                       if (request.path != "/metrics")
                                         return HttpResponse{.status = 404, .text = "not here\n"};
                                       return HttpResponse{.text = metrics_.Text()};
                                     }));
  Say(fmt::format("metrics on port {}", http_->port()));
  return {};
}

void Volunteering::SetMetrics() {
  if (!http_ || !validating_) return;
  const Ledger* ledger = validating_->core().ledger();
  metrics_.Set(validating_->core().counts(), validating_->steps().counts(), validating_->costs(),
               options_.validate->price_cpu_hour,
               ledger == nullptr ? Credits{} : ledger->BalanceOf(key_.id()));
}

Status Volunteering::Pump() {
  const bool sampling = engine_ ? !engine_->idle() : validating_ && !validating_->idle();
  const bool defends = defending_ && !defending_->idle();
  Event event;
  if (client_) {
    for (std::int64_t wait = sampling || defends ? 0 : kIdleMs; client_->Next(event, wait);
         wait = 0) {
      WG_TRY(Hear(event));
      if (event.kind == Event::Kind::kClosed) break;
    }
  }
  if (fetch_->busy()) {
    if (auto loaded = fetch_->Take()) WG_TRY(Loaded(std::move(*loaded)));
  }
  if (const std::int64_t now = NowMs(); now >= ticked_ms_ + kTickMs) {
    ticked_ms_ = now;
    if (!drain_said_ && options_.wants_to_leave && options_.wants_to_leave()) {
      drain_said_ = true;
      Say("leaving as soon as what was begun is done");
      log_->Write(LogEvent::kDraining, {});
      WG_TRY(Step(DrainWanted{}));
    }
    WG_TRY(Step(JoinTick{Rate()}));
    SetMetrics();
    if (defending_) WG_TRY(SayAll(defending_->Tick(core_->version())));
  }
  if (defends) WG_TRY(SayAll(defending_->Work()));
  if (validating_) {
    WG_TRY(SayAll(validating_->Work(core_->connected() ? client_.get() : nullptr)));
  } else if (sampling) {
    WG_TRY(Sample());
  }
  return {};
}

// What the run's tier of trust asks for beside groups, and which engines it takes.
Status Volunteering::PrepareToProve(JoinSettings& settings) {
  const TrustRecipe& trust = site_->description.recipe.trust;
  if (options_.engine != nullptr && !trust.fingerprinted())
    return Fail(Blame::kOperator,
                "this run replays bit for bit (trust.tier = \"exact\"): sample without --engine");
  if (options_.validate) return {};
  WG_ASSIGN(prover_,
            Prover::Make(site_->description.recipe, options_.invite.run, *site_->codec, pool_));
  if (!prover_) return {};
  settings.prove = [this](const Lease& lease, Group& group) -> Status {
    if (options_.draft) WG_TRY(prover_->Rescore(lease, group));
    return prover_->Prove(lease, group);
  };
  return {};
}

// A cheat knows what it did.
bool Volunteering::Defends() const {
  const bool honest = !options_.tamper && !options_.falsify && !options_.draft;
  return (honest || options_.unaware) && !options_.validate &&
         site_->description.recipe.trust.audits;
}

Status Volunteering::PrepareToDefend() {
  if (!Defends()) return {};
  const Defending::Places places{
      options_.cache_directory / "own" / NameFor(options_, key_.id()),
      options_.cache_directory / "policies" / NameFor(options_, key_.id()),
      options_.cache_directory / "evidence"};
  WG_ASSIGN(defending_,
            Defending::Open(places, key_, options_.invite.run, *site_, description_, *options_.ops,
                            pool_, clock_, [this](const std::string& line) { Say(line); }));
  return {};
}

Result<JoinSummary> Volunteering::Run() {
  const std::int64_t begin = clock_.MonotonicNs();
  WG_TRY(Describe());
  const RunDescription& d = site_->description;
  Say(fmt::format("run {}: {} on {}", ToHex(options_.invite.run).substr(0, 12),
                  d.recipe.about.empty() ? d.recipe.name : d.recipe.about, SamplingOps().name));
  WG_ASSIGN(log_, EventLog::Open(
                      options_.cache_directory / "logs" / (NameFor(options_, key_.id()) + ".jsonl"),
                      "volunteer", clock_));
  log_->Write(LogEvent::kStarted, {{"run", ToHex(options_.invite.run)},
                                   {"node", ToText(key_.id())},
                                   {"software", options_.software}});
  JoinSettings settings{
      .software = options_.software,
      .environment = std::string(site_->environment->name()),
      .rollouts_max = std::max(options_.rollouts_max, d.recipe.orchestrator.group_size),
      .memory_bytes = options_.kv_bytes,
      .response_tokens_max = d.model.max_positions,
      .composes = true};
  settings.tamper = options_.tamper;
  settings.keeps_work = Defends();
  WG_TRY(PrepareToProve(settings));
  WG_TRY(PrepareToDefend());
  if (options_.validate) {
    settings.kinds = {WorkKind::kValidate};
    settings.rollouts_max = 0;
    settings.composes = false;  // every version may be asked for
  }
  core_.emplace(key_, options_.invite.run, std::nullopt, settings, *site_->codec, RandomBytes<16>);
  WG_ASSIGN(journal_, WorkJournal::Open(options_.cache_directory / "work" /
                                        (NameFor(options_, key_.id()) + ".journal")));
  WG_TRY(Step(journal_->read()));
  WG_ASSIGN(fetch_, PolicyFetch::Open({options_.invite.run, d.model, site_->numerics,
                                       LoraConfigOf(d.recipe.trainer.lora)},
                                      PlacesFor(options_, key_.id(), d.recipe.trust.audits),
                                      SamplingOps(), clock_));
  if (options_.validate) {
    const PolicyFetch::Places places = PlacesFor(options_, key_.id(), true);
    validating_.emplace(
        *options_.validate, key_, options_.invite.run, *site_, description_,
        Validating::Places{places.folder,
                           options_.cache_directory / "audits" / NameFor(options_, key_.id()),
                           options_.mirrors, places.seed},
        *options_.ops, pool_, clock_, [this](const std::string& line) { Say(line); });
  }
  WG_TRY(OpenMetrics());
  linked_ms_ = NowMs();
  while (!left_) {
    WG_TRY(Pump());
    if (NowMs() - linked_ms_ > options_.patience_ms)
      return Fail(Blame::kMachine, "no word from the host for {} s: is the run still there?",
                  options_.patience_ms / 1000);
  }
  log_->Write(LogEvent::kEnded, {{"why", *left_}});
  WG_TRY(LookWhySentAway());
  WG_ASSIGN(JoinSummary summary, Part());
  summary.seconds = static_cast<double>(clock_.MonotonicNs() - begin) * 1e-9;
  return summary;
}

// Whoever is sent away honestly would like to know that its machine is broken.
Status Volunteering::LookWhySentAway() {
  if (!defending_ || !left_->starts_with("banished")) return {};
  auto held = defending_->CheckOwn();
  if (!held)
    return Fail(held.error().blame, "sent away ({}), and rightly: {}", *left_, held.error().what);
  Say(*held);
  return {};
}

Result<JoinSummary> Volunteering::Part() {
  if (validating_) validating_->Release();
  if (client_) client_->Close();
  fetch_->Hurry();
  while (fetch_->busy()) (void)fetch_->Take(1'000'000);
  const BlobFetcher::Totals policies = fetch_->totals();
  const Swarm::Counts swarm = fetch_->swarm_counts();
  fetch_.reset();
  JoinSummary summary{.counts = core_->counts(), .policies = policies, .swarm = swarm};
  if (defending_) {
    summary.defended = defending_->core().counts();
    summary.receipts = defending_->receipts().counts();
  }
  if (validating_) {
    summary.validated = validating_->core().counts();
    summary.steps = validating_->steps().counts();
    summary.costs = validating_->costs();
    if (const Ledger* ledger = validating_->core().ledger())
      summary.earned = ledger->BalanceOf(key_.id());
  }
  summary.why = *left_;
  return summary;
}

}  // namespace

Result<JoinSummary> JoinAndSample(const JoinOptions& options, const KeyPair& key, Clock& clock) {
  return Volunteering(options, key, clock).Run();
}

}  // namespace waggle
