#include "ledger/verdict_weights.h"

#include <algorithm>

#include "ledger/emissions.h"

namespace waggle {
namespace {

constexpr std::uint64_t kTempo = 360;

bool Bad(Finding finding) { return finding != Finding::kAccepted && finding != Finding::kFault; }

// Shares as the row that a validator sets: the largest is 65535, zeros are left out.
YumaRow RowOf(const std::vector<Fixed>& shares) {
  Fixed most;
  for (const Fixed share : shares) most = std::max(most, share);
  YumaRow row;
  for (std::size_t uid = 0; uid < shares.size() && most.raw > 0; ++uid) {
    const auto value = static_cast<std::uint16_t>(ShareOf(65535, shares[uid].raw, most.raw));
    if (value > 0) row.push_back({static_cast<std::uint16_t>(uid), value});
  }
  return row;
}

template <class T>
T Of(const std::map<NodeId, T>& all, const NodeId& node) {
  const auto found = all.find(node);
  return found == all.end() ? T{} : found->second;
}

// Shares of all places by their scores: the pool's parts, and what burns.
std::vector<Fixed> SharesOf(const GrailScoring& scoring, const std::vector<std::uint64_t>& scores) {
  std::uint64_t cap = scoring.cap;
  if (cap == 0) cap = std::max<std::uint64_t>(1, *std::ranges::max_element(scores));
  std::vector<Fixed> shares = PowerShares(scores, cap, scoring.exponent, scoring.pool);
  shares[0] = Fixed::One() - Sum(shares);
  return shares;
}

}  // namespace

void VerdictBook::See(const LedgerEntry& entry, std::span<const LedgerEvent> events,
                      const Ledger& after) {
  if (const auto* commit = std::get_if<CommitBatch>(&entry.request.body)) {
    const BatchClaim& claim = commit->claim;
    runs_[claim.run][claim.epoch].rollouts[claim.worker] = claim.work.rollouts;
  }
  for (const LedgerEvent& event : events) {
    if (event.run == LedgerRun{}) continue;
    const auto epoch = [&]() -> Epoch& { return runs_[event.run][event.epoch]; };
    switch (event.kind) {
      case LedgerEventKind::kVerdict:
        epoch().verdicts[event.who][event.other] = static_cast<Finding>(event.number);
        break;
      case LedgerEventKind::kPaid:
      case LedgerEventKind::kPayVesting:
        epoch().worker_paid[event.who] += event.amount;
        break;
      case LedgerEventKind::kRolePaid:
        if (event.number == static_cast<std::uint64_t>(PaidRole::kValidator))
          epoch().validator_paid[event.who] += event.amount;
        break;
      case LedgerEventKind::kEpochSettled: {
        Epoch& settled = epoch();
        if (settled.settled) break;  // once more, for what was in dispute
        settled.settled = true;
        for (const NodeId& validator : after.FindRun(event.run)->validators) {
          const RunMember* member = after.MemberOf(event.run, validator);
          const Credits stake = member == nullptr ? Credits{} : member->AtStake();
          settled.stakes[validator] = static_cast<std::uint64_t>(stake.value);
        }
        break;
      }
      default:  // says nothing of work
        break;
    }
  }
}

std::map<NodeId, std::uint64_t> VerdictBook::ScoresOf(const GrailScoring& scoring,
                                                      const Epochs& epochs, std::uint64_t last,
                                                      const NodeId& validator) {
  struct Sum {
    std::uint64_t rollouts = 0, active = 0, checked = 0;
    bool bad = false;
  };
  std::map<NodeId, Sum> sums;
  std::uint32_t windows = 0;
  for (auto at = epochs.upper_bound(last); at != epochs.begin() && windows < scoring.windows;) {
    const Epoch& epoch = (--at)->second;
    if (epoch.rollouts.empty()) continue;
    ++windows;
    const auto said = epoch.verdicts.find(validator);
    for (const auto& [worker, rollouts] : epoch.rollouts) {
      Sum& sum = sums[worker];
      ++sum.active;
      if (said == epoch.verdicts.end()) continue;
      const auto verdict = said->second.find(worker);
      if (verdict == said->second.end() || verdict->second == Finding::kFault) continue;
      ++sum.checked;
      sum.bad = sum.bad || Bad(verdict->second);
      sum.rollouts += rollouts;
    }
  }
  std::map<NodeId, std::uint64_t> scores;
  for (const auto& [worker, sum] : sums)
    scores[worker] = sum.bad || sum.checked == 0 ? 0 : sum.rollouts * sum.active / sum.checked;
  return scores;
}

// Places are the same in all epochs, so that bonds can be carried.
class VerdictBook::Market {
 public:
  Market(const GrailScoring& scoring, const Epochs& epochs) : scoring_(scoring), epochs_(epochs) {
    std::set<NodeId> all;
    for (const auto& [number, epoch] : epochs) {
      for (const auto& [worker, rollouts] : epoch.rollouts) all.insert(worker);
      for (const auto& [validator, verdicts] : epoch.verdicts) all.insert(validator);
    }
    nodes_.assign(all.begin(), all.end());
    rows_.resize(places());
  }
  std::size_t places() const { return nodes_.size() + 1; }  // the first burns

  // Epochs ascend.
  Result<WeighedEpoch> Weigh(const LedgerRun& run, std::uint64_t number) {
    const Epoch& epoch = epochs_.at(number);
    WeighedEpoch one{.run = run,
                     .epoch = number,
                     .nodes = NodesOf(epoch),
                     .weights = {},
                     .outcome = {},
                     .emission = {}};
    one.weights = Hear(epoch, number);
    YumaEpoch yuma{.now = (number + 1) * kTempo, .last_epoch = height_};
    yuma.neurons = NeuronsOf(one.nodes);
    yuma.weights = rows_;
    yuma.bonds = bonds_;
    const YumaSettings settings{.version = scoring_.version, .commit_reveal = false};
    WG_ASSIGN(one.outcome, RunYuma(settings, yuma));
    bonds_ = one.outcome.bonds;
    height_ = yuma.now;
    std::int64_t paid = 0;
    for (const WeighedNode& node : one.nodes)
      paid += node.worker_paid.value + node.validator_paid.value;
    one.emission = SplitEmission(one.outcome, static_cast<std::uint64_t>(paid));
    return one;
  }

 private:
  std::size_t UidOf(const NodeId& node) const {
    const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), node);
    return static_cast<std::size_t>(at - nodes_.begin()) + 1;
  }
  // What the ledger says of everybody who has a place.
  std::vector<WeighedNode> NodesOf(const Epoch& epoch) const {
    std::vector<WeighedNode> out(1);
    for (const NodeId& node : nodes_) {
      out.push_back({.node = node,
                     .stake = Of(epoch.stakes, node),
                     .worker_paid = Of(epoch.worker_paid, node),
                     .validator_paid = Of(epoch.validator_paid, node)});
    }
    return out;
  }
  // Whoever gave a verdict sets weights; the others leave those that they set before.
  std::vector<std::vector<Fixed>> Hear(const Epoch& epoch, std::uint64_t number) {
    std::vector<std::vector<Fixed>> weights(places());
    for (const auto& [validator, verdicts] : epoch.verdicts) {
      std::vector<std::uint64_t> scores(places(), 0);
      for (const auto& [worker, score] : ScoresOf(scoring_, epochs_, number, validator))
        scores[UidOf(worker)] = score;
      const std::size_t uid = UidOf(validator);
      weights[uid] = SharesOf(scoring_, scores);
      rows_[uid] = RowOf(weights[uid]);
      spoke_[uid] = number * kTempo + 1;
    }
    return weights;
  }
  // Validators with nothing at stake weigh the same, if that is all of them.
  std::vector<YumaNeuron> NeuronsOf(std::vector<WeighedNode>& nodes) const {
    const bool staked =
        std::ranges::any_of(spoke_, [&](const auto& one) { return nodes[one.first].stake > 0; });
    std::vector<YumaNeuron> neurons(places());
    for (const auto& [uid, when] : spoke_) {
      nodes[uid].validator = true;
      neurons[uid].stake = staked ? nodes[uid].stake : 1;
      neurons[uid].last_update = when;
      neurons[uid].permit = neurons[uid].stake > 0;
    }
    return neurons;
  }

  const GrailScoring& scoring_;
  const Epochs& epochs_;
  std::vector<NodeId> nodes_;                   // ascending; uid - 1
  std::map<std::size_t, std::uint64_t> spoke_;  // validators, by uid: when, in blocks
  std::vector<YumaRow> rows_, bonds_;
  std::uint64_t height_ = 0;  // of the last epoch
};

Result<std::vector<WeighedEpoch>> VerdictBook::Weigh(const GrailScoring& scoring) const {
  std::vector<WeighedEpoch> out;
  for (const auto& [run, epochs] : runs_) {
    Market market(scoring, epochs);
    if (market.places() > kYumaNeuronsMax)
      return Fail(Blame::kOperator, "{} nodes, a market has {} places", market.places() - 1,
                  kYumaNeuronsMax);
    for (const auto& [number, epoch] : epochs) {
      if (!epoch.settled || epoch.verdicts.empty()) continue;
      WG_ASSIGN(WeighedEpoch one, market.Weigh(run, number));
      out.push_back(std::move(one));
    }
  }
  return out;
}

}  // namespace waggle
