#include "ledger/balance_tree.h"

#include <algorithm>

#include "crypto/keccak.h"

namespace waggle {
namespace {

Digest256 Above(const Digest256& a, const Digest256& b) {
  std::array<std::uint8_t, 64> both;
  std::ranges::copy(std::min(a, b), both.begin());
  std::ranges::copy(std::max(a, b), both.begin() + 32);
  return Keccak256(both);
}

}  // namespace

EvmAddress AddressOf(const NodeId& node) {
  const Digest256 hash = Keccak256(node.value);
  EvmAddress address{};
  std::copy(hash.begin() + 12, hash.end(), address.begin());
  return address;
}

Digest256 BalanceLeaf(const EvmAddress& address, Credits amount) {
  Check(amount.value >= 0, "a uint256 is not negative");
  std::array<std::uint8_t, 64> abi{};  // two words, big endian
  std::ranges::copy(address, abi.begin() + 12);
  for (std::size_t i = 0; i < 8; ++i)
    abi[63 - i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(amount.value) >> (8 * i));
  return Keccak256(Keccak256(abi));
}

BalanceTree::BalanceTree(std::vector<Digest256> leaves) {
  Check(!leaves.empty(), "a tree has leaves");
  std::ranges::sort(leaves);
  nodes_.resize(2 * leaves.size() - 1);
  for (std::size_t i = 0; i < leaves.size(); ++i) nodes_[nodes_.size() - 1 - i] = leaves[i];
  for (std::size_t i = leaves.size() - 1; i-- > 0;)
    nodes_[i] = Above(nodes_[2 * i + 1], nodes_[2 * i + 2]);
}

std::vector<Digest256> BalanceTree::Prove(const Digest256& leaf) const {
  std::vector<Digest256> proof;
  const auto first_leaf = nodes_.begin() + static_cast<std::ptrdiff_t>(nodes_.size() / 2);
  const auto found = std::find(first_leaf, nodes_.end(), leaf);
  if (found == nodes_.end()) return proof;
  for (auto at = static_cast<std::size_t>(found - nodes_.begin()); at > 0; at = (at - 1) / 2)
    proof.push_back(nodes_[at % 2 == 1 ? at + 1 : at - 1]);
  return proof;
}

bool BalanceHolds(const Digest256& root, const Digest256& leaf, std::span<const Digest256> proof) {
  Digest256 node = leaf;
  for (const Digest256& sibling : proof) node = Above(node, sibling);
  return node == root;
}

Credits AmountOf(const LedgerAccount& account, TreeOf what) {
  return what == TreeOf::kBalances ? account.balance : account.earned;
}

std::vector<Digest256> LeavesOf(const LedgerState& state, TreeOf what) {
  std::vector<Digest256> leaves;
  leaves.reserve(state.accounts.size());
  for (const auto& [node, account] : state.accounts)
    leaves.push_back(BalanceLeaf(AddressOf(node), AmountOf(account, what)));
  return leaves;
}

}  // namespace waggle
