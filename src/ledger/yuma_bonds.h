// Bonds: what a validator holds in a miner, and what it earns by that. Steps 10 and 11 of
// ledger/yuma.h; nobody else includes this.
#pragma once

#include <vector>

#include "ledger/yuma.h"

namespace waggle {

using YumaMatrix = std::vector<std::vector<Fixed>>;

struct YumaBonds {
  std::vector<Fixed> dividends;
  std::vector<YumaRow> stored;  // u16, zeros left out
};

// `outcome` as far as step 8; `weights` of step 9.
YumaBonds BondsOfYuma2(const YumaSettings& settings, const YumaEpoch& epoch,
                       const YumaOutcome& outcome, const YumaMatrix& weights);
YumaBonds BondsOfYuma3(const YumaSettings& settings, const YumaEpoch& epoch,
                       const YumaOutcome& outcome, const YumaMatrix& weights);

}  // namespace waggle
