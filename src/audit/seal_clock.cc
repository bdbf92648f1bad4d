#include "audit/seal_clock.h"

#include <fmt/format.h>

namespace waggle {
namespace {

// On a new link, entries that were missed; longer than they take to come.
constexpr double kCatchUpSeconds = 30;

double PublicAt(const RunTerms& terms, std::uint64_t round) {
  return static_cast<double>(terms.drand_genesis_ms + (round - 1) * terms.drand_period_ms) / 1000;
}

}  // namespace

std::vector<std::string> SealClock::Look(const LedgerRunState& run, double unix_seconds) {
  std::vector<std::string> lines;
  // `epoch` is the one that is open: those below it were sealed.
  for (; next_ < run.epoch; ++next_) {
    const auto epoch = run.epochs.find(next_);
    if (run.terms.beacon != BeaconKind::kExternal || epoch == run.epochs.end() || !since_) continue;
    const double sealed = static_cast<double>(epoch->second.sealed_ms) / 1000;
    if (unix_seconds - *since_ < kCatchUpSeconds && sealed < *since_) continue;
    const std::uint64_t round = ExternalRoundOf(run.terms, epoch->second.sealed_ms);
    const double late = unix_seconds - PublicAt(run.terms, round);
    if (late < 0) continue;
    lines.push_back(fmt::format(
        "the seal of epoch {} came {:.1f} s after drand's round {}, which draws its audits, was "
        "public: the host's clock, this one or the line is that late, or what is audited was "
        "chosen",
        next_, late, round));
  }
  return lines;
}

}  // namespace waggle
