#include "host/host_run.h"

#include <fmt/format.h>

#include "audit/round_keeper.h"
#include "base/hex.h"
#include "crypto/random.h"
#include "host/audit_books.h"
#include "host/host_core.h"
#include "host/host_log.h"
#include "host/host_swarm.h"
#include "host/listening.h"
#include "host/step_keeper.h"
#include "net/server.h"
#include "proofs/claims.h"
#include "protocol/limits.h"
#include "run/influence.h"
#include "run/run_description.h"
#include "run/train_thread.h"

namespace waggle {
namespace {

constexpr int kPollMs = 10;            // the trainer's results are looked for this often
constexpr std::int64_t kTickMs = 250;  // of HostCore's time
constexpr std::int64_t kDesksMs = 20;  // how often desks are heard; without any: the next
constexpr std::int64_t kNoDesksMs = 500;
constexpr std::uint64_t kDeskSilenceMs = 15'000;  // then its leases go to others
constexpr std::int64_t kWatchMs = 20'000;         // a run without validators says so then
constexpr std::int64_t kGoodbyeMs = 3'000;
constexpr std::uint64_t kAll = std::uint64_t{1} << 40;  // more groups than any run has
constexpr std::uint32_t kRowsAtOnce = 1000;
constexpr std::int64_t kBatchMs = 8;  // of events that share one commit: a commit takes about one

}  // namespace

// Everything but the run's own parts. Single-threaded, apart from the trainer's thread.
struct HostRun::Loop {
  Loop(std::unique_ptr<RunParts> p, KeyPair k)
      : parts(std::move(p)), run(*parts), key(std::move(k)), shelf(run.run_id, run.pool) {}

  std::unique_ptr<RunParts> parts;
  RunParts& run;
  const KeyPair key;
  std::unique_ptr<HostSwarm> swarm;
  PolicyShelf shelf;
  Invite invite;
  std::unique_ptr<RunStore> store;
  std::unique_ptr<StepKeeper> steps;  // the same
  std::vector<LeaseId> batch;         // of the step that is under way
  std::unique_ptr<AuditBooks> books;  // where work is audited
  std::optional<RoundKeeper> rounds;  // where drand draws what is
  std::optional<Influence> influence;
  std::unique_ptr<NodeServer> server;  // none while the host catches up
  std::optional<HostCore> core;
  std::optional<TrainThread> training;
  std::unique_ptr<HostBoard> board;
  std::optional<HostLog> log;
  std::function<bool()> wants_to_end;
  std::function<void(PolicyVersion, std::vector<ScoredGroup>&)> tamper;
  std::vector<HostEffect> pending;  // not performed yet
  std::int64_t ticked_ms = 0, heard_ms = 0, published_ms = NowMs(), started_ms = NowMs();
  bool catching_up = true, finished = false, drained = false, end_said = false, watch_said = false;

  std::int64_t NowMs() const { return run.clock.MonotonicNs() / 1'000'000; }
  Status Start(const HostOptions& options);
  Status OpenSwarm(const HostOptions& options);
  Status OpenStore(const HostOptions& options);
  Status OpenBooks(const Bytes& description, HostSettings& settings);
  Status OpenDesk(const HostOptions& options);
  Status Show(ShowItem show);
  BlobSource* Blobs() { return steps ? static_cast<BlobSource*>(steps.get()) : &shelf; }
  Status TellDesks();
  Status HearDesks();
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
  Status SignStep(const Hash256& before, const Hash256& after);
  Status Publish(const PolicyOut& out);
  void Hear(const Event& event);
  Status Pump();
  void TakeOrders();
  void SayIfNobodyWatches(std::int64_t now);
  bool StopDue(PolicyVersion version) const {
    return run.options.stop_after != 0 && version.value >= run.options.stop_after;
  }
};

namespace {

// Every window of the last epoch, and some time to answer.
Milliseconds AuditsLingerMs(const TrustRecipe& trust) {
  return (trust.sign_seconds + 2 * trust.window_seconds + 30) * 1000;
}

PolicyKind DeltaKindOf(const Recipe& recipe) {
  return recipe.trainer.lora.rank > 0 ? PolicyKind::kAdapter : PolicyKind::kDelta;
}

}  // namespace

Status HostRun::Loop::Start(const HostOptions& options) {
  WG_TRY(CheckJoinable(run.recipe));
  const WeightFormat format = run.numerics.weights;
  WG_TRY(OpenSwarm(options));
  if (run.recipe.trust.audits) {  // until the ledger has told what is needed
    shelf.Hold(PolicyVersion{0});
    run.audited_from = 0;
  }
  WG_TRY(shelf.Open(run.folder.root() / "policies"));
  WG_TRY(shelf.Put(run.conduct->version(), ImageOfTrainer(*run.trainer, format, run.pool, nullptr),
                   DeltaKindOf(run.recipe)));
  const Bytes description =
      EncodeDescription(run.recipe, run.base->model.config, run.base->tokenizer, run.start, run.teacher);
  shelf.PutDescription(description);
  WG_TRY(OpenStore(options));
  influence.emplace(run.run_id, run.recipe.orchestrator);
  WG_ASSIGN(rounds, RoundKeeper::For(run.recipe.trust, options.drand_rounds));
  HostSettings settings{.software = options.software,
                        .sources = options.mirrors,
                        .chain = swarm->Chain(shelf),
                        .older_chain = true};
  settings.leases.workers_max = options.volunteers_max + options.volunteers_max / 4;
  wants_to_end = options.wants_to_end;
  tamper = options.tamper;
  WG_ASSIGN(board, HostBoard::Open(options.http, run.folder.root(), run.run_id, run.recipe,
                                   run.clock, &shelf));
  WG_ASSIGN(log, HostLog::Open(run.folder.root(), "host", run.clock));
  swarm->Publish(settings.chain.back());
  WG_TRY(OpenBooks(description, settings));
  core.emplace(key, run.run_id, settings, std::move(*run.orchestrator),
               settings.chain.back().manifest, RandomBytes<16>);
  training.emplace(*run.trainer, shelf, run.pool, format, DeltaKindOf(run.recipe), run.clock);
  WG_TRY(OpenDesk(options));
  WG_TRY(TellDesks());
  WG_TRY(CatchUp());
  return Listen(options);
}

Status HostRun::Loop::OpenSwarm(const HostOptions& options) {
  if (options.swarm && options.mirrors.size() >= kProtocol.sources_max)
    return Fail(Blame::kOperator, "with a swarm, {} mirrors at most", kProtocol.sources_max - 1);
  HostSwarm::Place place{options.swarm, options.hosts};
  if (place.hosts.empty()) place.hosts.push_back(options.listen);
  WG_ASSIGN(swarm, HostSwarm::Open(place, key, run.run_id, shelf, run.pool, run.clock));
  for (const std::string& line : swarm->Greeting()) run.telemetry->Say(line);
  return {};
}

Status HostRun::Loop::OpenStore(const HostOptions& options) {
  if (!options.store.empty()) WG_TRY(run.folder.RememberStore(options.store));
  WG_ASSIGN(const std::string place, run.folder.StorePlace());
  WG_ASSIGN(store, RunStore::Open(place, run.run_id, RunStore::Access::kWrite));
  return {};
}

Status HostRun::Loop::OpenBooks(const Bytes& description, HostSettings& settings) {
  const TrustRecipe& trust = run.recipe.trust;
  if (!trust.audits && trust.newcomer_groups == 0) return {};
  if (trust.audits && store->takes_desks())
    return Fail(Blame::kOperator,
                "trust.audits: a run with desks is not audited yet; leave --store out");
  WG_ASSIGN(books, AuditBooks::Open(run, key.id(), description));
  for (const auto& [version, root] : shelf.Roots()) books->Published(version, root);
  settings.newcomer_groups = trust.newcomer_groups;
  settings.examine = [this](const Lease& lease, const Group& group) {
    return books->ExamineGroup(lease, group);
  };
  settings.wall_offset_ms = static_cast<std::uint64_t>(run.clock.UnixSeconds() * 1000.0) -
                            static_cast<std::uint64_t>(NowMs());
  settings.audits_linger_ms = AuditsLingerMs(trust);
  return {};
}

// What was accepted before and stands in no batch goes into the next one.
Status HostRun::Loop::OpenDesk(const HostOptions& options) {
  if (books == nullptr || !run.recipe.trust.audits) return {};
  books->false_canaries = options.false_canaries;
  WG_ASSIGN(steps, StepKeeper::Open(run, *store, shelf, key, options.censors));
  training->HashStates();
  AuditDesk desk = books->MakeDesk(key);
  WorkRemembered remembered;
  for (const auto& [version, root] : books->roots()) remembered.policies.push_back({version, root});
  std::map<std::uint64_t, NodeId> worker_of;
  for (std::uint64_t after = 0;;) {
    WG_ASSIGN(const auto rows, store->Outcomes(after, kRowsAtOnce));
    if (rows.empty()) break;
    after = rows.back().number;
    for (const RunStore::Ended& row : rows) {
      if (row.record.outcome == Outcome::kAccepted)
        worker_of[row.record.lease.value] = row.record.worker;
    }
  }
  WG_ASSIGN(const auto records, store->Groups(0, kAll));
  for (const GroupRecord& record : records) {
    const auto worker = worker_of.find(record.lease.id.value);
    if (worker == worker_of.end() || desk.InBatch(record.lease.id)) continue;
    remembered.groups.push_back({worker->second, record.lease.id, GroupHash(record.group),
                                 WorkOf(books->settings().terms, record)});
  }
  core->Audit(std::move(desk));
  for (const SignedStep& step : steps->steps()) Step(StepMade{step});
  Step(remembered);
  return {};
}

Status HostRun::Loop::Show(ShowItem show) {
  WG_ASSIGN(auto record, store->GroupOf(show.lease));
  if (record) {
    show.item.lease = std::move(record->lease);
    show.item.group = std::move(record->group);
  }
  Step(ItemFound{show.node, std::move(show.item)});
  return {};
}

// What newcomers are told, for desks too.
Status HostRun::Loop::TellDesks() {
  StoreBatch batch;
  for (const PolicyShelf::Manifests& one : shelf.Published())
    batch.emplace_back(PolicyTold{one.version, one.update, one.snapshot});
  return store->Commit(batch);
}

Status HostRun::Loop::HearDesks() {
  if (finished || !store->takes_desks()) return {};
  const std::int64_t now = NowMs();
  if (now < heard_ms + (core->desks().any() ? kDesksMs : kNoDesksMs)) return {};
  heard_ms = now;
  WG_ASSIGN(DeskNews news, store->News());
  for (const DeskSeen& seen : news.open) {
    if (seen.silent_ms < kDeskSilenceMs) continue;
    WG_ASSIGN(const bool closed, store->CloseDesk(seen.desk, kDeskSilenceMs));
    if (closed) {
      run.telemetry->Say(fmt::format("desk {} was silent for {} s: its leases go to others",
                                     seen.desk.value, seen.silent_ms / 1000));
    }
  }
  Step(DesksHeard{std::move(news)});
  return {};
}

// From the checkpoint to where the host was when it ended: the batches that were complete are
// trained on again, and nobody notices more than a pause. Groups are read as their turn comes.
Status HostRun::Loop::CatchUp() {
  const std::uint64_t from = run.conduct->version().value;
  WG_TRY(Remember(from, from + run.recipe.orchestrator.ahead + 1));
  if (run.recipe.orchestrator.by_arrival()) {
    WG_ASSIGN(auto arrived, store->Arrived(from * run.recipe.orchestrator.groups_per_step, kAll));
    WG_TRY(core->Remember(std::move(arrived)));
  }
  WG_ASSIGN(auto open_grants, store->OpenGrants());
  WG_ASSIGN(auto delegations, store->Delegations());
  Step(HostRestarted{std::move(open_grants), std::move(delegations)});
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
  const bool by_arrival = run.recipe.orchestrator.by_arrival();
  WG_ASSIGN(auto records, by_arrival ? store->Evaluations(first, end) : store->Groups(first, end));
  return core->Remember(std::move(records));
}

Status HostRun::Loop::Listen(const HostOptions& options) {
  const auto tls = run.folder.tls();
  std::error_code error;
  std::filesystem::create_directories(tls, error);
  if (error) return Fail(Blame::kMachine, "{}: {}", tls.string(), error.message());
  WG_ASSIGN(const Certificate certificate,
            LoadOrMakeCertificate(tls / "certificate.pem", tls / "key.pem"));
  WG_ASSIGN(const NetLimits limits,
            LimitsFor(options.volunteers_max, options.volunteers_per_address_max));
  WG_ASSIGN(server, NodeServer::Start(options.listen, certificate, limits, Blobs(), run.clock));
  WG_ASSIGN(invite.hosts, EndpointsFor(options.listen, options.hosts, server->port()));
  invite.pin = certificate.pin;
  invite.run = run.run_id;
  log->Started(run.run_id, key.id(), options.software,
               fmt::format("{}:{}", invite.hosts.front().host, invite.hosts.front().port));
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
    WG_TRY(PerformAll(server.get(), *board, std::move(effects),
                      [this](HostEffect effect) { return Perform(std::move(effect)); }));
  }
  return {};
}

Status HostRun::Loop::Commit(std::vector<HostEffect>& effects) {
  StoreBatch batch;
  std::vector<LogRecord> records;
  for (HostEffect& effect : effects) {
    if (auto* entry = std::get_if<KeepLedgerEntry>(&effect))
      records.push_back(std::move(entry->record));
    if (const auto* work = std::get_if<KeepWork>(&effect)) WG_TRY(books->Keep(work->work));
    if (const auto* kept = std::get_if<KeepCanary>(&effect)) WG_TRY(books->Keep(kept->canary));
    if (const auto* out = std::get_if<Banish>(&effect)) WG_TRY(books->Keep(*out));
    auto* keep = std::get_if<waggle::Keep>(&effect);
    if (keep == nullptr) continue;
    if (const auto* record = std::get_if<OutcomeRecord>(&keep->entry))
      run.times.sampled_tokens += record->tokens;
    board->Kept(keep->entry);
    log->Kept(keep->entry);
    batch.push_back(std::move(keep->entry));
  }
  WG_TRY(store->Commit(batch));
  return records.empty() ? Status{} : books->Keep(records);
}

Status HostRun::Loop::Perform(HostEffect effect) {
  if (auto* close = std::get_if<CloseLink>(&effect)) {
    log->Closed(*close);
    server->Close(ConnectionId{close->link.value});
  } else if (auto* train = std::get_if<TrainOn>(&effect)) {
    return Train(std::move(*train));
  } else if (auto* evaluated = std::get_if<Evaluated>(&effect)) {
    return run.Evaluated(evaluated->evaluation);
  } else if (auto* save = std::get_if<SaveCheckpointNow>(&effect)) {
    if (run.conduct->version() == run.saved_version) return {};
    WG_TRY(run.Checkpoint(save->state, run.conduct->version()));
    log->Saved(run.conduct->version());
  } else if (std::holds_alternative<RunFinished>(effect)) {
    finished = true;
    WG_ASSIGN(const bool told, store->CloseDesk(kHostDesk, 0));
    static_cast<void>(told);  // false where there are no desks
  } else if (auto* broken = std::get_if<RunBroken>(&effect)) {
    return Forward(std::move(broken->error));
  } else if (std::holds_alternative<RunDrained>(effect)) {
    drained = true;
  } else if (auto* show = std::get_if<ShowItem>(&effect)) {
    return Show(std::move(*show));
  } else if (const auto* judge = std::get_if<JudgeEvidence>(&effect)) {
    EvidenceDecided decided = books->Judge(judge->from, judge->evidence);
    if (!decided.proved)
      run.telemetry->Say(fmt::format("evidence {} does not prove: {}",
                                     ToHex(decided.evidence).substr(0, 16), decided.text));
    Step(std::move(decided));
  } else if (auto* ask = std::get_if<ShowForAudit>(&effect)) {
    steps->Ask(std::move(*ask));
  } else if (const auto* check = std::get_if<CheckVerdict>(&effect)) {
    WG_ASSIGN(VerdictChecked checked, books->Check(*check, *store));
    Step(std::move(checked));
  } else if (const auto* make = std::get_if<MakeCanaryItem>(&effect)) {
    WG_ASSIGN(CanaryItemMade made, books->Make(*make, *store));
    Step(std::move(made));
  } else if (const auto* item = std::get_if<JudgeItem>(&effect)) {
    WG_ASSIGN(ItemJudged judged, books->Judge(*item, *store));
    Step(std::move(judged));
  } else if (const auto* refereed = std::get_if<Refereed>(&effect)) {
    run.telemetry->Say(refereed->text);
  } else if (const auto* want = std::get_if<WantRound>(&effect)) {
    auto looked = rounds->Look(*want, run.clock.UnixSeconds());
    if (!looked.say.empty()) run.telemetry->Say(looked.say);
    if (looked.found) Step(std::move(*looked.found));
  } else if (const auto* banish = std::get_if<Banish>(&effect)) {
    run.telemetry->Say("out: " + banish->why);
  }  // Keep*, SendFrame: done by then
  return {};
}

Status HostRun::Loop::Train(TrainOn batch) {
  if (steps) steps->Censor(batch);
  WG_TRY(run.KeepBatch(batch));
  WG_TRY(run.Watch(batch));
  if (run.watch) board->Watched(*run.watch);
  WG_ASSIGN(const std::size_t over, influence->Limit(batch, *store));
  board->OverLimit(over);
  const PolicyVersion current = run.conduct->version();
  // What volunteers needed for it, all together: the trainer had published, and waits since.
  run.times.sample_seconds = static_cast<double>(NowMs() - published_ms) * 1e-3;
  this->batch.clear();
  for (const Lease& lease : batch.leases) this->batch.push_back(lease.id);
  board->Batch(batch, current);
  log->Batch(batch, current);
  std::vector<TrainerEffect> effects = run.conduct->Step(BatchReady{std::move(batch)});
  if (auto* step = std::get_if<RunStep>(&effects.front())) {
    if (tamper) tamper(current, step->groups);
    training->Start(std::move(step->groups), current);
    return {};
  }
  // Nothing to learn from: the version moves all the same, and so do its (equal) weights.
  this->batch.clear();
  if (steps) WG_TRY(SignStep(run.trainer->StateHash(), run.trainer->StateHash()));
  WG_ASSIGN(const auto manifests,
            shelf.Put(PolicyVersion{current.value + 1}, *shelf.newest(), DeltaKindOf(run.recipe)));
  PolicyOut out = swarm->OutOf(manifests);
  out.root = shelf.newest()->root();
  WG_TRY(Perform(std::move(effects), out));
  return Publish(out);
}

Status HostRun::Loop::Trained(StepDone done) {
  log->Stepped(done);
  for (const LeaseId lease : done.forged) {
    run.telemetry->Say(
        fmt::format("lease {}: log-probs that the weights do not give; left out of the batch",
                    LeaseName(lease)));
  }
  run.times.train_seconds = done.seconds;
  if (const std::string line = board->Stepped(done.seconds); !line.empty())
    run.telemetry->Say(line);
  if (steps && done.report) WG_TRY(SignStep(*done.before, *done.after));
  PolicyOut out = swarm->OutOf(done.manifests);
  out.root = shelf.newest()->root();
  if (!done.report) {
    WG_TRY(Perform(run.conduct->Step(StepFailed{done.report.error()}), out));
  } else {
    WG_TRY(Perform(run.conduct->Step(StepFinished{std::move(*done.report)}), out));
  }
  return Publish(out);
}

Status HostRun::Loop::SignStep(const Hash256& before, const Hash256& after) {
  WG_ASSIGN(StepMade made, steps->Sign(before, after, batch));
  Step(std::move(made));
  return {};
}

Status HostRun::Loop::Publish(const PolicyOut& out) {
  const std::uint64_t last = out.version.value + run.recipe.orchestrator.ahead;
  if (catching_up) WG_TRY(Remember(last, last + 1));
  pending.emplace_back(waggle::Keep{PolicyTold{out.version, out.manifest, out.snapshot}});
  log->Published(out);
  published_ms = NowMs();
  if (books) books->Published(out.version, out.root);
  if (steps) {
    steps->Published(out.version, out.manifest, out.snapshot);
    steps->Need(core->audits()->StepsFrom(), core->audits()->PoliciesFrom());
  }
  swarm->Publish(out);
  if (!catching_up) board->Published(out.version);
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
      log->Opened(event);
      return Step(LinkOpened{link});
    case Event::Kind::kReceived:
      return Step(FrameCame{link, Bytes(event.frame().begin(), event.frame().end())});
    case Event::Kind::kClosed:
      log->Closed(link, *core, event.text);
      return Step(LinkClosed{link});
  }
}

Status HostRun::Loop::Pump() {
  Event event;
  int wait = kPollMs;
  for (std::int64_t until = 0; server->Next(event, wait); wait = 0) {
    Hear(event);
    const std::int64_t now = NowMs();
    if (until == 0) until = now + kBatchMs;
    if (now >= until) break;
  }
  if (auto done = training->Take()) WG_TRY(Trained(std::move(*done)));
  WG_TRY(HearDesks());
  if (steps) {
    for (AuditShown& shown : steps->Work()) Step(std::move(shown));
  }
  if (const std::int64_t now = NowMs(); now >= ticked_ms + kTickMs) {
    ticked_ms = now;
    Step(HostTick{});
    TakeOrders();
    SayIfNobodyWatches(now);
    board->Tick(*core, training->busy(), server->load());
  }
  return Settle();
}

// Batches that nobody could draw from are not sealed, and not paid.
void HostRun::Loop::SayIfNobodyWatches(std::int64_t now) {
  if (watch_said || core->audits() == nullptr || now < started_ms + kWatchMs) return;
  watch_said = true;
  const LedgerRunState* state = core->audits()->ledger().FindRun(LedgerRun{run.run_id});
  if (state == nullptr || !state->validators.empty()) return;
  run.telemetry->Say(
      "no validator has joined: epochs wait for one (`waggle validate` with the run's invite)");
}

// From the operator: by HTTP, or by a signal.
void HostRun::Loop::TakeOrders() {
  std::vector<HostEvent> orders = board->TakeOrders();
  if (!end_said && wants_to_end()) {
    end_said = true;
    orders.emplace_back(DrainRun{});
  }
  for (const HostEvent& order : orders) {
    if (std::holds_alternative<DrainRun>(order) && !core->draining()) {
      run.telemetry->Say("draining: no more leases; what is held ends first, then a checkpoint");
      log->Draining();
    }
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
  WG_TRY(CheckReachable(host.listen, host.hosts));
  WG_TRY(LimitsFor(host.volunteers_max, host.volunteers_per_address_max));
  WG_TRY(CheckJoinable(recipe));
  WG_TRY(RoundKeeper::For(recipe.trust, host.drand_rounds));
  WG_ASSIGN(auto parts, RunParts::Open(recipe, options, clock));
  return Around(std::move(parts), std::move(host), std::move(key));
}

Result<std::unique_ptr<HostRun>> HostRun::Resume(const RunOptions& options, HostOptions host,
                                                 KeyPair key, Clock& clock) {
  WG_TRY(CheckReachable(host.listen, host.hosts));
  WG_TRY(LimitsFor(host.volunteers_max, host.volunteers_per_address_max));
  WG_ASSIGN(auto parts, RunParts::Resume(options, clock));
  return Around(std::move(parts), std::move(host), std::move(key));
}

HostRun::HostRun(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HostRun::~HostRun() = default;

const Invite& HostRun::invite() const { return loop_->invite; }
std::string HostRun::http_url() const { return loop_->board->url(); }
bool HostRun::drained() const { return loop_->drained; }
HostTimes HostRun::times() const { return loop_->board->times(); }

const Ledger* HostRun::ledger() const {
  const AuditDesk* desk = loop_->core->audits();
  return desk == nullptr ? nullptr : &desk->ledger();
}

Result<RunSummary> HostRun::Drive() {
  Loop& loop = *loop_;
  const std::int64_t begin = loop.run.clock.MonotonicNs();
  while (!loop.finished && !loop.drained && !loop.StopDue(loop.run.saved_version))
    WG_TRY(loop.Pump());
  // The good-byes: workers hang up when they have heard them.
  const std::int64_t deadline = loop.NowMs() + kGoodbyeMs;
  while (loop.finished && loop.core->links() > 0 && loop.NowMs() < deadline) WG_TRY(loop.Pump());
  loop.server->Stop();
  loop.log->Ended(loop.finished ? "the run is over" : loop.drained ? "drained" : "stopped");
  loop.training.reset();
  loop.run.telemetry->Say(fmt::format("policies: {} bytes served", loop.shelf.bytes_served()));
  if (const std::string line = loop.swarm->Farewell(); !line.empty()) loop.run.telemetry->Say(line);
  WG_ASSIGN(RunSummary summary, loop.run.Finish());
  summary.seconds = static_cast<double>(loop.run.clock.MonotonicNs() - begin) * 1e-9;
  return summary;
}

}  // namespace waggle
