// The batch of one worker in one epoch, as it was signed.
#pragma once

#include <concepts>
#include <vector>

#include "ledger/entries.h"
#include "rollout/rollout.h"

namespace waggle {

struct SignedWork {
  BatchClaim claim;
  Signature signature{};
  std::vector<LeaseId> leases;  // ascending
  std::vector<Hash256> groups;  // their hashes, same order
  bool operator==(const SignedWork&) const = default;
};

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SignedWork>
void Fields(T& x, V&& v) {
  constexpr std::size_t kItemsMax = std::size_t{1} << 20;
  v(1, "claim", x.claim);
  v(2, "signature", x.signature);
  v.Numbers(3, "leases", x.leases, kItemsMax);
  v.Numbers(4, "groups", x.groups, kItemsMax);
}

}  // namespace waggle
