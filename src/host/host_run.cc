#include "host/host_run.h"

#include <fmt/format.h>

#include "base/hex.h"
#include "host/host_loop.h"
#include "host/listening.h"

namespace waggle {
namespace {

constexpr int kPollMs = 10;            // the trainer's results are looked for this often
constexpr std::int64_t kTickMs = 250;  // of HostCore's time
constexpr std::int64_t kDesksMs = 20;  // how often desks are heard; without any: the next
constexpr std::int64_t kNoDesksMs = 500;
constexpr std::uint64_t kDeskSilenceMs = 15'000;  // then its leases go to others
constexpr std::int64_t kWatchMs = 20'000;         // a run without validators says so then
constexpr std::int64_t kGoodbyeMs = 3'000;
constexpr std::int64_t kBatchMs = 8;  // of events that share one commit: a commit takes about one

}  // namespace

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

Status HostRun::Loop::Show(ShowItem show) {
  WG_ASSIGN(auto record, store->GroupOf(show.lease));
  if (record) {
    show.item.lease = std::move(record->lease);
    show.item.group = std::move(record->group);
  }
  Step(ItemFound{show.node, std::move(show.item)});
  return {};
}

Status HostRun::Loop::Train(TrainOn batch) {
  if (steps) steps->Censor(batch);
  WG_TRY(run.KeepBatch(batch));
  WG_TRY(run.Watch(batch));
  if (run.watch) board->Watched(*run.watch);
  DrainIfRed();
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
    if (const auto* drain = std::get_if<DrainRun>(&order)) {
      Drain(*drain);
    } else {
      Step(order);
    }
  }
}

void HostRun::Loop::Drain(const DrainRun& order) {
  if (core->draining()) return;
  run.telemetry->Say("draining: no more leases; what is held ends first, then a checkpoint");
  log->Draining();
  Step(order);
}

// Going back is not a step that anybody could check, stopping is one that everybody understands:
// what was sampled is paid, and a person looks before more weights go out.
void HostRun::Loop::DrainIfRed() {
  if (!drain_on_red || !run.watch->red() || core->draining()) return;
  run.telemetry->Say(fmt::format(
      "the watch is red: events.jsonl says why; step {} is the newest checkpoint that was green",
      run.watch->green_version()));
  Drain(DrainRun{});
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

// Nothing can be kept from here on, so this waits for the good-byes: a group may still come.
Status HostRun::Loop::TellDesksTheEnd() {
  if (!finished) return {};
  WG_ASSIGN(const bool told, store->CloseDesk(kHostDesk, 0));
  static_cast<void>(told);  // false where there are no desks
  return {};
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
  WG_TRY(loop.TellDesksTheEnd());
  loop.log->Ended(loop.finished ? "the run is over" : loop.drained ? "drained" : "stopped");
  loop.training.reset();
  loop.run.telemetry->Say(fmt::format("policies: {} bytes served", loop.shelf.bytes_served()));
  if (const std::string line = loop.swarm->Farewell(); !line.empty()) loop.run.telemetry->Say(line);
  WG_ASSIGN(RunSummary summary, loop.run.Finish());
  summary.seconds = static_cast<double>(loop.run.clock.MonotonicNs() - begin) * 1e-9;
  return summary;
}

}  // namespace waggle
