// A volunteer's machine: the real JoinCore, a toy engine that takes its time, and whatever is wrong
// with it.
#pragma once

#include <deque>
#include <memory>

#include "roles/join_core.h"
#include "sim/sim_parts.h"

namespace waggle {

class SimWorker final : public SimPeer {
 public:
  // key outlives the worker. tokens_per_second: of its engine.
  SimWorker(SimParts& parts, PeerIndex peer, const Signer& key, std::uint32_t tokens_per_second);

  // The process.
  void Boot() override;
  void Kill() override;
  bool alive() const { return core_ != nullptr; }
  bool left() const { return left_; }

  // The network's news, for this peer.
  void Up(LinkId link) override;
  void Heard(LinkId link, Bytes bytes) override;
  void Down(LinkId link, const std::string& why) override;

  void Leave() { Step(DrainWanted{}); }
  void Noise(Bytes bytes);
  const std::optional<LinkId>& link() const { return link_; }
  const NodeId& node() const { return key_.id(); }
  Micros linked_at() const { return linked_at_; }

  // What is wrong with it; set by faults.
  std::uint32_t slow_times = 1;
  std::string lie;  // empty: none
  bool repeats = false, forged_fetches = false;
  // Joins, asks for work and never does any.
  bool idler = false;
  SimClock clock;

  struct Times {
    Micros lived = 0, busy = 0;
  };
  Times times() const;
  std::uint64_t accepted() const { return accepted_; }

 private:
  struct Job {
    StartSampling start;
    RequestId request = 0;
  };

  void Step(const JoinEvent& event);
  void Perform(JoinEffect effect);
  void Tick();
  void Dial();
  void Say(Bytes bytes);
  void Fetch(const FetchPolicy& wanted);
  void Fetched(const FetchPolicy& wanted, LinkId link);
  void StartNext();
  void Finish(const TokensSampled& tokens);
  TokensSampled SampleNow(const Job& job) const;
  void Lie(std::vector<TokenEvent>& tokens) const;
  void WatchRequest();

  SimParts& parts_;
  const PeerIndex peer_;
  const Signer& key_;
  const std::uint32_t speed_;
  NonceSource nonces_;
  std::unique_ptr<JoinCore> core_;
  std::uint32_t life_ = 0;  // of this process; what was planned in an older one is void
  std::optional<LinkId> dialing_, link_;
  std::shared_ptr<const ToyPolicy> policy_;
  PolicyVersion version_;
  std::deque<Job> jobs_;
  bool sampling_ = false, left_ = false;
  RequestId next_request_ = 0;
  std::uint64_t accepted_ = 0;
  std::optional<Micros> asked_;  // a request that the host has not answered
  Micros born_ = 0, heard_ = 0, linked_at_ = 0;
  Times times_;
};

}  // namespace waggle
