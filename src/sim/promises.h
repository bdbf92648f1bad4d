// What must hold, whatever goes wrong: an observer beside the simulated nodes that sees what is
// kept, trained on, published and heard, and remembers the first promise that was broken. It knows
// who is honest; the nodes do not.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "host/host_core.h"
#include "sim/site.h"

namespace waggle {

class Promises {
 public:
  explicit Promises(const Site& site) : site_(site) {}

  const std::optional<std::string>& broken() const { return broken_; }
  void Break(std::string promise);  // the first one counts

  void AddHonest(const NodeId& node) { honest_.insert(node); }
  void NoLongerHonest(const NodeId& node) { honest_.erase(node); }
  bool honest(const NodeId& node) const { return honest_.contains(node); }

  // The host's side. Kept: on disk, in this order.
  void Kept(const StoreEntry& entry);
  void HostBegan(PolicyVersion version, const ToyPolicy& policy);
  void Trained(const TrainOn& batch, PolicyVersion current, const std::vector<LeaseId>& forged);
  void Published(PolicyVersion version, const ToyPolicy& policy);
  void Closed(const NodeId& node, const std::string& why);
  // After what a step said was performed. links: that the transport has open, or has to report.
  void Settled(const HostCore& core, std::size_t links_told, bool deep,
               const LeaseBookSettings& settings);

  // A worker's side.
  void Heard(const NodeId& node, const OutcomeRecord& record);
  void Sampled(PolicyVersion version, const ToyPolicy& policy, const NodeId& node);
  void HungUp(const NodeId& node, const std::string& why);

  void Finished(PolicyVersion version, const ToyPolicy& policy, const Undisturbed* undisturbed);

  struct Stats {
    std::map<Outcome, std::uint64_t> outcomes;
    std::map<std::uint64_t, std::uint64_t> staleness;  // groups by versions behind
    std::map<NodeId, std::uint64_t> accepted;          // groups by worker
    std::uint64_t granted = 0, trained = 0, forged = 0, foreign = 0, refusals = 0, restarts = 0;
    double first_reward = 0, last_reward = 0;
    std::size_t open_peak = 0, waiting_peak = 0, workers_peak = 0;
  };
  const Stats& stats() const { return stats_; }

 private:
  struct Accepted {
    Hash256 group{};
    NodeId node;
    bool known = false;                  // its outcome was kept too
    std::optional<std::uint64_t> place;  // that its receipt says, where batches form by arrival
  };
  void Kept(const LeaseHolder& holder);
  void Kept(const GroupRecord& record);
  void Kept(const OutcomeRecord& record);
  void Kept(const DeskEntry&) {}  // no desks here
  void CheckGroup(const ScoredGroup& scored, const Lease& lease, PolicyVersion current);
  void CheckUsedOnce(const TrainOn& batch);
  void CheckPlaces(const TrainOn& batch);
  void ForgetBefore(std::uint64_t wave);

  const Site& site_;
  std::optional<std::string> broken_;
  std::set<NodeId> honest_;
  std::set<std::pair<std::uint64_t, NodeId>> open_;
  std::map<std::uint64_t, Accepted> accepted_;      // by lease
  std::map<std::uint64_t, std::uint32_t> of_wave_;  // accepted, by wave
  std::map<std::uint64_t, Hash256> batches_;        // by number
  std::map<std::uint64_t, std::uint64_t> used_in_;  // batch, by lease
  std::map<std::uint64_t, Hash256> roots_;          // by version
  std::map<std::uint64_t, ToyPolicy> policies_;     // the newest ones
  std::optional<PolicyVersion> version_;            // of the host that lives
  std::uint64_t forgotten_ = 0;                     // waves before this one
  Stats stats_;
};

}  // namespace waggle
