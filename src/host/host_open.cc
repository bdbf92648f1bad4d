#include <fmt/format.h>

#include "crypto/random.h"
#include "host/host_loop.h"
#include "host/listening.h"
#include "proofs/claims.h"
#include "protocol/limits.h"
#include "run/run_description.h"

namespace waggle {
namespace {

constexpr std::uint64_t kAll = std::uint64_t{1} << 40;  // more groups than any run has
constexpr std::uint32_t kRowsAtOnce = 1000;
constexpr std::int64_t kResultMs = 250;  // the trainer is waited for so long at a time

// Every window of the last epoch, and some time to answer.
Milliseconds AuditsLingerMs(const TrustRecipe& trust) {
  return (trust.sign_seconds + 2 * trust.window_seconds + 30) * 1000;
}

}  // namespace

Status HostRun::Loop::Start(const HostOptions& options) {
  WG_TRY(CheckJoinable(run.recipe));
  if (options.drain_on_red && !run.watch)
    return Fail(Blame::kOperator,
                "nothing watches this run, so nothing drains it at red: begin a run with --set "
                "watch.on=true --set watch.act=false, or leave --drain-on-red out");
  const WeightFormat format = run.numerics.weights;
  WG_TRY(OpenSwarm(options));
  if (run.recipe.trust.audits) {  // until the ledger has told what is needed
    shelf.Hold(PolicyVersion{0});
    run.audited_from = 0;
  }
  WG_TRY(shelf.Open(run.folder.root() / "policies"));
  WG_TRY(shelf.Put(run.conduct->version(), ImageOfTrainer(*run.trainer, format, run.pool, nullptr),
                   DeltaKindOf(run.recipe)));
  const Bytes description = EncodeDescription(run.recipe, run.base->model.config,
                                              run.base->tokenizer, run.start, run.teacher);
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
  drain_on_red = options.drain_on_red;
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

// What newcomers are told, for desks too.
Status HostRun::Loop::TellDesks() {
  StoreBatch batch;
  for (const PolicyShelf::Manifests& one : shelf.Published())
    batch.emplace_back(PolicyTold{one.version, one.update, one.snapshot});
  return store->Commit(batch);
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
    if (auto done = training->Take(kResultMs)) WG_TRY(Trained(std::move(*done)));
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

}  // namespace waggle
