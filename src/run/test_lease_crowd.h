// For tests: a lease book between a source of leases and a crowd that does anything at any time,
// and a ledger beside it that notices when a lease is lost or a grant ends twice. All from one
// seed.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

#include "base/philox.h"
#include "protocol/limits.h"
#include "run/lease_book.h"

namespace waggle {

// As an orchestrator sees it: leases that exist are with one worker, waiting to be granted, or
// done.
class CountedLeases {
 public:
  explicit CountedLeases(std::size_t ahead) : ahead_(ahead) {}

  std::vector<Lease> Ask(WorkerId worker, std::uint32_t room) {
    std::vector<Lease> leases;
    while (room > 0) {
      Lease lease{.group_size = 4};
      if (!returned_.empty()) {
        lease.id = LeaseId{*returned_.begin()};
        returned_.erase(returned_.begin());
      } else if (holder_.size() < ahead_) {
        lease.id = LeaseId{++made_};
      } else {
        break;
      }
      room -= std::min(room, lease.group_size);
      EXPECT_TRUE(holder_.emplace(lease.id.value, worker.value).second);
      leases.push_back(lease);
    }
    return leases;
  }
  void TakeBack(WorkerId worker, LeaseId lease) {
    const auto found = holder_.find(lease.value);
    ASSERT_TRUE(found != holder_.end() && found->second == worker.value)
        << "taken back from somebody who does not hold it";
    holder_.erase(found);
    returned_.insert(lease.value);
  }
  Verdict Judge(WorkerId worker, LeaseId lease, std::uint32_t luck) {
    const auto found = holder_.find(lease.value);
    EXPECT_TRUE(found != holder_.end() && found->second == worker.value);
    holder_.erase(found);
    if (luck < 80) {
      EXPECT_TRUE(done_.insert(lease.value).second) << "accepted twice";
      return Accepted{};
    }
    returned_.insert(lease.value);
    if (luck < 90) return Reject{RejectReason::kWrongTask, "no"};
    if (luck < 95) return Reject{RejectReason::kStalePolicy, "old"};
    return Fault{"disk"};
  }
  std::size_t made() const { return made_; }
  std::size_t done() const { return done_.size(); }
  // Every lease is in exactly one place.
  bool whole() const { return holder_.size() + returned_.size() + done_.size() == made_; }

 private:
  const std::size_t ahead_;
  std::uint64_t made_ = 0;
  std::map<std::uint64_t, std::uint64_t> holder_;
  std::set<std::uint64_t> returned_, done_;
};

class LeaseCrowd {
 public:
  LeaseCrowd(std::uint64_t seed, const LeaseBookSettings& settings, std::size_t nodes,
             std::size_t ahead)
      : settings_(settings), rng_(seed), book_(settings), source_(ahead) {
    for (std::size_t i = 0; i < nodes; ++i) {
      NodeId id;
      id.value[0] = static_cast<std::uint8_t>(i);
      id.value[1] = static_cast<std::uint8_t>(i >> 8);
      nodes_.push_back(id);
    }
  }

  void Do(const LeaseBookEvent& event) {
    for (const LeaseBookEffect& effect : book_.Step(now_, event)) Perform(effect);
  }

  void RandomOperation() {
    const NodeId node = nodes_[rng_.Below(static_cast<std::uint32_t>(nodes_.size()))];
    switch (rng_.Below(16)) {
      case 0:
        return Do(WorkerJoined{node, rng_.Below(3000)});
      case 1:
        if (rng_.Below(8) == 0) return Do(WorkerLeft{node});
        return Do(WorkerHeard{node});
      case 2:
        now_ += rng_.Below(rng_.Below(20) == 0 ? 40'000 : 500);
        return Do(TimePassed{});
      case 3:
        return Do(LeasesReturned{
            node,
            {.leases = {SomeLease(node), SomeLease(node)},
             .cause = rng_.Below(2) == 0 ? ReturnCause::kFault : ReturnCause::kDraining}});
      case 4:
      case 5:
      case 6:
      case 7:
        return Do(WorkRequested{node, rng_.Below(40)});
      case 8:
        return Do(WorkMayExist{});
      default:
        return Do(GroupCame{node, SomeLease(node), Hash256{}});
    }
  }

  // Everything that must hold after any operation.
  void CheckInvariants() const {
    const LeaseBook::Counts counts = book_.counts();
    std::size_t open = 0;
    for (const auto& [key, n] : open_) open += n;
    ASSERT_EQ(counts.open_grants, open);
    ASSERT_EQ(counts.granted, counts.ended + counts.open_grants);
    ASSERT_EQ(counts.ended, outcomes_);
    ASSERT_TRUE(source_.whole());
    ASSERT_LE(counts.workers, settings_.workers_max);
    ASSERT_LE(counts.waiting, counts.present);
    ASSERT_LE(counts.open_grants, counts.workers * settings_.grants_per_worker_max);
  }

  // One honest worker takes over; the rest fall silent. Every lease must be done, every grant
  // ended.
  void FinishWith(std::size_t node) {
    lucky_ = true;
    for (int i = 0; i < 5000; ++i) {
      now_ += 1000;
      Do(WorkerJoined{nodes_[node]});
      Do(WorkRequested{nodes_[node], 1000});
      while (const auto lease = Held(nodes_[node])) Do(GroupCame{nodes_[node], *lease, Hash256{}});
      Do(WorkerHeard{nodes_[node]});
      Do(TimePassed{});
    }
    const std::size_t made = source_.made();
    now_ += settings_.deadline_ms_max + settings_.grace_ms + 1;
    Do(WorkerJoined{nodes_[node]});
    Do(RunDraining{});
    Do(WorkRequested{nodes_[node], 1});
    now_ += settings_.deadline_ms_max + settings_.grace_ms + 1;
    Do(TimePassed{});
    CheckInvariants();
    EXPECT_EQ(book_.counts().open_grants, 0u);
    EXPECT_EQ(source_.made(), made);
  }

  const LeaseBook& book() const { return book_; }
  const CountedLeases& source() const { return source_; }
  std::uint64_t outcomes() const { return outcomes_; }
  const std::map<Outcome, std::uint64_t>& outcomes_by_kind() const { return by_kind_; }
  const std::map<SlowDownCause, std::uint64_t>& slow_downs() const { return slow_downs_; }
  const std::map<RefusalKind, std::uint64_t>& refusals() const { return refusals_; }

 private:
  using Key = std::pair<NodeId, std::uint64_t>;

  void Perform(const LeaseBookEffect& effect) {
    if (const auto* take = std::get_if<TakeBack>(&effect)) {
      source_.TakeBack(take->worker, take->lease);
    } else if (const auto* ask = std::get_if<AskOrchestrator>(&effect)) {
      ASSERT_GT(ask->rollouts_max, 0u);
      Do(WorkOffered{ask->worker, source_.Ask(ask->worker, ask->rollouts_max)});
    } else if (const auto* judge = std::get_if<JudgeGroup>(&effect)) {
      const Verdict verdict =
          source_.Judge(judge->worker, judge->lease, lucky_ ? 0 : rng_.Below(100));
      Do(GroupGraded{judge->worker, judge->lease, verdict, 100 + rng_.Below(400)});
    } else {
      Hear(std::get<SendTo>(effect));
    }
  }

  void Hear(const SendTo& sent) {
    ASSERT_EQ(Problem(sent.message), "");
    if (const auto* grant = std::get_if<LeaseGrant>(&sent.message)) {
      ASSERT_LE(grant->leases.size(), kProtocol.leases_max);
      for (const GrantedLease& granted : grant->leases) {
        ASSERT_GE(granted.deadline_ms, settings_.deadline_ms_min);
        ASSERT_LE(granted.deadline_ms, settings_.deadline_ms_max);
        ASSERT_EQ(++open_[Key(sent.node, granted.lease.id.value)], 1u) << "granted twice at once";
      }
    } else if (const auto* record = std::get_if<OutcomeRecord>(&sent.message)) {
      ASSERT_EQ(record->worker, sent.node);
      const auto found = open_.find({sent.node, record->lease.value});
      ASSERT_TRUE(found != open_.end()) << "an outcome of nothing that was granted";
      open_.erase(found);
      ++outcomes_;
      ++by_kind_[record->outcome];
    } else if (const auto* slow = std::get_if<SlowDown>(&sent.message)) {
      ++slow_downs_[slow->cause];
    } else {
      ++refusals_[std::get<Refusal>(sent.message).kind];
    }
  }

  std::optional<LeaseId> Held(const NodeId& node) const {
    const auto first = open_.lower_bound({node, 0});
    if (first == open_.end() || first->first.first != node) return std::nullopt;
    return LeaseId{first->first.second};
  }
  // One of its own, mostly.
  LeaseId SomeLease(const NodeId& node) {
    const auto held = Held(node);
    if (!held || rng_.Below(16) == 0)
      return LeaseId{1 + rng_.Below(static_cast<std::uint32_t>(source_.made() + 2))};
    return *held;
  }

  const LeaseBookSettings settings_;
  Rng rng_;
  LeaseBook book_;
  CountedLeases source_;
  std::vector<NodeId> nodes_;
  Milliseconds now_ = 0;
  bool lucky_ = false;
  std::map<Key, std::uint32_t> open_;
  std::uint64_t outcomes_ = 0;
  std::map<Outcome, std::uint64_t> by_kind_;
  std::map<SlowDownCause, std::uint64_t> slow_downs_;
  std::map<RefusalKind, std::uint64_t> refusals_;
};

}  // namespace waggle
