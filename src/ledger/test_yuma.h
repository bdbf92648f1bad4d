// A small market for the tests of Yuma.
#pragma once

#include <vector>

#include "ledger/yuma.h"

namespace waggle {

inline constexpr std::uint64_t kYumaTestStake = 1'000'000;

// Validators with these stakes, all with permits and heard at block 350, then miners.
inline YumaEpoch YumaMarket(const std::vector<std::uint64_t>& stakes, std::size_t miners) {
  YumaEpoch epoch{.now = 360, .last_epoch = 0};
  epoch.neurons.resize(stakes.size() + miners);
  epoch.weights.resize(stakes.size() + miners);
  for (std::size_t i = 0; i < stakes.size(); ++i)
    epoch.neurons[i] = {.stake = stakes[i] * kYumaTestStake, .last_update = 350, .permit = true};
  epoch.last_epoch = 1;
  return epoch;
}

// Values of miners from uid `first` on; zeros are left out.
inline YumaRow YumaRowOf(std::uint16_t first, const std::vector<std::uint16_t>& values) {
  YumaRow row;
  for (std::size_t j = 0; j < values.size(); ++j)
    if (values[j] > 0) row.push_back({static_cast<std::uint16_t>(first + j), values[j]});
  return row;
}

}  // namespace waggle
