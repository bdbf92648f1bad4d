// The host's machine: the real HostCore and TrainerCore, a toy trainer, a disk; performed as
// host/host_run.cc does, with one commit for whatever came together.
#pragma once

#include <memory>

#include "roles/trainer_core.h"
#include "sim/sim_disk.h"
#include "sim/sim_parts.h"

namespace waggle {

class SimHost {
 public:
  // key outlives the host.
  SimHost(SimParts& parts, const Signer& key, const Undisturbed* undisturbed);

  void Boot();
  // keeps: what was to be committed is on disk, and nobody was told.
  void Kill(bool keeps);
  bool alive() const { return core_ != nullptr; }
  bool done() const { return done_; }  // the run is over and the process ended
  bool finished() const { return finished_; }

  void Opened(LinkId link);
  void Heard(LinkId link, Bytes bytes);
  void Closed(LinkId link);

  SimDisk disk;
  bool die_while_writing = false;  // an outcome, the next time
  SimClock clock;

  struct Stats {
    std::uint64_t commits = 0, deaths = 0, caught_up = 0, entries = 0;
    Micros training = 0, lived = 0;
    std::optional<Micros> finished;
  };
  const Stats& stats() const { return stats_; }
  std::string State() const;  // in words, for whoever wonders why nothing moves
  PolicyVersion version() const { return conduct_ ? conduct_->version() : PolicyVersion{}; }

 private:
  void Listen();
  void CatchUp(std::uint64_t from);
  void Step(const HostEvent& event);
  void Settle();
  Status Commit();
  Status Perform(HostEffect effect);
  Status Train(TrainOn batch);
  void Trained(TrainOn batch);
  void Publish(PolicyOut& out);
  void Put(PolicyOut& out, const ToyPolicy& before);
  Status Remember(std::uint64_t first, std::uint64_t end);
  void Die();
  bool DieWhileWriting();
  void Tick();
  void End();

  SimParts& parts_;
  const Signer& key_;
  const Undisturbed* undisturbed_;
  const HostSettings settings_;
  NonceSource nonces_;
  Rng luck_;
  std::uint32_t life_ = 0;

  // Of the process.
  std::unique_ptr<HostCore> core_;  // null: no process
  std::unique_ptr<TrainerCore> conduct_;
  ToyPolicy policy_;
  std::vector<HostEffect> pending_;
  bool settling_ = false, catching_up_ = false, finished_ = false, training_ = false;
  bool done_ = false, settle_planned_ = false;
  Micros born_ = 0;
  Stats stats_;
};

}  // namespace waggle
