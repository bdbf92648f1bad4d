#include "ledger/yuma.h"

#include <algorithm>
#include <numeric>

#include "ledger/yuma_bonds.h"

namespace waggle {
namespace {

constexpr std::uint64_t kStakeMax = std::uint64_t{1} << 63;

Status CheckRows(const std::vector<YumaRow>& rows, std::size_t neurons, const char* what) {
  if (rows.size() != neurons)
    return Fail(Blame::kPeer, "{} rows of {} for {} neurons", rows.size(), what, neurons);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t k = 0; k < rows[i].size(); ++k) {
      if (rows[i][k].uid >= neurons || (k > 0 && rows[i][k].uid <= rows[i][k - 1].uid))
        return Fail(Blame::kPeer, "{} of uid {}: entry {} names nobody, or not in order", what, i,
                    k);
    }
  }
  return {};
}

Status CheckEpoch(const YumaSettings& settings, const YumaEpoch& epoch) {
  if (settings.liquid_alpha && settings.version != YumaVersion::k3)
    return Fail(Blame::kOperator, "liquid alpha belongs to Yuma 3");
  if (settings.alpha_low > settings.alpha_high || settings.bonds_moving_average > 1'000'000)
    return Fail(Blame::kOperator, "alpha_low above alpha_high, or a moving average above one");
  const std::size_t n = epoch.neurons.size();
  if (n > kYumaNeuronsMax) return Fail(Blame::kPeer, "{} neurons, limit {}", n, kYumaNeuronsMax);
  for (std::size_t i = 0; i < n; ++i)
    if (epoch.neurons[i].stake >= kStakeMax || epoch.neurons[i].root_stake >= kStakeMax)
      return Fail(Blame::kPeer, "uid {} has more stake than there is", i);
  WG_TRY(CheckRows(epoch.weights, n, "weights"));
  if (!epoch.bonds.empty()) WG_TRY(CheckRows(epoch.bonds, n, "bonds"));
  if (!epoch.previous_consensus.empty() && epoch.previous_consensus.size() != n)
    return Fail(Blame::kPeer, "the consensus before is of another size");
  return {};
}

// Step 2. Two stakes below 2^63 do not overflow, and root_weight is below one.
std::vector<std::uint64_t> Stakes(const YumaSettings& settings, const YumaEpoch& epoch) {
  std::vector<std::uint64_t> stakes;
  for (const YumaNeuron& neuron : epoch.neurons) {
    const std::uint64_t stake =
        neuron.stake +
        static_cast<std::uint64_t>((FixedWide{neuron.root_stake} * settings.root_weight) >> 64);
    stakes.push_back(stake < settings.stake_min ? 0 : stake);
  }
  return stakes;
}

// Step 3: the most staked; of equals the lower uid.
std::vector<bool> NewPermits(const YumaSettings& settings,
                             const std::vector<std::uint64_t>& stakes) {
  std::vector<std::size_t> order(stakes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return stakes[a] > stakes[b]; });
  std::vector<bool> permits(stakes.size(), false);
  for (std::size_t k = 0; k < order.size() && k < settings.validators_max; ++k)
    permits[order[k]] = stakes[order[k]] > 0;
  return permits;
}

// Step 5: a weight counts if it was set after its miner came to this uid.
bool IsMasked(const YumaSettings& settings, const YumaEpoch& epoch, std::size_t i, std::size_t j) {
  const YumaNeuron &validator = epoch.neurons[i], &miner = epoch.neurons[j];
  if (i == j) return !validator.owner;
  if (validator.last_update <= miner.registered_at) return true;
  return settings.commit_reveal && validator.oldest_commit &&
         *validator.oldest_commit < miner.registered_at;
}

YumaMatrix Weights(const YumaSettings& settings, const YumaEpoch& epoch) {
  const std::size_t n = epoch.neurons.size();
  YumaMatrix weights(n, std::vector<Fixed>(n));
  for (std::size_t i = 0; i < n; ++i) {
    if (!epoch.neurons[i].permit) continue;
    std::vector<std::uint64_t> row(n, 0);
    for (const YumaEntry& entry : epoch.weights[i])
      if (!IsMasked(settings, epoch, i, entry.uid)) row[entry.uid] = entry.value;
    weights[i] = Normalised(row);
  }
  return weights;
}

// sum_i stake_i m_ij, i ascending.
std::vector<Fixed> Weighed(const std::vector<Fixed>& stake, const YumaMatrix& m) {
  std::vector<Fixed> out(stake.size());
  for (std::size_t i = 0; i < stake.size(); ++i)
    for (std::size_t j = 0; j < stake.size(); ++j) out[j] = out[j] + stake[i] * m[i][j];
  return out;
}

}  // namespace

Fixed WeightedMedian(const std::vector<Fixed>& stake, const std::vector<Fixed>& weights,
                     Fixed kappa) {
  Check(stake.size() == weights.size(), "each validator has a stake and a weight");
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < stake.size(); ++i)
    if (stake[i] > Fixed{}) order.push_back(i);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  Fixed support;
  for (const std::size_t i : order) {
    support = support + stake[i];
    if (support >= kappa) return weights[i];
  }
  return {};  // rounding alone can leave all of the stake below a kappa of one
}

Result<YumaOutcome> RunYuma(const YumaSettings& settings, const YumaEpoch& epoch) {
  WG_TRY(CheckEpoch(settings, epoch));
  const std::size_t n = epoch.neurons.size();
  YumaOutcome out;
  const std::vector<std::uint64_t> stakes = Stakes(settings, epoch);
  out.stake = Normalised(stakes);
  out.permits = NewPermits(settings, stakes);
  std::vector<Fixed> active = out.stake;  // steps 1 and 4
  for (std::size_t i = 0; i < n; ++i) {
    const YumaNeuron& neuron = epoch.neurons[i];
    const std::uint64_t idle = epoch.now - std::min(epoch.now, neuron.last_update);
    if (idle > settings.activity_cutoff || !neuron.permit) active[i] = {};
  }
  out.active_stake = Normalised(active);

  const YumaMatrix weights = Weights(settings, epoch);
  const Fixed kappa = Fixed::Ratio(settings.kappa, 65535);
  out.consensus.resize(n);
  std::vector<Fixed> column(n);
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = 0; i < n; ++i) column[i] = weights[i][j];
    out.consensus[j] = WeightedMedian(out.active_stake, column, kappa);
  }
  YumaMatrix clipped = weights;  // step 7
  out.validator_trust.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) clipped[i][j] = std::min(weights[i][j], out.consensus[j]);
    out.validator_trust[i] = Sum(clipped[i]);
  }
  out.prerank = Weighed(out.active_stake, weights);
  out.rank = Weighed(out.active_stake, clipped);  // step 8
  out.incentive = Normalised(out.rank);

  const Fixed beta = Fixed::Ratio(settings.bonds_penalty, 65535);  // step 9
  YumaMatrix for_bonds = weights;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      for_bonds[i][j] = (Fixed::One() - beta) * weights[i][j] + beta * clipped[i][j];
  YumaBonds bonds = settings.version == YumaVersion::k2
                        ? BondsOfYuma2(settings, epoch, out, for_bonds)
                        : BondsOfYuma3(settings, epoch, out, for_bonds);
  out.dividends = std::move(bonds.dividends);
  out.bonds = std::move(bonds.stored);
  return out;
}

YumaEmission SplitEmission(const YumaOutcome& outcome, std::uint64_t emission) {
  const std::size_t n = outcome.incentive.size();
  std::vector<Fixed> miners = outcome.incentive, validators = outcome.dividends;
  if (Sum(miners).raw + Sum(validators).raw == 0)
    validators = Sum(outcome.active_stake).raw > 0 ? outcome.active_stake : outcome.stake;
  const std::uint64_t whole = Sum(miners).raw + Sum(validators).raw;
  YumaEmission split{std::vector<std::uint64_t>(n, 0), std::vector<std::uint64_t>(n, 0), emission};
  for (std::size_t i = 0; whole > 0 && i < n; ++i) {
    split.miner[i] = ShareOf(emission, miners[i].raw, whole);
    split.validator[i] = ShareOf(emission, validators[i].raw, whole);
    split.left -= split.miner[i] + split.validator[i];
  }
  return split;
}

}  // namespace waggle
