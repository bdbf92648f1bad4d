// Merkle proofs that a contract checks (sheet markets.md 10.1): OpenZeppelin's standard tree over
// leaves  keccak(keccak(abi.encode(address, uint256))),  sorted; a node is keccak of its children,
// the smaller first. The double hash keeps a leaf from ever reading as a node.
#pragma once

#include <span>
#include <vector>

#include "ledger/state.h"

namespace waggle {

// The last 20 bytes of Keccak-256 of a node's id: its name where addresses are short.
EvmAddress AddressOf(const NodeId& node);
Digest256 BalanceLeaf(const EvmAddress& address, Credits amount);  // REQUIRES amount >= 0

class BalanceTree {
 public:
  // REQUIRES at least one leaf.
  explicit BalanceTree(std::vector<Digest256> leaves);
  const Digest256& root() const { return nodes_.front(); }
  // Siblings from the bottom up. Empty for a leaf that is not there, and for the only one.
  std::vector<Digest256> Prove(const Digest256& leaf) const;

 private:
  std::vector<Digest256> nodes_;  // t of 2n-1: leaves last, descending; parents before children
};
bool BalanceHolds(const Digest256& root, const Digest256& leaf, std::span<const Digest256> proof);

// What a tree is about: free balances; or all that was ever earned, which never falls, for a
// contract that pays the difference to what was claimed (10.2).
enum class TreeOf : std::uint8_t { kBalances = 1, kEarned = 2 };
std::vector<Digest256> LeavesOf(const LedgerState& state, TreeOf what);  // of every account
Credits AmountOf(const LedgerAccount& account, TreeOf what);

}  // namespace waggle
