// A desk's orchestrator: a queue of the leases that the host delegated to it, and the judge of the
// groups that come for them. It makes no lease and forms no batch, so where a lease is sampled
// changes nothing but the place. A state machine without I/O (docs/adr/0017-desks.md).
#pragma once

#include <deque>
#include <map>

#include "run/admission.h"
#include "run/lease_source.h"

namespace waggle {

class DeskCore final : public LeaseSource {
 public:
  // `codec` outlives the core. `version`: the newest that the host is known to have.
  DeskCore(const Recipe& recipe, const TaskCodec& codec, std::size_t vocab, PolicyVersion version)
      : recipe_(recipe), codec_(codec), vocab_(vocab), version_(version) {}

  [[nodiscard]] std::vector<OrchestratorEffect> Step(const OrchestratorEvent& event) override;

  const Lease* LeaseOut(LeaseId id) const override;
  PolicyVersion version() const override { return version_; }
  // Of all leases that are this desk's, and of those among them that wait for a worker.
  std::uint64_t rollouts_held() const { return held_; }
  std::uint64_t rollouts_waiting() const { return waiting_; }

 private:
  using Effects = std::vector<OrchestratorEffect>;
  struct Out {
    WorkerId worker;
    Lease lease;
  };

  void On(const WorkerIdle& event, Effects& effects);
  void On(const GroupArrived& event, Effects& effects);
  void On(const WorkerLost& event, Effects& effects);
  void On(const LeaseTakenBack& event, Effects& effects);
  void On(const LeaseRestored& event, Effects& effects);
  void On(const LeaseCame& event, Effects& effects);
  void On(const IdleLeasesWanted& event, Effects& effects);
  void On(const PolicyPublished& event, Effects& effects);
  template <class Other>
  void On(const Other&, Effects&) {}  // of a run's orchestrator
  void Wait(Lease lease);
  std::map<std::uint64_t, Out>::iterator OutTo(WorkerId worker, LeaseId id);

  const Recipe recipe_;
  const TaskCodec& codec_;
  const std::size_t vocab_;
  PolicyVersion version_;
  std::map<std::uint64_t, Out> out_;  // by lease id
  std::deque<Lease> queue_;           // first come, first granted
  std::uint64_t held_ = 0, waiting_ = 0;
};

}  // namespace waggle
