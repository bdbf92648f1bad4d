#include "ledger/audit.h"

#include <algorithm>
#include <string_view>

#include "crypto/keccak.h"

namespace waggle {
namespace {

ShakeStream StreamOf(std::string_view label, const Digest256& beacon, const Digest256& root) {
  Bytes seed(label.begin(), label.end());
  seed.insert(seed.end(), beacon.begin(), beacon.end());
  seed.insert(seed.end(), root.begin(), root.end());
  return ShakeStream(seed);
}

}  // namespace

Bps AuditPower(Bps detection, std::uint32_t audit_items) {
  // (1-d)^m rounded up at each step: the power is never overstated.
  std::uint64_t missed = kWhole.value;
  const std::uint64_t miss_one = kWhole.value - detection.value;
  for (std::uint32_t i = 0; i < audit_items && missed > 1; ++i)
    missed = (missed * miss_one + kWhole.value - 1) / kWhole.value;
  if (miss_one == 0) missed = 0;
  return Bps{static_cast<std::uint32_t>(kWhole.value - missed)};
}

Chance AuditChance(const RunTerms& terms, std::uint32_t items, Credits pay, Credits at_risk) {
  if (items < terms.batch_min) return kCertain;
  const Wide floor =
      (static_cast<Wide>(kCertain.value) * terms.audit_floor.value + kWhole.value - 1) /
      kWhole.value;
  const Wide saved = static_cast<Wide>((terms.item_cost - terms.item_cheat_cost).value) * items;
  const Wide needed = saved * terms.audit_factor.value * kCertain.value;  // < 2^127
  const Wide lost = static_cast<Wide>((pay + at_risk).value) *
                    AuditPower(terms.detection, terms.audit_items).value;
  if (needed == 0) return Chance{static_cast<std::uint32_t>(floor)};
  if (lost == 0) return kCertain;
  const Wide chance = std::max(floor, (needed + lost - 1) / lost);
  return chance < kCertain.value ? Chance{static_cast<std::uint32_t>(chance)} : kCertain;
}

bool IsAudited(const Digest256& beacon, const Digest256& root, Chance chance) {
  return StreamOf("coin||", beacon, root).Below(kCertain.value) < chance.value;
}

std::vector<std::uint32_t> AuditedItems(const Digest256& beacon, const Digest256& root,
                                        std::uint32_t items, std::uint32_t audit_items) {
  if (items == 0) return {};
  return StreamOf("spot||", beacon, root).Distinct(items, audit_items);
}

std::vector<std::uint32_t> Auditors(const Digest256& beacon, const Digest256& root,
                                    std::uint32_t candidates, std::uint32_t auditors) {
  if (candidates == 0) return {};
  return StreamOf("auditors||", beacon, root).Distinct(candidates, auditors);
}

}  // namespace waggle
