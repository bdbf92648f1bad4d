#include "rollout/rollout.h"

#include <fmt/format.h>

#include <string_view>

#include "crypto/hash.h"
#include "rollout/verdict.h"

namespace waggle {

std::string LeaseName(LeaseId lease) { return fmt::format("{:x}", lease.value); }

PhiloxKey SamplingKey(const Hash256& run, const Hash256& prompt, std::uint64_t epoch) {
  constexpr std::string_view kDomain = "WGL-SAMPLE-1";
  std::array<std::uint8_t, 8> epoch_bytes{};
  for (int i = 0; i < 8; ++i) epoch_bytes[i] = static_cast<std::uint8_t>(epoch >> (8 * i));
  Sha256Hasher hasher;
  hasher.Update(std::span(reinterpret_cast<const std::uint8_t*>(kDomain.data()), kDomain.size()));
  hasher.Update(std::span<const std::uint8_t>(run));
  hasher.Update(std::span<const std::uint8_t>(prompt));
  hasher.Update(std::span<const std::uint8_t>(epoch_bytes));
  const Digest256 digest = hasher.Finish();
  PhiloxKey key{};
  for (int i = 0; i < 8; ++i) key[i / 4] |= std::uint32_t{digest[i]} << (8 * (i % 4));
  return key;
}

std::span<const RejectReason> AllRejectReasons() {
  static const std::vector<RejectReason> all = [] {
    std::vector<RejectReason> reasons;
    for (std::uint8_t i = 1; i <= kRejectReasonLast; ++i)
      reasons.push_back(static_cast<RejectReason>(i));
    return reasons;
  }();
  return all;
}

const char* ToString(RejectReason reason) {
  switch (reason) {
    case RejectReason::kMalformed:
      return "malformed";
    case RejectReason::kUnknownLease:
      return "unknown lease";
    case RejectReason::kWrongTask:
      return "wrong task";
    case RejectReason::kStalePolicy:
      return "stale policy";
    case RejectReason::kBadTermination:
      return "bad termination";
    case RejectReason::kWrongLease:
      return "wrong lease";
    case RejectReason::kWrongReward:
      return "wrong reward";
    case RejectReason::kWrongToken:
      return "wrong token";
    case RejectReason::kWrongLogp:
      return "wrong log-prob";
    case RejectReason::kEquivocation:
      return "equivocation";
    case RejectReason::kWithheld:
      return "withheld";
    case RejectReason::kFingerprint:
      return "fingerprint";
    case RejectReason::kWrongStep:
      return "wrong step";
    case RejectReason::kLazyVerdict:
      return "lazy verdict";
    case RejectReason::kFalseAccusation:
      return "false accusation";
    case RejectReason::kFalseCanary:
      return "false canary";
    case RejectReason::kDroppedGroup:
      return "dropped group";
  }
  return "?";
}

}  // namespace waggle
