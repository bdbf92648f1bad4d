// The host's board for people and machines: keeps count of what the run does, answers HTTP
// (/metrics, /health/live, /health/ready, /status, /blob/<hash>), takes the operator's orders (POST
// /control/drain with the token of control.json). Nothing here feeds back into the run but the
// orders.
//
// control.json in the run's folder (mode 600): {"http": "127.0.0.1:PORT", "token": "<64 hex>"}. Who
// can read it may drain the run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "host/host_core.h"
#include "http/server.h"
#include "net/server.h"
#include "run/recipe.h"
#include "run/watch_keeper.h"
#include "telemetry/host_metrics.h"

namespace waggle {

// Shares of the time since the host began to listen; for the summary at a run's end.
struct HostTimes {
  double trainer_busy = 0, trainer_idle = 0;  // seconds
  double worker_busy = 0, worker_idle = 0;    // seconds, summed over workers
};

// All but the HTTP thread's own work belongs to the driver's thread.
class HostBoard {
 public:
  // address: "host:port", or "off". Writes control.json, unless off. blobs: also served, at
  // /blob/<hash>; null: none. It and `clock` outlive the board.
  static Result<std::unique_ptr<HostBoard>> Open(const std::string& address,
                                                 const std::filesystem::path& run_directory,
                                                 const Hash256& run, const Recipe& recipe,
                                                 Clock& clock, BlobSource* blobs = nullptr);
  ~HostBoard();

  std::string url() const;  // empty: off

  void Kept(const StoreEntry& entry);
  void Sent(std::size_t frame_bytes);
  void Batch(const TrainOn& batch, PolicyVersion current);
  void Published(PolicyVersion version);
  void OverLimit(std::size_t groups) {
    metrics_.Add(HostMetric::kOverLimit, static_cast<double>(groups));
  }
  void Watched(const WatchKeeper& watch);
  // The line about feasibility, else empty: as soon as a step's time is known, and again when it is
  // known how long a version takes to come back as rollouts.
  std::string Stepped(double seconds);
  void Tick(const HostCore& core, bool trainer_busy, const NodeServer::Load& load);
  // What the operator asked for since the last call.
  std::vector<HostEvent> TakeOrders();
  HostTimes times() const;

 private:
  HostBoard(const Hash256& run, const Recipe& recipe, Clock& clock, BlobSource* blobs);
  HttpResponse Answer(const HttpRequest& request);
  HttpResponse Order(const HttpRequest& request);
  void Arrived(const Group& group);
  void LookAtAudits(const AuditTally& tally);
  void LookAtTheCrowd(const HostCore& core, std::int64_t now_ns);
  std::string StatusText(const HostCore& core, bool trainer_busy);

  struct Seen {  // of one node, while it was connected
    double busy = 0, idle = 0;
  };

  const Hash256 run_;
  const OrchestratorRecipe plan_;
  Clock& clock_;
  HostMetrics metrics_;
  std::map<NodeId, Seen> seen_;
  std::map<Outcome, std::uint64_t> outcomes_;
  std::int64_t began_ns_ = 0, ticked_ns_ = 0, looked_ns_ = 0;
  double step_seconds_ = 0, batch_tokens_ = 0, staleness_ = 0;  // of the last step
  std::map<std::uint64_t, std::int64_t> announced_ns_;  // by version, until a group under it came
  std::optional<double> way_seconds_;
  std::uint64_t verdicts_timed_ = 0;  // that were observed
  std::string watch_;                 // level of the last window; empty: no watch, no window
  bool told_ = false, way_told_ = false;
  std::string token_;
  std::filesystem::path control_;
  std::string place_;  // host:port

  std::mutex mutex_;  // what the HTTP thread shares
  std::string status_;
  bool ready_ = false, asked_ = false;  // asked_: somebody waits for a new status_
  std::condition_variable written_;
  std::set<NodeId> known_;
  std::vector<HostEvent> orders_;
  BlobSource* const blobs_;
  std::unique_ptr<HttpServer> http_;  // last: it uses the others
};

// What a host that just began can say about its need: how many tokens a step takes.
std::string NeedText(const OrchestratorRecipe& plan, std::uint32_t tokens_max);
// How fast volunteers have to sample so that the trainer never waits, and how old rollouts then
// get.
// way_seconds: from the announcement of a version to the first group under it; nothing: not known.
// A rollout is at most ahead + ceil(way / step) versions old (gradient.md 1.8).
std::string FeasibilityText(const OrchestratorRecipe& plan, double batch_tokens,
                            double step_seconds, std::optional<double> way_seconds);

}  // namespace waggle
