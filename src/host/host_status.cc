#include "host/host_status.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hex.h"
#include "channel/blob_pages.h"
#include "crypto/random.h"

namespace waggle {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kSeenMax = 10'000;
constexpr std::int64_t kLookNs = 1'000'000'000;
constexpr std::chrono::milliseconds kStatusPatience{500};

HttpResponse JsonResponse(int status, const Json& value) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  response.text = value.dump() + "\n";
  return response;
}

HttpResponse Text(int status, std::string text) {
  HttpResponse response;
  response.status = status;
  response.text = std::move(text) + "\n";
  return response;
}

double Share(double part, double rest) { return part + rest > 0 ? part / (part + rest) : 0.0; }

}  // namespace

std::string NeedText(const OrchestratorRecipe& plan, std::uint32_t tokens_max) {
  return fmt::format(
      "a step takes {} rollouts of up to {} tokens; how many tokens/s keep the trainer busy is "
      "said "
      "after the first step",
      std::uint64_t{plan.groups_per_step} * plan.group_size, tokens_max);
}

std::string FeasibilityText(const OrchestratorRecipe& plan, double batch_tokens,
                            double step_seconds, std::optional<double> way_seconds) {
  const double needed = step_seconds > 0 ? batch_tokens / step_seconds : 0;
  std::string text = fmt::format(
      "a step takes {:.0f} sampled tokens and {:.2f} s of the trainer: it never waits if "
      "volunteers "
      "sample {:.0f} tokens/s together",
      batch_tokens, step_seconds, needed);
  if (plan.ahead == 0) {
    text +=
        "; with orchestrator.ahead = 0 sampling and training take turns, so it waits in any case";
    return text;
  }
  const double late = way_seconds && step_seconds > 0 ? std::ceil(*way_seconds / step_seconds) : 0;
  const double age = static_cast<double>(plan.ahead) + late;
  if (way_seconds)
    text += fmt::format("; the first rollout under a version came {:.2f} s after its announcement",
                        *way_seconds);
  if (age > static_cast<double>(plan.lag_versions_max)) {
    text += fmt::format(
        "; rollouts may be {:.0f} versions old, beyond lag_versions_max = {}: they would be thrown "
        "away",
        age, plan.lag_versions_max);
  } else {
    text += fmt::format("; rollouts are up to {:.0f} versions old, of {} allowed", age,
                        plan.lag_versions_max);
  }
  return text;
}

HostBoard::HostBoard(const Hash256& run, const Recipe& recipe, Clock& clock, BlobSource* blobs)
    : run_(run), plan_(recipe.orchestrator), clock_(clock), blobs_(blobs) {
  began_ns_ = ticked_ns_ = clock.MonotonicNs();
  looked_ns_ = began_ns_ - kLookNs;
}

Result<std::unique_ptr<HostBoard>> HostBoard::Open(const std::string& address,
                                                   const std::filesystem::path& run_directory,
                                                   const Hash256& run, const Recipe& recipe,
                                                   Clock& clock, BlobSource* blobs) {
  std::unique_ptr<HostBoard> board(new HostBoard(run, recipe, clock, blobs));
  std::error_code ignored;
  std::filesystem::remove(run_directory / "control.json", ignored);  // of a host that was killed
  if (address == "off") return board;
  board->token_ = ToHex(RandomBytes<32>());
  WG_ASSIGN(board->http_, HttpServer::Start(address, {}, clock, [b = board.get()](const auto& r) {
              return b->Answer(r);
            }));
  board->place_ = fmt::format("{}:{}", address.substr(0, address.rfind(':')), board->http_->port());
  board->control_ = run_directory / "control.json";
  WG_TRY(WriteFileAtomic(board->control_,
                         Json{{"http", board->place_}, {"token", board->token_}}.dump() + "\n",
                         {.mode = 0600}));
  return board;
}

HostBoard::~HostBoard() {
  if (http_) http_->Stop();
  std::error_code ignored;
  if (!control_.empty()) std::filesystem::remove(control_, ignored);
}

std::string HostBoard::url() const { return http_ ? "http://" + place_ : ""; }

void HostBoard::Kept(const StoreEntry& entry) {
  if (const auto* record = std::get_if<OutcomeRecord>(&entry)) {
    metrics_.CountOutcome(record->outcome);
    ++outcomes_[record->outcome];
    metrics_.Add(HostMetric::kTokens, static_cast<double>(record->tokens));
  } else if (std::holds_alternative<LeaseHolder>(entry)) {
    metrics_.Add(HostMetric::kGrants, 1);
  } else if (const auto* accepted = std::get_if<GroupRecord>(&entry)) {
    Arrived(accepted->group);
  }
}

void HostBoard::Published(PolicyVersion version) {
  announced_ns_[version.value] = clock_.MonotonicNs();
}

// The newest version in a group says how far the weights have come.
void HostBoard::Arrived(const Group& group) {
  std::uint64_t newest = 0;
  for (const Rollout& rollout : group.rollouts) {
    for (const VersionSpan& span : rollout.spans) newest = std::max(newest, span.version.value);
  }
  const auto announced = announced_ns_.find(newest);
  if (announced == announced_ns_.end()) return;
  way_seconds_ = static_cast<double>(clock_.MonotonicNs() - announced->second) * 1e-9;
  metrics_.Set(HostMetric::kPolicyWay, *way_seconds_);
  announced_ns_.erase(announced_ns_.begin(), std::next(announced));
}

void HostBoard::Sent(std::size_t frame_bytes) {
  metrics_.Add(HostMetric::kFrameBytes, static_cast<double>(frame_bytes));
}

void HostBoard::Batch(const TrainOn& batch, PolicyVersion current) {
  double tokens = 0, ages = 0, rollouts = 0;
  for (const ScoredGroup& scored : batch.groups) {
    for (const Rollout& rollout : scored.group.rollouts) {
      std::uint64_t oldest = current.value;
      for (const VersionSpan& span : rollout.spans) oldest = std::min(oldest, span.version.value);
      metrics_.Observe(HostMetric::kStaleness, static_cast<double>(current.value - oldest));
      ages += static_cast<double>(current.value - oldest);
      ++rollouts;
      for (const std::uint8_t sampled : rollout.loss_mask) tokens += sampled;
    }
  }
  batch_tokens_ = tokens;
  staleness_ = rollouts > 0 ? ages / rollouts : 0;
}

std::string HostBoard::Stepped(double seconds) {
  step_seconds_ = seconds;
  metrics_.Observe(HostMetric::kStepSeconds, seconds);
  metrics_.Add(HostMetric::kSteps, 1);
  const bool know_more = way_seconds_ && plan_.ahead > 0 && !way_told_;
  if (batch_tokens_ == 0 || (told_ && !know_more)) return "";
  told_ = true;
  way_told_ = know_more;
  return FeasibilityText(plan_, batch_tokens_, seconds, way_seconds_);
}

void HostBoard::Tick(const HostCore& core, bool trainer_busy, const NodeServer::Load& load) {
  const std::int64_t now = clock_.MonotonicNs();
  const double passed = static_cast<double>(now - std::exchange(ticked_ns_, now)) * 1e-9;
  metrics_.Add(trainer_busy ? HostMetric::kTrainerBusy : HostMetric::kTrainerIdle, passed);
  LookAtTheCrowd(core, now);
  const LeaseBook::Counts counts = core.leases().counts();
  const auto set = [&](HostMetric metric, auto value) {
    metrics_.Set(metric, static_cast<double>(value));
  };
  set(HostMetric::kWorkers, counts.present);
  set(HostMetric::kWaiting, counts.waiting);
  set(HostMetric::kLeasesHeld, counts.open_grants);
  set(HostMetric::kVersion, core.orchestrator().version().value);
  set(HostMetric::kQueuedBytes, load.queued_bytes);
  set(HostMetric::kSockets, load.sockets);
  set(HostMetric::kRefusals, core.counts().refusals);
  set(HostMetric::kSlowDowns, core.counts().slow_downs);
  set(HostMetric::kDraining, core.draining() ? 1 : 0);
  set(HostMetric::kDesks, core.desks().views().size());
  set(HostMetric::kDelegated, core.desks().held());
  if (core.audits() != nullptr) LookAtAudits(core.audits()->tally());
  if (http_) {
    set(HostMetric::kHttpBytes, http_->counts().body_bytes);
    set(HostMetric::kHttpTurnedAway, http_->counts().turned_away);
  }
  const std::lock_guard lock(mutex_);
  ready_ = !core.draining();
  // Ten thousand nodes are a long text: written when somebody reads it.
  if (!status_.empty() && !std::exchange(asked_, false)) return;
  status_ = StatusText(core, trainer_busy);
  written_.notify_all();
}

void HostBoard::Watched(const WatchKeeper& watch) {
  const std::optional<Level> level = watch.level();
  if (!level) return;
  watch_ = ToString(*level);
  metrics_.Set(HostMetric::kWatchLevel, static_cast<double>(*level));
}

void HostBoard::LookAtAudits(const AuditTally& tally) {
  const AuditTally::Counts& counts = tally.counts();
  const auto set = [&](HostMetric metric, auto value) {
    metrics_.Set(metric, static_cast<double>(value));
  };
  const auto units = [](Credits credits) {
    return static_cast<double>(credits.value) / static_cast<double>(kCreditsPerUnit);
  };
  set(HostMetric::kBatches, counts.batches);
  set(HostMetric::kAuditsDrawn, counts.drawn);
  set(HostMetric::kCanariesPlanted, counts.canaries);
  set(HostMetric::kCanariesFound, counts.canaries_found);
  set(HostMetric::kCanariesMissed, counts.canaries_missed);
  set(HostMetric::kPaid, units(counts.paid));
  set(HostMetric::kForfeited, units(counts.forfeited));
  set(HostMetric::kEpochsOpen, counts.epochs_open);
  for (auto finding = Finding::kAccepted; IsKnown(finding);
       finding = static_cast<Finding>(static_cast<int>(finding) + 1))
    metrics_.SetVerdicts(finding,
                         static_cast<double>(counts.verdicts[static_cast<std::size_t>(finding)]));
  const auto fresh = static_cast<std::size_t>(
      std::min<std::uint64_t>(counts.timed - verdicts_timed_, tally.seconds().size()));
  for (std::size_t i = tally.seconds().size() - fresh; i < tally.seconds().size(); ++i)
    metrics_.Observe(HostMetric::kVerdictSeconds, tally.seconds()[i]);
  verdicts_timed_ = counts.timed;
}

// Once a second: it may be a large one.
void HostBoard::LookAtTheCrowd(const HostCore& core, std::int64_t now_ns) {
  if (now_ns - looked_ns_ < kLookNs) return;
  const double passed = static_cast<double>(now_ns - std::exchange(looked_ns_, now_ns)) * 1e-9;
  std::set<NodeId> known;
  for (const LeaseBook::WorkerView& worker : core.leases().workers()) {
    if (!worker.present) continue;
    known.insert(worker.node);
    metrics_.Add(worker.leases > 0 ? HostMetric::kWorkerBusy : HostMetric::kWorkerIdle, passed);
    if (seen_.size() >= kSeenMax && !seen_.contains(worker.node)) continue;
    (worker.leases > 0 ? seen_[worker.node].busy : seen_[worker.node].idle) += passed;
  }
  const std::lock_guard lock(mutex_);
  known_ = std::move(known);
}

std::string HostBoard::StatusText(const HostCore& core, bool trainer_busy) {
  const HostTimes spent = times();
  const double seconds = static_cast<double>(ticked_ns_ - began_ns_) * 1e-9;
  Json status = {
      {"run", ToHex(run_)},
      {"version", core.orchestrator().version().value},
      {"steps", plan_.steps},
      {"seconds", seconds},
      {"draining", core.draining()},
      {"workers", core.leases().counts().present},
      {"waiting", core.leases().counts().waiting},
      {"open_grants", core.leases().counts().open_grants},
      {"accepted_tokens", metrics_.Value(HostMetric::kTokens)},
      {"tokens_per_second", seconds > 0 ? metrics_.Value(HostMetric::kTokens) / seconds : 0},
      {"tokens_per_second_needed", step_seconds_ > 0 ? batch_tokens_ / step_seconds_ : 0},
      {"staleness_mean", staleness_},
      {"step_seconds", step_seconds_},
      {"trainer_busy_now", trainer_busy},
      {"trainer_idle_share", Share(spent.trainer_idle, spent.trainer_busy)},
      {"worker_idle_share", Share(spent.worker_idle, spent.worker_busy)}};
  status["outcomes"] = Json::object();
  for (const auto& [outcome, count] : outcomes_) status["outcomes"][ToString(outcome)] = count;
  status["nodes"] = Json::array();
  for (const LeaseBook::WorkerView& worker : core.leases().workers()) {
    const auto seen = seen_.find(worker.node);
    const Seen times = seen == seen_.end() ? Seen{} : seen->second;
    status["nodes"].push_back({{"node", ToText(worker.node)},
                               {"present", worker.present},
                               {"waiting", worker.waiting},
                               {"draining", worker.draining},
                               {"leases", worker.leases},
                               {"tokens_per_second", worker.tokens_per_second},
                               {"accepted", worker.accepted},
                               {"lost", worker.lost},
                               {"tokens", worker.tokens},
                               {"idle_share", Share(times.idle, times.busy)}});
  }
  if (!watch_.empty()) status["watch"] = watch_;
  status["desks"] = Json::array();
  for (const Delegations::View& desk : core.desks().views()) {
    status["desks"].push_back({{"desk", desk.seen.desk.value},
                               {"node", ToText(desk.seen.node)},
                               {"silent_ms", desk.seen.silent_ms},
                               {"leases", desk.leases},
                               {"rollouts", desk.rollouts},
                               {"target", desk.seen.target},
                               {"accepted", desk.accepted},
                               {"tokens", desk.tokens}});
  }
  return status.dump();
}

std::vector<HostEvent> HostBoard::TakeOrders() {
  const std::lock_guard lock(mutex_);
  return std::exchange(orders_, {});
}

HostTimes HostBoard::times() const {
  return {.trainer_busy = metrics_.Value(HostMetric::kTrainerBusy),
          .trainer_idle = metrics_.Value(HostMetric::kTrainerIdle),
          .worker_busy = metrics_.Value(HostMetric::kWorkerBusy),
          .worker_idle = metrics_.Value(HostMetric::kWorkerIdle)};
}

// On the HTTP thread.
HttpResponse HostBoard::Answer(const HttpRequest& request) {
  if (request.method == HttpMethod::kPost)
    return request.path == "/control/drain" ? Order(request) : Text(404, "nothing to do here");
  if (request.path == "/metrics") {
    HttpResponse response = Text(200, "");
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.text = metrics_.Text();
    return response;
  }
  if (request.path == "/health/live") return Text(200, "alive");
  if (blobs_ != nullptr) {
    if (auto blob = AnswerBlob(*blobs_, request)) return std::move(*blob);
  }
  std::unique_lock lock(mutex_);
  if (request.path == "/health/ready") {
    if (ready_) return Text(200, "ready");
    return Text(503, status_.empty() ? "starting" : "draining");
  }
  if (request.path != "/status")
    return Text(404, "/metrics, /status, /health/live and /health/ready are here");
  if (status_.empty()) return Text(503, "starting");
  asked_ = true;
  written_.wait_for(lock, kStatusPatience, [&] { return !asked_; });  // else: as it was
  HttpResponse response = Text(200, status_);
  response.content_type = "application/json";
  return response;
}

HttpResponse HostBoard::Order(const HttpRequest& request) {
  const std::string given = request.Header("authorization"), wanted = "Bearer " + token_;
  if (given.size() != wanted.size() ||
      ::sodium_memcmp(given.data(), wanted.data(), wanted.size()) != 0)
    return Text(403, "this needs the token of the run's control.json");
  const auto order = nlohmann::json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (!order.is_object()) return Text(400, "the body is a JSON object");
  const std::lock_guard lock(mutex_);
  if (!order.contains("node")) {
    orders_.emplace_back(DrainRun{});
    return JsonResponse(202, {{"draining", "run"}});
  }
  if (!order["node"].is_string()) return Text(400, "'node' is an address, wgl1...");
  const auto node = ParseNodeId(order["node"].get_ref<const std::string&>());
  if (!node) return Text(400, "'node': " + node.error().what);
  if (!known_.contains(*node)) return Text(404, "this node is not connected");
  orders_.emplace_back(DrainNode{*node});
  return JsonResponse(202, {{"draining", ToText(*node)}});
}

}  // namespace waggle
