// The loop of a host (host_run.h): what it holds and what it does between two looks at the network.
// host_open.cc opens it and brings it to where it was; host_run.cc turns it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "audit/round_keeper.h"
#include "host/audit_books.h"
#include "host/host_core.h"
#include "host/host_log.h"
#include "host/host_run.h"
#include "host/host_swarm.h"
#include "host/step_keeper.h"
#include "net/server.h"
#include "run/influence.h"
#include "run/train_thread.h"

namespace waggle {

inline PolicyKind DeltaKindOf(const Recipe& recipe) {
  return recipe.trainer.lora.rank > 0 ? PolicyKind::kAdapter : PolicyKind::kDelta;
}

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
  bool drain_on_red = false;
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
  Status TellDesksTheEnd();
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
  void Drain(const DrainRun& order);
  void DrainIfRed();
  void SayIfNobodyWatches(std::int64_t now);
  bool StopDue(PolicyVersion version) const {
    return run.options.stop_after != 0 && version.value >= run.options.stop_after;
  }
};

}  // namespace waggle
