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

Status VerdictBook::WeighRun(const GrailScoring& scoring, const LedgerRun& run,
                             const Epochs& epochs, std::vector<WeighedEpoch>& out) {
  // Places are the same in all epochs, so that bonds can be carried.
  std::set<NodeId> all;
  for (const auto& [number, epoch] : epochs) {
    for (const auto& [worker, rollouts] : epoch.rollouts) all.insert(worker);
    for (const auto& [validator, verdicts] : epoch.verdicts) all.insert(validator);
  }
  if (all.size() + 1 > kYumaNeuronsMax)
    return Fail(Blame::kOperator, "{} nodes, a market has {} places", all.size(), kYumaNeuronsMax);
  const std::vector<NodeId> order(all.begin(), all.end());
  const auto uid_of = [&](const NodeId& node) {
    const auto at = std::lower_bound(order.begin(), order.end(), node);
    return static_cast<std::size_t>(at - order.begin()) + 1;
  };
  const std::size_t n = order.size() + 1;
  const YumaSettings settings{.version = scoring.version, .commit_reveal = false};
  std::map<NodeId, std::uint64_t> spoke;  // when, in blocks
  std::vector<YumaRow> rows(n), bonds;
  std::uint64_t last_height = 0;
  for (const auto& [number, epoch] : epochs) {
    if (!epoch.settled || epoch.verdicts.empty()) continue;
    WeighedEpoch& one = out.emplace_back();
    one.run = run, one.epoch = number;
    one.nodes.resize(n), one.weights.resize(n);
    YumaEpoch yuma{.now = (number + 1) * kTempo, .last_epoch = last_height};
    yuma.neurons.resize(n);
    std::int64_t paid = 0;
    for (std::size_t uid = 1; uid < n; ++uid) {
      const NodeId& node = order[uid - 1];
      WeighedNode& weighed = one.nodes[uid];
      weighed.node = node;
      if (const auto found = epoch.worker_paid.find(node); found != epoch.worker_paid.end())
        weighed.worker_paid = found->second;
      if (const auto found = epoch.validator_paid.find(node); found != epoch.validator_paid.end())
        weighed.validator_paid = found->second;
      paid += weighed.worker_paid.value + weighed.validator_paid.value;
      if (const auto found = epoch.stakes.find(node); found != epoch.stakes.end())
        weighed.stake = found->second;
    }
    for (const auto& [validator, verdicts] : epoch.verdicts) {
      std::vector<std::uint64_t> scores(n, 0);
      for (const auto& [worker, score] : ScoresOf(scoring, epochs, number, validator))
        scores[uid_of(worker)] = score;
      std::uint64_t cap = scoring.cap;
      if (cap == 0) cap = std::max<std::uint64_t>(1, *std::ranges::max_element(scores));
      std::vector<Fixed> shares = PowerShares(scores, cap, scoring.exponent, scoring.pool);
      shares[0] = Fixed::One() - Sum(shares);
      const std::size_t uid = uid_of(validator);
      rows[uid] = RowOf(shares);
      one.weights[uid] = std::move(shares);
      spoke[validator] = number * kTempo + 1;
    }
    const bool staked = std::ranges::any_of(
        spoke, [&](const auto& one_spoke) { return one.nodes[uid_of(one_spoke.first)].stake > 0; });
    for (const auto& [validator, when] : spoke) {
      const std::size_t uid = uid_of(validator);
      one.nodes[uid].validator = true;
      yuma.neurons[uid].stake = staked ? one.nodes[uid].stake : 1;
      yuma.neurons[uid].last_update = when;
      yuma.neurons[uid].permit = yuma.neurons[uid].stake > 0;
    }
    yuma.weights = rows;
    yuma.bonds = bonds;
    auto outcome = RunYuma(settings, yuma);
    if (!outcome) return Forward(outcome.error());
    bonds = outcome->bonds;
    last_height = yuma.now;
    one.emission = SplitEmission(*outcome, static_cast<std::uint64_t>(paid));
    one.outcome = std::move(*outcome);
  }
  return {};
}

Result<std::vector<WeighedEpoch>> VerdictBook::Weigh(const GrailScoring& scoring) const {
  std::vector<WeighedEpoch> out;
  for (const auto& [run, epochs] : runs_) WG_TRY(WeighRun(scoring, run, epochs, out));
  return out;
}

}  // namespace waggle
